"""The worker's part of the command queue: hand what waits to the backend, one command of a device after the other.

A command is claimed by moving its next attempt into the future before it is handed over; if the worker dies in between,
it is handed over again after the lease, which backends take for the same command. While the backend is down one command
asks whether it is back, at growing waits, and the others wait behind it: nothing is ever given up.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session, aliased

from portal import audit, clock
from portal.backends.base import Backend, BackendDown, CommandRefused, OutgoingCommand
from portal.database import Database
from portal.events import Event
from portal.models import Command, CommandState, Device, EnrollmentRequest

LEASE = timedelta(minutes=1)
WAITS = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 30, 60, 120, 300))
"""After each failed attempt; the last one again and again."""
BATCH_SIZE = 500

log = logging.getLogger("portal.dispatch")


Fill = Callable[[Database, int], bytes | None]
"""What puts something of a policy or an app into a command, by its id; None if nobody wants it any more."""


Refuse = Callable[[Database, int, str], None]
"""What takes note that the backend does not take a command, by its id, and why."""


def hand_over_due(database: Database, backend: Backend, fill: Fill, refuse: Refuse) -> int:
    """Hand over every command that is due; how many were. Stops at the first that shows the backend to be down."""
    count = 0
    while count < BATCH_SIZE:
        claimed = _claim(database, backend)
        if claimed is None:
            break
        command_id, outgoing = claimed
        began = clock.now()
        if backend.keeps_queue and outgoing.unfilled:
            payload = fill(database, command_id)
            if payload is None:
                continue
            outgoing = replace(outgoing, payload=payload)
        try:
            problem = backend.hand_over(outgoing)
        except BackendDown as down:
            log.warning("dispatch.backend_down reason=%s", down.reason)
            with database.transaction() as session:
                _later(session.get_one(Command, command_id), down.reason, clock.now())
            break
        except CommandRefused as refusal:
            refuse(database, command_id, str(refusal))
            continue
        with database.transaction() as session:
            command = _handed(session, command_id, backend, problem, clock.now())
            if not backend.keeps_queue:
                _come_along(session, command, began)
        count += 1
    return count


def next_due(session: Session, backend: Backend) -> datetime | None:
    """When the next command that waits is to be handed over."""
    due = select(func.min(Command.next_attempt_at)).join(Device, Device.id == Command.device_id)
    return session.scalar(due.where(Command.is_waiting, _first_in_line(), _theirs(backend)))


def _claim(database: Database, backend: Backend) -> tuple[int, OutgoingCommand] | None:
    with database.transaction() as session:
        now = clock.now()
        query = (
            select(Command, Device.enrollment_id)
            .join(Device, Device.id == Command.device_id)
            .where(Command.is_waiting, Command.next_attempt_at <= now, _first_in_line(), _theirs(backend))
            .order_by(Command.id)
            .limit(1)
            .with_for_update(of=Command, skip_locked=True)
        )
        row = session.execute(query).one_or_none()
        if row is None:
            return None
        command, enrollment_id = row
        command.next_attempt_at = now + LEASE
        command.attempts += 1
        unfilled = any(each is not None for each in (command.profile, command.app_id, command.content_sealed))
        return command.id, OutgoingCommand(enrollment_id, command.uuid, command.payload, unfilled)


def _theirs(backend: Backend) -> ColumnElement[bool]:
    """Devices that ``backend`` manages: a device stays with the server that it enrolled with."""
    return Device.server.is_(None) if backend.elsewhere is None else Device.server == backend.elsewhere.name


def _first_in_line() -> ColumnElement[bool]:
    """No earlier command of the same device waits."""
    earlier = aliased(Command)
    before = (earlier.device_id == Command.device_id) & (earlier.id < Command.id)
    return ~select(earlier.id).where(before, earlier.is_waiting).exists()


def _later(command: Command, reason: str, now: datetime) -> None:
    command.last_error = reason[:200]
    command.next_attempt_at = now + WAITS[min(command.attempts, len(WAITS)) - 1]


def _come_along(session: Session, command: Command, woken_at: datetime) -> None:
    """A device that was woken fetches everything that waited for it then."""
    others = (Command.device_id == command.device_id, Command.created_at <= woken_at, Command.is_waiting)
    session.execute(update(Command).where(*others).values(handed_at=command.handed_at))


def _handed(session: Session, command_id: int, backend: Backend, problem: str | None, now: datetime) -> Command:
    whose = select(Device.request_id).join(Command, Command.device_id == Device.id).where(Command.id == command_id)
    request_id = session.execute(
        select(EnrollmentRequest.id).where(EnrollmentRequest.id == whose.scalar_subquery()).with_for_update()
    ).scalar_one()
    command = session.get_one(Command, command_id)
    device = session.get_one(Device, command.device_id)
    command.handed_at, command.last_error = now, None
    if backend.keeps_queue and command.status == CommandState.QUEUED:  # the answer may have been faster
        command.status, command.sent_at = CommandState.SENT, now
    if device.wake_problem != problem:
        device.wake_problem = problem
        chain = audit.request_chain(request_id)
        audit.record(session, chain, Event.DEVICE_WAITS if problem else Event.DEVICE_WOKEN, now, reason=problem)
    return command
