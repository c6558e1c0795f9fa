"""Whether every chain is whole, and asking the worker to look."""

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit.links import SETTINGS, TrailKey, detail_digest, digest_of, heads, key_for
from portal.database import Database
from portal.models import AuditEvent, PortalState
from portal.models.operations import GENESIS

CHECK = "audit_check"
"""Where the last check of all chains is kept."""
MOST_BROKEN = 20


def broken_links(database: Database) -> list[tuple[str, int, str]]:
    """The first broken link of each chain that has one, as (chain, seq, what is wrong); all as of one moment."""
    with database.snapshot() as session:
        return list(_broken_links(session))


def _broken_links(session: Session) -> Iterator[tuple[str, int, str]]:
    key = key_for(session)
    if key is None:
        yield SETTINGS, 0, "the key of the trail is missing"
    before: list[tuple[str, int, str]] = []
    ends = heads(session)
    query = select(AuditEvent).order_by(AuditEvent.chain, AuditEvent.seq).execution_options(yield_per=1000)
    for chain, events in groupby(session.scalars(query), key=attrgetter("chain")):
        problem = _first_problem(events, ends.pop(chain, None), key, before)
        if problem:
            yield (chain, *problem)
    for chain, (seq, _) in ends.items():
        if seq:
            yield chain, 1, "events at the end are missing"
    if key is not None and key.vouch(before) != key.anchor:
        yield SETTINGS, 0, "events from before there was a key were changed"


def _first_problem(
    events: Iterator[AuditEvent],
    head: tuple[int, str] | None,
    key: TrailKey | None,
    before: list[tuple[str, int, str]],
) -> tuple[int, str] | None:
    """What is wrong with a chain; its last link from before there was a key goes to ``before``."""
    seq, previous = 0, GENESIS
    last: AuditEvent | None = None
    for event in events:
        seq += 1
        if event.seq != seq:
            return seq, "an event is missing"
        if event.previous != previous or event.digest != digest_of(event, key):
            return seq, "the event was changed"
        if event.detail is not None and event.detail_digest != detail_digest(event.detail):
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


def check_if_asked(database: Database, now: datetime) -> None:
    """Check every chain if somebody asked for it; the worker's part. Nobody waits for it."""
    with database.session() as session:
        last = last_check(session)
    if last is None or "asked" not in last:
        return
    broken = broken_links(database)[:MOST_BROKEN]
    with database.transaction() as session:
        session.get_one(PortalState, CHECK).value = json.dumps({"at": now.isoformat(), "broken": broken})


def last_check(session: Session) -> dict[str, Any] | None:
    """How the last check went: ``at`` and ``broken`` links (chain, seq, what), or ``asked`` while it is under way."""
    state = session.get(PortalState, CHECK)
    if state is None:
        return None
    found: dict[str, Any] = json.loads(state.value or "{}")
    return {**found, **{key: datetime.fromisoformat(found[key]) for key in ("at", "asked") if key in found}}
