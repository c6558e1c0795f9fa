"""The worker's part: MaaS360 tells nothing by itself, so it is asked.

Who was handed over is looked for by their address, often at first, then more and more seldom; an action that was
accepted is asked about; and every quarter of an hour all devices are read page by page, for who left and what changed.
A device that MaaS360 does not list any more has only gone silent: nothing ends because an answer is missing.
"""

import logging
import math
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from portal import clock
from portal.backends.base import BackendDown
from portal.backends.maas360 import actions
from portal.backends.maas360.client import Client, Refused
from portal.backends.maas360.names import Vocabulary
from portal.backends.maas360.records import DeviceRecord
from portal.database import Database
from portal.enrollment import handover
from portal.enrollment.case import Case
from portal.enrollment.commands import Order
from portal.enrollment.ending import Reason
from portal.enrollment.handover import Seen
from portal.models import Command, Device, EnrollmentRequest, IssuedProfile, Person
from portal.settings import Settings
from portal.storage.cases import Cases, Given
from portal.vault import Vault

SERVER = "maas360"
LOOKS = (
    (timedelta(minutes=2), timedelta(seconds=5)),
    (timedelta(minutes=15), timedelta(seconds=15)),
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(days=3650), timedelta(minutes=15)),
)
"""How old what is awaited may be, and how often it is looked for until then."""
LOOKS_A_ROUND = 20
"""What is asked about in one go, so that a thousand people at once ask MaaS360 no faster than twenty."""
SWEEP_SECONDS = 15 * 60
FOLLOWED = timedelta(days=1)
"""How long an accepted action is asked about."""
FOLLOWED_REMOVALS = timedelta(days=30)
"""The same for those that take work data: the device may be off for weeks."""
_REMOVALS = ("SelectiveWipe", "RemoveControl")

log = logging.getLogger("portal.maas360")


class Follower:
    """What one process looks for at MaaS360, and when it looked last."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._busy = threading.Lock()
        self._looked: dict[str, datetime] = {}
        """By profile, or command: when it was looked for last."""
        self._swept = float("-inf")

    def work(self, database: Database, vault: Vault, settings: Settings) -> int:
        """Look for what is due; of how many devices something was learned. Stops where MaaS360 does not answer."""
        if not self._busy.acquire(blocking=False):
            return 0  # another thread is at it
        count = 0
        try:
            given = Given(settings, vault)
            for part in (self._arrivals, self._outcomes, self._sweep):
                count += part(database, given)
        except BackendDown as down:
            log.info("maas360.wait reason=%s", down.reason)
        except Refused as refusal:
            self._client.note(f"refused_{refusal.code}")
        finally:
            self._busy.release()
        return count

    # --- who was handed over ---------------------------------------------------------------------------------------

    def _arrivals(self, database: Database, given: Given) -> int:
        with database.session() as session:
            query = (
                select(IssuedProfile.id, IssuedProfile.issued_at, EnrollmentRequest.managed_apple_account, Person.email)
                .join(EnrollmentRequest, EnrollmentRequest.profile_id == IssuedProfile.id)
                .join(Person, Person.id == EnrollmentRequest.person_id)
                .where(*_awaited(clock.now()))
            )
            awaited = {row.id: row for row in session.execute(query)}
        count = 0
        for profile_id in self._due({name: row.issued_at for name, row in awaited.items()}):
            account, email = awaited[profile_id].managed_apple_account, awaited[profile_id].email
            seen = [as_seen(each, self._client.names) for each in _devices(self._client, (account, email))]
            if any(each.managed for each in seen):
                count += self._attach(database, given, profile_id, seen)
        return count

    def _attach(self, database: Database, given: Given, profile_id: str, seen: list[Seen]) -> bool:
        with database.transaction() as session:
            case = Cases(session, given).of_profile(profile_id)
            if case is None:
                return False
            taken = _names_of(session, given.vault, case.request.person_id)
            new = (each for each in seen if each.server_id not in taken and handover.is_the_new_one(case, each))
            found = next(iter(sorted(new, key=lambda each: each.registered_at or case.now)), None)
            policy = given.settings.maas360.policy
            first = [Order("ChangePolicy", {"Policy": policy})] if policy else []
            return found is not None and handover.arrived(case, found, first) is not None

    # --- what was asked for ------------------------------------------------------------------------------------------

    def _outcomes(self, database: Database, given: Given) -> int:
        with database.session() as session:
            query = (
                select(Command, Device.server_id_sealed)
                .join(Device, Device.id == Command.device_id)
                .where(Device.server == SERVER, Command.status == "sent", Command.sent_at.is_not(None))
            )
            asked = {command.uuid: (command, sealed) for command, sealed in session.execute(query)}
            session.expunge_all()
        count = 0
        for uuid in self._due({name: command.sent_at or clock.now() for name, (command, _) in asked.items()}):
            command, sealed = asked[uuid]
            done: bool | None = None
            if command.receipt and sealed is not None:
                done = actions.outcome(self._client, given.vault.open(sealed).decode(), command.receipt)
            patience = FOLLOWED_REMOVALS if command.request_type in _REMOVALS else FOLLOWED
            if done is None and clock.now() < (command.sent_at or clock.now()) + patience:
                continue
            with database.transaction() as session:
                case = Cases(session, given).of_device(command.device_id)
                if case is not None and done is None:
                    handover.no_outcome(case, uuid)
                elif case is not None:
                    handover.outcome(case, uuid, bool(done))
            count += 1
        return count

    # --- everybody ---------------------------------------------------------------------------------------------------

    def _sweep(self, database: Database, given: Given) -> int:
        if time.monotonic() - self._swept < SWEEP_SECONDS:
            return 0
        with database.session() as session:
            query = select(Device.id, Device.server_id_sealed, Device.attributes, Device.last_seen_at)
            managed = session.execute(query.where(Device.server == SERVER, Device.ended_at.is_(None))).all()
        known = {given.vault.open(row.server_id_sealed).decode(): row for row in managed if row.server_id_sealed}
        count = 0
        if known:
            for record in self._client.all_devices():
                row = known.get(record.server_id)
                if row is not None:
                    count += _learned(database, given, row.id, row.attributes, as_seen(record, self._client.names))
        self._swept = time.monotonic()
        return count

    def sweep_soon(self) -> None:
        """Somebody wants to see the newest: all devices are read with the next round."""
        self._swept = float("-inf")

    def next_due(self, session: Session) -> datetime | None:
        """When there is something to look for again; None if nothing is awaited."""
        now = clock.now()
        wanted = now + LOOKS[0][1] if self._swept == float("-inf") else None
        awaited = _next_due(session, now)
        return min(wanted, awaited) if wanted and awaited else wanted or awaited

    def _due(self, awaited: Mapping[str, datetime]) -> list[str]:
        """Of what is awaited since when, the names to look for now: the most overdue ones; noted as looked for."""
        now, known = clock.now(), self._looked
        due = []
        for name, since in awaited.items():
            overdue = (now - known[name]) / _interval(now - since) if name in known else math.inf
            if overdue >= 1:
                due.append((-overdue, name))
        chosen = [name for _, name in sorted(due)[:LOOKS_A_ROUND]]
        self._looked = {name: at for name, at in known.items() if name in awaited or now - at < LOOKS[-1][1]}
        self._looked |= dict.fromkeys(chosen, now)
        return chosen


def _next_due(session: Session, now: datetime) -> datetime | None:
    """When the device that was awaited since the shortest time is looked for again; None if nobody is awaited."""
    newest = session.scalar(
        select(func.max(IssuedProfile.issued_at))
        .select_from(IssuedProfile)
        .join(EnrollmentRequest, EnrollmentRequest.profile_id == IssuedProfile.id)
        .where(*_awaited(now))
    )
    if newest is None:
        return None
    return now + _interval(now - newest)


def _interval(age: timedelta) -> timedelta:
    """How long to wait between two looks for what is awaited for so long."""
    return next((interval for until, interval in LOOKS if age < until), LOOKS[-1][1])


def managed_names(client: Client, addresses: Iterable[str]) -> list[str]:
    """What MaaS360 calls the devices that it manages for whoever has one of ``addresses``. Raises BackendDown."""
    found = _devices(client, addresses)
    return [each.server_id for each in found if client.names.means("status.managed", each.managed_status)]


def as_seen(record: DeviceRecord, names: Vocabulary) -> Seen:
    """A device of MaaS360 in the portal's words."""
    status = record.managed_status
    left, removed = names.means("status.left", status), names.means("status.removed", status)
    told = {
        "ManagedStatus": status,
        "Ownership": record.ownership,
        "EnrollmentMode": record.mode,
        "Policy": record.policy,
        "Compliance": record.compliance,
        "PasscodeCompliance": record.passcode,
        "SelectiveWipe": "" if names.means("wipe.none", record.wipe) else record.wipe,
    }
    return Seen(
        server_id=record.server_id,
        managed=names.means("status.managed", status),
        ends=Reason.LEFT if left else Reason.REMOVED_THERE if removed else None,
        supervised=record.supervised,
        wiped=names.means("wipe.done", record.wipe) if record.wipe else None,
        product_name=record.model[:64] or None,
        os_version=record.os_version[:32] or None,
        attributes={key: value for key, value in told.items() if value},
        registered_at=record.registered_at,
        last_seen_at=min(record.last_reported_at, clock.now()) if record.last_reported_at else None,
    )


def _awaited(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Requests whose person was handed over, and whose device did not come yet."""
    return (
        IssuedProfile.server == SERVER,
        IssuedProfile.superseded_at.is_(None),
        EnrollmentRequest.enrolled_at.is_(None),
        EnrollmentRequest.ended_at.is_(None),
        EnrollmentRequest.expires_at > now,
    )


def _devices(client: Client, addresses: Iterable[str]) -> list[DeviceRecord]:
    """Each once, of whoever has one of ``addresses``."""
    found: dict[str, DeviceRecord] = {}
    for address in dict.fromkeys(each.casefold() for each in addresses if each):
        found |= {each.server_id: each for each in client.devices_of(address) if each.server_id}
    return list(found.values())


def _names_of(session: Session, vault: Vault, person_id: str) -> set[str]:
    """What MaaS360 calls the devices of somebody that the portal knows as managed."""
    query = (
        select(Device.server_id_sealed)
        .join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        .where(EnrollmentRequest.person_id == person_id, Device.server == SERVER, Device.ended_at.is_(None))
    )
    return {vault.open(sealed).decode() for sealed in session.scalars(query) if sealed is not None}


def _learned(database: Database, given: Given, device_id: str, before: dict[str, str], seen: Seen) -> bool:
    """Keep what is new of a device; that it was heard of needs no more than its row."""
    with database.transaction() as session:
        if seen.ends is None and seen.attributes == before and not seen.wiped:
            if seen.last_seen_at is not None:
                later = (Device.id == device_id, Device.last_seen_at < seen.last_seen_at)
                session.execute(update(Device).where(*later).values(last_seen_at=seen.last_seen_at))
            return False
        case: Case | None = Cases(session, given).of_device(device_id)
        if case is None or case.device is None or case.device.ended_at is not None:
            return False
        handover.told(case, seen)
        return True
