"""Where staff signs in, and the demo's mail."""

from flask import Blueprint

blueprint = Blueprint("staff", __name__)

from portal.web.staff import outbox, passkeys, proof, sessions, sign_in  # noqa: E402  (the views register themselves on the blueprint)

__all__ = ["blueprint", "outbox", "passkeys", "proof", "sessions", "sign_in"]
