"""Appending to the chains: what happened in a transaction is written in one piece at its end.

Whoever reads the trail within the same transaction finds what was recorded before: it is written first then. The head
of a request's chain stands on the request's own row, which whoever decides on a request has locked already.
"""

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ClauseElement, Table, bindparam, event, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql import visitors

from portal.audit.links import SETTINGS, detail_digest, digest, key_for
from portal.events import REQUEST, Event, Happened
from portal.models import AuditEvent, AuditHead, EnrollmentRequest, Person
from portal.models.operations import GENESIS
from portal.vault import Vault

PENDING = "audit_pending"
"""Key in ``Session.info``: what was recorded and is not written yet."""
BEFORE = "audit_before"
"""Key in ``Session.info``: what was not written when a savepoint was set, by its transaction."""
LOCKED = "audit_locked"
"""Key in ``Session.info``: the requests that this transaction has locked and read since, by id."""

log = logging.getLogger("portal.audit")


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
    """Append ``event`` to ``chain``. ``reason`` is a code, ``detail`` small and erasable.

    ``actor``: who did it, if it is not who always does.
    """
    pending(session).append(Happened(chain, event, at, reason, str(actor or event.actor), detail))


@dataclass(frozen=True)
class Editor:
    """Who changes what the company has (people, settings, policies, ...), when, in which transaction.

    ``vault``: what seals what is kept of it.
    """

    session: Session
    vault: Vault
    actor: str
    now: datetime

    def record(self, event: Event, reason: str | None = None, **detail: Any) -> None:
        """Append what was changed to the company's chain."""
        record(self.session, SETTINGS, event, self.now, reason=reason, actor=self.actor, detail=detail or None)


def actor_of(person: Person) -> str:
    """How the trail names a person who acts: role and id, never a name."""
    return f"{person.role}:{person.id}"


def pending(session: Session) -> list[Happened]:
    """What was recorded in this transaction and is not written yet; whoever adds to it has recorded it."""
    found: list[Happened] = session.info.setdefault(PENDING, [])
    return found


def locked(session: Session, request: EnrollmentRequest) -> None:
    """Say that ``request`` was locked and read just now: the head of its chain on it is the newest."""
    session.info.setdefault(LOCKED, {})[request.id] = request


def write(session: Session) -> None:
    """Append what was recorded. Chains of requests first, as their rows are locked before all else."""
    waiting = pending(session)
    if not waiting:
        return
    happened = waiting[:]
    waiting.clear()
    rows: dict[int, dict[str, Any]] = {}  # by when it happened
    for chain in sorted({each.chain for each in happened}, key=lambda name: (not name.startswith(REQUEST), name)):
        of_chain = [(number, each) for number, each in enumerate(happened) if each.chain == chain]
        links = _append(session, chain, [each for _, each in of_chain])
        rows |= {number: link for (number, _), link in zip(of_chain, links, strict=True)}
    session.execute(_INSERT, [rows[number] for number in sorted(rows)])


def _append(session: Session, chain: str, happened: Iterable[Happened]) -> list[dict[str, Any]]:
    """Move the head of ``chain`` on; the links that lead there."""
    head = _request_head(session, chain) or _other_head(session, chain)
    key, seq, previous, rows = key_for(session), head.seq, head.digest, []
    for each in happened:
        detail = None if each.detail is None else {**each.detail, "salt": secrets.token_hex(8)}
        seq += 1
        row: dict[str, Any] = {
            "chain": chain,
            "seq": seq,
            "at": each.at,
            "kind": each.event.value,
            "reason": each.reason,
            "actor": each.actor,
            "detail_digest": detail_digest(detail),
            "previous": previous,
        }
        previous = row["digest"] = digest(key, row)
        rows.append({**row, "detail": detail})
        log.info("%s chain=%s reason=%s actor=%s", each.event, chain, each.reason, each.actor)
    head.move(seq, previous)
    return rows


@dataclass
class _Head:
    """The newest link of a chain, locked."""

    session: Session
    chain: str
    seq: int
    digest: str

    def move(self, seq: int, digest: str) -> None:
        """Append."""
        self.session.execute(_ADVANCE, {"of_chain": self.chain, "to_seq": seq, "to_digest": digest})


@dataclass
class _RequestHead(_Head):
    """The same for a request's chain; ``request``: its row, if the session has it."""

    request: EnrollmentRequest | None = None
    held: bool = False

    def move(self, seq: int, digest: str) -> None:
        """Append; with the request's other changes, if it was locked to make them."""
        if self.request is not None and self.held:
            self.request.audit_seq, self.request.audit_digest = seq, digest
            return
        request_id = self.chain.removeprefix(REQUEST)
        self.session.execute(_ADVANCE_REQUEST, {"of_id": request_id, "to_seq": seq, "to_digest": digest})
        if self.request is not None:
            set_committed_value(self.request, "audit_seq", seq)
            set_committed_value(self.request, "audit_digest", digest)


def _request_head(session: Session, chain: str) -> _RequestHead | None:
    if not chain.startswith(REQUEST):
        return None
    request_id = chain.removeprefix(REQUEST)
    held: EnrollmentRequest | None = session.info.get(LOCKED, {}).get(request_id)
    if held is not None:
        return _RequestHead(session, chain, held.audit_seq, held.audit_digest, held, held=True)
    found = session.execute(_REQUEST_HEAD, {"of_id": request_id}).one_or_none()
    if found is None:  # a request made just now
        session.flush()
        found = session.execute(_REQUEST_HEAD, {"of_id": request_id}).one_or_none()
    known = session.identity_map.get(session.identity_key(EnrollmentRequest, request_id))
    return _RequestHead(session, chain, found.audit_seq, found.audit_digest, known) if found else None


def _other_head(session: Session, chain: str) -> _Head:
    found = session.execute(_HEAD, {"of_chain": chain}).one_or_none()
    if found is None:
        try:
            with session.begin_nested():
                session.execute(insert(_HEADS), {"chain": chain, "seq": 0, "digest": GENESIS})
        except IntegrityError:  # another process began the chain first
            pass
        found = session.execute(_HEAD, {"of_chain": chain}).one()
    return _Head(session, chain, found.seq, found.digest)


def _table(model: type) -> Table:
    table = model.__table__  # type: ignore[attr-defined]
    assert isinstance(table, Table)
    return table


_EVENTS, _HEADS, _REQUESTS = _table(AuditEvent), _table(AuditHead), _table(EnrollmentRequest)
# Plain statements, built once: the trail is written at every step and never changed through objects.
_INSERT = insert(_EVENTS)
_HEAD = select(_HEADS.c.seq, _HEADS.c.digest).where(_HEADS.c.chain == bindparam("of_chain")).with_for_update()
_ADVANCE = (
    update(_HEADS)
    .where(_HEADS.c.chain == bindparam("of_chain"))
    .values(seq=bindparam("to_seq"), digest=bindparam("to_digest"))
)
_REQUEST_HEAD = (
    select(_REQUESTS.c.audit_seq, _REQUESTS.c.audit_digest)
    .where(_REQUESTS.c.id == bindparam("of_id"))
    .with_for_update()
)
_ADVANCE_REQUEST = (
    update(_REQUESTS)
    .where(_REQUESTS.c.id == bindparam("of_id"))
    .values(audit_seq=bindparam("to_seq"), audit_digest=bindparam("to_digest"))
)


@event.listens_for(Session, "before_commit")
def _write_with_the_rest(session: Session) -> None:
    write(session)


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    pending(session).clear()
    if not session.in_nested_transaction():
        session.info.pop(LOCKED, None)


@event.listens_for(Session, "after_rollback")
def _rolled_back(session: Session) -> None:
    pending(session)[:] = session.info.get(BEFORE, {}).get(session.get_nested_transaction(), ())
    session.info.pop(LOCKED, None)


@event.listens_for(Session, "after_transaction_create")
def _keep_for_a_rollback(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        session.info.setdefault(BEFORE, {})[transaction] = pending(session)[:]


@event.listens_for(Session, "after_transaction_end")
def _savepoint_is_gone(session: Session, transaction: SessionTransaction) -> None:
    session.info.get(BEFORE, {}).pop(transaction, None)


@event.listens_for(Session, "do_orm_execute")
def _write_before_it_is_read(state: ORMExecuteState) -> None:
    if state.session.info.get(PENDING) and _reads_events(state):
        write(state.session)


def _reads_events(state: ORMExecuteState) -> bool:
    parts = visitors.iterate(cast(ClauseElement, state.statement))
    tables = (part.name for part in parts if isinstance(part, Table))
    return AuditEvent.__mapper__ in state.all_mappers or _EVENTS.name in tables
