"""How far one app is on one device: what its row becomes by what is done, and by what the device says of it."""

from portal.apps import deciding, states
from portal.apps.states import State
from portal.enrollment.case import Case
from portal.events import Event
from portal.models import App, Command, DeviceApp

TOLD = {
    State.MANAGED: Event.APP_INSTALLED,
    State.USER_INSTALLED: Event.APP_OWN,
    State.USER_REJECTED: Event.APP_DECLINED,
    State.MANAGEMENT_REJECTED: Event.APP_DECLINED,
    State.MANAGED_BUT_UNINSTALLED: Event.APP_DECLINED,
}
"""Ends that the trail tells of."""


HAS_IT_ALREADY = "AppAlreadyInstalled"
"""A RejectionReason that is none: it may be there as IT's, or as its owner's own."""


def is_open(case: Case) -> bool:
    """Whether the company gives work apps."""
    return case.settings.apps.enabled


def row_of(case: Case, command: Command) -> DeviceApp | None:
    """How far the app is that ``command`` is about; None if it is none of the device's any more."""
    return next((each for each in case.store.device_apps(case.known_device) if each.app_id == command.app_id), None)


def under_command(case: Case) -> set[str | None]:
    """The apps about which the device has a command that it did not answer yet."""
    return {each.app_id for each in case.store.open_commands(case.known_device)}


def licenses_due(case: Case, row: DeviceApp) -> None:
    """The worker looks whether the license of this app's owner is still needed."""
    if row.license_user_id is not None:
        case.store.licenses_due(row.license_user_id)


def became(case: Case, row: DeviceApp, state: State, reason: str | None = None, *, app: App | None = None) -> None:
    """The app is in ``state``, because of ``reason``; with ``app`` the trail is told of an end, once."""
    if (row.state, row.reason) == (state.value, reason):
        return
    changed = row.state != state.value
    if (State(row.state) in states.WITHOUT_LICENSE) != (state in states.WITHOUT_LICENSE):
        licenses_due(case, row)
    row.state, row.reason, row.next_at = state.value, reason, None
    if changed:
        row.at = case.now
    if state in TOLD and app is not None and first_time(row, state):
        case.record(TOLD[state], detail={"app": app.name})


def first_time(row: DeviceApp, state: State) -> bool:
    """Whether the trail was not told of it since the app was sent last."""
    told = row.told.split()
    row.told = " ".join(dict.fromkeys([*told, state.value]))
    return state.value not in told


def take(case: Case, row: DeviceApp, app: App, state: State, reason: str = "") -> None:
    """A state as the device tells it: those that it tells once are kept now."""
    if not row.wanted or (State(row.state) in (State.LICENSE, State.NO_LICENSE) and state not in states.ENDS):
        return
    if state is State.FAILED:
        if State(row.state) not in states.WITHOUT_LICENSE:  # its license is given back: of course it finds none
            failed(case, row, app, reason)
    elif state in states.UNDER_WAY:
        soon(case, row, state)
    else:
        row.tries = 0
        became(case, row, state, app=app)


def soon(case: Case, row: DeviceApp, state: State, reason: str | None = None) -> None:
    """The device is at it: it is asked how far it is before long."""
    became(case, row, state, reason)
    row.next_at = deciding.look_at(row.at, case.now)


def failed(case: Case, row: DeviceApp, app: App, reason: str) -> None:
    """It failed; it is sent again after a while, some times, then the trail is told."""
    said_again = State(row.state) is State.FAILED
    set_already, reason = (row.next_at, reason or row.reason or "") if said_again else (None, reason)
    became(case, row, State.FAILED, reason or None)
    row.tries = max(row.tries, 1)  # it may have been there once
    row.next_at = set_already or deciding.retry_at(row.tries, case.now)
    last = row.tries == len(deciding.RETRIES) + 1
    if last and states.lacks_license(reason) and row.license_user_id is not None and app.adam_id is not None:
        case.store.license_doubted(row.license_user_id, app.adam_id)
        became(case, row, State.LICENSE)
        return
    if row.next_at is None and first_time(row, State.FAILED):
        case.record(Event.APP_FAILED, detail={"app": app.name, "code": reason})


def missing(case: Case, row: DeviceApp, app: App) -> None:
    """It is not on the list: its owner deleted it, or it never came."""
    state = State(row.state)
    if state in states.THERE:
        became(case, row, State.MANAGED_BUT_UNINSTALLED, app=app)
    elif state is State.UNKNOWN and row.reason == HAS_IT_ALREADY:  # there, but not IT's
        became(case, row, State.USER_INSTALLED, app=app)
    elif state in states.UNDER_WAY or state is State.WAITING:
        failed(case, row, app, "not_listed")


def removed(case: Case, row: DeviceApp, app: App) -> None:
    """Nothing of it is on the device."""
    case.record(Event.APP_REMOVED, detail={"app": app.name})
    became(case, row, State.LICENSE)  # nothing of it is there: it is forgotten, or wanted again
    row.declared = None


def not_removed(case: Case, row: DeviceApp, app: App) -> None:
    """The device removes it not, however often it is asked: nobody is told that it did."""
    case.record(Event.APP_NOT_REMOVED, detail={"app": app.name})
    became(case, row, State.LICENSE)
    row.declared = None


def may_be_looked_at(row: DeviceApp) -> bool:
    """Not while it is only about to go: its day of grace has its end already."""
    return row.wanted or State(row.state) is State.REMOVING or row.next_at is None


def look_now(case: Case, row: DeviceApp) -> None:
    """The next step is looked for now, unless it is only about to go."""
    if may_be_looked_at(row):
        row.next_at = case.now
