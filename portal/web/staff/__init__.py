"""Where staff signs in, and the demo's mail."""

from portal.web.rules import STAFF, Rules, pages

blueprint = pages(
    "staff",
    __name__,
    Rules(
        area=STAFF,
        json_views=frozenset(
            {"options_for_adding", "add_passkey", "options_for_signing_in", "use_passkey", "confirm_by_passkey"}
        ),
    ),
)

from portal.web.staff import outbox, passkeys, proof, sessions, sign_in  # noqa: E402  (the views register themselves on the blueprint)

__all__ = ["blueprint", "outbox", "passkeys", "proof", "sessions", "sign_in"]
