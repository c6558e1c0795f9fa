"""What is put into a command when it is sent: the profile of a policy, an app's configuration, as they are then."""

from portal.apps import delivering
from portal.declarations import speaking
from portal.enrollment.case import Case
from portal.models import Command
from portal.storage.cases import Cases


def filled(case: Case, command: Command) -> bytes | None:
    """A command as the device gets it; None if nobody wants it any more, or it cannot be made."""
    return speaking.filled(case, command) if command.app_id is None else delivering.filled(case, command)


def handed_over(cases: Cases, command_id: int, device_id: str) -> bytes | None:
    """The same for a backend with a queue of its own; a command that nobody wants is dropped."""
    case = cases.of_device(device_id)
    command = cases.session.get(Command, command_id, populate_existing=True)
    if case is None or command is None or command.status != "queued":
        return None
    body = filled(case, command)
    if body is None:
        command.status, command.handed_at = "dropped", cases.now
    return body
