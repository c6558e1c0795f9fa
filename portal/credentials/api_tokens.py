"""Tokens of programs: made by an admin, shown once, limited to a scope, revocable (RFC 6750)."""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import Editor
from portal.events import Event
from portal.models import ApiToken
from portal.vault import token_hash

SCOPES = ("requests", "devices", "policies", "metrics")
PREFIX = "ept_"
"""Lets scanners for leaked secrets recognize one."""
TOKEN_BYTES = 32
LONGEST_TOKEN = 200
DAYS = (30, 90, 365)
"""How long a new token may work."""
LONGEST_DAYS = DAYS[-1]
TOUCH_EVERY = timedelta(minutes=1)


class TokenUnknown(Exception):
    """The token is missing, unknown, revoked or too old: to the outside all the same."""


class ScopeMissing(Exception):
    """The token is good, but not for this."""


def make(editor: Editor, name: str, scopes: list[str], days: int = LONGEST_DAYS) -> str:
    """A new token that works for so many ``days``; it exists nowhere else in the clear."""
    token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    made = ApiToken(
        name=name,
        token_hash=token_hash(token),
        scopes=scopes,
        created_at=editor.now,
        created_by=editor.actor,
        expires_at=editor.now + timedelta(days=days),
    )
    editor.session.add(made)
    editor.session.flush()
    editor.record(Event.API_TOKEN_MADE, token=made.id, name=name, scopes=scopes)
    return token


def revoke(editor: Editor, token_id: str) -> None:
    """The token stops working at once. Repeating it changes nothing."""
    found = editor.session.get(ApiToken, token_id, with_for_update=True)
    if found is not None and found.revoked_at is None:
        found.revoked_at = editor.now
        editor.record(Event.API_TOKEN_REVOKED, token=found.id)


def check(session: Session, token: str, scope: str, now: datetime) -> ApiToken:
    """Whose token a program showed. Raises TokenUnknown, ScopeMissing."""
    if not token.startswith(PREFIX) or len(token) > LONGEST_TOKEN:
        raise TokenUnknown
    query = select(ApiToken).where(ApiToken.token_hash == token_hash(token))
    found = session.scalar(query.execution_options(populate_existing=True))
    if found is None or found.revoked_at is not None or is_over(found, now):
        raise TokenUnknown
    if scope not in found.scopes:
        raise ScopeMissing
    return found


def is_over(token: ApiToken, now: datetime) -> bool:
    """Whether its time is up. Tokens from before there was one go on until they are revoked."""
    return token.expires_at is not None and now >= token.expires_at


def every(session: Session) -> list[ApiToken]:
    """All tokens, the newest first."""
    return list(session.scalars(select(ApiToken).order_by(ApiToken.created_at.desc())))
