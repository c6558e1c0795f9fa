"""What is put into a command when it is sent (the profile of a policy, an app's configuration, as they are then), and
what becomes of what it was about if nobody takes it."""

from portal.apps import commanding, listening
from portal.declarations import speaking
from portal.enrollment import commands
from portal.enrollment.case import Case
from portal.events import Event
from portal.models import Command, CommandState
from portal.storage.cases import Cases

LONGEST_ERROR = 200


def filled(case: Case, command: Command) -> bytes | None:
    """A command as the device gets it; None if nobody wants it any more, or it cannot be made."""
    return speaking.filled(case, command) if command.app_id is None else commanding.filled(case, command)


def handed_over(cases: Cases, command_id: int, device_id: str) -> bytes | None:
    """The same for a backend with a queue of its own; a command that nobody wants is dropped."""
    case = cases.of_device(device_id)
    command = cases.session.get(Command, command_id, populate_existing=True)
    if case is None or command is None or command.status != CommandState.QUEUED:
        return None
    body = filled(case, command)
    if body is None:
        commands.over(command, CommandState.DROPPED)
        command.handed_at = cases.now
    return body


def refused(cases: Cases, command_id: int, device_id: str, why: str) -> None:
    """A backend with a queue of its own does not take a command; whatever it answers meanwhile counts more."""
    case = cases.of_device(device_id)
    command = cases.session.get(Command, command_id, populate_existing=True)
    if case is None or command is None:
        return
    if command.status == CommandState.QUEUED:
        failed(case, command, why, Event.COMMAND_FAILED)
    else:
        command.last_error, command.handed_at = why[:LONGEST_ERROR], cases.now


def failed(case: Case, command: Command, why: str, event: Event) -> None:
    """A command came to nothing, as ``event`` says: it is over, and what it was about knows that."""
    commands.over(command, CommandState.FAILED)
    command.last_error = why[:LONGEST_ERROR]
    command.handed_at = command.handed_at or case.now
    case.record(event, command.request_type, detail={"error": command.last_error})
    if command.app_id is not None:
        listening.lost(case, command)
    elif command.profile is not None:
        speaking.answered(case, command)
    elif command.request_type == commands.DECLARE:
        speaking.told_nothing(case)
