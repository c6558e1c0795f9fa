"""The command channel: the device reports on one command and gets the next, until its queue is empty."""

from typing import Any

from portal.backends import messages, sending
from portal.backends.embedded import identity
from portal.enrollment import commands
from portal.enrollment.case import Case
from portal.models import Command, CommandState, Device
from portal.plists import text


def handle(case: Case, message: dict[str, Any] | None) -> bytes:
    """Take one report of whoever signed with the case's certificate; the next command's plist, or nothing at the end.

    ``message`` is None for a report that cannot be read: it can only be the answer to the command that was sent last,
    which failed, and those behind it must not wait for ever.

    Raises DeviceRefused (the enrollment is over), NotIdentified, BadPlist.
    """
    told = text(message, "EnrollmentID") if message is not None else None
    device = identity.device_of(case, told, unnamed=message is None)
    identity.must_go_on(case)
    if message is None:
        messages.unreadable(case)
    else:
        messages.report(case, message)
    put_off = message is not None and message["Status"] == "NotNow"
    while (command := _next(case, device, with_put_off=not put_off)) is not None and device.ended_at is None:
        body = sending.filled(case, command)
        command.handed_at = command.handed_at or case.now
        if body is not None:
            command.status, command.sent_at = CommandState.SENT, case.now
            return body
        commands.over(command, CommandState.DROPPED)
    return b""


def _next(case: Case, device: Device, with_put_off: bool) -> Command | None:
    # Apple: after NotNow a device is to be left in peace for a while; it does not come again by itself. So what it put
    # off comes after anything else that it says, and each of its other answers settles a command: that ends.
    waiting = case.store.open_commands(device)
    return next((each for each in waiting if with_put_off or each.status != CommandState.NOT_NOW), None)
