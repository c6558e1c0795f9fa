"""The worker's part: MaaS360 tells nothing by itself, so it is asked.

Who was handed over is looked for by their address (``arrivals``), often at first, then more and more seldom; an action
that was accepted is asked about; and every quarter of an hour all devices are read page by page, for who left and what
changed. A device that MaaS360 does not list any more has only gone silent: nothing ends because an answer is missing.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session, aliased

from portal import clock
from portal.backends.base import BackendDown
from portal.backends.maas360 import actions, arrivals
from portal.backends.maas360.arrivals import SERVER
from portal.backends.maas360.client import Client, Refused
from portal.database import Database
from portal.enrollment import commands, handover
from portal.enrollment.case import Case
from portal.enrollment.commands import Order
from portal.enrollment.ending import Reason
from portal.enrollment.handover import Seen
from portal.models import Command, CommandState, Device, EnrollmentRequest, IssuedProfile, Person
from portal.settings import Settings
from portal.storage import brake
from portal.storage.cases import Cases, CaseServices
from portal.vault import Vault

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
AGAIN_SECONDS = 60
"""After a sweep that did not come to its end."""
BELIEVED_AFTER = timedelta(hours=1)
"""That many devices left, if each sweep meanwhile says so."""
LET_GO_AGAIN = timedelta(hours=6)
LET_GO_FOR = timedelta(days=60)
FOLLOWED = timedelta(days=1)
"""How long an accepted action is asked about."""
FOLLOWED_REMOVALS = timedelta(days=30)
"""The same for those that take work data: the device may be off for weeks."""
NOT_TAKEN = (CommandState.FAILED, CommandState.ERROR, CommandState.ANSWER_LOST)
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
        self._doubted_since: datetime | None = None
        self.trouble = ""
        """Why what MaaS360 tells is not believed yet; empty if it is."""

    def take_up(self, database: Database, vault: Vault, settings: Settings) -> int:
        """Look for what is due; of how many devices something was learned. Stops where MaaS360 does not answer."""
        if not self._busy.acquire(blocking=False):
            return 0  # another thread is at it
        count = 0
        try:
            given = CaseServices(settings, vault)
            for part in (self._arrivals, self._late, self._outcomes, self._sweep):
                count += self._each(part, database, given)
        except BackendDown as down:
            log.info("maas360.wait reason=%s", down.reason)
        finally:
            self._busy.release()
        return count

    def _each(self, part: Callable[[Database, CaseServices], int], database: Database, given: CaseServices) -> int:
        """One part, whatever became of the others. Raises BackendDown."""
        try:
            return part(database, given)
        except Refused as refusal:
            self._client.note(f"refused_{refusal.code}")
        except BackendDown:
            raise
        except Exception:  # one odd answer must stop neither the others nor the queue
            log.exception("maas360.part_failed part=%s", part.__name__)
        return 0

    # --- who was handed over ---------------------------------------------------------------------------------------

    def _arrivals(self, database: Database, given: CaseServices) -> int:
        with database.session() as session:
            query = arrivals.handed_over().where(*arrivals.awaited_now(clock.now()))
            awaited = {row.id: row for row in session.execute(query)}
        count = 0
        for profile_id in self._due({name: row.issued_at for name, row in awaited.items()}):
            count += arrivals.look_for(self._client, database, given, awaited[profile_id], arrivals.arrive)
        return count

    def _late(self, database: Database, given: CaseServices) -> int:
        """A device may come after its request was ended, or its owner disabled: it is let go there at once."""
        with database.session() as session:
            now = clock.now()
            awaited_anew = select(EnrollmentRequest.person_id).join(
                IssuedProfile, IssuedProfile.request_id == EnrollmentRequest.id
            )  # whoever was invited again and handed over: what comes is for that
            anew = Person.id.in_(awaited_anew.where(*arrivals.awaited_now(now)))
            query = arrivals.handed_over().where(
                (EnrollmentRequest.ended_at > now - arrivals.LATE) & ~anew | Person.disabled_at.is_not(None),
                IssuedProfile.issued_at > now - arrivals.LATE,
                IssuedProfile.authenticated_at.is_(None),
                IssuedProfile.refused_at.is_(None),
            )
            awaited = {row.id: row for row in session.execute(query)}
        due = self._due({name: row.issued_at for name, row in awaited.items()})
        return sum(arrivals.look_for(self._client, database, given, awaited[name], arrivals.let_go) for name in due)

    # --- what was asked for ------------------------------------------------------------------------------------------

    def _outcomes(self, database: Database, given: CaseServices) -> int:
        with database.session() as session:
            query = (
                select(Command, Device.server_id_sealed)
                .join(Device, Device.id == Command.device_id)
                .where(Device.server == SERVER, Command.status == CommandState.SENT, Command.sent_at.is_not(None))
            )
            asked = {command.uuid: (command, sealed) for command, sealed in session.execute(query)}
            session.expunge_all()
        count = 0
        for uuid in self._due({name: command.sent_at or clock.now() for name, (command, _) in asked.items()}):
            command, sealed = asked[uuid]
            done: bool | None = None
            if command.receipt and sealed is not None:
                done = actions.outcome(self._client, given.vault.open(sealed).decode(), command.receipt)
            elif sealed is None:
                done = False  # nobody knows any more whose it is
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

    def _sweep(self, database: Database, given: CaseServices) -> int:
        if time.monotonic() - self._swept < SWEEP_SECONDS:
            return 0
        self._swept = time.monotonic() - SWEEP_SECONDS + AGAIN_SECONDS  # if this does not come to its end
        with database.session() as session:
            query = select(Device.id, Device.server_id_sealed, Device.attributes, Device.last_seen_at)
            managed = session.execute(query.where(Device.server == SERVER, Device.ended_at.is_(None))).all()
        known = {given.vault.open(row.server_id_sealed).decode(): row for row in managed if row.server_id_sealed}
        seen: dict[str, Seen] = {}
        for record in self._client.all_devices() if known else ():
            told = arrivals.as_seen(record, self._client.names)
            before = seen.get(record.server_id)
            if record.server_id in known and (before is None or told.managed or before.ends is not None):
                seen[record.server_id] = told  # listed twice, it is managed if one of both says so
        ends = sum(each.ends is not None for each in seen.values())
        held = self._too_many(ends, len(known))
        count = 0
        for server_id, told in seen.items():
            if not (held and told.ends is not None):
                count += _learned(database, given, known[server_id].id, known[server_id].attributes, told)
        self._swept = time.monotonic()
        return count

    def _too_many(self, ends: int, managed: int) -> bool:
        """Whether so many devices seem to have left at once that it is rather a mistake; believed after an hour."""
        many, now = ends > max(brake.AT_LEAST, brake.SHARE * managed), clock.now()
        self._doubted_since = (self._doubted_since or now) if many else None
        doubts = self._doubted_since is not None and now - self._doubted_since < BELIEVED_AFTER
        self.trouble = "many_left" if doubts else ""
        if doubts:
            log.error("maas360.many_left devices=%d of=%d", ends, managed)
        return doubts

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
        .where(*arrivals.awaited_now(now))
    )
    if newest is None:
        return None
    return now + _interval(now - newest)


def _interval(age: timedelta) -> timedelta:
    """How long to wait between two looks for what is awaited for so long."""
    return next((interval for until, interval in LOOKS if age < until), LOOKS[-1][1])


def let_go_again(cases: Cases) -> int:
    """Devices that were to be let go, but MaaS360 refused or nothing was told: asked again; how many were.

    Not one that enrolled again meanwhile: there it may be the same device.
    """
    living = aliased(Device)
    enrolled_again = select(living.id).where(living.ended_at.is_(None), living.id != Device.id)
    enrolled_again = enrolled_again.where(living.server_id_hash == Device.server_id_hash)
    newest = select(func.max(Command.id)).where(Command.device_id == Device.id).correlate(Device)
    newest = newest.where(Command.request_type == commands.REMOVE_CONTROL)
    due = (
        select(Command.device_id)
        .where(Command.id == newest.scalar_subquery(), Command.status.in_(NOT_TAKEN))
        .where(Command.created_at < cases.now - LET_GO_AGAIN)
    )
    query = (
        select(Device.id)
        .where(Device.server == SERVER, Device.server_id_sealed.is_not(None), Device.id.in_(due))
        .where(Device.enrolled_at > cases.now - LET_GO_FOR * 12, Device.end_reason.is_distinct_from(Reason.LEFT))
        .where(Device.end_reason.is_distinct_from(Reason.REMOVED_THERE), _still_to_go(cases.now))
        .where(~enrolled_again.exists())
        .limit(LOOKS_A_ROUND)
    )

    def let_go(case: Case) -> bool:
        if case.device is None:
            return False
        commands.order(case, case.device, Order(commands.REMOVE_CONTROL))
        return True

    return sum(cases.each(cases.of_devices(query), let_go))


def _still_to_go(now: datetime) -> ColumnElement[bool]:
    """Asked to leave and still managed, or given up here and perhaps managed there."""
    given_up = (Device.end_reason == Reason.GIVEN_UP) & (Device.ended_at > now - LET_GO_FOR)
    return (Device.ended_at.is_(None) & Device.leaving_at.is_not(None)) | given_up


def _learned(database: Database, given: CaseServices, device_id: str, before: dict[str, str], seen: Seen) -> bool:
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
