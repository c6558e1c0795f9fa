"""Work apps on one device: what it is to have is compared with what is known of it, and it is asked for the next step.

License first, then the command, then how far the device is, until it is there or its owner decided. Everything here
works on the case of a device and may be repeated at any time. Facts: Apple, "InstallApplication", "RemoveApplication",
"ManagedApplicationList", "Settings"; in user enrollment ``PurchaseMethod`` is 1, and apps that people installed
themselves are never taken over.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from portal.apps import behaviour, deciding, declaring, states
from portal.apps.behaviour import NOT_IN_BACKUPS, REMOVED_WITH_ENROLLMENT
from portal.apps.deciding import GRACE, Facts, Step
from portal.apps.granting import Granted
from portal.apps.seats import SeatState
from portal.apps.states import State
from portal.declarations.wanting import device_of, managed, version_of
from portal.enrollment import allowed, commands, management
from portal.enrollment.case import Case
from portal.enrollment.errors import CommandForbidden, DeviceGone
from portal.events import Event
from portal.models import COMMANDED, WITHDRAWN, App, Command, DeviceApp, LicenseSeat
from portal.policies.variables import Recipient

INSTALL, REMOVE, LIST, CONFIGURE = "InstallApplication", "RemoveApplication", "ManagedApplicationList", "Settings"
HAS_IT_ALREADY, ON_ITS_WAY = "AppAlreadyInstalled", "AppAlreadyQueued"
"""RejectionReasons that are none: it may be there as IT's."""
CANNOT_BE_MADE = "cannot_be_made"
"""Its configuration for this person cannot be sent."""
DECLARED_IS_GONE = timedelta(minutes=2)
"""How long a device has to remove what is not declared any more; then it is asked for the next step."""
NO_SOONER = timedelta(seconds=15)
"""A device that says something else about an app all the time is not asked all the time."""
JUST_NOW = timedelta(minutes=15)
"""An admin changed who gets an app, or its owner gave it back: then it goes without grace."""
TOLD = {
    State.MANAGED: Event.APP_INSTALLED,
    State.USER_INSTALLED: Event.APP_OWN,
    State.USER_REJECTED: Event.APP_DECLINED,
    State.MANAGEMENT_REJECTED: Event.APP_DECLINED,
    State.MANAGED_BUT_UNINSTALLED: Event.APP_DECLINED,
}
"""Ends that the trail tells of."""

log = logging.getLogger("portal.apps")


def settle(case: Case) -> None:
    """Have ``case.device`` get what its owner is to have, step by step; nothing for who may not work here any more."""
    device = device_of(case)
    rows = {each.app_id: each for each in case.store.device_apps(device)}
    if not managed(device) or case.request.person.disabled_at is not None:
        for row in rows.values():
            row.next_at = None
        return
    granted = {each.app.id: each for each in case.store.granted_apps(case.request.person_id)} if _open(case) else {}
    wanted = {app_id: each for app_id, each in granted.items() if each.wanted}
    if not rows and not wanted:
        return
    for app_id in wanted.keys() - rows.keys():
        rows[app_id] = _new(case, wanted[app_id])
    apps = case.store.apps(set(rows))
    seats = _seats(case, rows, apps)
    asked = _asked(case)
    names = {apps[app_id].bundle_id for app_id in wanted}
    under_way = []
    for app_id, row in rows.items():
        app = apps[app_id]
        _note_wish(case, row, app_id in wanted, app, gave_back=app_id in granted)
        if not row.wanted and app.bundle_id in names:  # the same app is in the catalogue anew, and it is to have that
            _forget(case, row)
        elif _go_on(case, row, app, seats, asked=app_id in asked) is Step.ASK:
            under_way.append(app.bundle_id)
    if under_way:
        _ask_how_far(case, under_way)


def _open(case: Case) -> bool:
    return case.settings.apps.enabled


def _new(case: Case, granted: Granted) -> DeviceApp:
    row = DeviceApp(
        device_id=device_of(case).id,
        app_id=granted.app.id,
        wanted=True,
        state=State.LICENSE.value,
        at=case.now,
        tries=0,
        told="",
    )
    case.store.add(row)
    return row


def _seats(case: Case, rows: Mapping[str, DeviceApp], apps: Mapping[str, App]) -> Mapping[str, LicenseSeat]:
    """The licenses of the device's owner, by adam id; whose they are is noted."""
    account = case.request.managed_apple_account
    licensed = [row for app_id, row in rows.items() if apps[app_id].adam_id is not None]
    if account is None or not licensed:
        return {}
    user_id = case.store.license_user(account, case.request.person_id)
    if any(row.license_user_id is None for row in licensed):
        for row in licensed:
            row.license_user_id = row.license_user_id or user_id
        case.store.licenses_due(user_id)
    return {each.adam_id: each for each in case.store.seats_of(user_id)}


def _note_wish(case: Case, row: DeviceApp, wanted: bool, app: App, *, gave_back: bool) -> None:
    if wanted == row.wanted:
        return
    row.wanted, row.tries = wanted, 0
    at_once = gave_back or not _open(case) or case.now - app.changed_at < JUST_NOW
    row.next_at = case.now if wanted or at_once else case.now + GRACE


def _asked(case: Case) -> set[str | None]:
    """The apps about which the device has a command that it did not answer yet."""
    return {each.app_id for each in case.store.open_commands(device_of(case))}


def _go_on(case: Case, row: DeviceApp, app: App, seats: Mapping[str, LicenseSeat], *, asked: bool) -> Step:
    """Take the next step; ASK is left to the caller, who asks about all at once."""
    if row.declared == WITHDRAWN and not _is_gone(case, row, app):
        return Step.REST
    seat = seats.get(app.adam_id or "")
    facts = Facts(
        state=State(row.state),
        wanted=row.wanted,
        asked=asked,
        licensed=app.adam_id is None or (seat is not None and seat.state == SeatState.HELD),
        hopeless=seat is not None and seat.state == SeatState.FAILED,
        fits=version_of(device_of(case).os_version) >= version_of(app.minimum_ios),
        current=row.version == app.version,
        due=row.next_at is not None and row.next_at <= case.now,
        waits=row.next_at is not None and row.next_at > case.now,
        tries=row.tries,
    )
    step = deciding.next_step(facts)
    if facts.due:
        row.next_at = None  # its time came; what is done sets the next one
    if step is Step.GET_LICENSE:
        _became(case, row, State.LICENSE)
    elif step is Step.NO_LICENSE:
        _became(case, row, State.NO_LICENSE, seat.reason if seat is not None else None)
    elif step is Step.TOO_OLD:
        _became(case, row, State.TOO_OLD, app.minimum_ios)
    elif step in (Step.INSTALL, Step.CONFIGURE, Step.REMOVE):
        _ask_for(case, row, app, step)
    elif step is Step.ASK:
        row.next_at = deciding.look_at(row.at, case.now)
        return Step.REST if row.is_declared else Step.ASK  # what is declared reports by itself
    elif step is Step.FORGET:
        _forget(case, row)
    return step


def _forget(case: Case, row: DeviceApp) -> None:
    case.store.remove(row)
    _licenses_due(case, row)


def _is_gone(case: Case, row: DeviceApp, app: App) -> bool:
    """Whether what is not declared any more is removed by now: the device fetched the list that it is not on."""
    if row.next_at is None or row.next_at > case.now:
        return False
    state = case.store.declarative_state(device_of(case))
    if state.due_at is not None or state.fetched is None or state.fetched != state.announced:
        row.next_at = deciding.look_at(row.at, case.now)
        return False
    _removed(case, row, app)
    row.next_at = case.now
    return True


def _ask_for(case: Case, row: DeviceApp, app: App, step: Step) -> None:
    device, told = device_of(case), {"app": app.name}
    if row.is_declared and not case.settings.mdm.declarative:
        row.declared = COMMANDED  # nothing is said in that way any more
    if row.is_declared or (row.declared is None and step is Step.INSTALL and _can_be_declared(case, app)):
        _declare(case, row, app, step)
        return
    row.declared = COMMANDED
    if step is Step.REMOVE:
        row.tries += 1
        _became(case, row, State.REMOVING)
        commands.order_for_app(case, device, {"RequestType": REMOVE, "Identifier": app.bundle_id}, row.app_id)
        case.record(Event.APP_REMOVAL, detail=told)
        return
    if step is Step.INSTALL:
        row.tries, row.told = row.tries + 1, ""
        _became(case, row, State.WAITING)
        case.record(Event.APP_ASKED, detail=told)
    row.next_at = None
    kind = INSTALL if step is Step.INSTALL else CONFIGURE
    commands.order_for_app(case, device, {"RequestType": kind}, row.app_id)


def _can_be_declared(case: Case, app: App) -> bool:
    ios = version_of(device_of(case).os_version)
    return case.settings.apps.declared and declaring.can_be(case.settings, ios, behaviour.of(app, case.vault))


def _declare(case: Case, row: DeviceApp, app: App, step: Step) -> None:
    """The same by declaration: the device is told soon what is declared now."""
    if step is Step.REMOVE:
        row.declared = WITHDRAWN
        _became(case, row, State.REMOVING)
        row.next_at = case.now + DECLARED_IS_GONE
        case.record(Event.APP_REMOVAL, detail={"app": app.name})
    else:
        held = behaviour.of(app, case.vault)
        if held.configuration and step is Step.CONFIGURE:
            row.version, row.reason = app.version, "no_configuration"
            return
        content = {**declaring.payload(app, held), "since": case.now.isoformat()}  # sent again, it is another one
        row.declared, row.version = declaring.digest(content), app.version
        if step is Step.INSTALL:
            row.tries, row.told = row.tries + 1, ""
            _became(case, row, State.WAITING)
            case.record(Event.APP_ASKED, detail={"app": app.name})
    case.store.declarative_state(device_of(case), lock=True).due_at = case.now


def _ask_how_far(case: Case, names: Iterable[str]) -> None:
    """One question for all that are under way; a device that did not answer it yet is not asked twice."""
    device, missing = device_of(case), set(names)
    for each in commands.waiting(case, device, LIST):
        missing -= set(commands.keys_of(each).get("Identifiers", missing))
    if missing:
        commands.order(case, device, commands.Order(LIST, {"Identifiers": sorted(missing)}))


def _licenses_due(case: Case, row: DeviceApp) -> None:
    if row.license_user_id is not None:
        case.store.licenses_due(row.license_user_id)


def _became(case: Case, row: DeviceApp, state: State, reason: str | None = None, *, app: App | None = None) -> None:
    if (row.state, row.reason) == (state.value, reason):
        return
    changed = row.state != state.value
    if (State(row.state) in states.WITHOUT_LICENSE) != (state in states.WITHOUT_LICENSE):
        _licenses_due(case, row)
    row.state, row.reason, row.next_at = state.value, reason, None
    if changed:
        row.at = case.now
    if state in TOLD and app is not None and _first_time(row, state):
        case.record(TOLD[state], detail={"app": app.name})


def _first_time(row: DeviceApp, state: State) -> bool:
    """Whether the trail was not told of it since the app was sent last."""
    told = row.told.split()
    row.told = " ".join(dict.fromkeys([*told, state.value]))
    return state.value not in told


# --- a command as it is sent ---------------------------------------------------------------------------------------


def filled(case: Case, command: Command) -> bytes | None:
    """A command about an app as it is sent: configured as it is now. None if it is not wanted, or cannot be."""
    row = _row_of(case, command)
    if row is None:
        return None
    if row.wanted == (command.request_type == REMOVE):
        _look_now(case, row)
        return None
    if command.request_type == REMOVE:
        return command.payload
    app = case.store.apps({row.app_id})[row.app_id]
    held = behaviour.of(app, case.vault)
    recipient, request = case.request.person, case.request
    who = Recipient(recipient.email, request.managed_apple_account or "", recipient.username, recipient.name)
    configuration = {"Configuration": held.configured_for(who)} if held.configuration else {}
    attributes = {"Attributes": found} if (found := held.attributes()) else {}
    row.version = app.version
    if command.request_type == INSTALL:
        keys: dict[str, Any] = {"ManagementFlags": REMOVED_WITH_ENROLLMENT | NOT_IN_BACKUPS}
        keys |= {"iTunesStoreID": int(app.adam_id), "Options": {"PurchaseMethod": 1}} if app.adam_id else {}
        keys |= {"ManifestURL": app.manifest_url} if app.manifest_url else {}
        keys |= configuration | attributes
    else:  # what is left out is taken away
        named = {"Identifier": app.bundle_id}
        items = ("ApplicationConfiguration", configuration), ("ApplicationAttributes", attributes)
        keys = {"Settings": [{"Item": item, **named, **its} for item, its in items]}
    try:
        return commands.with_keys(command, allowed.command(command.request_type, keys))
    except CommandForbidden:  # a person's name that no property list can carry, for one
        log.exception("apps.cannot_be_made app=%s", row.app_id)
        if command.request_type == INSTALL:
            _failed(case, row, app, CANNOT_BE_MADE)
        else:
            row.reason = CANNOT_BE_MADE
        return None


# --- what the device says ------------------------------------------------------------------------------------------


def answered(case: Case, command: Command, message: Mapping[str, Any]) -> None:
    """``case.device`` answered a command about an app."""
    row = _row_of(case, command)
    if row is None or command.status == "not_now":
        return
    app = case.store.apps({row.app_id})[row.app_id]
    done = command.status == "acknowledged"
    if command.request_type == REMOVE:
        _removal_answered(case, row, app, done)
    elif not row.wanted:
        _look_now(case, row)  # it is to go by now, whatever became of it
    elif command.request_type == INSTALL:
        rejection = _word(message.get("RejectionReason"))
        if rejection == HAS_IT_ALREADY:
            _soon(case, row, State.UNKNOWN)
        elif rejection == ON_ITS_WAY:
            _soon(case, row, State.QUEUED)
        elif rejection or not done:
            _failed(case, row, app, rejection[:60] or _code(command))
        else:
            _take(case, row, app, states.told(message.get("State", State.QUEUED)))
    elif done and _all_taken(message):
        row.tries, row.reason = 0, None
    else:
        _not_configured(case, row, _code(command))
    settle(case)
    _come_back(case, [row])


def _all_taken(message: Mapping[str, Any]) -> bool:
    """Whether a device took each of the ``Settings`` that it was sent, as far as it says."""
    told = message.get("Settings")
    each_told = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    return all(each.get("Status", "Acknowledged") == "Acknowledged" for each in each_told)


def _not_configured(case: Case, row: DeviceApp, reason: str) -> None:
    """It did not take how the app is to behave: it is told again, some times, until that changes."""
    row.tries, row.reason = row.tries + 1, reason
    again = deciding.retry_at(row.tries, case.now)
    if again is not None:
        row.version, row.next_at = None, again
    else:
        row.tries = 0


def listed(case: Case, command: Command, told: Mapping[str, Any]) -> None:
    """``case.device`` told how far its apps are: all of them, or those that were asked for."""
    rows = case.store.device_apps(device_of(case))
    apps = case.store.apps({each.app_id for each in rows})
    asked, on_the_way = commands.keys_of(command).get("Identifiers"), _asked(case)
    for row in rows:
        app = apps[row.app_id]
        entry = told.get(app.bundle_id)
        if row.is_declared:
            continue  # it says of those what they are as commanded: removed
        if isinstance(entry, dict):
            _take(case, row, app, states.told(entry.get("Status")))
        elif (asked is None or app.bundle_id in asked) and row.wanted and row.app_id not in on_the_way:
            _missing(case, row, app)
    settle(case)
    _come_back(case, rows)


def _come_back(case: Case, rows: Iterable[DeviceApp]) -> None:
    """The worker looks when it is to come back; only after an answer, for anything can be reported."""
    if any(row.next_at is not None for row in rows):
        case.store.apps_due()


def ours(case: Case, told: Mapping[str, Any]) -> dict[str, Any]:
    """What of a list of apps is about those that IT gives; never of anything that people installed themselves."""
    rows = case.store.device_apps(device_of(case)) if told and _open(case) else ()
    known = {each.bundle_id for each in case.store.apps({each.app_id for each in rows}).values()}
    return {name: entry for name, entry in told.items() if name in known}


def reported(case: Case, changed: set[str]) -> None:
    """``case.device`` said by itself that something about these apps changed: it is asked about them now."""
    rows = [each for each in case.store.device_apps(device_of(case)) if not each.is_declared]
    apps = case.store.apps({each.app_id for each in rows})
    for row in rows:
        there = State(row.state) not in states.NEVER_THERE
        if apps[row.app_id].bundle_id in changed and there and _may_be_looked_at(row):
            row.next_at = max(case.now, row.at + NO_SOONER)
    settle(case)


def fetched_declared(case: Case) -> None:
    """``case.device`` knows now what is declared: what is not any more, it removes."""
    for row in case.store.device_apps(device_of(case)) if _open(case) else ():
        if row.declared == WITHDRAWN:
            row.next_at = case.now + DECLARED_IS_GONE


def reported_declared(case: Case, entries: Mapping[str, Mapping[str, str]]) -> None:
    """``case.device`` said by itself how far its declared apps are, by bundle identifier."""
    by_name = {each.get("declaration-identifier", ""): each for each in entries.values()}
    rows = [each for each in case.store.device_apps(device_of(case)) if each.is_declared]
    apps = case.store.apps({each.app_id for each in rows})
    for row in rows:
        entry = by_name.get(declaring.identifier(row.app_id))
        if entry is not None:
            state, reason = declaring.state_of(entry)
            if row.declared != WITHDRAWN and (state.value, reason or None) != (row.state, row.reason):
                _take(case, row, apps[row.app_id], state, reason)
    settle(case)


def lost(case: Case, command: Command) -> None:
    """The answer to a command about an app never came, or cannot be read: what is missing is asked again."""
    row = _row_of(case, command)
    if row is None:
        return
    if command.request_type == CONFIGURE and row.wanted:
        _not_configured(case, row, command.status)
    else:
        _look_now(case, row)
    settle(case)


def _may_be_looked_at(row: DeviceApp) -> bool:
    """Not while it is only about to go: its day of grace has its end already."""
    return row.wanted or State(row.state) is State.REMOVING or row.next_at is None


def _look_now(case: Case, row: DeviceApp) -> None:
    if _may_be_looked_at(row):
        row.next_at = case.now


def begins_anew(case: Case) -> None:
    """``case.device`` begins anew: nothing is on it."""
    for row in case.store.device_apps(device_of(case)):
        _became(case, row, State.LICENSE)
        row.at, row.next_at, row.tries, row.version, row.declared = case.now, case.now, 0, None, None


def send_again(case: Case, app_id: str, actor: str) -> None:
    """Ask for an app once more, whatever its owner decided, or failed. Raises DeviceGone."""
    device = management.managed(case)
    row = next((each for each in case.store.device_apps(device) if each.app_id == app_id), None)
    if row is None or not managed(device):
        raise DeviceGone
    app = case.store.apps({app_id})[app_id]
    if not row.wanted and State(row.state) is not State.REMOVING:
        raise DeviceGone  # it is about to go
    case.record(Event.APP_AGAIN, actor=actor, detail={"app": app.name})
    if not row.wanted:
        row.tries, row.next_at = 0, case.now  # it is to go: its removal is asked for again
    elif State(row.state) is State.MANAGED:
        row.version, row.tries, row.next_at = None, 0, None
    elif not any(each.app_id == app_id for each in case.store.open_commands(device)):
        row.tries = 0
        _became(case, row, State.LICENSE)
    settle(case)


def _row_of(case: Case, command: Command) -> DeviceApp | None:
    return next((each for each in case.store.device_apps(device_of(case)) if each.app_id == command.app_id), None)


def _take(case: Case, row: DeviceApp, app: App, state: State, reason: str = "") -> None:
    """A state as the device tells it: those that it tells once are kept now."""
    if not row.wanted or (State(row.state) in (State.LICENSE, State.NO_LICENSE) and state not in states.ENDS):
        return
    if state is State.FAILED:
        if State(row.state) not in states.WITHOUT_LICENSE:  # its license is given back: of course it finds none
            _failed(case, row, app, reason)
    elif state in states.UNDER_WAY:
        _soon(case, row, state)
    else:
        row.tries = 0
        _became(case, row, state, app=app)


def _soon(case: Case, row: DeviceApp, state: State) -> None:
    _became(case, row, state)
    row.next_at = deciding.look_at(row.at, case.now)


def _failed(case: Case, row: DeviceApp, app: App, reason: str) -> None:
    _became(case, row, State.FAILED, reason or None)
    row.tries = max(row.tries, 1)  # it may have been there once
    row.next_at = deciding.retry_at(row.tries, case.now)
    if row.next_at is None and _first_time(row, State.FAILED):
        case.record(Event.APP_FAILED, detail={"app": app.name, "code": reason})


def _missing(case: Case, row: DeviceApp, app: App) -> None:
    """It is not on the list: its owner deleted it, or it never came."""
    state = State(row.state)
    if state in states.THERE:
        _became(case, row, State.MANAGED_BUT_UNINSTALLED, app=app)
    elif state is State.UNKNOWN:  # there, but not IT's: it was said to be installed already
        _became(case, row, State.USER_INSTALLED, app=app)
    elif state in states.UNDER_WAY or state is State.WAITING:
        _failed(case, row, app, "not_listed")


def _removal_answered(case: Case, row: DeviceApp, app: App, done: bool) -> None:
    if done or row.tries > len(deciding.RETRIES):
        _removed(case, row, app)
    else:
        row.next_at = deciding.retry_at(row.tries, case.now)


def _removed(case: Case, row: DeviceApp, app: App) -> None:
    case.record(Event.APP_REMOVED, detail={"app": app.name})
    _became(case, row, State.LICENSE)  # nothing of it is there: it is forgotten, or wanted again
    row.declared = None


def _word(value: object) -> str:
    """A code as Apple writes them, nothing else that a device may send; empty if there is none."""
    text = str(value or "")[:60]
    return text if text.isascii() and text.isalnum() else "Other" if text else ""


def _code(command: Command) -> str:
    first = (command.errors or [{}])[0]
    return f"{first.get('ErrorDomain', '')} {first.get('ErrorCode', '')}".strip()[:120] or command.status
