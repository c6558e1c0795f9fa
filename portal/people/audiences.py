"""Who gets what an admin gives to people: everybody, groups, persons, with exceptions; and the groups themselves.

Each kind of thing that is given has a table of such lines (``AudienceLine``); what a line means is said here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from portal.audit import Editor
from portal.events import Event
from portal.models import (
    App,
    AppAudience,
    DeclarativeState,
    Device,
    EnrollmentRequest,
    Membership,
    Policy,
    PolicyAudience,
)
from portal.models.audiences import AudienceLine

IN, OUT = "in", "out"
"""Sides that everything has: who gets it, and who does not after all."""
EVERYBODY, GROUP, PERSON = "everybody", "group", "person"
LONGEST_GROUP = 255
MOST_TOLD = 500
"""Names in one entry of the trail, each way."""
LIST = "list"
"""The source of groups that admins keep."""
Table = type[AudienceLine]
GIVEN: tuple[tuple[Table, type[Policy] | type[App]], ...] = ((PolicyAudience, Policy), (AppAudience, App))
"""What is given to people: its lines, and what they are lines of."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an audience; see AudienceLine."""

    side: str
    kind: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.value}".strip()


# --- the lines -----------------------------------------------------------------------------------------------------


def of_all(session: Session, table: Table) -> dict[str, list[Line]]:
    """The lines of everything of one kind, by what they are lines of."""
    found: dict[str, list[Line]] = {}
    for each in session.scalars(select(table).order_by(table.side, table.kind, table.value)):
        found.setdefault(each.owner_id, []).append(_line(each))
    return found


def of(session: Session, table: Table, owner_id: str) -> list[Line]:
    """The lines of one thing."""
    query = select(table).where(table.owner_id == owner_id).order_by(table.side, table.kind, table.value)
    return [_line(each) for each in session.scalars(query)]


def save(session: Session, table: Table, owner_id: str, lines: Iterable[Line]) -> dict[str, list[str]] | None:
    """Let it have exactly these lines. What that added and removed, for the trail; None if it had them already."""
    wanted, before = set(lines), set(of(session, table, owner_id))
    if wanted == before:
        return None
    session.execute(delete(table).where(table.owner_id == owner_id))
    if wanted:
        rows = [{"owner_id": owner_id, "side": e.side, "kind": e.kind, "value": e.value} for e in wanted]
        session.execute(insert(table), rows)
    return {"added": sorted(map(str, wanted - before)), "removed": sorted(map(str, before - wanted))}


def _line(row: AudienceLine) -> Line:
    return Line(row.side, row.kind, row.value)


# --- whom they speak of ----------------------------------------------------------------------------------------------


def speaks_of_person(table: Table) -> ColumnElement[bool]:
    """Whether a line speaks of the person whose id is bound as ``person``."""
    theirs = select(Membership.name).where(Membership.person_id == bindparam("person")).scalar_subquery()
    return or_(
        table.kind == EVERYBODY,
        and_(table.kind == PERSON, table.value == bindparam("person")),
        and_(table.kind == GROUP, table.value.in_(theirs)),
    )


def matched(session: Session, table: Table, person_id: str) -> dict[str, list[Line]]:
    """By thing: its lines that speak of somebody, also those that take it from them again."""
    found: dict[str, list[Line]] = {}
    for each in session.scalars(select(table).where(speaks_of_person(table)), {"person": person_id}):
        found.setdefault(each.owner_id, []).append(_line(each))
    return found


class Sides:
    """On which sides each of some people stand; two statements, however many they are."""

    def __init__(self, session: Session, table: Table, owners: Sequence[str], people: set[str]) -> None:
        lines = select(table).where(table.owner_id.in_(owners), or_(table.kind != PERSON, table.value.in_(people)))
        self._sides: dict[str, dict[str, set[str]]] = {}
        for line in session.scalars(lines):
            key = EVERYBODY if line.kind == EVERYBODY else f"{line.kind}:{line.value}"
            self._sides.setdefault(line.owner_id, {}).setdefault(key, set()).add(line.side)
        self._groups: dict[str, set[str]] = {}
        members = select(Membership.person_id, Membership.name).where(Membership.person_id.in_(people))
        for person_id, name in session.execute(members):
            self._groups.setdefault(person_id, set()).add(name)

    def of(self, owner_id: str, person_id: str) -> set[str]:
        """Where somebody stands with one thing."""
        known = self._sides.get(owner_id, {})
        keys = [EVERYBODY, f"{PERSON}:{person_id}", *(f"{GROUP}:{name}" for name in self._groups.get(person_id, ()))]
        return set().union(*(known.get(key, ()) for key in keys))


# --- groups ----------------------------------------------------------------------------------------------------------


def set_groups(session: Session, person_id: str, source: str, names: Iterable[str] | None) -> bool:
    """Somebody is in exactly these groups of a source, and in none of a source that they were of before; whether that
    is new. ``names`` None: the source did not tell. Those that are too long, or cannot be shown, are left out."""
    theirs = (Membership.person_id == person_id, Membership.source != LIST)
    before = set(session.scalars(select(Membership.name).where(*theirs)))
    if names is None:
        wanted = {full for full in before if full.startswith(f"{source}:")}
    else:
        wanted = {full for name in names if len(full := f"{source}:{name}") <= LONGEST_GROUP and full.isprintable()}
    if wanted == before:
        return False
    session.execute(delete(Membership).where(*theirs, Membership.name.in_(before - wanted)))
    if wanted - before:
        rows = [{"person_id": person_id, "source": source, "name": name} for name in sorted(wanted - before)]
        session.execute(insert(Membership), rows)
    return True


def set_list(editor: Editor, name: str, people: set[str]) -> None:
    """These people, and nobody else, are on a list; an empty one is gone."""
    session, now = editor.session, editor.now
    full = f"{LIST}:{name}"
    before = set(session.scalars(select(Membership.person_id).where(Membership.name == full)))
    if before == people:
        return
    session.execute(delete(Membership).where(Membership.name == full, Membership.person_id.in_(before - people)))
    if people - before:
        rows = [{"person_id": each, "source": LIST, "name": full} for each in sorted(people - before)]
        session.execute(insert(Membership), rows)
    for table, given in GIVEN:
        of_it = select(table.owner_id).where(table.kind == GROUP, table.value == full)
        session.execute(update(given).where(given.id.in_(of_it)).values(changed_at=now))
    came, went = sorted(people - before), sorted(before - people)
    who = {"in": came[:MOST_TOLD], "out": went[:MOST_TOLD]}
    editor.record(Event.LIST_SAVED, list=name, added=len(came), removed=len(went), who=who)


def groups(session: Session) -> list[tuple[str, int]]:
    """Every group that somebody is in, and how many are."""
    query = select(Membership.name, func.count()).group_by(Membership.name).order_by(Membership.name)
    return [(row[0], row[1]) for row in session.execute(query)]


def count_groups(session: Session) -> int:
    """How many groups are known."""
    return session.scalar(select(func.count(Membership.name.distinct()))) or 0


# --- devices that are looked at --------------------------------------------------------------------------------------


def mark(session: Session, person_id: str, now: datetime) -> None:
    """What somebody gets may be another now: the worker looks at their devices."""
    theirs = select(Device.id).join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
    theirs = theirs.where(EnrollmentRequest.person_id == person_id, Device.is_managed_here)
    mark_devices(session, session.scalars(theirs).all(), now)


def mark_devices(session: Session, ids: Sequence[str], now: datetime) -> None:
    """The worker looks at these devices; locked in the order in which whoever tells them locks them."""
    if not ids:
        return
    query = select(DeclarativeState.device_id).where(DeclarativeState.device_id.in_(ids))
    in_order = query.join(Device, Device.id == DeclarativeState.device_id).order_by(Device.request_id)
    known = set(session.scalars(in_order.with_for_update(of=DeclarativeState)))
    session.execute(update(DeclarativeState).where(DeclarativeState.device_id.in_(known)).values(due_at=now))
    missing = [{"device_id": each, "known": {}, "profiles": {}, "due_at": now} for each in ids if each not in known]
    if missing:
        session.execute(insert(DeclarativeState), missing)
