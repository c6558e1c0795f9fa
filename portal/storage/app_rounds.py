"""The worker's part of work apps: whose devices are to have others than they were told is found for all at once.

Finding it reads managed devices in pages and marks those that changed; each is then told in its own case. Who dies in
between goes on where it stopped.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.orm import Session

from portal.apps import delivering
from portal.database import Database, lock_name
from portal.enrollment.case import Case
from portal.models import (
    App,
    AppAudience,
    AppChoice,
    Device,
    DeviceApp,
    EnrollmentRequest,
    LicenseSeat,
    PortalState,
)
from portal.people import audiences
from portal.people.audiences import Sides
from portal.settings import Settings
from portal.storage import apps
from portal.storage.cases import FAILED_RESTS, Cases, Services
from portal.storage.policy_rounds import APPS_PLANNED

PLANNED = APPS_PLANNED
"""Where it is kept for which apps all devices were compared last."""
PAGE = 1000
BATCH_SIZE = 100
MOST_TOLD = 1000


def is_open(session: Session, settings: Settings) -> bool:
    """Whether there is anything to do: the room is open, or what it gave is still to be taken back."""
    if settings.apps.enabled:
        return True
    if session.get(PortalState, PLANNED) is None:
        return False
    left = select(DeviceApp.app_id).join(Device, Device.id == DeviceApp.device_id).where(Device.ended_at.is_(None))
    return session.scalar(left.limit(1)) is not None or session.scalar(select(LicenseSeat.user_id).limit(1)) is not None


def mark_devices(database: Database, settings: Settings, now: datetime) -> int:
    """Mark every device that is to have other apps than it was told of; how many were. Nothing if nothing changed."""
    with database.session() as session:
        wanted, state = _fingerprint(session, settings), session.get(PortalState, PLANNED)
        if state is not None and state.value == wanted:
            return 0
    count, after = 0, ""
    while True:
        with database.transaction() as session:
            rows = _page(session, after)
            if not rows:
                break
            after = rows[-1].id
            changed = list(_changed(session, settings, rows))
            audiences.mark_devices(session, changed, now)
            count += len(changed)
    with database.transaction() as session:
        lock_name(session, PLANNED)
        kept = session.get(PortalState, PLANNED) or PortalState(name=PLANNED)
        kept.value = wanted
        session.add(kept)
    return count


def go_on(database: Database, services: Services, now: datetime) -> int:
    """Go on with the apps that are due on some device; how many devices there were."""
    told = 0
    while told < MOST_TOLD:
        with database.transaction() as session:
            query = select(DeviceApp.device_id).join(Device, Device.id == DeviceApp.device_id)
            query = query.where(DeviceApp.next_at <= now, Device.is_served).distinct().limit(BATCH_SIZE)
            cases = Cases(session, services, now)
            found = cases.each(cases.of_devices(query), delivering.settle, put_off=partial(_put_off, session, now))
        told += len(found)
        if len(found) < BATCH_SIZE:
            break
    return told


def _put_off(session: Session, now: datetime, case: Case) -> None:
    due = (DeviceApp.device_id == case.known_device.id, DeviceApp.next_at <= now)
    session.execute(update(DeviceApp).where(*due).values(next_at=now + FAILED_RESTS))


def next_due(session: Session) -> datetime | None:
    """When the next of them is due."""
    due = select(func.min(DeviceApp.next_at)).join(Device, Device.id == DeviceApp.device_id)
    return session.scalar(due.where(Device.is_served))


def _fingerprint(session: Session, settings: Settings) -> str:
    rows = session.execute(select(App.id, App.changed_at).order_by(App.id)).all() if settings.apps.enabled else []
    told = [settings.apps.enabled, [[row[0], row[1].isoformat()] for row in rows]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _page(session: Session, after: str) -> Sequence[Row[Any]]:
    query = (
        select(Device.id, EnrollmentRequest.person_id)
        .join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        .where(Device.id > after, Device.is_served)
        .order_by(Device.id)
        .limit(PAGE)
    )
    found: Sequence[Row[Any]] = session.execute(query).all()  # type: ignore[assignment]
    return found


def _changed(session: Session, settings: Settings, rows: Sequence[Row[Any]]) -> Iterator[str]:
    """The ids of those devices whose apps, or how these behave, are not what is wanted."""
    catalogue = {each.id: each for each in apps.living(session)} if settings.apps.enabled else {}
    people = {row.person_id for row in rows}
    sides = Sides(session, AppAudience, list(catalogue), people)
    chosen = set(session.execute(select(AppChoice.person_id, AppChoice.app_id).where(AppChoice.person_id.in_(people))))
    known: dict[str, dict[str, int | None]] = {}
    of_page = select(DeviceApp).where(DeviceApp.device_id.in_([row.id for row in rows]))
    for each in session.scalars(of_page):
        known.setdefault(each.device_id, {})[each.app_id] = each.version if each.wanted else -1
    for row in rows:
        theirs = (
            apps.grant(app, sides.of(app.id, row.person_id), (row.person_id, app.id) in chosen)
            for app in catalogue.values()
        )
        wanted = {each.app.id for each in theirs if each is not None and each.wanted}
        has = known.get(row.id, {})
        if wanted != {app_id for app_id, version in has.items() if version != -1} or any(
            has[app_id] not in (None, catalogue[app_id].version) for app_id in wanted
        ):
            yield row.id
