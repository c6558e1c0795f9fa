"""Handing a person over to a server that enrolls devices by itself, and what it tells of the device afterwards.

The journey is the same up to the terms. Then that server gives the profile, so nothing here opens anything: the row of
the profile says that the person was handed over, until when, and which of their devices were managed there already.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from portal.enrollment import commands, ending, journey
from portal.enrollment import profile as profiles
from portal.enrollment.case import Case
from portal.enrollment.commands import Order
from portal.enrollment.journey import Waiting, Way
from portal.events import Actor, Event
from portal.models import CommandState, Device, IssuedProfile, new_id
from portal.vault import token_hash

SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class Seen:
    """What such a server says of one device now: only what user enrollment lets IT know.

    ``server_id`` is its name there; ``ends``: why it is not managed any more (see ``ending.Reason``), None if it is.
    ``wiped``: whether its work data is removed, None if nothing is told of it. ``server_id_hash``: under it nobody
    else's device is known.
    """

    server_id: str
    managed: bool
    ends: str | None = None
    supervised: bool = False
    wiped: bool | None = None
    product_name: str | None = None
    os_version: str | None = None
    server_id_hash: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    registered_at: datetime | None = None
    last_seen_at: datetime | None = None


def refused(case: Case, reason: str) -> None:
    """The server does not take this person: told once in a row, so that no retry can fill the trail."""
    case.record_once(Event.HANDOVER_REFUSED, reason)


def begin(case: Case, server: str, way: Way, minutes: int, there_before: Sequence[str]) -> None:
    """From now on, for so many minutes, the device may enroll with ``server``.

    ``there_before``: names of the person's devices that are managed there already; none of them is the new one. Raises
    what ``profile.account_for`` raises.
    """
    case.request.managed_apple_account = profiles.account_for(case)  # by it service discovery knows whose device asks
    known = _baseline(case.request.profile, server, case) if case.request.profile is not None else None
    if known is None:  # a device that came since the first hand-over is new, also if nobody noticed it then
        known = {"since": case.now.isoformat(), "before": sorted(there_before)}
    case.retire_profile("superseded")
    profile = IssuedProfile(
        id=new_id(),
        request_id=case.request.id,
        ticket_hash=token_hash(secrets.token_urlsafe(profiles.SECRET_BYTES)),
        challenge_hash=token_hash(secrets.token_urlsafe(profiles.SECRET_BYTES)),
        way=way.value,
        server=server,
        content_sealed=case.vault.seal(json.dumps(known).encode()),
        issued_at=case.now,
        expires_at=min(case.now + timedelta(minutes=minutes), case.request.expires_at),
        downloaded_at=case.now,
    )
    case.store.add(profile)
    case.request.profile_id = profile.id
    case.record(Event.HANDOVER_BEGUN, actor=Actor.EMPLOYEE)


def is_live(case: Case, server: str) -> bool:
    """Whether the person is handed over to ``server`` now."""
    return case.facts.server == server and journey.waiting(case.facts, case.now) is Waiting.INSTALL


def is_the_new_one(case: Case, seen: Seen) -> bool:
    """Whether ``seen`` is the device for which ``case.profile`` was handed over: managed, and not there before.

    One that was there, or of which nobody knows, counts only if it was registered since.
    """
    profile = _profile(case)
    if not seen.managed or seen.ends is not None:
        return False
    known = _baseline(profile, profile.server, case)
    since = datetime.fromisoformat(known["since"]) if known else profile.issued_at
    anew = seen.registered_at is not None and seen.registered_at > since
    return anew or (known is not None and seen.server_id not in known["before"])


def arrived(case: Case, seen: Seen, first: Sequence[Order] = ()) -> Device | None:
    """The device is managed by the server to which its owner was handed over; the first time it is enrolled.

    None if it cannot be: the whole device is managed (recorded, and a new try is needed), or the request is over.
    """
    profile, request = _profile(case), case.request
    current = request.profile_id == profile.id and profile.superseded_at is None and profile.refused_at is None
    if request.enrolled_at is not None or case.over or case.device is not None or not current:
        return None
    if seen.supervised:
        profile.refused_at, profile.refused_reason = case.now, "supervised"
        case.retire_profile("refused")
        case.record(Event.DEVICE_REFUSED, "supervised")
        return None
    device = _added(case, seen)
    request.enrolled_at = case.now
    case.record(Event.DEVICE_ENROLLED)
    told(case, seen)
    for wanted in first:
        commands.order(case, device, wanted)
    return device


def arrived_too_late(case: Case, seen: Seen) -> bool:
    """A device came for a request that was ended meanwhile, or of a person who was disabled: it is asked to leave.

    False if it was known.
    """
    disabled = case.request.person.disabled_at is not None
    if case.device is not None or (case.request.ended_at is None and not disabled):
        return False
    case.record(Event.DEVICE_REFUSED, "disabled" if disabled else "request_ended")
    _added(case, seen)
    ending.ask(case, ending.Reason.DISABLED if disabled else ending.Reason.CANCELLED, Actor.SYSTEM)
    return True


def _added(case: Case, seen: Seen) -> Device:
    profile = _profile(case)
    device = Device(
        id=new_id(),
        enrollment_id=f"{profile.server}-{new_id()}",
        request_id=case.request.id,
        profile_id=profile.id,
        server=profile.server,
        server_id_sealed=case.vault.seal(seen.server_id.encode()),
        server_id_hash=seen.server_id_hash,
        way=profile.way,
        attributes={},
        profiles=[],
        authenticated_at=case.now,
        enrolled_at=case.now,
        last_seen_at=case.now,
    )
    case.store.add(device)
    case.device = device
    profile.authenticated_at = case.now
    profile.content_sealed = None
    return device


def told(case: Case, seen: Seen) -> bool:
    """What the server says of ``case.device`` now; True if that ended the enrollment."""
    device = case.device
    assert device is not None
    device.attributes, device.attributes_at = dict(seen.attributes), case.now
    device.product_name = seen.product_name or device.product_name
    device.os_version = seen.os_version or device.os_version
    device.last_seen_at = max(device.last_seen_at, seen.last_seen_at or device.last_seen_at)
    for command in commands.waiting(case, device, "SelectiveWipe") if seen.wiped else ():
        # What the row says may be of the wipe before this one.
        if command.sent_at is not None and seen.last_seen_at is not None and seen.last_seen_at > command.sent_at:
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
    command.status, command.answered_at = CommandState.ACKNOWLEDGED if done else CommandState.ERROR, case.now
    event = Event.COMMAND_ACKNOWLEDGED if done else Event.COMMAND_ERROR
    case.record(event, command.request_type, actor=Actor.SYSTEM)


def no_outcome(case: Case, command_uuid: str) -> None:
    """Nothing was told of a command for so long that nothing is expected any more."""
    device = case.device
    command = case.store.command(device, command_uuid) if device is not None else None
    if command is not None and command.status in commands.OPEN:
        command.status = CommandState.ANSWER_LOST
        case.record(Event.COMMAND_ANSWER_LOST, command.request_type)


def _baseline(profile: IssuedProfile, server: str | None, case: Case) -> dict[str, Any] | None:
    """When the person was first handed over to ``server``, and which devices were there; None if nobody knows."""
    if profile.server != server or profile.content_sealed is None:
        return None
    known: dict[str, Any] = json.loads(case.vault.open(profile.content_sealed))
    return known


def _profile(case: Case) -> IssuedProfile:
    assert case.profile is not None
    return case.profile
