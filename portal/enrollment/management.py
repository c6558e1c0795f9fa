"""What IT may do with a managed personal device: little, and nothing to its owner's side.

Erasing the device and resetting its passcode are not here because user enrollment does not allow them:
``commands.order`` refuses them, whoever asks.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.enrollment import allowed, brake, commands, leaving
from portal.enrollment.commands import Order
from portal.enrollment.errors import CommandForbidden
from portal.events import Event
from portal.models import Command, Device
from portal.settings import Settings
from portal.vault import Vault

AT_A_TIME = 50
UNCONFIRMED_AFTER = timedelta(minutes=10)


class DeviceGone(Exception):
    """The enrollment is over, or never came to an end: there is nothing to manage."""


class ConfirmationWrong(Exception):
    """What was typed to confirm is not the device's name."""


class ProfileUnknown(Exception):
    """The device has no such profile, or it is the enrollment's own, which only leaves with everything else."""


@dataclass(frozen=True)
class Staff:
    """Who orders, for the trail, and when."""

    actor: str
    now: datetime


def lock_screen(session: Session, device_id: str, staff: Staff) -> None:
    """Lock the screen; its owner unlocks it as always. Asking twice locks once. Raises DeviceGone."""
    _once(session, _managed(session, device_id), Order("DeviceLock"), staff)


def read(session: Session, device_id: str, staff: Staff) -> None:
    """Ask for the attributes, work profiles, managed apps and certificates again. Raises DeviceGone."""
    device = _managed(session, device_id)
    for order in commands.READ:
        _once(session, device, order, staff)


def order(session: Session, settings: Settings, device_id: str, wanted: Order, staff: Staff) -> None:
    """Any command by its name, as a program or command line asks. Raises DeviceGone, CommandForbidden, ProfileUnknown.

    What has a function of its own here goes by its rules.
    """
    allowed.command(wanted.request_type, wanted.keys)
    if wanted.request_type == "InstallProfile":
        install_profile(session, settings, device_id, wanted.keys["Payload"], staff)
    elif wanted.request_type == "RemoveProfile":
        remove_profile(session, settings, device_id, str(wanted.keys.get("Identifier", "")), staff)
    else:
        _once(session, _managed(session, device_id), wanted, staff)


def install_profile(session: Session, settings: Settings, device_id: str, content: bytes, staff: Staff) -> None:
    """Install a configuration profile on the work side.

    Raises DeviceGone, CommandForbidden (also for what is too large, or would replace the enrollment's own profile).
    """
    identifier = str(allowed.read_profile(content).values["PayloadIdentifier"])
    if identifier == settings.enrollment_profile:
        raise CommandForbidden("InstallProfile", "own_profile", (identifier,))
    device = _managed(session, device_id)
    _order(session, device, Order("InstallProfile", {"Payload": content}), staff, {"identifier": identifier})
    _once(session, device, commands.READ[1], staff)


def remove_profile(session: Session, settings: Settings, device_id: str, identifier: str, staff: Staff) -> None:
    """Remove a profile that IT installed. Raises DeviceGone, ProfileUnknown."""
    device = _managed(session, device_id)
    known = {entry.get("PayloadIdentifier") for entry in device.profiles}
    if identifier not in known or identifier == settings.enrollment_profile:
        raise ProfileUnknown
    waiting = (commands.keys_of(each) for each in commands.waiting(session, device, "RemoveProfile"))
    if any(each.get("Identifier") == identifier for each in waiting):
        return
    _order(session, device, Order("RemoveProfile", {"Identifier": identifier}), staff, {"identifier": identifier})


def remove_work_data(session: Session, settings: Settings, device_id: str, typed: str, staff: Staff) -> None:
    """Selective wipe: the enrollment profile goes, and with it work apps, accounts, data and their volume.

    ``typed`` has to be the device's name. Raises DeviceGone, ConfirmationWrong.
    """
    device = _confirmed(session, device_id, typed)
    leaving.ask(session, settings, device, "selective_wipe", staff.actor, staff.now)


def give_up(session: Session, vault: Vault, settings: Settings, device_id: str, typed: str, staff: Staff) -> None:
    """End the enrollment of a device that does not answer: if it ever does, it is told to remove its work data.

    ``typed`` has to be the device's name. Raises DeviceGone, ConfirmationWrong, RemovalsHeld.
    """
    device = _confirmed(session, device_id, typed)
    if device.leaving_at is None:  # else it was counted when it was asked to leave
        if not brake.passes(session, staff.actor, staff.now):
            raise brake.RemovalsHeld
        chain = audit.request_chain(device.request_id)
        audit.record(session, chain, Event.DEVICE_GIVEN_UP, staff.now, actor=staff.actor)
    leaving.left(session, vault, settings, device, leaving.GIVEN_UP, staff.now, staff.actor)


def refresh_quiet(session: Session, settings: Settings, now: datetime) -> int:
    """The worker's part: ask devices that were not heard of for a while how they are; how many were asked.

    Who answers is seen; whose answers got lost on the way is found; and of who left without a word, silence tells.
    """
    quiet = now - timedelta(hours=settings.mdm.refresh_hours)
    query = (
        select(Device)
        .where(Device.ended_at.is_(None), Device.enrolled_at.is_not(None), Device.last_seen_at <= quiet)
        .where(~select(Command.id).where(Command.device_id == Device.id, Command.created_at > quiet).exists())
        .order_by(Device.last_seen_at)
        .limit(AT_A_TIME)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    asked = 0
    for device in session.scalars(query).all():
        for wanted in commands.READ:
            if not commands.waiting(session, device, wanted.request_type):
                commands.order(session, device, wanted, now)
        asked += 1
    return asked


def name_of(device: Device) -> str:
    """What helpdesk calls the device: its model, since its owner's name for it is not asked."""
    return str(device.attributes.get("ModelName") or device.product_name or "iPhone")


def _confirmed(session: Session, device_id: str, typed: str) -> Device:
    device = _managed(session, device_id)
    if typed.strip().casefold() != name_of(device).casefold():
        raise ConfirmationWrong
    return device


def _managed(session: Session, device_id: str) -> Device:
    device = session.get(Device, device_id, with_for_update=True, populate_existing=True)
    if device is None or device.enrolled_at is None or device.ended_at is not None:
        raise DeviceGone
    return device


def _once(session: Session, device: Device, wanted: Order, staff: Staff) -> None:
    if not commands.waiting(session, device, wanted.request_type):
        _order(session, device, wanted, staff)


def _order(session: Session, device: Device, wanted: Order, staff: Staff, detail: dict[str, str] | None = None) -> None:
    chain = audit.request_chain(device.request_id)
    audit.record(
        session, chain, Event.COMMAND_ORDERED, staff.now, reason=wanted.request_type, actor=staff.actor, detail=detail
    )
    commands.order(session, device, wanted, staff.now)
