"""Answering a device that speaks declarative management, and telling a device that there is something new.

Facts: Apple, "Integrating declarative management"; check-in message ``DeclarativeManagement``. A device that knows no
declarations gets its policies as profiles, by commands.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from portal.declarations import addresses, granted, manifest, status
from portal.declarations.granted import CannotBeMade, Document, Granted, Maker
from portal.declarations.manifest import Manifest
from portal.declarations.status import BadReport, Known
from portal.enrollment import commands, management
from portal.enrollment.case import Case
from portal.enrollment.errors import DeviceGone
from portal.events import Actor, Event
from portal.models import Command, DeclarativeState, Device, DevicePolicy
from portal.plists import BadPlist, text
from portal.policies import outcome, own_authority
from portal.policies.composing import Composition
from portal.policies.content import Part
from portal.policies.outcome import State, Told
from portal.settings import Settings, version_key

FIRST_IOS = (15,)
LONGEST_ENDPOINT = 160
ANNOUNCE_AGAIN = timedelta(hours=1)
"""What a device says of itself makes the portal announce anew no more often than that."""
COMES_WITHIN = timedelta(hours=1)
"""A device that took the command to look comes for the list at once; who does not in that time is reminded."""

log = logging.getLogger("portal.declarations")


class NothingThere(Exception):
    """The device asks for something that is not declared: it forgets its own copy."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that one device is to have: the manifest, and of policies what is in it, or comes as profiles."""

    manifest: Manifest
    granted: Granted

    @property
    def token(self) -> str:
        """Another one as soon as anything is another."""
        return token_of(self.manifest, self.granted.composition, self.granted.declared)


def token_of(declared: Manifest, composition: Composition, as_declarations: bool) -> str:
    """The same from its parts."""
    if as_declarations or not composition.items:
        return declared.token
    profiles = sorted([each.identifier, each.token] for each in composition.items)
    return hashlib.sha256(json.dumps([declared.token, profiles]).encode()).hexdigest()


def declares(settings: Settings, ios: tuple[int, ...]) -> bool:
    """Whether a device with that iOS is told declarations."""
    return settings.mdm.declarative and ios >= FIRST_IOS


def basic(settings: Settings, ios: tuple[int, ...], supported: Sequence[str] | None) -> Manifest:
    """What every device with that iOS is told, which can report the ``supported`` items."""
    if not declares(settings, ios):
        return Manifest()
    subscribed = status.subscribable(ios, supported)
    return manifest.basic(settings.company.name, settings.company.support_email, subscribed)


def wanted(case: Case) -> Wanted:
    """Everything that ``case.device`` is to have now."""
    ios = version_of(_device(case).os_version)
    declared = declares(case.settings, ios)
    theirs = granted.to(case, ios, declared)
    told = basic(case.settings, ios, known_of(case).supported)
    if declared:
        items = theirs.composition.items
        told = told.with_(tuple(granted.declarations(items, lambda item: Maker(case, theirs, item, ios))))
    return Wanted(told, theirs)


# --- a device asks and reports -------------------------------------------------------------------------------------


def answer(case: Case, message: dict[str, Any]) -> bytes:
    """What ``case.device`` gets for one DeclarativeManagement message: JSON, or nothing for a report.

    Raises NothingThere, BadPlist.
    """
    endpoint = text(message, "Endpoint", LONGEST_ENDPOINT)
    if endpoint == "status" and not case.settings.mdm.declarative:
        return b""  # the room is closed: nothing is taken any more
    if endpoint in ("declaration-items", "status"):
        _locked(case)
    now = wanted(case)
    if endpoint == "tokens":
        return now.manifest.tokens(case.now)
    if endpoint == "declaration-items":
        state = _state(case)
        state.fetched, state.due_at = now.manifest.token, None
        _note_outcomes(case, now)
        return now.manifest.items()
    if endpoint == "status":
        return _report(case, message.get("Data"), now)
    parts = (endpoint or "").split("/")
    found = now.manifest.find(parts[1], parts[2]) if len(parts) == 3 and parts[0] == "declaration" else None
    if found is None:
        raise NothingThere
    try:
        return found.answer()
    except CannotBeMade as problem:
        log.exception("policies.cannot_be_made item=%s", problem)
        raise NothingThere from None


def document(case: Case, reference: addresses.Reference) -> Document:
    """What a signed address gives ``case.device``. Raises NothingThere if it is not for it, or not any more."""
    device = _device(case)
    if not managed(device):
        raise NothingThere
    now = wanted(case)
    item = now.granted.item(reference.identifier) if now.granted.declared else None
    if item is None or item.token[: addresses.TOKEN_CHARACTERS] != reference.token:
        raise NothingThere
    try:
        found = Maker(case, now.granted, item, version_of(device.os_version)).document(reference.part)
    except CannotBeMade as problem:
        log.exception("policies.cannot_be_made item=%s", problem)
        raise NothingThere from None
    if found is None:
        raise NothingThere
    return found


def known_of(case: Case) -> Known:
    """What ``case.device`` reported."""
    state = _state(case)
    return Known(**state.known) if state.known else Known()


def _report(case: Case, data: object, before: Wanted) -> bytes:
    """A status report: kept as far as it is nothing personal."""
    if not isinstance(data, bytes):
        raise BadPlist("a report without Data")
    state, device, knew = _state(case), _device(case), known_of(case)
    try:
        known = status.learn(knew, data)
    except BadReport as problem:
        raise BadPlist(str(problem)) from None
    now_said = known.values.get(status.VERSION)
    if now_said is not None and now_said != knew.values.get(status.VERSION):
        device.os_version = now_said
    declared = {each.identifier for each in before.manifest.declarations}
    known = replace(known, declarations={name: each for name, each in known.declarations.items() if name in declared})
    state.known, state.reported_at = known.as_json(), case.now
    if status.is_full(data) and declared - known.declarations.keys():
        told_nothing(case)  # it lost something: it is told anew
    now = wanted(case)
    _note_outcomes(case, now)
    # Who reports does not fetch commands: when it was seen last says only when it connected.
    if state.announced_at is None or case.now - state.announced_at >= ANNOUNCE_AGAIN:
        announce(case, now)
    return b""


# --- a device is told ----------------------------------------------------------------------------------------------


def announce(case: Case, now: Wanted | None = None) -> bool:
    """Have ``case.device`` get what it is to have, if it was not told of it. False if there is nothing new.

    Who is not enrolled yet, or on the way out, is told nothing. The command to look brings no tokens along: the device
    asks for those of the moment, however late the command comes.
    """
    device = _device(case)
    if not managed(device):
        return False
    state = _state(case) if now is not None else _locked(case)
    now = now or wanted(case)
    state.due_at = None
    nothing = not now.manifest.declarations and not now.granted.composition.items and not state.profiles
    if state.announced == now.token or (state.announced is None and nothing):
        return False
    state.announced, state.announced_at = now.token, case.now
    case.store.revoke_work_certificates(device, _parts(now))
    _send_profiles(case, state, now)
    if now.granted.declared or state.fetched not in (None, Manifest().token):
        _have_it_look(case, device)
    _note_outcomes(case, now)
    return True


def will_look(case: Case) -> None:
    """``case.device`` took the command to look: if it does not come for the list, it is reminded, ever more rarely."""
    state = _locked(case)
    if state.fetched != state.announced:
        since = case.now - (state.announced_at or case.now)
        state.due_at = case.now + max(COMES_WITHIN, since)


def remind(case: Case) -> None:
    """``case.device`` was told everything; if it did not come for it, it is told once more."""
    device, state = _device(case), _locked(case)
    state.due_at = None
    told = managed(device) and state.announced is not None and declares(case.settings, version_of(device.os_version))
    if told and state.fetched != state.announced:
        _have_it_look(case, device)


def send_again(case: Case, actor: Actor | str) -> None:
    """Have ``case.device`` get every policy anew, as if each had changed. Raises DeviceGone."""
    if not managed(management.managed(case)):
        raise DeviceGone
    state = _state(case)
    state.again = (state.again or 0) + 1
    case.record(Event.POLICIES_AGAIN, actor=actor)
    announce(case)


def identity_part(case: Case, reference: addresses.Reference) -> Part | None:
    """The part of a policy for which ``case.device`` may have an identity by this challenge now; None for none."""
    device = _device(case)
    if not managed(device):
        return None
    now = wanted(case)
    item = now.granted.item(reference.identifier)
    if item is None or item.token[: addresses.TOKEN_CHARACTERS] != reference.token:
        return None
    part = Maker(case, now.granted, item, version_of(device.os_version)).part(reference.part)
    return part if part is not None and own_authority.is_own(part) else None


def _parts(now: Wanted) -> set[str]:
    return {part for item in now.granted.composition.items for part in item.parts}


def told_nothing(case: Case) -> None:
    """``case.device`` did not take the command to look, or begins anew: what was declared is announced again."""
    state = _state(case)
    state.announced = state.fetched = None


def begins_anew(case: Case) -> None:
    """The same, and nothing of what it was sent before is there any more."""
    told_nothing(case)
    _state(case).profiles = {}


def managed(device: Device) -> bool:
    """Whether the portal tells a device anything: not before it is enrolled, not on its way out, not elsewhere."""
    there = device.enrolled_at is not None and device.ended_at is None and device.leaving_at is None
    return there and device.server is None


def version_of(told: str | None) -> tuple[int, ...]:
    """An iOS as numbers; nothing if it is not known."""
    return version_key(told) if told and status.is_version(told) else ()


def _have_it_look(case: Case, device: Device) -> None:
    if not commands.waiting(case, device, commands.DECLARE):
        commands.declare(case, device)


# --- profiles for who knows no declarations ------------------------------------------------------------------------


def _send_profiles(case: Case, state: DeclarativeState, now: Wanted) -> None:
    """Queue what is missing, and the removal of what is not wanted any more, each once."""
    device = _device(case)
    items = {} if now.granted.declared else {each.identifier: each for each in now.granted.composition.items}
    on_the_way = {each.profile for each in case.store.open_commands(device) if each.profile is not None}
    for identifier in set(state.profiles) - set(items) - on_the_way:
        commands.remove_profile_of_policy(case, device, identifier, granted.profile_identifier(case, identifier))
    for identifier, item in items.items():
        there = state.profiles.get(identifier, {}).get("token") == item.token
        if not there and identifier not in on_the_way:
            commands.install_profile_of_policy(case, device, identifier)


def filled(case: Case, command: Command) -> bytes | None:
    """A command as it is sent: with the profile of a policy in it as that is now. None if it is not wanted any more, or
    cannot be made."""
    if command.profile is None or command.request_type != "InstallProfile":
        return command.payload
    now, state = wanted(case), _state(case)
    item = now.granted.item(command.profile) if not now.granted.declared else None
    if item is None:
        return None
    became = {"token": item.token, "state": State.SENT.value, "reason": ""}
    profile = None
    try:
        profile = Maker(case, now.granted, item, version_of(_device(case).os_version)).profile()
    except CannotBeMade as problem:
        log.exception("policies.cannot_be_made item=%s", problem)
        became |= {"state": State.FAILED.value, "reason": "cannot_be_made"}
    state.profiles = state.profiles | {command.profile: became}
    _note_outcomes(case, now)
    return commands.with_payload(command, profile) if profile is not None else None


def answered(case: Case, command: Command) -> None:
    """``case.device`` answered a command with a profile of a policy."""
    state, identifier = _locked(case), command.profile
    if identifier is None or command.status == "not_now":
        return
    done = command.status == "acknowledged"
    if command.request_type == "RemoveProfile":
        if done or identifier in state.profiles:  # what is not there cannot be removed: it is gone either way
            state.profiles = {name: each for name, each in state.profiles.items() if name != identifier}
    elif identifier in state.profiles:
        sent = state.profiles[identifier]
        became = {"state": (State.APPLIED if done else State.FAILED).value, "reason": "" if done else _reason(command)}
        state.profiles = state.profiles | {identifier: sent | became}
    now = wanted(case)
    _note_outcomes(case, now)
    state.announced = None  # what changed while it was on the way is told now
    announce(case, now)


def lost(case: Case, command: Command) -> None:
    """The answer to such a command never came: what is missing is sent again."""
    state = _state(case)
    state.profiles = {name: each for name, each in state.profiles.items() if name != command.profile}
    state.announced = None
    announce(case)


def _reason(command: Command) -> str:
    first = (command.errors or [{}])[0]
    return f"{first.get('ErrorDomain', '')} {first.get('ErrorCode', '')}".strip()[:120] or command.status


# --- what became of it ---------------------------------------------------------------------------------------------


def _note_outcomes(case: Case, now: Wanted) -> None:
    """Keep what became of each policy; that one failed is told once."""
    device = _device(case)
    before = {each.policy_id: each for each in case.store.device_policies(device)} if _has_any(case, now) else {}
    found = outcome.of_policies(now.granted.grants, now.granted.composition, _told(case, now))
    names = {each.policy_id: each.name for each in now.granted.grants}
    for each in found:
        row = before.pop(each.policy_id, None)
        if row is None:
            row = DevicePolicy(device_id=device.id, policy_id=each.policy_id, version=0, state="", at=case.now)
            case.store.add(row)
        if (row.version, row.state, row.reason or "") == (each.version, each.state, each.reason):
            continue
        row.version, row.state, row.reason, row.at = each.version, each.state.value, each.reason or None, case.now
        if each.state is State.FAILED and row.failed_version != each.version:
            row.failed_version = each.version
            detail = {"policy": names[each.policy_id], "reason": each.reason}
            case.record(Event.POLICY_FAILED, actor=Actor.DEVICE, detail=detail)
    for row in before.values():
        case.store.remove(row)


def _has_any(case: Case, now: Wanted) -> bool:
    return bool(now.granted.grants) or case.settings.policies.enabled


def _told(case: Case, now: Wanted) -> Mapping[str, Told]:
    state = _state(case)
    if not now.granted.declared:
        return {name: Told(**{**each, "state": State(each["state"])}) for name, each in state.profiles.items()}
    told = {name: outcome.reported(each) for name, each in known_of(case).declarations.items()}
    tokens = {each.identifier: each for each in now.manifest.declarations}
    found = {}
    for item in now.granted.composition.items:
        declaration = tokens[item.identifier]
        reported = told.get(item.identifier)
        if reported is not None and reported.token == declaration.server_token:
            found[item.identifier] = replace(reported, token=item.token)
        elif state.fetched == now.manifest.token:
            found[item.identifier] = Told(item.token, State.SENT)
    return found


def _locked(case: Case) -> DeclarativeState:
    """The state, locked: before anything is read that its mark is about."""
    return case.store.declarative_state(_device(case), lock=True)


def _state(case: Case) -> DeclarativeState:
    return case.store.declarative_state(_device(case))


def _device(case: Case) -> Device:
    assert case.device is not None
    return case.device
