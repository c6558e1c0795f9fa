"""The audit trail: append-only, one hash chain per request and one for settings.

A link is ``SHA-256(previous link, fields)``. What may have to be erased about a person sits in ``detail``; the
chain covers only its salted digest, so erasing keeps the chain valid. The timeline that helpdesk reads is this trail.
"""

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.models import AuditEvent, AuditHead

GENESIS = "0" * 64
SETTINGS = "settings"

log = logging.getLogger("portal.audit")


def request_chain(request_id: str) -> str:
    """The name of a request's chain."""
    return f"request:{request_id}"


def record(
    session: Session,
    chain: str,
    kind: str,
    at: datetime,
    *,
    reason: str | None = None,
    actor: str = "system",
    detail: dict[str, Any] | None = None,
) -> None:
    """Append one event to ``chain`` and log it. ``kind`` and ``reason`` are codes, ``detail`` small and erasable."""
    seq, previous = _locked_head(session, chain)
    if detail is not None:
        detail = {**detail, "salt": secrets.token_hex(8)}
    values: dict[str, Any] = {
        "chain": chain,
        "seq": seq + 1,
        "at": at,
        "kind": kind,
        "reason": reason,
        "actor": actor,
        "detail_digest": _detail_digest(detail),
        "previous": previous,
    }
    values["digest"] = _digest(**values)
    # Plain statements: the trail is written at every step and never changed through objects.
    session.execute(_INSERT, {**values, "detail": detail})
    session.execute(_ADVANCE, {"of_chain": chain, "to_seq": seq + 1, "to_digest": values["digest"]})
    log.info("%s chain=%s reason=%s actor=%s", kind, chain, reason, actor)


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
    for event in session.scalars(select(AuditEvent).where(AuditEvent.chain == chain)):
        if event.detail and event.detail.get("person") == person_id:
            event.detail = None


def broken_links(session: Session) -> Iterator[tuple[str, int, str]]:
    """The first broken link of each chain that has one, as (chain, seq, what is wrong)."""
    heads = {head.chain: head for head in session.scalars(select(AuditHead))}
    names = set(heads) | set(session.scalars(select(AuditEvent.chain).distinct()))
    for chain in sorted(names):
        problem = _first_problem(session, chain, heads.get(chain))
        if problem:
            yield (chain, *problem)


def _first_problem(session: Session, chain: str, head: AuditHead | None) -> tuple[int, str] | None:
    seq, previous = 0, GENESIS
    query = select(AuditEvent).where(AuditEvent.chain == chain).order_by(AuditEvent.seq)
    for event in session.scalars(query):
        seq += 1
        if event.seq != seq:
            return seq, "an event is missing"
        if event.previous != previous or event.digest != _digest_of(event):
            return seq, "the event was changed"
        if event.detail is not None and event.detail_digest != _detail_digest(event.detail):
            return seq, "the event's detail was changed"
        previous = event.digest
    if head is None or head.seq != seq or head.digest != previous:
        return seq + 1, "events at the end are missing"
    return None


_INSERT = insert(AuditEvent.__table__)  # type: ignore[arg-type]
_HEADS = AuditHead.__table__
_ADVANCE = (
    update(_HEADS)  # type: ignore[arg-type]
    .where(_HEADS.c.chain == bindparam("of_chain"))
    .values(seq=bindparam("to_seq"), digest=bindparam("to_digest"))
)


def _locked_head(session: Session, chain: str) -> tuple[int, str]:
    query = select(_HEADS.c.seq, _HEADS.c.digest).where(_HEADS.c.chain == chain).with_for_update()
    found = session.execute(query).one_or_none()
    if found is None:
        try:
            with session.begin_nested():
                session.execute(insert(_HEADS), {"chain": chain, "seq": 0, "digest": GENESIS})  # type: ignore[arg-type]
        except IntegrityError:  # another process began the chain first
            pass
        found = session.execute(query).one()
    return found.seq, found.digest


def _detail_digest(detail: dict[str, Any] | None) -> str | None:
    return None if detail is None else _sha256(detail)


def _digest(
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
    return _sha256([chain, seq, at.isoformat(), kind, reason, actor, detail_digest, previous])


def _digest_of(event: AuditEvent) -> str:
    return _digest(
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
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
