"""What became of each policy on a device: kept beside it, from what it was told and what it said."""

from collections.abc import Mapping
from dataclasses import replace

from portal.declarations.wanting import Wanted, known_of, state_of
from portal.enrollment.case import Case
from portal.events import Actor, Event
from portal.models import DevicePolicy
from portal.policies import outcome
from portal.policies.outcome import State, Told


def note(case: Case, now: Wanted) -> None:
    """Keep what became of each policy; that one failed is told once."""
    device = case.known_device
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
        if row.version != each.version or each.state is State.APPLIED:
            row.sent_again = 0
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
    state = state_of(case)
    if not now.granted.declared:
        sent = state.profiles.items()
        return {name: Told(each["token"], State(each["state"]), each["reason"]) for name, each in sent}
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
