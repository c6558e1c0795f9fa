"""Addresses from which a device fetches what a declaration only refers to: signed, for one device, for a short time.

iOS fetches them with a plain GET, on which nobody could say whether it carries the signature that its other messages
have [?]. So the address itself is the proof: it reaches the device inside an answer that only it gets.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from itsdangerous import BadData, URLSafeSerializer

from portal.vault import Vault

PATH = "/mdm/declared/"
LIFETIME = timedelta(hours=1)
"""A device fetches at once; what it puts off it asks for anew with its next look at the declaration."""
LONGEST = 600
MARK = "d"
"""Before each: one that is compressed begins with a dot, and proxies commonly refuse such parts of an address."""
TOKEN_CHARACTERS = 16
"""Of an item's token: an address leads to one content, not to whatever comes after it."""
_PURPOSE = "declared addresses"


@dataclass(frozen=True, slots=True)
class Reference:
    """What an address leads to: for which device, which item, which part of it (empty: all), in which content."""

    device_id: str
    identifier: str
    part: str
    token: str


def sign(vault: Vault, reference: Reference, now: datetime) -> str:
    """The end of the address, good until ``LIFETIME`` after ``now``."""
    until = int((now + LIFETIME).timestamp())
    token = reference.token[:TOKEN_CHARACTERS]
    return MARK + str(
        _serializer(vault).dumps([until, reference.device_id, reference.identifier, reference.part, token])
    )


def read(vault: Vault, text: str, now: datetime) -> Reference | None:
    """What ``text`` leads to; None if nobody signed it, or too long ago."""
    try:
        until, *told = _serializer(vault).loads(text.removeprefix(MARK)) if len(text) <= LONGEST else [0]
    except (BadData, TypeError, ValueError):
        return None
    return Reference(*told) if now < datetime.fromtimestamp(until, UTC) else None


def _serializer(vault: Vault) -> URLSafeSerializer:
    return URLSafeSerializer(vault.derive_all(_PURPOSE), salt=_PURPOSE)
