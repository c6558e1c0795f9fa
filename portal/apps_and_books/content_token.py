"""The content token of a location: what an admin downloads from Apple Business, under Settings, Apps and Books.

Base64 of a JSON object {token, expDate, orgName}; Apple takes the whole text as a Bearer token. Facts: Apple, "Getting
started with the management API".
"""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime

LARGEST = 16 * 1024
"""Bytes of an uploaded token."""
LONGEST = 200
"""Characters of the organization's name."""


class ContentTokenRefused(Exception):
    """The file cannot be used; ``code``: large, unreadable, incomplete, expired."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class ContentToken:
    """``text`` is what Apple gets; ``expires`` when Apple takes it no longer."""

    text: str
    organization: str
    expires: datetime


def read(content: bytes, now: datetime) -> ContentToken:
    """The token in a downloaded file (.vpptoken). Raises ContentTokenRefused."""
    if len(content) > LARGEST:
        raise ContentTokenRefused("large")
    try:
        text = b"".join(content.split()).decode("ascii")
        told = json.loads(base64.b64decode(text, validate=True))
    except (UnicodeDecodeError, binascii.Error, ValueError, RecursionError):
        raise ContentTokenRefused("unreadable") from None
    if not isinstance(told, dict):
        raise ContentTokenRefused("unreadable")
    name, written = told.get("orgName"), told.get("expDate")
    if not isinstance(told.get("token"), str) or not told["token"] or not isinstance(written, str):
        raise ContentTokenRefused("incomplete")
    try:
        expires = datetime.fromisoformat(written)
        expires = (expires if expires.tzinfo else expires.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ContentTokenRefused("incomplete") from None
    if expires <= now:
        raise ContentTokenRefused("expired")
    organization = "".join(each for each in str(name or "")[:LONGEST] if each.isprintable())
    return ContentToken(text, organization, expires)
