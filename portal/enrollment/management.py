"""What IT may do with a managed personal device: little, and nothing to its owner's side.

Erasing the device and resetting its passcode are not here because user enrollment does not allow them: the backend
refuses to queue them, whoever asks.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.backends.base import Backend, Order
from portal.models import Command, Device
from portal.settings import Settings

OPEN = ("queued", "sent", "not_now")


class DeviceGone(Exception):
    """The enrollment is over, or never came to an end: there is nothing to manage."""


class ConfirmationWrong(Exception):
    """What was typed to confirm is not the device's name."""


def lock_screen(session: Session, backend: Backend, device_id: str, actor: str, now: datetime) -> None:
    """Lock the screen; its owner unlocks it as always. Asking twice locks once. Raises DeviceGone."""
    _order(session, backend, device_id, Order("DeviceLock"), actor, now)


def remove_work_data(
    session: Session, backend: Backend, settings: Settings, device_id: str, typed: str, actor: str, now: datetime
) -> None:
    """Selective wipe: the enrollment profile goes, and with it work apps, accounts, data and their volume.

    ``typed`` has to be the device's name. Raises DeviceGone, ConfirmationWrong.
    """
    device = _managed(session, device_id)
    if typed.strip().casefold() != name_of(device).casefold():
        raise ConfirmationWrong
    order = Order("RemoveProfile", {"Identifier": settings.enrollment_profile})
    _order(session, backend, device_id, order, actor, now)


def name_of(device: Device) -> str:
    """What helpdesk calls the device: its model, since its owner's name for it is not asked."""
    return str(device.attributes.get("ModelName") or device.product_name or "iPhone")


def _managed(session: Session, device_id: str) -> Device:
    device = session.get(Device, device_id, with_for_update=True, populate_existing=True)
    if device is None or device.enrolled_at is None or device.ended_at is not None:
        raise DeviceGone
    return device


def _order(session: Session, backend: Backend, device_id: str, order: Order, actor: str, now: datetime) -> None:
    device = _managed(session, device_id)
    waiting = select(Command.id).where(
        Command.device_id == device.id, Command.request_type == order.request_type, Command.status.in_(OPEN)
    )
    if session.scalar(waiting.limit(1)) is not None:
        return
    chain = audit.request_chain(device.request_id)
    audit.record(session, chain, "command.ordered", now, reason=order.request_type, actor=actor)
    backend.enqueue(session, device, order, now)
    backend.wake(device)
