"""Answering a device that speaks declarative management, and telling it that there is something new.

Facts: Apple, "Integrating declarative management"; check-in message ``DeclarativeManagement``.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from portal.declarations import manifest, status
from portal.declarations.manifest import Manifest
from portal.declarations.status import BadReport, Known
from portal.enrollment import commands
from portal.enrollment.case import Case
from portal.models import DeclarativeState, Device
from portal.plists import BadPlist, text
from portal.settings import version_key

FIRST_IOS = (15,)
LONGEST_ENDPOINT = 160
ANNOUNCE_AGAIN = timedelta(hours=1)
"""What a device says of itself makes the portal announce anew no more often than that."""


class NothingThere(Exception):
    """The device asks for something that is not declared: it forgets its own copy."""


def answer(case: Case, message: dict[str, Any]) -> bytes:
    """What ``case.device`` gets for one DeclarativeManagement message: JSON, or nothing for a report.

    Raises NothingThere, BadPlist.
    """
    endpoint = text(message, "Endpoint", LONGEST_ENDPOINT)
    if endpoint == "status" and not case.settings.mdm.declarative:
        return b""  # the room is closed: nothing is taken any more
    declared = of(case)
    if endpoint == "tokens":
        return declared.tokens(case.now)
    if endpoint == "declaration-items":
        return declared.items()
    if endpoint == "status":
        return _report(case, message.get("Data"))
    parts = (endpoint or "").split("/")
    found = declared.find(parts[1], parts[2]) if len(parts) == 3 and parts[0] == "declaration" else None
    if found is None:
        raise NothingThere
    return found.answer()


def of(case: Case) -> Manifest:
    """Everything that ``case.device`` is told now."""
    if not case.settings.mdm.declarative:
        return Manifest(())
    company = case.settings.company
    subscribed = status.subscribable(_version(_device(case)), known_of(case).supported)
    return manifest.basic(company.name, company.support_email, subscribed)


def known_of(case: Case) -> Known:
    """What ``case.device`` reported."""
    state = _state(case)
    return Known(**state.known) if state.known else Known()


def announce(case: Case) -> bool:
    """Have ``case.device`` look, if it was not told of what is declared now. False if there is nothing new.

    Nothing is declared to an iOS that does not know declarations, to who is not enrolled yet or on the way out. The
    command brings no tokens along: the device asks for those of the moment, however late the command comes.
    """
    device = _device(case)
    managed = device.enrolled_at is not None and device.ended_at is None and device.leaving_at is None
    if not managed or device.server is not None or _version(device) < FIRST_IOS:
        return False
    state, declared = _state(case), of(case)
    if state.announced == declared.token or (state.announced is None and not declared.declarations):
        return False
    state.announced, state.announced_at = declared.token, case.now
    if not commands.waiting(case, device, commands.DECLARE):
        commands.declare(case, device)
    return True


def told_nothing(case: Case) -> None:
    """``case.device`` did not take the command to look, or begins anew: what was declared is announced again."""
    _state(case).announced = None


def _version(device: Device) -> tuple[int, ...]:
    """Its iOS; nothing if that is not known."""
    told = device.os_version or ""
    return version_key(told) if status.is_version(told) else ()


def _report(case: Case, data: object) -> bytes:
    """A status report: kept as far as it is nothing personal."""
    if not isinstance(data, bytes):
        raise BadPlist("a report without Data")
    state, device = _state(case), _device(case)
    try:
        known = status.learn(known_of(case), data)
    except BadReport as problem:
        raise BadPlist(str(problem)) from None
    before, now_said = known_of(case).values.get(status.VERSION), known.values.get(status.VERSION)
    if now_said is not None and now_said != before:
        device.os_version = now_said
    declared = {each.identifier for each in of(case).declarations}
    known = replace(known, declarations={name: each for name, each in known.declarations.items() if name in declared})
    state.known, state.reported_at = known.as_json(), case.now
    # Who reports does not fetch commands: when it was seen last says only when it connected.
    if state.announced_at is None or case.now - state.announced_at >= ANNOUNCE_AGAIN:
        announce(case)
    return b""


def _state(case: Case) -> DeclarativeState:
    return case.store.declarative_state(_device(case))


def _device(case: Case) -> Device:
    assert case.device is not None
    return case.device
