"""What IT may do with a managed personal device: little, and nothing to its owner's side.

Each function takes the case of a device (``cases.of_device``), its request locked. Erasing the device and resetting its
passcode are not here because user enrollment does not allow them: ``commands.order`` refuses them, whoever asks.
"""

from portal.enrollment import allowed, commands, ending
from portal.enrollment.case import Case
from portal.enrollment.commands import Order
from portal.enrollment.errors import CommandForbidden, ConfirmationWrong, DeviceGone, ProfileUnknown, RemovalsHeld
from portal.events import Event
from portal.models import CommandState, Device


def lock_screen(case: Case, actor: str) -> None:
    """Lock the screen; its owner unlocks it as always. Asking twice locks once. Raises DeviceGone."""
    _once(case, Order("DeviceLock"), actor)


def read(case: Case, actor: str) -> None:
    """Ask for the attributes, work profiles, managed apps and certificates again. Raises DeviceGone."""
    for wanted in commands.READ if managed(case).server is None else (Order("Refresh"),):
        _once(case, wanted, actor)


def order(case: Case | None, wanted: Order, actor: str) -> None:
    """Any command by its name, as a program or command line asks. Raises DeviceGone, CommandForbidden, ProfileUnknown.

    What has a function of its own here goes by its rules.
    """
    if case is None or case.device is None or case.device.server is None:
        allowed.command(wanted.request_type, wanted.keys)
    if case is None:
        raise DeviceGone
    if managed(case).server is not None:
        _errand(case, wanted, actor)
    elif wanted.request_type == "InstallProfile":
        install_profile(case, wanted.keys["Payload"], actor)
    elif wanted.request_type == "RemoveProfile":
        remove_profile(case, str(wanted.keys.get("Identifier", "")), actor)
    else:
        _once(case, wanted, actor)


def install_profile(case: Case, content: bytes, actor: str) -> None:
    """Install a configuration profile on the work side.

    Raises DeviceGone, CommandForbidden (also for what is too large, or would replace the enrollment's own profile).
    """
    if managed(case).server is not None:
        raise CommandForbidden("InstallProfile", "managed_elsewhere")
    identifier = str(allowed.read_profile(content).values["PayloadIdentifier"])
    if identifier == case.settings.enrollment_profile:
        raise CommandForbidden("InstallProfile", "own_profile", (identifier,))
    _order(case, Order("InstallProfile", {"Payload": content}), actor, {"identifier": identifier})
    _once(case, commands.READ[1], actor)


def remove_profile(case: Case, identifier: str, actor: str) -> None:
    """Remove a profile that IT installed. Raises DeviceGone, ProfileUnknown."""
    device = managed(case)
    known = {entry.get("PayloadIdentifier") for entry in device.profiles}
    if identifier not in known or identifier == case.settings.enrollment_profile:
        raise ProfileUnknown
    wanted = Order("RemoveProfile", {"Identifier": identifier})
    if not commands.is_waiting(case, device, wanted):
        _order(case, wanted, actor, {"identifier": identifier})


def remove_work_data(case: Case, typed: str, actor: str) -> None:
    """Selective wipe: the enrollment profile goes, and with it work apps, accounts, data and their volume.

    A server that enrolls devices by itself removes work data first and can give it back (``give_back``); the
    enrollment ends with ``remove_control``. ``typed`` has to be the device's name. Raises DeviceGone,
    ConfirmationWrong, RemovalsHeld (recorded).
    """
    device = _confirmed(case, typed)
    if device.server is None:
        ending.ask_now(case, ending.Reason.WIPED, actor)
    else:
        _wipe(case, device, actor)


def _wipe(case: Case, device: Device, actor: str) -> None:
    if commands.waiting(case, device, "SelectiveWipe"):
        return
    if not case.store.removal_passes(actor):
        raise RemovalsHeld
    case.record(Event.DEVICE_WIPE_ASKED, actor=actor)
    commands.order(case, device, Order("SelectiveWipe"))


def give_back(case: Case, actor: str) -> None:
    """Undo a selective wipe at a server that can: one that was not done yet is not expected any more.

    Raises DeviceGone.
    """
    device = managed(case)
    for wipe in commands.waiting(case, device, "SelectiveWipe"):
        wipe.status, wipe.handed_at = CommandState.DROPPED, wipe.handed_at or case.now
    _once(case, Order("RevokeSelectiveWipe"), actor)


def remove_control(case: Case, typed: str, actor: str) -> None:
    """Have the server that enrolled the device let it go; with it goes everything of work.

    ``typed`` has to be the device's name. Raises DeviceGone, ConfirmationWrong, RemovalsHeld (recorded).
    """
    _confirmed(case, typed)
    ending.ask_now(case, ending.Reason.WIPED, actor)


def send_message(case: Case, title: str, text: str, actor: str) -> None:
    """Have the server show its owner a message. Raises DeviceGone, CommandForbidden."""
    _order(case, Order("SendMessage", {"Title": title, "Text": text}), actor)


def _errand(case: Case, wanted: Order, actor: str) -> None:
    """What a program orders of a device that another server manages: what takes work data goes past the brake."""
    if wanted.request_type == commands.REMOVE_CONTROL:
        managed(case)
        ending.ask_now(case, ending.Reason.WIPED, actor)
    elif wanted.request_type == "SelectiveWipe":
        _wipe(case, managed(case), actor)
    elif wanted.request_type == "RevokeSelectiveWipe":
        give_back(case, actor)
    elif wanted.keys:  # another message or policy is another order
        _order(case, wanted, actor)
    else:
        _once(case, wanted, actor)


def give_up(case: Case, typed: str, actor: str) -> None:
    """End the enrollment of a device that does not answer: if it ever does, it is told to remove its work data.

    ``typed`` has to be the device's name. Raises DeviceGone, ConfirmationWrong, RemovalsHeld (recorded).
    """
    device = _confirmed(case, typed)
    if device.leaving_at is None:  # else it was counted when it was asked to leave
        if not case.store.removal_passes(actor):
            raise RemovalsHeld
        case.record(Event.DEVICE_GIVEN_UP, actor=actor)
    ending.end(case, ending.Reason.GIVEN_UP, actor)
    if device.server is not None:  # there it is still managed, and would be for ever
        commands.order(case, device, Order(commands.REMOVE_CONTROL))


def ask_how_it_is(case: Case) -> None:
    """The worker asks a quiet device everything that it was not asked already."""
    device = managed(case)
    for wanted in commands.READ:
        if not commands.is_waiting(case, device, wanted):
            commands.order(case, device, wanted)


def managed(case: Case) -> Device:
    """The device of the case. Raises DeviceGone if there is none that can be managed."""
    device = case.device
    if device is None or not device.is_managed:
        raise DeviceGone
    return device


def _confirmed(case: Case, typed: str) -> Device:
    device = managed(case)
    if typed.strip().casefold() != device.called.casefold():
        raise ConfirmationWrong
    return device


def _once(case: Case, wanted: Order, actor: str) -> None:
    if not commands.is_waiting(case, managed(case), wanted):
        _order(case, wanted, actor)


def _order(case: Case, wanted: Order, actor: str, detail: dict[str, str] | None = None) -> None:
    device = managed(case)
    case.record(Event.COMMAND_ORDERED, wanted.request_type, actor=actor, detail=detail)
    commands.order(case, device, wanted)
