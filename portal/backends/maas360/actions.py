"""What IT may ask MaaS360 to do with a device: which call each command is, and whether the device allows it.

MaaS360 answers 0 for "accepted"; what becomes of it ``following`` finds out.
"""

from dataclasses import dataclass
from typing import Any

from portal.backends.base import CommandRefused
from portal.backends.maas360 import records
from portal.backends.maas360.client import Client, Refused

ACCEPTED = "0"
LONGEST_RECEIPT = 24


@dataclass(frozen=True, slots=True)
class Action:
    """``call``: of ``CALLS``; ``extra``: keys of the command and the parameters they become."""

    call: str
    extra: tuple[tuple[str, str], ...] = ()


ACTIONS: dict[str, Action] = {
    "DeviceLock": Action("lock"),
    "SelectiveWipe": Action("selective_wipe"),
    "RevokeSelectiveWipe": Action("revoke_selective_wipe"),
    "RemoveControl": Action("remove_control"),
    "SendMessage": Action("send_message", (("Title", "messageTitle"), ("Text", "message"))),
    "Refresh": Action("refresh"),
    "ChangePolicy": Action("change_policy", (("Policy", "policyName"),)),
}
"""By RequestType, as the portal calls them."""
ASKED_FIRST = ("DeviceLock", "SelectiveWipe", "RevokeSelectiveWipe", "RemoveControl", "SendMessage", "Refresh")
"""Those for which a button is shown if the device allows it."""


def give(client: Client, server_id: str, billing_id: str, command: dict[str, Any]) -> str:
    """Have MaaS360 do it; the number it gave the action, for asking later. Raises CommandRefused, BackendDown."""
    action = ACTIONS.get(str(command.get("RequestType")))
    if action is None:
        raise CommandRefused("MaaS360 is not asked to do that")
    values = {client.names.field(f"{action.call}.device"): server_id}
    values |= {parameter: str(command.get(key, "")) for key, parameter in action.extra}
    if action.call == "selective_wipe":
        values["billingID"] = billing_id
    try:
        answer = client.call(action.call, values)
    except Refused as refusal:
        raise CommandRefused(f"maas360_{refusal.code}") from None
    if not accepted(answer):
        raise CommandRefused("maas360_refused")
    receipt = records.text(answer, "actionID", "actionId")
    return receipt if receipt.isalnum() and len(receipt) <= LONGEST_RECEIPT and server_id not in receipt else ""


def accepted(answer: dict[str, Any]) -> bool:
    """Whether it was taken: ``actionStatus`` says 0, else ``status`` Success, else ``responseCode`` 0."""
    status = records.text(answer, "actionStatus")
    if status:
        return status == ACCEPTED
    word, code = records.text(answer, "status"), records.text(answer, "responseCode")
    return word.casefold() == "success" if word else code == ACCEPTED


def allowed(client: Client, server_id: str) -> frozenset[str]:
    """The RequestTypes that a device allows now, asked of MaaS360. Raises BackendDown."""
    try:
        answer = client.call("device_actions", {"deviceId": server_id})
    except Refused:
        return frozenset()
    words = {
        records.text(row, key) for row in records.rows(answer, "deviceAction") for key in ("actionId", "actionName")
    }
    return frozenset(
        kind
        for kind in ASKED_FIRST
        if any(client.names.means(f"allowed.{ACTIONS[kind].call}", word) for word in words if word)
    )


def outcome(client: Client, server_id: str, receipt: str) -> bool | None:
    """Whether the device did it, as far as MaaS360 says: True, False, or None as long as that is open or unreadable.

    Raises BackendDown.
    """
    names = client.names
    asked = {names.field("check_action.action"): receipt, names.field("check_action.device"): server_id}
    try:
        answer = client.call("check_action", asked)
    except Refused:
        return None
    for key in names.field("check_action.state").split("|"):  # the first key that is there says it
        told = list(records.every_value(answer, frozenset({key.casefold()})))
        if told:
            if any(names.means("check_action.failed", each) for each in told):
                return False
            return True if all(names.means("check_action.done", each) for each in told) else None
    return None
