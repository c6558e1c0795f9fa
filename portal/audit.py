"""The audit trail: append-only, one hash chain per request and one for settings.

A link is ``HMAC-SHA-256(key, previous link, fields)``: whoever can write to the database, but has no secret key of the
portal, cannot write links. Those from before there was a key are plain SHA-256. What may have to be erased about a
person sits in ``detail``; the chain covers only its salted digest, so erasing keeps the chain valid. The timeline that
helpdesk reads is this trail.
"""

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Text, bindparam, cast, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.database import TRAIL_KEY, Database
from portal.events import Event
from portal.models import AuditEvent, AuditHead, PortalState
from portal.vault import Vault

GENESIS = "0" * 64
SETTINGS = "settings"
CHECK = "audit_check"
"""Where the last check of all chains is kept."""
KEY = "audit_key"
"""Where the key that links are made with is kept, sealed."""
MARK = "audit-key"
"""File in the data folder: there is such a key."""
MOST_BROKEN = 20

log = logging.getLogger("portal.audit")


def request_chain(request_id: str) -> str:
    """The name of a request's chain."""
    return f"request:{request_id}"


def record(
    session: Session,
    chain: str,
    event: Event,
    at: datetime,
    *,
    reason: str | None = None,
    actor: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Append ``event`` to ``chain`` and log it. ``reason`` is a code, ``detail`` small and erasable.

    ``actor``: who did it, if it is not who always does.
    """
    seq, previous = _locked_head(session, chain)
    if detail is not None:
        detail = {**detail, "salt": secrets.token_hex(8)}
    values: dict[str, Any] = {
        "chain": chain,
        "seq": seq + 1,
        "at": at,
        "kind": event.value,
        "reason": reason,
        "actor": actor or event.actor.value,
        "detail_digest": _detail_digest(detail),
        "previous": previous,
    }
    values["digest"] = _digest(_key(session), **values)
    # Plain statements: the trail is written at every step and never changed through objects.
    session.execute(_INSERT, {**values, "detail": detail})
    session.execute(_ADVANCE, {"of_chain": chain, "to_seq": seq + 1, "to_digest": values["digest"]})
    log.info("%s chain=%s reason=%s actor=%s", event, chain, reason, values["actor"])


def timeline(session: Session, request_id: str) -> list[AuditEvent]:
    """All events of a request, oldest first."""
    query = select(AuditEvent).where(AuditEvent.chain == request_chain(request_id)).order_by(AuditEvent.seq)
    return list(session.scalars(query))


def newest(session: Session, chain: str) -> AuditEvent | None:
    """The last event of ``chain``."""
    return session.scalar(select(AuditEvent).where(AuditEvent.chain == chain).order_by(AuditEvent.seq.desc()).limit(1))


def erase_details(session: Session, chain: str) -> None:
    """Forget what is personal in ``chain``; times, kinds and the chain itself stay."""
    session.execute(update(AuditEvent).where(AuditEvent.chain == chain).values(detail=None))


def erase_details_of(session: Session, chain: str, person_id: str) -> None:
    """Forget in ``chain`` what is personal about one person."""
    about = cast(AuditEvent.detail, Text).contains(person_id, autoescape=True)
    for event in session.scalars(select(AuditEvent).where(AuditEvent.chain == chain, about)):
        if event.detail and event.detail.get("person") == person_id:
            event.detail = None


@dataclass(frozen=True)
class Search:
    """What of the trail is wanted; what is empty does not narrow it. ``kind`` may be a beginning, like ``device.``."""

    kind: str = ""
    chain: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None


def search(session: Session, wanted: Search, before: int | None = None, limit: int = 100) -> list[AuditEvent]:
    """Events of every chain, newest first; ``before`` is the id of the last one that was seen."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    if wanted.kind:
        query = query.where(AuditEvent.kind.startswith(wanted.kind, autoescape=True))
    if wanted.chain:
        query = query.where(AuditEvent.chain == wanted.chain)
    if wanted.actor:
        query = query.where(AuditEvent.actor == wanted.actor)
    if wanted.since is not None:
        query = query.where(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEvent.at < wanted.until)
    return list(session.scalars(query))


def broken_links(session: Session) -> Iterator[tuple[str, int, str]]:
    """The first broken link of each chain that has one, as (chain, seq, what is wrong)."""
    key = _key(session)
    if key is None:
        yield SETTINGS, 0, "the key of the trail is missing"
    before: list[tuple[str, int, str]] = []
    heads = {chain: (seq, digest) for chain, seq, digest in session.execute(select(_HEADS))}
    query = select(AuditEvent).order_by(AuditEvent.chain, AuditEvent.seq).execution_options(yield_per=1000)
    for chain, events in groupby(session.scalars(query), key=attrgetter("chain")):
        problem = _first_problem(events, heads.pop(chain, None), key, before)
        if problem:
            yield (chain, *problem)
    for chain, (seq, _) in heads.items():
        if seq:
            yield chain, 1, "events at the end are missing"
    if key is not None and _anchor(key, before) != key.anchor:
        yield SETTINGS, 0, "events from before there was a key were changed"


def _first_problem(
    events: Iterator[AuditEvent],
    head: tuple[int, str] | None,
    key: "TrailKey | None",
    before: list[tuple[str, int, str]],
) -> tuple[int, str] | None:
    """What is wrong with a chain; its last link from before there was a key goes to ``before``."""
    seq, previous = 0, GENESIS
    last: AuditEvent | None = None
    for event in events:
        seq += 1
        if event.seq != seq:
            return seq, "an event is missing"
        if event.previous != previous or event.digest != _digest_of(event, key):
            return seq, "the event was changed"
        if event.detail is not None and event.detail_digest != _detail_digest(event.detail):
            return seq, "the event's detail was changed"
        previous = event.digest
        last = event if key is not None and event.id < key.since else last
    if last is not None:
        before.append((last.chain, last.seq, last.digest))
    if head is None or head != (seq, previous):
        return seq + 1, "events at the end are missing"
    return None


def ask_for_check(session: Session, now: datetime) -> None:
    """Have the worker check every chain soon; its outcome is ``last_check``."""
    state = session.get(PortalState, CHECK) or PortalState(name=CHECK)
    state.value = json.dumps({"asked": now.isoformat()})
    session.add(state)


def check_if_asked(session: Session, now: datetime) -> None:
    """Check every chain if somebody asked for it; the worker's part."""
    state = session.get(PortalState, CHECK)
    if state is None or "asked" not in json.loads(state.value or "{}"):
        return
    broken = [list(each) for each in islice(broken_links(session), MOST_BROKEN)]
    state.value = json.dumps({"at": now.isoformat(), "broken": broken})


def last_check(session: Session) -> dict[str, Any] | None:
    """How the last check went: ``at`` and ``broken`` links (chain, seq, what), or ``asked`` while it is under way."""
    state = session.get(PortalState, CHECK)
    if state is None:
        return None
    found: dict[str, Any] = json.loads(state.value or "{}")
    return {**found, **{key: datetime.fromisoformat(found[key]) for key in ("at", "asked") if key in found}}


_INSERT = insert(AuditEvent.__table__)  # type: ignore[arg-type]
_HEADS = AuditHead.__table__
_HEAD = select(_HEADS.c.seq, _HEADS.c.digest).where(_HEADS.c.chain == bindparam("of_chain")).with_for_update()
_ADVANCE = (
    update(_HEADS)  # type: ignore[arg-type]
    .where(_HEADS.c.chain == bindparam("of_chain"))
    .values(seq=bindparam("to_seq"), digest=bindparam("to_digest"))
)


def _locked_head(session: Session, chain: str) -> tuple[int, str]:
    found = session.execute(_HEAD, {"of_chain": chain}).one_or_none()
    if found is None:
        try:
            with session.begin_nested():
                session.execute(insert(_HEADS), {"chain": chain, "seq": 0, "digest": GENESIS})  # type: ignore[arg-type]
        except IntegrityError:  # another process began the chain first
            pass
        found = session.execute(_HEAD, {"of_chain": chain}).one()
    return found.seq, found.digest


def _detail_digest(detail: dict[str, Any] | None) -> str | None:
    return None if detail is None else _sha256(detail)


@dataclass(frozen=True)
class TrailKey:
    """What links are made with from the event of id ``since`` on; ``anchor`` vouches for those before."""

    secret: bytes
    since: int
    anchor: str

    def mac(self, content: bytes) -> bytes:
        """HMAC-SHA-256."""
        return hmac.digest(self.secret, content, "sha256")


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
        heads = session.execute(select(_HEADS.c.chain, _HEADS.c.seq, _HEADS.c.digest).where(_HEADS.c.seq > 0)).all()
        anchor = _anchor(TrailKey(secret, since, ""), [tuple(head) for head in heads])
        told = {"secret": secret.hex(), "since": since, "anchor": anchor}
        session.add(PortalState(name=KEY, sealed=vault.seal(json.dumps(told).encode())))
    elif state is None:
        log.error("audit.key_missing")
    if not mark.exists():
        mark.write_text("The audit trail of this portal has a key.\n", "ascii")


def _anchor(key: TrailKey, heads: Iterable[tuple[str, int, str]]) -> str:
    """One value for the ends of all chains, in whatever order they come."""
    together = 0
    for chain, seq, digest in heads:
        together ^= int.from_bytes(key.mac(_bytes([chain, seq, digest])), "big")
    return f"{together:064x}"


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


def _key(session: Session) -> TrailKey | None:
    give = session.info.get(TRAIL_KEY)
    return give() if give is not None else None


def _digest(
    key: TrailKey | None,
    *,
    chain: str,
    seq: int,
    at: datetime,
    kind: str,
    reason: str | None,
    actor: str,
    detail_digest: str | None,
    previous: str,
) -> str:
    fields = _bytes([chain, seq, at.isoformat(), kind, reason, actor, detail_digest, previous])
    return key.mac(fields).hex() if key else hashlib.sha256(fields).hexdigest()


def _digest_of(event: AuditEvent, key: TrailKey | None) -> str:
    return _digest(
        key if key is not None and event.id >= key.since else None,
        chain=event.chain,
        seq=event.seq,
        at=event.at,
        kind=event.kind,
        reason=event.reason,
        actor=event.actor,
        detail_digest=event.detail_digest,
        previous=event.previous,
    )


def _sha256(value: Any) -> str:
    return hashlib.sha256(_bytes(value)).hexdigest()


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode()
