"""Answering a device that speaks declarative management, and telling a device that there is something new.

Facts: Apple, "Integrating declarative management"; check-in message ``DeclarativeManagement``. A device that knows no
declarations gets its policies as profiles, by commands.
"""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from portal import manifest
from portal.apps import listening
from portal.declarations import addresses, granted, outcomes, status
from portal.declarations.granted import CannotBeMade, Document, Maker
from portal.declarations.status import BadReport
from portal.declarations.wanting import Wanted, declares, known_of, state_of, wanted
from portal.enrollment import commands, management
from portal.enrollment.case import Case
from portal.enrollment.errors import DeviceGone
from portal.events import Actor, Event
from portal.manifest import Manifest
from portal.models import Command, CommandState, DeclarativeState, Device
from portal.plists import BadPlist, text
from portal.policies import own_authority
from portal.policies.content import Part
from portal.policies.outcome import State
from portal.versions import version_of

LONGEST_ENDPOINT = 160
APPS = "mdm.app"
"""The list of apps that IT installed, among what a device reports."""
ANNOUNCE_AGAIN = timedelta(hours=1)
"""What a device says of itself makes the portal announce anew no more often than that."""
REMOVED_AGAIN = (timedelta(hours=1), timedelta(days=1), timedelta(days=1))
"""A profile that a device did not remove is asked for again after that."""
TRIES, AGAIN = "tries", "again"
"""Of a profile that is to be removed: how often the device refused, and when it is asked again (ISO 8601)."""
NOBODY_KNOWS = "?"
"""Which list of declarations a device has that refused to look for the newest one."""
COMES_WITHIN = timedelta(hours=1)
"""A device that took the command to look comes for the list at once; who does not in that time is reminded."""

log = logging.getLogger("portal.declarations")


class NothingThere(Exception):
    """The device asks for something that is not declared: it forgets its own copy."""


# --- a device asks and reports -------------------------------------------------------------------------------------


def answer(case: Case, message: dict[str, Any]) -> bytes:
    """What ``case.device`` gets for one DeclarativeManagement message: JSON, or nothing for a report.

    One that is not served hears that nothing changed. Raises NothingThere, BadPlist.
    """
    endpoint = text(message, "Endpoint", LONGEST_ENDPOINT)
    if endpoint != "status" and not case.known_device.is_served:
        return _nothing_new(case, endpoint)
    if endpoint == "status" and not case.settings.mdm.declarative:
        return b""  # the room is closed: nothing is taken any more
    if endpoint in ("declaration-items", "status"):
        state_of(case, lock=True)
    now = wanted(case)
    if endpoint == "tokens":
        return now.manifest.tokens(case.now)
    if endpoint == "declaration-items":
        state = state_of(case)
        state.fetched, state.due_at = now.manifest.token, _comes_back(state, case.now)
        outcomes.note(case, now)
        listening.fetched_declared(case)
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


def _nothing_new(case: Case, endpoint: str | None) -> bytes:
    """What it fetched last is still the newest. Raises NothingThere."""
    fetched = state_of(case).fetched
    if endpoint != "tokens" or fetched in (None, NOBODY_KNOWS):
        raise NothingThere
    return manifest.tokens(fetched, case.now)


def document(case: Case, reference: addresses.Reference) -> Document:
    """What a signed address gives ``case.device``. Raises NothingThere if it is not for it, or not any more."""
    device = case.known_device
    if not device.is_served:
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


def _report(case: Case, data: object, before: Wanted) -> bytes:
    """A status report: kept as far as it is nothing personal."""
    if not isinstance(data, bytes):
        raise BadPlist("a report without Data")
    state, device, knew = state_of(case), case.known_device, known_of(case)
    try:
        known = status.learn(knew, data)
    except BadReport as problem:
        raise BadPlist(str(problem)) from None
    apps, had = listening.ours(case, known.lists.get(APPS, {})), knew.lists.get(APPS, {})
    known = replace(known, lists={**known.lists, APPS: apps} if APPS in known.lists else known.lists)
    declared = {each.identifier for each in before.manifest.declarations}
    known = status.only_of(declared, known)
    now_said = known.values.get(status.VERSION)
    if now_said is not None and now_said != knew.values.get(status.VERSION):
        device.os_version = now_said
    known = replace(known, declarations={name: each for name, each in known.declarations.items() if name in declared})
    state.known, state.reported_at = known.as_json(), case.now
    if status.is_full(data) and declared - known.declarations.keys():
        told_nothing(case)  # it lost something: it is told anew
    now = wanted(case)
    outcomes.note(case, now)
    # Who reports does not fetch commands: when it was seen last says only when it connected.
    if state.announced_at is None or case.now - state.announced_at >= ANNOUNCE_AGAIN:
        announce(case, now)
    managed_apps = known.lists.get(status.MANAGED_APPS, {})
    if managed_apps and case.settings.apps.enabled:  # the same as before may be said of what was declared anew
        listening.reported_declared(case, managed_apps)
    if apps != had:
        listening.reported(case, {name for name in apps.keys() | had.keys() if apps.get(name) != had.get(name)})
    return b""


# --- a device is told ----------------------------------------------------------------------------------------------


def announce(case: Case, now: Wanted | None = None) -> bool:
    """Have ``case.device`` get what it is to have, if it was not told of it. False if there is nothing new.

    Who is not enrolled yet, or on the way out, is told nothing. The command to look brings no tokens along: the device
    asks for those of the moment, however late the command comes.
    """
    device = case.known_device
    if not device.is_served:
        return False
    state = state_of(case) if now is not None else state_of(case, lock=True)
    now = now or wanted(case)
    state.due_at = _comes_back(state, case.now)
    nothing = not now.manifest.declarations and not now.granted.composition.items and not state.profiles
    nothing = nothing and state.fetched in (None, Manifest().token)
    if not _removals_due(state, case.now) and (state.announced == now.token or (state.announced is None and nothing)):
        return False
    state.announced, state.announced_at = now.token, case.now
    case.store.revoke_work_certificates(device, now.parts)
    _send_profiles(case, state, now)
    state.due_at = _comes_back(state, case.now)
    if now.granted.declared or state.fetched not in (None, Manifest().token):
        _order_synchronization(case, device)
    outcomes.note(case, now)
    return True


def follow_synchronization(case: Case) -> None:
    """``case.device`` took the command to look: if it does not come for the list, it is reminded, ever more rarely."""
    state = state_of(case, lock=True)
    if state.fetched != state.announced:
        since = case.now - (state.announced_at or case.now)
        state.due_at = case.now + max(COMES_WITHIN, since)


def remind(case: Case) -> None:
    """``case.device`` was told everything; if it did not come for it, it is told once more."""
    device, state = case.known_device, state_of(case, lock=True)
    state.due_at = _comes_back(state, case.now)
    told = device.is_served and state.announced is not None and declares(case.settings, version_of(device.os_version))
    if told and state.fetched != state.announced:
        _order_synchronization(case, device)


def send_again(case: Case, actor: Actor | str) -> None:
    """Have ``case.device`` get every policy anew, as if each had changed. Raises DeviceGone."""
    if not management.managed(case).is_served:
        raise DeviceGone
    state = state_of(case)
    state.again = (state.again or 0) + 1
    case.record(Event.POLICIES_AGAIN, actor=actor)
    announce(case)


def identity_part(case: Case, reference: addresses.Reference) -> Part | None:
    """The part of a policy for which ``case.device`` may have an identity by this challenge now; None for none."""
    device = case.known_device
    if not device.is_served:
        return None
    now = wanted(case)
    item = now.granted.item(reference.identifier)
    if item is None or item.token[: addresses.TOKEN_CHARACTERS] != reference.token:
        return None
    part = Maker(case, now.granted, item, version_of(device.os_version)).part(reference.part)
    return part if part is not None and own_authority.is_own(part) else None


def told_nothing(case: Case) -> None:
    """``case.device`` did not take the command to look, or lost something: what was declared is announced again."""
    state = state_of(case, lock=True)
    if state.announced is not None:
        state.due_at = case.now + ANNOUNCE_AGAIN
    state.announced, state.fetched = None, NOBODY_KNOWS


def begins_anew(case: Case) -> None:
    """``case.device`` begins anew: nothing of what it was sent before is there any more, nor counts."""
    case.store.revoke_work_certificates(case.known_device, ())
    state = state_of(case)
    state.announced, state.fetched, state.profiles = None, None, {}


def _order_synchronization(case: Case, device: Device) -> None:
    if not commands.waiting(case, device, commands.DECLARE):
        commands.declare(case, device)


# --- profiles for who knows no declarations ------------------------------------------------------------------------


def _send_profiles(case: Case, state: DeclarativeState, now: Wanted) -> None:
    """Queue what is missing, and the removal of what is not wanted any more, each once."""
    device = case.known_device
    items = {} if now.granted.declared else {each.identifier: each for each in now.granted.composition.items}
    on_the_way = {each.profile for each in case.store.open_commands(device) if each.profile is not None}
    for identifier in set(state.profiles) - set(items) - on_the_way:
        again = state.profiles[identifier].get(AGAIN)
        if again and datetime.fromisoformat(again) > case.now:
            continue
        state.profiles = _with(state.profiles, identifier, **{AGAIN: ""})
        commands.remove_profile_of_policy(case, device, identifier, granted.profile_identifier(case, identifier))
    for identifier, item in items.items():
        there = state.profiles.get(identifier, {}).get("token") == item.token
        if not there and identifier not in on_the_way:
            commands.install_profile_of_policy(case, device, identifier)


def filled(case: Case, command: Command) -> bytes | None:
    """A command as it is sent: with the profile of a policy in it as that is now. None if it is not wanted any more, or
    cannot be made."""
    if command.profile is None or command.request_type != "InstallProfile":
        return commands.as_sent(case, command)
    now, state = wanted(case), state_of(case)
    if not case.known_device.is_served:
        state.announced = None  # should it be served again, what is missing is sent then
        return None
    item = now.granted.item(command.profile) if not now.granted.declared else None
    if item is None:
        return None
    became = {"token": item.token, "state": State.SENT.value, "reason": ""}
    profile = None
    try:
        profile = Maker(case, now.granted, item, version_of(case.known_device.os_version)).profile()
    except CannotBeMade as problem:
        log.exception("policies.cannot_be_made item=%s", problem)
        became |= {"state": State.FAILED.value, "reason": "cannot_be_made"}
    state.profiles = state.profiles | {command.profile: became}
    outcomes.note(case, now)
    return commands.with_payload(command, profile) if profile is not None else None


def answered(case: Case, command: Command) -> None:
    """``case.device`` answered a command with a profile of a policy."""
    state, identifier = state_of(case, lock=True), command.profile
    if identifier is None or command.status == CommandState.NOT_NOW:
        return
    done = command.status == CommandState.ACKNOWLEDGED
    if command.request_type == "RemoveProfile":
        _removal_answered(case, state, command, identifier)
    elif identifier in state.profiles:
        sent = state.profiles[identifier]
        became = {
            "state": (State.APPLIED if done else State.FAILED).value,
            "reason": "" if done else commands.error_of(command),
        }
        state.profiles = state.profiles | {identifier: sent | became}
    now = wanted(case)
    outcomes.note(case, now)
    state.announced = None  # what changed while it was on the way is told now
    announce(case, now)


def lost(case: Case, command: Command) -> None:
    """The answer to such a command never came: what is missing is sent again; what may be there and is not to, goes."""
    state = state_of(case)
    if command.profile in state.profiles:
        state.profiles = _with(state.profiles, command.profile, token="")
    state.announced = None
    announce(case)


def _removal_answered(case: Case, state: DeclarativeState, command: Command, identifier: str) -> None:
    """Gone, or asked again: which error says that it is not there, Apple does not tell [?], so a few are enough."""
    known = state.profiles.get(identifier)
    if known is None:
        return
    refused = command.status in commands.BY_DEVICE and command.status != CommandState.ACKNOWLEDGED
    tries = known.get(TRIES, 0) + refused
    never_there = known["state"] == State.FAILED.value and refused
    if command.status == CommandState.ACKNOWLEDGED or never_there or tries > len(REMOVED_AGAIN):
        state.profiles = {name: each for name, each in state.profiles.items() if name != identifier}
    else:
        again = case.now + REMOVED_AGAIN[max(tries, 1) - 1]
        state.profiles = _with(state.profiles, identifier, token="", **{TRIES: tries, AGAIN: again.isoformat()})


def _removals(state: DeclarativeState) -> list[datetime]:
    """When profiles are to be asked for again that were not removed when it was asked."""
    return [datetime.fromisoformat(each[AGAIN]) for each in (state.profiles or {}).values() if each.get(AGAIN)]


def _removals_due(state: DeclarativeState, now: datetime) -> bool:
    return any(at <= now for at in _removals(state))


def _comes_back(state: DeclarativeState, now: datetime) -> datetime | None:
    """When the next of them is due; for what is due and on its way already, its answer comes."""
    return min((at for at in _removals(state) if at > now), default=None)


def _with(profiles: dict[str, dict[str, Any]], name: str, **values: object) -> dict[str, dict[str, Any]]:
    return profiles | {name: profiles[name] | values}
