"""The worker's part of policies: whose device has something new is found for all at once, then each is told.

Finding it reads every managed device and its owner in pages, compares tokens, and writes one mark for those that
changed: no device is locked for it and none that has what it should is touched. Told are those with a mark, a few at a
time, each in its case: whoever dies in between goes on where it stopped.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Row, or_, select, update
from sqlalchemy.orm import Session

from portal.apps import declaring, delivering
from portal.database import Database, lock_name
from portal.declarations import granted, speaking, wanting
from portal.enrollment.case import Case
from portal.manifest import Manifest
from portal.models import (
    COMMANDED,
    WITHDRAWN,
    DeclarativeState,
    Device,
    DeviceApp,
    DevicePolicy,
    EnrollmentRequest,
    Person,
    Policy,
    PolicyAudience,
    PortalState,
)
from portal.people import audiences
from portal.policies import composing, own_authority
from portal.policies.composing import Composition, Grant, Since
from portal.policies.outcome import State
from portal.policies.variables import Recipient
from portal.settings import Settings
from portal.storage import policies
from portal.storage.cases import FAILED_RESTS, Cases, Services
from portal.versions import version_of

PLANNED = "policies_planned"
"""Where it is kept for what all devices were compared last."""
APPS_PLANNED = "apps_planned"
"""There as soon as a device was ever given work apps (``app_rounds``)."""
PAGE = 1000
BATCH_SIZE = 100
AGAIN_AFTER = timedelta(hours=20)
MOST_AGAIN = 3
"""How often what failed is sent again by itself."""
MOST_TOLD = 1000
"""In one round of the worker; the rest in the next."""


def mark_devices(database: Database, settings: Settings, now: datetime) -> int:
    """Mark every device that is to have something else than it was told; how many were. Nothing if nothing changed."""
    with database.session() as session:
        wanted = _fingerprint(session, settings, now)
        state = session.get(PortalState, PLANNED)
        if state is not None and state.value == wanted:
            return 0
        first = state is None and wanted == _nothing(settings)
    count, after = 0, ""
    while not first:  # the first time there is nothing to compare with
        with database.transaction() as session:
            rows = _page(session, after)
            if not rows:
                break
            after = rows[-1].id
            changed = list(_changed(session, settings, rows, now))
            audiences.mark_devices(session, [row.id for row in changed], now)
            count += len(changed)
    with database.transaction() as session:
        lock_name(session, PLANNED)
        kept = session.get(PortalState, PLANNED) or PortalState(name=PLANNED)
        kept.value = wanted
        session.add(kept)
        _try_again(session, now)
    return count


def _try_again(session: Session, now: datetime) -> None:
    """What a device did not take is sent again the next day, a few times; then only if somebody asks for it."""
    before = now - AGAIN_AFTER
    failed = (DevicePolicy.state == State.FAILED.value, DevicePolicy.at <= before, DevicePolicy.sent_again < MOST_AGAIN)
    query = (
        select(DeclarativeState.device_id)
        .join(Device, Device.id == DeclarativeState.device_id)
        .where(DeclarativeState.device_id.in_(select(DevicePolicy.device_id).where(*failed)))
        .where(DeclarativeState.announced_at <= before, Device.is_served)
        .order_by(Device.request_id)  # as whoever tells them locks them
        .with_for_update(of=DeclarativeState)
    )
    again = {"again": DeclarativeState.again + 1, "due_at": now}
    ids = session.scalars(query).all()
    session.execute(update(DeclarativeState).where(DeclarativeState.device_id.in_(ids)).values(**again))
    counted = {"sent_again": DevicePolicy.sent_again + 1}
    session.execute(update(DevicePolicy).where(DevicePolicy.device_id.in_(ids), *failed).values(**counted))


def tell_devices(database: Database, services: Services, now: datetime) -> int:
    """Tell devices whose mark is due; how many were."""
    told = 0
    while told < MOST_TOLD:
        with database.transaction() as session:
            query = select(DeclarativeState.device_id).where(DeclarativeState.due_at <= now)
            cases = Cases(session, services, now)
            apps = services.settings.apps.enabled or session.get(PortalState, APPS_PLANNED) is not None
            due = cases.of_devices(query.order_by("due_at").limit(BATCH_SIZE))
            found = cases.each(due, _tell_with_apps if apps else _tell, put_off=partial(_put_off, session, now))
        told += len(found)
        if len(found) < BATCH_SIZE:
            break
    return told


def _put_off(session: Session, now: datetime, case: Case) -> None:
    mine = DeclarativeState.device_id == case.known_device.id
    session.execute(update(DeclarativeState).where(mine).values(due_at=now + FAILED_RESTS))


def _tell(case: Case) -> None:
    if not speaking.announce(case):
        speaking.remind(case)


def _tell_with_apps(case: Case) -> None:
    _tell(case)
    delivering.settle(case)


def _fingerprint(session: Session, settings: Settings, now: datetime) -> str:
    """Another one when all devices are to be compared again; each day, since some things run out."""
    if not settings.policies.enabled:
        return _nothing(settings)
    rows = session.execute(select(Policy.id, Policy.changed_at).order_by(Policy.id)).all()
    day = now.date().isoformat() if rows else ""
    return _digest([_nothing(settings), day, [[row[0], row[1].isoformat()] for row in rows]])


def _nothing(settings: Settings) -> str:
    company = settings.company
    return _digest([company.name, company.support_email, settings.mdm.declarative])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _page(session: Session, after: str) -> Sequence[Row[Any]]:
    query = (
        select(
            Device.id,
            Device.os_version,
            Device.enrolled_at,
            EnrollmentRequest.person_id,
            Person.username,
            Person.name,
            Person.email,
            EnrollmentRequest.managed_apple_account,
            DeclarativeState.announced,
            DeclarativeState.known,
            DeclarativeState.again,
        )
        .join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        .join(Person, Person.id == EnrollmentRequest.person_id)
        .outerjoin(DeclarativeState, DeclarativeState.device_id == Device.id)
        .where(Device.id > after, Device.is_served)
        .order_by(Device.id)
        .limit(PAGE)
    )
    found: Sequence[Row[Any]] = session.execute(query).all()  # type: ignore[assignment]
    return found


def _changed(session: Session, settings: Settings, rows: Sequence[Row[Any]], now: datetime) -> Iterator[Row[Any]]:
    grants = _grants(session, {row.person_id for row in rows}) if settings.policies.enabled else {}
    apps = _declared_apps(session, [row.id for row in rows]) if settings.apps.enabled else {}
    for row in rows:
        ios = version_of(row.os_version)
        declared = wanting.declares(settings, ios)
        known = row.known or {}
        told = wanting.basic(settings, ios, known.get("supported"))
        since = Since(row.again or 0, own_authority.period(row.enrolled_at, now))
        theirs = grants.get(row.person_id, [])
        recipient = Recipient(row.email, row.managed_apple_account, row.username, row.name)
        composition = composing.compose(theirs, recipient, ios, declared, since)
        if declared:
            told = told.with_(tuple(granted.declarations(composition.items)))
            told = told.with_(tuple(declaring.declarations(apps.get(row.id, []))))
        if _is_new(row.announced, told, composition, declared):
            yield row


def _declared_apps(session: Session, device_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """By device: the work apps that it gets by declaration."""
    query = select(DeviceApp.device_id, DeviceApp.app_id, DeviceApp.declared)
    query = query.where(DeviceApp.declared.not_in((WITHDRAWN, COMMANDED)))
    found: dict[str, list[tuple[str, str]]] = {}
    for device_id, app_id, content in session.execute(query.where(DeviceApp.device_id.in_(device_ids))):
        found.setdefault(device_id, []).append((app_id, str(content)))
    return found


def _is_new(announced: str | None, told: Manifest, composition: Composition, declared: bool) -> bool:
    nothing = not told.declarations and not composition.items
    return not (announced is None and nothing) and announced != wanting.token_of(told, composition, declared)


def _grants(session: Session, people: set[str]) -> dict[str, list[Grant]]:
    """What each of these people gets: three statements, however many they are."""
    query = select(Policy).where(
        Policy.archived_at.is_(None), or_(Policy.version.is_not(None), Policy.pilot_version.is_not(None))
    )
    living = sorted(session.scalars(query), key=lambda each: (each.name.casefold(), each.id))
    sides = audiences.Sides(session, PolicyAudience, [each.id for each in living], people)
    found: dict[str, list[Grant]] = {}
    for policy in living:
        for person_id in people:
            theirs = sides.of(policy.id, person_id)
            if not theirs:
                continue
            granted_ = policies.grant(session, policy.id, policy.name, policy.version, policy.pilot_version, theirs)
            if granted_ is not None:
                found.setdefault(person_id, []).append(granted_)
    return found
