"""The queue of commands for managed devices: written with the decision, handed over by the worker, kept till answered.

Whoever asks, page, command or program, comes through ``order``, which refuses what user enrollment forbids.
"""

import plistlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.enrollment import allowed
from portal.events import Event
from portal.models import Command, Device

OPEN = ("queued", "sent", "not_now")
"""Not answered yet."""
SETTLED = ("acknowledged", "error", "format_error", "failed")
"""Nothing changes them any more; an answer may still come to ``dropped`` and ``answer_lost``."""
QUEUED = "commands_queued"
"""Key in ``Session.info``: commands were queued, so after the commit the worker wants a nudge."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command to queue: its RequestType and the other keys of its Command dictionary."""

    request_type: str
    keys: dict[str, Any] = field(default_factory=dict)


READ = (
    Order("DeviceInformation", {"Queries": list(allowed.ASKED_QUERIES)}),
    Order("ProfileList", {"ManagedOnly": True}),
    Order("ManagedApplicationList"),
    Order("CertificateList", {"ManagedOnly": True}),
)
"""Everything that is read of a device."""
FIRST = READ[:2]
"""What is asked of a device as soon as it is enrolled."""


def order(session: Session, device: Device, wanted: Order, now: datetime) -> Command:
    """Queue a command in the caller's transaction: what was checked, in the form in which the device gets it.

    Raises CommandForbidden.
    """
    sent = allowed.command(wanted.request_type, wanted.keys)
    command_uuid = str(uuid.uuid4()).upper()
    body = {"CommandUUID": command_uuid, "Command": sent}
    command = Command(
        uuid=command_uuid,
        device_id=device.id,
        request_type=sent["RequestType"],
        payload=plistlib.dumps(body),
        status="queued",
        created_at=now,
        next_attempt_at=now,
    )
    session.add(command)
    session.flush()
    session.info[QUEUED] = True
    chain = audit.request_chain(device.request_id)
    audit.record(session, chain, Event.COMMAND_QUEUED, now, reason=command.request_type)
    return command


def waiting(session: Session, device: Device, request_type: str) -> list[Command]:
    """The commands of that kind that the device has not answered yet."""
    query = select(Command).where(
        Command.device_id == device.id, Command.request_type == request_type, Command.status.in_(OPEN)
    )
    return list(session.scalars(query.order_by(Command.id)))


def keys_of(command: Command) -> dict[str, Any]:
    """The Command dictionary that the device gets."""
    return dict(plistlib.loads(command.payload)["Command"])


def drop(session: Session, device: Device, now: datetime) -> None:
    """The enrollment is over: what was not answered is not asked any more."""
    unanswered = (Command.device_id == device.id, Command.status.in_(OPEN))
    handed = func.coalesce(Command.handed_at, now)
    session.execute(update(Command).where(*unanswered).values(status="dropped", handed_at=handed))
