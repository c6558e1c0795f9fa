"""Handing a person over to a server that enrolls devices by itself, and what it tells of the device afterwards.

The journey is the same up to the terms. Then that server gives the profile, so nothing here opens anything: the row of
the profile says that the person was handed over, until when, and which of their devices were managed there already.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from portal.enrollment import commands, ending, journey
from portal.enrollment.case import Case
from portal.enrollment.commands import Order
from portal.enrollment.errors import NoManagedAppleAccount, RequestEnded, StepOutOfOrder
from portal.enrollment.journey import Step, Way
from portal.events import Actor, Event
from portal.models import Device, IssuedProfile, new_id
from portal.vault import token_hash

SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class Seen:
    """What such a server says of one device now: only what user enrollment lets IT know.

    ``server_id`` is its name there; ``ends``: why it is not managed any more (see ``ending.Reason``), None if it is.
    ``wiped``: whether its work data is removed, None if nothing is told of it.
    """

    server_id: str
    managed: bool
    ends: str | None = None
    supervised: bool = False
    wiped: bool | None = None
    product_name: str | None = None
    os_version: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    registered_at: datetime | None = None
    last_seen_at: datetime | None = None


def check(case: Case) -> str:
    """That the person may be handed over now; the Managed Apple Account with which the device enrolls.

    Raises RequestEnded, StepOutOfOrder, and NoManagedAppleAccount (recorded).
    """
    if case.over:
        raise RequestEnded
    if not journey.may_visit(Step.PROFILE, case.facts, case.now):
        raise StepOutOfOrder
    account = case.store.account_of(case.request.person, case.settings)
    if not account:
        case.record(Event.PROFILE_REFUSED, "no_managed_apple_account", actor=Actor.SYSTEM)
        raise NoManagedAppleAccount
    return account


def refused(case: Case, reason: str) -> None:
    """The server does not take this person: told once in a row, so that no retry can fill the trail."""
    case.record_once(Event.HANDOVER_REFUSED, reason)


def begin(case: Case, server: str, way: Way, minutes: int, there_before: Sequence[str]) -> None:
    """From now on, for so many minutes, the device may enroll with ``server``. Raises what ``check`` raises.

    ``there_before``: names of the person's devices that are managed there already; none of them is the new one.
    """
    case.request.managed_apple_account = check(case)  # by it service discovery knows whose device asks
    case.retire_profile("superseded")
    profile = IssuedProfile(
        id=new_id(),
        request_id=case.request.id,
        ticket_hash=token_hash(secrets.token_urlsafe(SECRET_BYTES)),
        challenge_hash=token_hash(secrets.token_urlsafe(SECRET_BYTES)),
        way=way.value,
        server=server,
        content_sealed=case.vault.seal(json.dumps(sorted(there_before)).encode()),
        issued_at=case.now,
        expires_at=case.now + timedelta(minutes=minutes),
        downloaded_at=case.now,
    )
    case.store.add(profile)
    case.request.profile_id = profile.id
    case.record(Event.HANDOVER_BEGUN, actor=Actor.EMPLOYEE)


def is_the_new_one(case: Case, seen: Seen) -> bool:
    """Whether ``seen`` is the device for which ``case.profile`` was handed over: managed, and not there before.

    One that was there counts again if it was registered anew since.
    """
    profile = _profile(case)
    if not seen.managed or seen.ends is not None:
        return False
    before = json.loads(case.vault.open(profile.content_sealed)) if profile.content_sealed else []
    anew = seen.registered_at is not None and seen.registered_at > profile.issued_at
    return seen.server_id not in before or anew


def arrived(case: Case, seen: Seen, first: Sequence[Order] = ()) -> Device | None:
    """The device is managed by the server to which its owner was handed over; the first time it is enrolled.

    None if it cannot be: the whole device is managed (recorded, and a new try is needed), or the request is over.
    """
    profile, request = _profile(case), case.request
    if request.enrolled_at is not None or case.over or case.device is not None:
        return None
    if seen.supervised:
        profile.refused_at, profile.refused_reason = case.now, "supervised"
        case.retire_profile("refused")
        case.record(Event.DEVICE_REFUSED, "supervised")
        return None
    device = Device(
        id=new_id(),
        enrollment_id=f"{profile.server}-{new_id()}",
        request_id=request.id,
        profile_id=profile.id,
        server=profile.server,
        server_id_sealed=case.vault.seal(seen.server_id.encode()),
        way=profile.way,
        attributes={},
        profiles=[],
        authenticated_at=case.now,
        enrolled_at=case.now,
        last_seen_at=case.now,
    )
    case.store.add(device)
    case.device = device
    request.enrolled_at = profile.authenticated_at = case.now
    profile.content_sealed = None
    case.record(Event.DEVICE_ENROLLED)
    told(case, seen)
    for wanted in first:
        commands.order(case, device, wanted)
    return device


def told(case: Case, seen: Seen) -> bool:
    """What the server says of ``case.device`` now; True if that ended the enrollment."""
    device = case.device
    assert device is not None
    device.attributes, device.attributes_at = dict(seen.attributes), case.now
    device.product_name = seen.product_name or device.product_name
    device.os_version = seen.os_version or device.os_version
    device.last_seen_at = max(device.last_seen_at, seen.last_seen_at or device.last_seen_at)
    if seen.wiped:
        for command in commands.waiting(case, device, "SelectiveWipe"):
            outcome(case, command.uuid, done=True)
    if seen.ends is None:
        return False
    for command in commands.waiting(case, device, commands.REMOVE_CONTROL):
        outcome(case, command.uuid, done=True)
    return ending.end(case, seen.ends)


def outcome(case: Case, command_uuid: str, done: bool) -> None:
    """The server says what became of a command of ``case.device``."""
    device = case.device
    command = case.store.command(device, command_uuid) if device is not None else None
    if command is None or command.status not in commands.OPEN:
        return
    command.status, command.answered_at = "acknowledged" if done else "error", case.now
    event = Event.COMMAND_ACKNOWLEDGED if done else Event.COMMAND_ERROR
    case.record(event, command.request_type, actor=Actor.SYSTEM)


def no_outcome(case: Case, command_uuid: str) -> None:
    """Nothing was told of a command for so long that nothing is expected any more."""
    device = case.device
    command = case.store.command(device, command_uuid) if device is not None else None
    if command is not None and command.status in commands.OPEN:
        command.status = "answer_lost"
        case.record(Event.COMMAND_ANSWER_LOST, command.request_type)


def _profile(case: Case) -> IssuedProfile:
    assert case.profile is not None
    return case.profile
