"""Noticing that an account was closed in the directory, or is in other groups, although nobody signs in here with it.

Only what the directory says outright counts (the account is disabled, or has expired), and only of their own account,
by its stable key. Somebody who is not found may just have another username now: that alone never costs anybody their
work data.
"""

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from portal.credentials import syncing
from portal.credentials.base import DIRECTORY, AccountStatus, SourceUnavailable
from portal.database import Database
from portal.events import Actor
from portal.lifecycle import closing
from portal.models import Device, EnrollmentRequest, Person
from portal.people import LastAdmin, audiences
from portal.storage import brake
from portal.storage.cases import Cases, Services

if TYPE_CHECKING:
    from portal.credentials.directory import Directory

LOOK_EVERY = timedelta(hours=1)
BATCH_SIZE = 200
CLOSED = ("disabled", "expired")
OF_ONE_ENTRY = ("search", "mapping")
"""Reasons for which a directory tells nothing of one person, and perhaps of everybody else."""

log = logging.getLogger("portal.leavers")


def check_accounts(database: Database, services: Services, directory: "Directory", now: datetime) -> int:
    """Ask about everybody with a managed device whom nobody asked about for an hour; how many were disabled.

    While the directory is out of reach nothing happens, nor while too many removals are held: perhaps it is misread.
    """
    with database.session() as session:
        if brake.held(session) is not None:
            log.warning("leavers.wait reason=removals_held")
            return 0
    count = 0
    for person_id, username in _due(database, now):
        try:
            status = directory.account_status(username)
        except SourceUnavailable as unavailable:
            if unavailable.reason not in OF_ONE_ENTRY:
                log.warning("leavers.wait reason=%s", unavailable.reason)
                break
            status = AccountStatus(unavailable.reason)
            log.warning("leavers.not_told person=%s reason=%s", person_id, unavailable.reason)
        except Exception:  # whatever it said of one, the others are asked about all the same
            log.exception("leavers.not_told person=%s", person_id)
            status = AccountStatus("unexpected")
        with database.transaction() as session:
            person = session.get_one(Person, person_id)
            person.synced_at = now
            if person.subject not in (None, syncing.key_of(status.subject)):
                continue  # somebody else's account, who has the username now that this person had
            if status.groups is not None:
                _follow_groups(session, services, person, status.groups, now)
            if status.problem in CLOSED and person.disabled_at is None:
                try:
                    closing.disable(Cases(session, services, now), person, Actor.DIRECTORY)
                    count += 1
                except LastAdmin:
                    log.warning("leavers.last_admin person=%s", person_id)
    return count


def _follow_groups(session: Session, services: Services, person: Person, groups: frozenset[str], now: datetime) -> None:
    """Somebody who came into a group gets its policies without signing in here, and who left it loses them."""
    told = services.settings.knows_groups
    if told and audiences.set_groups(session, person.id, DIRECTORY, groups):
        audiences.mark(session, person.id, now)


def _due(database: Database, now: datetime) -> list[tuple[str, str]]:
    managed = (
        select(Device.id)
        .join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        .where(EnrollmentRequest.person_id == Person.id, Device.is_managed)
        .exists()
    )
    query = (
        select(Person.id, Person.username)
        .where(Person.source == DIRECTORY, Person.disabled_at.is_(None), managed)
        .where(or_(Person.synced_at.is_(None), Person.synced_at < now - LOOK_EVERY))
        .order_by(Person.synced_at)
        .limit(BATCH_SIZE)
    )
    with database.session() as session:
        return [(row[0], row[1]) for row in session.execute(query)]
