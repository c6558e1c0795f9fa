"""Work apps on one device: what it is to have is compared with what is known of it, and it is asked for the next step.

License first, then the command, then how far the device is, until it is there or its owner decided. Everything here
works on the case of a device and may be repeated at any time. Apps that people installed themselves are never taken
over. What the device says of them is taken up in ``listening``.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from portal.apps import behaviour, deciding, declaring, progress
from portal.apps.commanding import CONFIGURE, INSTALL, LIST, REMOVE
from portal.apps.deciding import GRACE, Facts, Step
from portal.apps.seats import SeatState
from portal.apps.states import State
from portal.enrollment import commands, management
from portal.enrollment.case import Case, GrantedApp
from portal.enrollment.errors import DeviceGone
from portal.events import Event
from portal.models import COMMANDED, WITHDRAWN, App, DeviceApp, LicenseSeat
from portal.versions import version_of

DECLARED_IS_GONE = timedelta(minutes=2)
"""How long a device has to remove what is not declared any more; then it is asked for the next step."""
JUST_NOW = timedelta(minutes=15)
"""An admin changed who gets an app, or its owner gave it back: then it goes without grace."""


def settle(case: Case) -> None:
    """Have ``case.device`` get what its owner is to have, step by step; nothing happens where it is not served."""
    device = case.known_device
    rows = {each.app_id: each for each in case.store.device_apps(device)}
    if not device.is_served:
        return
    granted = (
        {each.app.id: each for each in case.store.granted_apps(case.request.person_id)}
        if progress.is_open(case)
        else {}
    )
    wanted = {app_id: each for app_id, each in granted.items() if each.wanted}
    if not rows and not wanted:
        return
    for app_id in wanted.keys() - rows.keys():
        rows[app_id] = _new(case, wanted[app_id])
    apps = case.store.apps(set(rows))
    seats = _seats(case, rows, apps)
    asked = progress.under_command(case)
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


def send_again(case: Case, app_id: str, actor: str) -> None:
    """Ask for an app once more, whatever its owner decided, or failed. Raises DeviceGone."""
    device = management.managed(case)
    row = next((each for each in case.store.device_apps(device) if each.app_id == app_id), None)
    if row is None or not device.is_served:
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
        progress.became(case, row, State.LICENSE)
        row.tries, row.next_at = 0, None
    settle(case)


def _new(case: Case, granted: GrantedApp) -> DeviceApp:
    row = DeviceApp(
        device_id=case.known_device.id,
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
    if not account or not licensed:
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
    at_once = gave_back or not progress.is_open(case) or case.now - app.changed_at < JUST_NOW
    row.next_at = case.now if wanted or at_once else case.now + GRACE


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
        fits=version_of(case.known_device.os_version) >= version_of(app.minimum_ios),
        current=row.version == app.version,
        due=row.next_at is not None and row.next_at <= case.now,
        waits=row.next_at is not None and row.next_at > case.now,
        tries=row.tries,
    )
    step = deciding.next_step(facts)
    if facts.due:
        row.next_at = None  # its time came; what is done sets the next one
    if step is Step.GET_LICENSE:
        progress.became(case, row, State.LICENSE)
    elif step is Step.NO_LICENSE:
        progress.became(case, row, State.NO_LICENSE, seat.reason if seat is not None else None)
    elif step is Step.TOO_OLD:
        progress.became(case, row, State.TOO_OLD, app.minimum_ios)
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
    progress.licenses_due(case, row)


def _is_gone(case: Case, row: DeviceApp, app: App) -> bool:
    """Whether what is not declared any more is removed by now: the device fetched the list that it is not on."""
    if row.next_at is None or row.next_at > case.now:
        return False
    state = case.store.declarative_state(case.known_device)
    if state.due_at is not None or state.fetched is None or state.fetched != state.announced:
        row.next_at = deciding.look_at(row.at, case.now)
        return False
    progress.removed(case, row, app)
    row.next_at = case.now
    return True


def _ask_for(case: Case, row: DeviceApp, app: App, step: Step) -> None:
    device, told = case.known_device, {"app": app.name}
    if row.is_declared and not case.settings.mdm.declarative:
        row.declared = COMMANDED  # nothing is said in that way any more
    if row.is_declared or (row.declared is None and step is Step.INSTALL and _can_be_declared(case, app)):
        _declare(case, row, app, step)
        return
    row.declared = COMMANDED
    if step is Step.REMOVE:
        row.tries += 1
        progress.became(case, row, State.REMOVING)
        commands.order_for_app(case, device, {"RequestType": REMOVE, "Identifier": app.bundle_id}, row.app_id)
        case.record(Event.APP_REMOVAL, detail=told)
        return
    if step is Step.INSTALL:
        row.tries, row.told = row.tries + 1, ""
        progress.became(case, row, State.WAITING)
        case.record(Event.APP_ASKED, detail=told)
    row.next_at = None
    kind = INSTALL if step is Step.INSTALL else CONFIGURE
    commands.order_for_app(case, device, {"RequestType": kind}, row.app_id)


def _can_be_declared(case: Case, app: App) -> bool:
    ios = version_of(case.known_device.os_version)
    return case.settings.apps.declared and declaring.can_be(case.settings, ios, behaviour.of(app, case.vault))


def _declare(case: Case, row: DeviceApp, app: App, step: Step) -> None:
    """The same by declaration: the device is told soon what is declared now."""
    if step is Step.REMOVE:
        row.declared = WITHDRAWN
        progress.became(case, row, State.REMOVING)
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
            progress.became(case, row, State.WAITING)
            case.record(Event.APP_ASKED, detail={"app": app.name})
    case.store.declarative_state(case.known_device, lock=True).due_at = case.now


def _ask_how_far(case: Case, names: Iterable[str]) -> None:
    """One question for all that are under way; a device that did not answer it yet is not asked twice."""
    device, missing = case.known_device, set(names)
    for each in commands.waiting(case, device, LIST):
        missing -= set(commands.keys_of(each).get("Identifiers", missing))
    if missing:
        commands.order(case, device, commands.Order(LIST, {"Identifiers": sorted(missing)}))
