"""What became of a policy on one device: from what it should have, what it was told, and what it reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from portal.policies.composing import Composition, Grant, Item


class State(StrEnum):
    """In the order in which one thing outweighs another for a whole policy."""

    FAILED = "failed"
    WAITING = "waiting"
    SENT = "sent"
    APPLIED = "applied"
    UNFIT = "unfit"
    """Nothing of it is for this device: its iOS is too old, or something of the person is not known."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``reason``: Apple's code, or why it does not apply; ``version``: of the policy."""

    policy_id: str
    version: int
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What a device has of one item: the token of what it fetched or was sent; what it said of it."""

    token: str
    state: State
    reason: str = ""


def of_policies(grants: Sequence[Grant], composition: Composition, told: Mapping[str, Told]) -> list[Outcome]:
    """For each policy; ``told`` by the identifier of an item."""
    return [_of_policy(grant, composition, told) for grant in grants]


def _of_policy(grant: Grant, composition: Composition, told: Mapping[str, Told]) -> Outcome:
    items = composition.of(grant.policy_id)
    if not items:
        left = next((each for each in composition.left_out if each.policy_id == grant.policy_id), None)
        return Outcome(grant.policy_id, grant.version, State.UNFIT, f"{left.reason} {left.detail}" if left else "empty")
    stands = [_of_item(each, told.get(each.identifier)) for each in items]
    order = list(State)
    worst = min(stands, key=lambda each: order.index(each.state))
    return Outcome(grant.policy_id, grant.version, worst.state, worst.reason)


def _of_item(item: Item, told: Told | None) -> Told:
    if told is None or told.token != item.token:
        return Told(item.token, State.WAITING)
    return told


def reported(entry: Mapping[str, Any]) -> Told:
    """What a device said of one declaration (``declarations.status``)."""
    reasons = " ".join(entry["reasons"])[:120]
    if entry["valid"] == "invalid" or (entry["reasons"] and any("Error" in code for code in entry["reasons"])):
        return Told(entry["token"], State.FAILED, reasons or "invalid")
    return Told(entry["token"], State.APPLIED if entry["active"] and entry["valid"] == "valid" else State.SENT, reasons)
