"""What is personal, found by walking the tables: marked where a column is declared, so that nothing is forgotten.

A column with ``personal(becomes)`` is emptied; of a table with ``BELONGS`` every row goes. Whose a row is, its
``person_id``, ``request_id``, ``device_id`` or ``profile_id`` says.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, delete, or_, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.models import Base, Device, EnrollmentRequest, IssuedProfile, Person
from portal.models.base import BELONGS, PERSONAL

_TABLES: tuple[Table, ...] = tuple(Base.metadata.sorted_tables)


_OF_PEOPLE_ALONE = ("visits",)
"""They name a request or a profile, too, but are about who signed in."""


class Ownerless(Exception):
    """A table has something personal, but nothing that says whose it is."""


def marked() -> Iterator[tuple[Table, dict[str, object]]]:
    """Every table with something personal, and what its columns become; nothing for those whose rows go."""
    for table in _TABLES:
        columns = {column.name: column.info[PERSONAL] for column in table.columns if PERSONAL in column.info}
        if columns or table.info.get(BELONGS):
            yield table, columns


def of_requests(session: Session, wanted: Select[Any]) -> None:
    """Forget what is personal about requests, their devices, profiles and mail; times and kinds of events stay."""
    ids = list(session.scalars(wanted))
    for request_id in ids:
        audit.erase_details(session, audit.request_chain(request_id))
    if ids:
        _walk(session, None, select(EnrollmentRequest.id).where(EnrollmentRequest.id.in_(ids)))


def of_person(session: Session, person_id: str) -> None:
    """Forget everything personal about somebody and their requests."""
    mine = select(EnrollmentRequest.id).where(EnrollmentRequest.person_id == person_id)
    for request_id in session.scalars(mine):
        audit.erase_details(session, audit.request_chain(request_id))
    _walk(session, person_id, mine)


def _walk(session: Session, person_id: str | None, requests: Select[Any]) -> None:
    session.flush()
    for table, columns in marked():
        of_theirs = whose(table, person_id, requests)
        if of_theirs is None:
            continue
        if table.info.get(BELONGS):
            session.execute(delete(table).where(of_theirs))
        else:
            session.execute(update(table).where(of_theirs).values(columns))
    session.expire_all()


def whose(table: Table, person_id: str | None, requests: Select[Any]) -> ColumnElement[bool] | None:
    """The rows of ``table`` that belong to the person or to the requests; None if it has none of requests alone.

    Raises Ownerless.
    """
    devices = select(Device.id).where(Device.request_id.in_(requests))
    profiles = select(IssuedProfile.id).where(IssuedProfile.request_id.in_(requests))
    found: list[ColumnElement[bool]] = []
    if table is Person.__table__:
        found = [table.c.id == person_id]
    elif table is EnrollmentRequest.__table__:
        return table.c.id.in_(requests)
    elif "person_id" in table.c:
        found = [table.c.person_id == person_id]
    if person_id is None:
        found = []
    owners = (("request_id", requests), ("device_id", devices), ("profile_id", profiles))
    through = next((table.c[name].in_(owned) for name, owned in owners if name in table.c), None)
    by_a_person = table is Person.__table__ or "person_id" in table.c
    if through is None and not by_a_person:
        raise Ownerless(table.name)
    found += [through] if through is not None and table.name not in _OF_PEOPLE_ALONE else []
    return or_(*found) if found else None
