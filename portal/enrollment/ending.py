"""The one door out: how an enrollment ends, whoever ends it and why.

What ended takes everything with it, once: the request, its device, profile, certificate, tokens and queue; the person
is told. IT's ways (work data removed, person disabled, request cancelled) first have a managed device remove its own
work side with RemoveProfile: a certificate or token that died earlier would only stop the device from hearing of it.
The enrollment is over when the device says so (or its owner removed it, whichever comes first), or staff gives it up.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from portal.enrollment import commands
from portal.enrollment.case import Case
from portal.enrollment.commands import Order
from portal.enrollment.errors import RemovalsHeld
from portal.events import Actor, Event
from portal.models import Command, Device
from portal.notifications import messages
from portal.settings import Settings


class Reason(StrEnum):
    """Why an enrollment ends. A device that is refused while it is managed ends with the reason of its refusal."""

    CANCELLED = "cancelled"
    LEFT = "removed_on_device"
    WIPED = "selective_wipe"
    GIVEN_UP = "given_up"
    DISABLED = "person_disabled"
    ERASED = "person_erased"
    FORGOTTEN = "forgotten"
    REMOVED_THERE = "removed_there"
    """By IT, in a device management that enrolls devices by itself."""


REPLACED = "superseded"
"""Why a device ends whose download was replaced by a newer one before it was managed."""


@dataclass(frozen=True, slots=True)
class _Door:
    """``closes``: what the request's ``end_reason`` becomes, None if it ran out by itself; ``event``: what is told."""

    closes: str | None = "removed"
    event: Event | None = Event.DEVICE_LEFT


_AS_A_DEVICE = _Door()
_DOORS: dict[str, _Door] = {
    Reason.CANCELLED: _Door("cancelled", Event.REQUEST_CANCELLED),
    Reason.ERASED: _Door("cancelled", None),
    Reason.FORGOTTEN: _Door(None, None),
}
"""For requests that end without a device's word."""


def end(case: Case, reason: str, actor: str = Actor.DEVICE) -> bool:
    """The enrollment is over; False if it was already. What ends, and that the person is told, never depends on why.

    With ``case.device`` that device ended it; why it had been asked to leave counts more than what its message means.
    One that never got further with a download that was replaced since ends nothing but itself.
    """
    device, request = case.device, case.request
    if device is not None:
        if device.ended_at is not None:
            return False
        if reason != Reason.GIVEN_UP and device.leaving_reason:
            reason = device.leaving_reason
        if device.profile_id != request.profile_id and device.enrolled_at is None:
            _device_ends(case, device, REPLACED)
            case.record(Event.DEVICE_LEFT, REPLACED, actor=actor)
            return True
    door = _DOORS.get(reason, _AS_A_DEVICE) if device is None else _AS_A_DEVICE
    if device is None and door.event is not None and request.ended_at is not None:
        return False
    if request.ended_at is None and door.closes is not None:
        request.ended_at, request.end_reason = case.now, door.closes
    for profile in case.store.profiles_of(request.id):
        case.retire(profile, reason)
    ended = [each for each in case.store.devices_of(request.id) if each.ended_at is None]
    for each in ended:
        _device_ends(case, each, reason)
    if door.event is not None:
        case.record(door.event, reason if door.event is Event.DEVICE_LEFT else None, actor=actor)
    if request.person.email:
        for each in ended:
            if each.enrolled_at is not None:
                case.send("left", messages.left(case.settings, request, each, reason))
    return True


def _device_ends(case: Case, device: Device, reason: str) -> None:
    device.ended_at, device.end_reason = case.now, reason
    device.push_sealed = None
    commands.drop(case, device)
    case.store.device_ended(device)


def cancel(case: Case, actor: str) -> None:
    """End a request, whatever became of it: an open one at once, a managed device by having it leave.

    Repeating it changes nothing. Raises RemovalsHeld (recorded) where the brake keeps a device from leaving.
    """
    request = case.request
    if request.is_unfinished:
        end(case, Reason.CANCELLED, actor)
        return
    for device in case.store.devices_of(request.id):
        if device.is_managed:
            case.device = device
            ask_now(case, Reason.CANCELLED, actor)


def ask_now(case: Case, reason: str, actor: str) -> None:
    """``ask`` for whoever waits for the answer. Raises RemovalsHeld (recorded)."""
    ask(case, reason, actor)
    if case.known_device.is_held:
        raise RemovalsHeld


def ask(case: Case, reason: str, actor: str) -> bool:
    """Have the managed ``case.device`` remove everything of work; repeating it changes nothing. True if it was asked.

    ``reason`` (selective_wipe, person_disabled, cancelled) is why the enrollment ends when the device obeyed. Where the
    brake holds (``brake``) it is kept for when it is released.
    """
    device = case.known_device
    if any(is_removal(each, case.settings) for each in case.store.open_commands(device)):
        return False
    if device.leaving_at is None and not case.store.removal_passes(actor):
        if device.leaving_held_at is None:
            device.leaving_reason, device.leaving_held_at = device.leaving_reason or reason, case.now
            case.record(Event.DEVICE_REMOVAL_HELD, device.leaving_reason, actor=actor)
        return False
    order_removal(case, reason, actor)
    return True


def order_removal(case: Case, reason: str, actor: str) -> None:
    """The same, past the brake: what it held and two admins released."""
    device = case.known_device
    device.leaving_reason, device.leaving_at = device.leaving_reason or reason, device.leaving_at or case.now
    case.record(Event.DEVICE_ASKED_TO_LEAVE, device.leaving_reason, actor=actor)
    if device.server is None:
        commands.order(case, device, Order("RemoveProfile", {"Identifier": case.settings.enrollment_profile}))
    else:
        commands.order(case, device, Order(commands.REMOVE_CONTROL))


def is_removal(command: Command, settings: Settings) -> bool:
    """Whether ``command`` removes the enrollment's own profile, and with it everything of work."""
    return command.request_type == commands.REMOVE_CONTROL or (
        command.request_type == "RemoveProfile"
        and commands.keys_of(command).get("Identifier") == settings.enrollment_profile
    )


def silent(device: Device, settings: Settings, now: datetime) -> bool:
    """Whether a managed device was not heard of for so long that it may have left without a word."""
    days = settings.enrollment.silent_days
    return bool(days) and device.is_managed and device.last_seen_at <= now - timedelta(days=days)
