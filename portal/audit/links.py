"""What a link of a chain is made of: the key, and the digests of its fields."""

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.database import TRAIL_KEY, Database
from portal.events import request_chain
from portal.models import AuditEvent, AuditHead, EnrollmentRequest, PortalState
from portal.vault import Vault

KEY = "audit_key"
"""Where the key that links are made with is kept, sealed."""
MARK = "audit-key"
"""File in the data folder: there is such a key."""
SETTINGS = "settings"
"""The chain of what concerns the company."""

log = logging.getLogger("portal.audit")


@dataclass(frozen=True)
class TrailKey:
    """What links are made with from the event of id ``since`` on; ``anchor`` vouches for those before."""

    secret: bytes
    since: int
    anchor: str

    def mac(self, content: bytes) -> bytes:
        """HMAC-SHA-256."""
        return hmac.digest(self.secret, content, "sha256")

    def vouch(self, ends: Iterable[tuple[str, int, str]]) -> str:
        """One value for the ends of all chains (name, seq, digest), in whatever order they come."""
        together = 0
        for end in ends:
            together ^= int.from_bytes(self.mac(_bytes(list(end))), "big")
        return f"{together:064x}"


_KEYS: WeakKeyDictionary[Database, TrailKey] = WeakKeyDictionary()


def make_key(session: Session, vault: Vault, data: Path) -> None:
    """The portal's own key for its trail, if it never had one: for all events from now on.

    A mark in the data folder remembers that there was one: whoever deletes the key from the database gets no new one
    for a trail of their own making.
    """
    mark, state = data / MARK, session.get(PortalState, KEY)
    if state is None and not mark.exists():
        since = (session.scalar(select(func.max(AuditEvent.id))) or 0) + 1
        secret = secrets.token_bytes(32)
        ends = ((chain, seq, digest) for chain, (seq, digest) in heads(session).items() if seq)
        key_alone = TrailKey(secret, since, "")
        anchor = key_alone.vouch(ends)
        told = {"secret": secret.hex(), "since": since, "anchor": anchor}
        session.add(PortalState(name=KEY, sealed=vault.seal(json.dumps(told).encode())))
    elif state is None:
        log.error("audit.key_missing")
    if not mark.exists():
        mark.write_text("The audit trail of this portal has a key.\n", "ascii")


def key_of(database: Database, vault: Vault) -> TrailKey | None:
    """The key of that portal's trail, None before there is one; read once. Raises VaultError."""
    if database not in _KEYS:
        with database.session() as reading:
            state = reading.get(PortalState, KEY)
            if state is None or state.sealed is None:
                return None
            told = json.loads(vault.open(state.sealed))
        _KEYS[database] = TrailKey(bytes.fromhex(told["secret"]), told["since"], told["anchor"])
    return _KEYS[database]


def key_for(session: Session) -> TrailKey | None:
    """The key of the portal whose session this is."""
    give = session.info.get(TRAIL_KEY)
    return give() if give is not None else None


def heads(session: Session) -> dict[str, tuple[int, str]]:
    """The newest link of every chain as (seq, digest); a request's is kept on its own row."""
    found = {
        chain: (seq, digest)
        for chain, seq, digest in session.execute(select(AuditHead.chain, AuditHead.seq, AuditHead.digest))
    }
    rows = session.execute(select(EnrollmentRequest.id, EnrollmentRequest.audit_seq, EnrollmentRequest.audit_digest))
    return found | {request_chain(request_id): (seq, digest) for request_id, seq, digest in rows}


FIELDS = ("chain", "seq", "at", "kind", "reason", "actor", "detail_digest", "previous")
"""What a link vouches for, in this order."""


def digest(key: TrailKey | None, link: Mapping[str, Any]) -> str:
    """The hex digest of a link over its ``FIELDS``; without a key plain SHA-256."""
    fields = _bytes([link[name].isoformat() if name == "at" else link[name] for name in FIELDS])
    return key.mac(fields).hex() if key else hashlib.sha256(fields).hexdigest()


def digest_of(event: AuditEvent, key: TrailKey | None) -> str:
    """The digest that a stored link has to have."""
    link = {name: getattr(event, name) for name in FIELDS}
    return digest(key if key is not None and event.id >= key.since else None, link)


def _sha256(value: Any) -> str:
    return hashlib.sha256(_bytes(value)).hexdigest()


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode()


def detail_digest(detail: dict[str, Any] | None) -> str | None:
    """What the chain holds of a detail."""
    return None if detail is None else _sha256(detail)
