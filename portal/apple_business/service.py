"""Asking Apple which server a token belongs to: Device Assignment Services, ``session`` and ``account``.

Facts: Apple, "Device Assignment": a request signed with the token (OAuth 1.0, realm ADM) gives a session, whose header
every other request shows; an answer may bring a new one.
"""

from dataclasses import dataclass
from typing import Any

import httpx
from authlib.oauth1 import ClientAuth

from portal import bounded
from portal.apple_business.server_token import LONGEST, ServerToken

SESSION = "X-ADM-Auth-Session"
HEADERS = {"X-Server-Protocol-Version": "3", "User-Agent": "enrollment-portal", "Accept": "application/json"}
TIMEOUT_SECONDS = 10.0
LARGEST = 64 * 1024
"""Bytes of an answer."""
REFUSED = {401: "token_refused", 403: "terms_or_token"}
"""403 is also Apple's answer as long as nobody agreed to new terms in Apple Business (``T_C_NOT_SIGNED``)."""


class Unavailable(Exception):
    """Apple did not say; ``code``: unreachable, token_refused, terms_or_token, unexpected."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Server:
    """What Apple calls this portal: ``uuid`` is what tokens are issued as."""

    uuid: str
    name: str
    organization: str


def ask(address: str, token: ServerToken, transport: httpx.BaseTransport | None = None) -> Server:
    """The server that ``token`` belongs to, by Apple's service at ``address``. Raises Unavailable."""
    signer = ClientAuth(
        token.consumer_key,
        client_secret=token.consumer_secret,
        token=token.access_token,
        token_secret=token.access_secret,
        realm="ADM",
    )
    hooks = bounded.within(LARGEST, TIMEOUT_SECONDS)
    with httpx.Client(
        base_url=address, headers=HEADERS, timeout=TIMEOUT_SECONDS, transport=transport, event_hooks=hooks
    ) as client:
        _, signed, _ = signer.prepare("GET", f"{address}/session", {}, "")
        session = _told(client, "/session", headers=signed).get("auth_session_token")
        if not isinstance(session, str) or not session.isprintable() or not session.isascii():
            raise Unavailable("unexpected")
        account = _told(client, "/account", headers={SESSION: session})
    uuid, name, organization = (account.get(key) for key in ("server_uuid", "server_name", "org_name"))
    if not isinstance(uuid, str) or not uuid:
        raise Unavailable("unexpected")
    return Server(uuid[:LONGEST], str(name or "")[:LONGEST], str(organization or "")[:LONGEST])


def ask_for_server(address: str, token: ServerToken) -> tuple[Server | None, str]:
    """What Apple says of a token, or why it does not (the code of Unavailable)."""
    try:
        return ask(address, token), ""
    except Unavailable as problem:
        return None, problem.code


def _told(client: httpx.Client, path: str, **request: Any) -> dict[str, Any]:
    try:
        answer = client.get(path, **request)
    except bounded.TooLarge:
        raise Unavailable("unexpected") from None
    except httpx.HTTPError:
        raise Unavailable("unreachable") from None
    if answer.status_code != 200:
        raise Unavailable(REFUSED.get(answer.status_code, "unexpected"))
    try:
        return bounded.document(answer.content)
    except ValueError:
        raise Unavailable("unexpected") from None
