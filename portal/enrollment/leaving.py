"""How an enrollment ends: once, whoever ends it, with its certificate and tokens, and a mail that says what is gone.

IT's ways (work data removed, person disabled, request cancelled) first have the device remove its own work side with
RemoveProfile: a certificate or token that died earlier would only stop the device from hearing of it. The enrollment is
over when the device says so (or its owner removed it, whichever comes first), or when staff gives the device up.
"""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.enrollment import brake, commands, requests
from portal.enrollment.commands import Order
from portal.events import Actor, Event
from portal.models import Command, Device, EnrollmentRequest, Person
from portal.notifications import messages, outbox
from portal.settings import Settings
from portal.vault import Vault

AT_A_TIME = 100
GIVEN_UP = "given_up"
DISABLED = "person_disabled"
CANCELLED = "cancelled"


def ask(session: Session, settings: Settings, device: Device, reason: str, actor: str, now: datetime) -> bool:
    """Have a managed, locked ``device`` remove everything of work; repeating it changes nothing. True if it was asked.

    ``reason`` (selective_wipe, person_disabled, cancelled) is why the enrollment ends when the device obeyed. Where the
    brake holds (``brake``) it is kept for when it is released.
    """
    if any(is_removal(each, settings) for each in commands.waiting(session, device, "RemoveProfile")):
        return False
    chain = audit.request_chain(device.request_id)
    if device.leaving_at is None and not brake.passes(session, actor, now):
        if device.leaving_held_at is None:
            device.leaving_reason, device.leaving_held_at = device.leaving_reason or reason, now
            audit.record(session, chain, Event.DEVICE_REMOVAL_HELD, now, reason=device.leaving_reason, actor=actor)
        return False
    _order_removal(session, settings, device, reason, actor, now)
    return True


def go_on(session: Session, settings: Settings, now: datetime) -> int:
    """The worker's part: what the brake held and two admins released; how many devices were asked."""
    if brake.held(session) is not None:
        return 0
    query = (
        select(Device)
        .where(Device.leaving_held_at.is_not(None), Device.leaving_at.is_(None), Device.ended_at.is_(None))
        .order_by(Device.id)
        .limit(AT_A_TIME)
        .with_for_update(of=Device)
        .execution_options(populate_existing=True)
    )
    held = session.scalars(query).all()
    for device in held:
        _order_removal(session, settings, device, CANCELLED, brake.RELEASED, now)
    return len(held)


def _order_removal(
    session: Session, settings: Settings, device: Device, reason: str, actor: str, now: datetime
) -> None:
    device.leaving_reason, device.leaving_at = device.leaving_reason or reason, device.leaving_at or now
    chain = audit.request_chain(device.request_id)
    audit.record(session, chain, Event.DEVICE_ASKED_TO_LEAVE, now, reason=device.leaving_reason, actor=actor)
    commands.order(session, device, Order("RemoveProfile", {"Identifier": settings.enrollment_profile}), now)


def is_removal(command: Command, settings: Settings) -> bool:
    """Whether ``command`` removes the enrollment's own profile, and with it everything of work."""
    return (
        command.request_type == "RemoveProfile"
        and commands.keys_of(command).get("Identifier") == settings.enrollment_profile
    )


def left(
    session: Session,
    vault: Vault,
    settings: Settings,
    device: Device,
    reason: str,
    now: datetime,
    actor: str = Actor.DEVICE,
) -> bool:
    """The enrollment is over; True the first time. Certificate, tokens and queue end with it, the person is told.

    ``reason`` is what the device's message means (removed_on_device, selective_wipe) or given_up; why it was asked to
    leave counts more.
    """
    request = requests.lock(session, device.request_id)
    session.refresh(device)
    if device.ended_at is not None:
        return False
    if reason != GIVEN_UP and device.leaving_reason:
        reason = device.leaving_reason
    _end(session, device, reason, now)
    if request.ended_at is None:
        request.ended_at, request.end_reason = now, "removed"
    requests.retire_profile(session, request, now, reason)
    audit.record(session, audit.request_chain(request.id), Event.DEVICE_LEFT, now, reason=reason, actor=actor)
    if device.enrolled_at is not None and request.person.email:
        mail = messages.left(settings, request, device, reason)
        outbox.put(session, vault, "left", mail, request.id, now)
    return True


def _end(session: Session, device: Device, reason: str, now: datetime) -> None:
    device.ended_at, device.end_reason = now, reason
    device.push_sealed = None
    commands.drop(session, device, now)


def cancel(session: Session, settings: Settings, request_id: str, actor: str, now: datetime) -> None:
    """End a request, whatever became of it: an open one at once, an enrolled device by having it leave.

    Repeating it changes nothing.
    """
    query = select(Device).where(Device.request_id == request_id, Device.ended_at.is_(None)).with_for_update()
    devices = session.scalars(query.execution_options(populate_existing=True)).all()  # locked before their request,
    requests.cancel(session, request_id, actor, now)  # as everywhere else
    request = requests.lock(session, request_id)
    for device in devices:
        if device.enrolled_at is not None:
            ask(session, settings, device, CANCELLED, actor, now)
        elif request.ended_at is not None:
            _end(session, device, CANCELLED, now)


def of_disabled_people(session: Session, settings: Settings, now: datetime) -> int:
    """The worker's part: devices of people who may not work here any more are asked to leave; how many."""
    disabled = select(Person.id).where(Person.disabled_at.is_not(None))
    of_the_disabled = select(EnrollmentRequest.id).where(EnrollmentRequest.person_id.in_(disabled))
    query = (
        select(Device)
        .where(
            Device.request_id.in_(of_the_disabled),
            Device.ended_at.is_(None),
            Device.enrolled_at.is_not(None),
            Device.leaving_reason.is_(None),
        )
        .order_by(Device.id)
        .limit(AT_A_TIME)
        .with_for_update(of=Device)
        .execution_options(populate_existing=True)
    )
    return sum(ask(session, settings, each, DISABLED, Actor.SYSTEM, now) for each in session.scalars(query).all())


def is_asked_to_leave(session: Session, profile_id: str) -> bool:
    """Whether the device of this profile is to remove its work side: nothing may keep it from hearing so."""
    query = select(Device.id).where(Device.profile_id == profile_id, Device.leaving_at.is_not(None))
    return session.scalar(query) is not None


def silent(device: Device, settings: Settings, now: datetime) -> bool:
    """Whether a managed device was not heard of for so long that it may have left without a word."""
    days = settings.enrollment.silent_days
    managed = device.enrolled_at is not None and device.ended_at is None
    return bool(days) and managed and device.last_seen_at <= now - timedelta(days=days)
