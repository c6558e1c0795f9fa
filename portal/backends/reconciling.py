"""The worker's reconcile job for a backend with a queue of its own: what got lost on the way is found and asked again.

No backend can be asked what it knows of a device, so the devices themselves are asked. An answer to a later command
shows that those before it were dealt with. A device that was there and still did not answer was not given the command:
NanoMDM v0.9.0 with its filekv and inmem storages loses a command that was put off (NotNow) as soon as a later one is
answered; it then gets a new one. Handing the same command over again does no harm and wakes the device. Who introduced
himself but never seemed to come further is asked a question that only a managed device answers.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import case as case_
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from portal.apps import listening
from portal.backends.base import Backend, BackendDown, CommandRefused
from portal.database import Database, lock_name
from portal.declarations import speaking
from portal.enrollment import commands, ending
from portal.enrollment.case import Case
from portal.events import Actor, Event
from portal.models import Command, CommandState, Device, EnrollmentRequest, PortalState
from portal.settings import Settings
from portal.storage.cases import Cases

OVERDUE = timedelta(minutes=10)
"""An answer that takes longer may have been lost."""
UNDER_WAY = timedelta(minutes=2)
"""A device that was there so recently may just be answering."""
HAND_OVER_AGAIN = timedelta(hours=24)
WAKE_AGAIN = timedelta(days=7)
CURED = ("no_push_certificate", "push_certificate_expired")
"""Why a device could not be woken, which a new push certificate mends."""
NEVER_ENROLLED = timedelta(minutes=5)
ASK_AGAIN = timedelta(hours=1)
BATCH_SIZE = 100
CERTIFICATE_STATE = "backend_push_certificate"
GIVE_CERTIFICATE_AGAIN = timedelta(hours=12)

_OURS = Device.server.is_(None)

log = logging.getLogger("portal.reconciling")


def reconcile(cases: Cases) -> int:
    """Find what was lost; how many things were put right or asked again."""
    lost, count = _not_answered(cases.session, cases.now), 0

    def ask_anew(case: Case) -> None:
        nonlocal count
        for command_id in (command_id for command_id, device_id in lost if case.device and device_id == case.device.id):
            command = cases.session.get(Command, command_id, populate_existing=True)
            if command is not None and command.status in commands.HANDED:
                _ask_anew(case, command)
                count += 1

    cases.each(cases.of_devices(select(Device.id).where(Device.id.in_({each for _, each in lost}))), ask_anew)
    return count + _never_enrolled(cases) + _hand_over_again(cases.session, cases.now)


def _not_answered(session: Session, now: datetime) -> list[tuple[int, str]]:
    """Commands (id, device) whose device answered a later one, or was there, long after it should have answered."""
    later, overdue = aliased(Command), now - OVERDUE
    answered_later = (
        select(later.id)
        .where(later.device_id == Command.device_id, later.id > Command.id, later.sent_at >= Command.sent_at)
        .where(later.status.in_(commands.BY_DEVICE), later.answered_at < overdue)
        .exists()
    )
    last_word = case_((Command.status == CommandState.NOT_NOW, Command.answered_at), else_=Command.sent_at)
    was_there = Device.last_seen_at > last_word
    query = (
        select(Command.id, Device.id)
        .join(Device, Device.id == Command.device_id)
        .where(Device.ended_at.is_(None), Command.status.in_(commands.HANDED), last_word < overdue, _OURS)
        .where(Device.last_seen_at < now - UNDER_WAY)
        .where(was_there | ((Command.status == CommandState.SENT) & answered_later))
        .order_by(Command.id)
        .limit(BATCH_SIZE)
    )
    return [(command_id, device_id) for command_id, device_id in session.execute(query).all()]


def _ask_anew(case: Case, command: Command) -> None:
    """Its answer is not expected any more. What may have been done already is only repeated where that does no harm."""
    device = case.device
    assert device is not None
    put_off, ordered = command.status == CommandState.NOT_NOW, commands.order_of(case, command)
    kind = ordered.request_type
    commands.over(command, CommandState.ANSWER_LOST)
    case.record(Event.COMMAND_ANSWER_LOST, kind)
    if ending.is_removal(command, case.settings):
        ending.ask(case, ending.Reason.WIPED, Actor.SYSTEM)
    elif command.profile is not None:
        speaking.lost(case, command)
    elif command.app_id is not None:
        listening.lost(case, command)
    elif kind == commands.DECLARE:
        speaking.told_nothing(case)
    elif (put_off or kind not in commands.ONCE) and not commands.is_waiting(case, device, ordered):
        commands.order(case, device, ordered)


def _hand_over_again(session: Session, now: datetime) -> int:
    query = (
        select(Command)
        .join(Device, Device.id == Command.device_id)
        .where(Command.status == CommandState.SENT, Command.sent_at < now - HAND_OVER_AGAIN)
        .where(Device.ended_at.is_(None), _OURS)
        .order_by(Command.id)
        .limit(BATCH_SIZE)
        .with_for_update(of=Command, skip_locked=True)
    )
    return _once_more(session.scalars(query).all(), now)


def _once_more(found: Sequence[Command], now: datetime) -> int:
    for command in found:
        command.status, command.handed_at, command.next_attempt_at, command.attempts = CommandState.QUEUED, None, now, 0
    return len(found)


def wake_again(session: Session, now: datetime) -> int:
    """For devices that fetch commands from the portal's own queue: wake again who did not come; for how many commands.

    Apple keeps a push for some days. A device that put a command off comes for it only when woken. Who could not be
    woken for want of a certificate can be now.
    """
    ran_out = Command.handed_at < now - WAKE_AGAIN
    put_off = (Command.status == CommandState.NOT_NOW) & (Command.answered_at < now - ASK_AGAIN)
    query = (
        select(Command)
        .join(Device, Device.id == Command.device_id)
        .where(Device.ended_at.is_(None), Command.status.in_(commands.OPEN), Command.handed_at.is_not(None), _OURS)
        .where(ran_out | (put_off & (Command.handed_at < now - ASK_AGAIN)) | Device.wake_problem.in_(CURED))
        .order_by(Command.id)
        .limit(BATCH_SIZE)
        .with_for_update(of=Command, skip_locked=True)
    )
    return _once_more(session.scalars(query).all(), now)


def _never_enrolled(cases: Cases) -> int:
    question, now = commands.READ[0], cases.now
    asked = select(Command.id).where(Command.device_id == Device.id, Command.created_at > now - ASK_AGAIN).exists()
    query = (
        select(Device.id)
        .join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        .where(Device.enrolled_at.is_(None), Device.ended_at.is_(None), EnrollmentRequest.ended_at.is_(None))
        .where(Device.authenticated_at < now - NEVER_ENROLLED, EnrollmentRequest.expires_at > now, ~asked)
        .limit(BATCH_SIZE)
    )

    def ask(case: Case) -> bool:
        if case.device is None or case.device.ended_at is not None:
            return False
        commands.order(case, case.device, question)
        return True

    return sum(cases.each(cases.of_devices(query), ask))


def give_push_certificate(database: Database, backend: Backend, settings: Settings, now: datetime) -> bool:
    """Have the backend use the push certificate that an admin uploaded; again now and then, should it have lost it.

    True if it was given. What the backend says of a wrong one is kept for the admin's page.
    """
    identity = settings.mdm.push_identity
    if not identity:
        return False
    digest = hashlib.sha256(f"{settings.mdm.backend} {settings.nanomdm.api_url} {identity}".encode()).hexdigest()
    with database.session() as session:
        state = session.get(PortalState, CERTIFICATE_STATE)
        known = json.loads(state.value) if state is not None and state.value else {}
    recent = known and datetime.fromisoformat(known["at"]) > now - GIVE_CERTIFICATE_AGAIN
    if known.get("digest") == digest and recent:
        return False
    problem = None
    try:
        backend.take_push_certificate(identity)
    except BackendDown:
        return False
    except CommandRefused as refusal:
        problem = str(refusal)
        log.error("reconciling.push_certificate_refused error=%r", problem)
    with database.transaction() as session:
        lock_name(session, CERTIFICATE_STATE)
        state = session.get(PortalState, CERTIFICATE_STATE) or PortalState(name=CERTIFICATE_STATE)
        state.value = json.dumps({"digest": digest, "at": now.isoformat(), "problem": problem})
        session.add(state)
    return problem is None
