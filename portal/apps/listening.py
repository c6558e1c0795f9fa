"""What a device says of its work apps, in answers to commands and by itself; then it is asked for the next step."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from portal.apps import deciding, declaring, progress, states
from portal.apps.commanding import CONFIGURE, INSTALL, REMOVE
from portal.apps.delivering import DECLARED_IS_GONE, settle
from portal.apps.progress import HAS_IT_ALREADY
from portal.apps.states import State
from portal.enrollment import commands
from portal.enrollment.case import Case
from portal.models import WITHDRAWN, App, Command, CommandState, DeviceApp

ON_ITS_WAY = "AppAlreadyQueued"
"""A RejectionReason that is none, as ``HAS_IT_ALREADY`` is."""
ANEW_NO_SOONER = timedelta(hours=1)
"""How long an app has to have been as it is before a device that begins anew is asked again at once."""
NO_SOONER = timedelta(seconds=15)
"""A device that says something else about an app all the time is not asked all the time."""


def answered(case: Case, command: Command, message: Mapping[str, Any]) -> None:
    """``case.device`` answered a command about an app."""
    row = progress.row_of(case, command)
    if row is None or command.status == CommandState.NOT_NOW:
        return
    app = case.store.apps({row.app_id})[row.app_id]
    done = command.status == CommandState.ACKNOWLEDGED
    if command.request_type == REMOVE:
        _removal_answered(case, row, app, done)
    elif not row.wanted:
        progress.look_now(case, row)  # it is to go by now, whatever became of it
    elif command.request_type == INSTALL:
        rejection = _word(message.get("RejectionReason"))
        if rejection == HAS_IT_ALREADY:
            progress.soon(case, row, State.UNKNOWN, HAS_IT_ALREADY)
        elif rejection == ON_ITS_WAY:
            progress.soon(case, row, State.QUEUED)
        elif rejection or not done:
            progress.failed(case, row, app, rejection[:60] or commands.error_of(command))
        else:
            progress.take(case, row, app, states.told(message.get("State", State.QUEUED)))
    elif done and _all_taken(message):
        row.tries, row.reason = 0, None
    else:
        _not_configured(case, row, commands.error_of(command))
    settle(case)
    _come_back(case, [row])


def listed(case: Case, command: Command, told: Mapping[str, Any]) -> None:
    """``case.device`` told how far its apps are: all of them, or those that were asked for."""
    rows = case.store.device_apps(case.known_device)
    apps = case.store.apps({each.app_id for each in rows})
    asked, on_the_way = commands.keys_of(command).get("Identifiers"), progress.under_command(case)
    for row in rows:
        app = apps[row.app_id]
        entry = told.get(app.bundle_id)
        if row.is_declared:
            continue  # it says of those what they are as commanded: removed
        if isinstance(entry, dict):
            progress.take(case, row, app, states.told(entry.get("Status")))
        elif (asked is None or app.bundle_id in asked) and row.wanted and row.app_id not in on_the_way:
            progress.missing(case, row, app)
    settle(case)
    _come_back(case, rows)


def lost(case: Case, command: Command) -> None:
    """The answer to a command about an app never came, or cannot be read: what is missing is asked again."""
    row = progress.row_of(case, command)
    if row is None:
        return
    if command.request_type == CONFIGURE and row.wanted:
        _not_configured(case, row, command.status)
    elif command.request_type == REMOVE and row.tries > len(deciding.RETRIES):
        progress.not_removed(case, row, case.store.apps({row.app_id})[row.app_id])
    else:
        progress.look_now(case, row)
    settle(case)


def ours(case: Case, told: Mapping[str, Any]) -> dict[str, Any]:
    """What of a list of apps is about those that IT gives; never of anything that people installed themselves."""
    rows = case.store.device_apps(case.known_device) if told and progress.is_open(case) else ()
    known = {each.bundle_id for each in case.store.apps({each.app_id for each in rows}).values()}
    return {name: entry for name, entry in told.items() if name in known}


def reported(case: Case, changed: set[str]) -> None:
    """``case.device`` said by itself that something about these apps changed: it is asked about them now."""
    rows = [each for each in case.store.device_apps(case.known_device) if not each.is_declared]
    apps = case.store.apps({each.app_id for each in rows})
    for row in rows:
        state = State(row.state)
        there = state not in states.NEVER_THERE and state is not State.FAILED  # that is tried again at its own time
        if apps[row.app_id].bundle_id in changed and there and progress.may_be_looked_at(row):
            row.next_at = max(case.now, row.at + NO_SOONER)
    settle(case)


def fetched_declared(case: Case) -> None:
    """``case.device`` knows now what is declared: what is not any more, it removes."""
    for row in case.store.device_apps(case.known_device) if progress.is_open(case) else ():
        if row.declared == WITHDRAWN:
            row.next_at = case.now + DECLARED_IS_GONE


def reported_declared(case: Case, entries: Mapping[str, Mapping[str, str]]) -> None:
    """``case.device`` said by itself how far its declared apps are, by bundle identifier."""
    by_name = {each.get("declaration-identifier", ""): each for each in entries.values()}
    rows = [each for each in case.store.device_apps(case.known_device) if each.is_declared]
    apps = case.store.apps({each.app_id for each in rows})
    for row in rows:
        entry = by_name.get(declaring.identifier(row.app_id))
        if entry is not None:
            state, reason = declaring.state_of(entry)
            if row.declared != WITHDRAWN and (state.value, reason or None) != (row.state, row.reason):
                progress.take(case, row, apps[row.app_id], state, reason)
    settle(case)


def begins_anew(case: Case) -> None:
    """``case.device`` begins anew: nothing is on it."""
    for row in case.store.device_apps(case.known_device):
        due = max(case.now, row.at + ANEW_NO_SOONER)  # for some begin anew all the time
        progress.became(case, row, State.LICENSE)
        row.at, row.next_at, row.tries, row.version, row.declared = case.now, due, 0, None, None


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


def _come_back(case: Case, rows: Iterable[DeviceApp]) -> None:
    """The worker looks when it is to come back; only after an answer, for anything can be reported."""
    if any(row.next_at is not None for row in rows):
        case.store.apps_due()


def _removal_answered(case: Case, row: DeviceApp, app: App, done: bool) -> None:
    if done:
        progress.removed(case, row, app)
    elif row.tries > len(deciding.RETRIES):
        progress.not_removed(case, row, app)
    else:
        row.next_at = deciding.retry_at(row.tries, case.now)


def _word(value: object) -> str:
    """A code as Apple writes them, nothing else that a device may send; empty if there is none."""
    text = str(value or "")[:60]
    return text if text.isascii() and text.isalnum() else "Other" if text else ""
