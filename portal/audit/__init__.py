"""The audit trail: append-only, one hash chain per request, one for settings, one for people.

A link is ``HMAC-SHA-256(key, previous link, fields)``: whoever can write to the database, but has no secret key of the
portal, cannot write links. Those from before there was a key are plain SHA-256. What may have to be erased about a
person sits in ``detail``; the chain covers only its salted digest, so erasing keeps the chain valid. The timeline that
helpdesk reads is this trail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Text, cast, or_, select, update
from sqlalchemy.orm import Session

from portal.audit.checking import ask_for_check, broken_links, check_if_asked, last_check
from portal.audit.links import SETTINGS, key_of, make_key
from portal.audit.writing import Editor, actor_of, locked, pending, record
from portal.events import request_chain
from portal.models import AuditEvent

__all__ = [
    "SETTINGS",
    "Editor",
    "Search",
    "actor_of",
    "ask_for_check",
    "broken_links",
    "check_if_asked",
    "erase_details",
    "erase_details_of",
    "key_of",
    "last_check",
    "locked",
    "make_key",
    "newest",
    "pending",
    "record",
    "request_chain",
    "search",
    "timeline",
]


def timeline(session: Session, request_id: str) -> list[AuditEvent]:
    """All events of a request, oldest first."""
    query = select(AuditEvent).where(AuditEvent.chain == request_chain(request_id)).order_by(AuditEvent.seq)
    return list(session.scalars(query))


def newest(session: Session, chain: str) -> AuditEvent | None:
    """The last event of ``chain``."""
    return next(iter(newest_of(session, chain, 1)), None)


def newest_of(session: Session, chain: str, most: int) -> Sequence[AuditEvent]:
    """The last events of ``chain``, the newest first."""
    query = select(AuditEvent).where(AuditEvent.chain == chain).order_by(AuditEvent.seq.desc()).limit(most)
    return session.scalars(query).all()


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
    """What of the trail is wanted; what is empty does not narrow it. ``kinds``: how they begin, like ``device.``."""

    kinds: tuple[str, ...] = ()
    chain: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None


def search(session: Session, wanted: Search, before: int | None = None, limit: int = 100) -> list[AuditEvent]:
    """Events of every chain, newest first; ``before`` is the id of the last one that was seen."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    if wanted.kinds:
        query = query.where(or_(*(AuditEvent.kind.startswith(each, autoescape=True) for each in wanted.kinds)))
    if wanted.chain:
        query = query.where(AuditEvent.chain == wanted.chain)
    if wanted.actor:
        query = query.where(AuditEvent.actor == wanted.actor)
    if wanted.since is not None:
        query = query.where(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEvent.at < wanted.until)
    return list(session.scalars(query))
