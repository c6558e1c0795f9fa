"""What MaaS360 calls things: the calls the portal may make, and every name that nobody could verify.

IBM's reference guide (v10.91) and a tenant were not at hand: the addresses are those of IBM's own published clients
and of other public ones. What of their parameters and values was seen nowhere, or in one place only, stands in
``NAMES``; an operator who sees another word in the guide, or in MaaS360's own "Try it" pages, corrects it with
``[maas360] names``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

DEVICES_1 = "/device-apis/devices/1.0"


@dataclass(frozen=True, slots=True)
class Call:
    """One thing that the portal may ask: ``{billing}`` stands for the billing ID."""

    method: str
    path: str


CALLS: dict[str, Call] = {
    "authenticate_1": Call("POST", "/auth-apis/auth/1.0/authenticate/{billing}"),
    "authenticate_2": Call("POST", "/auth-apis/auth/2.0/authenticate/customer/{billing}"),
    "refresh_token": Call("POST", "/auth-apis/auth/2.0/refreshToken/customer/{billing}"),
    "search_users": Call("GET", "/user-apis/user/1.0/search/{billing}"),
    "add_user": Call("POST", "/user-apis/user/1.0/addUser/customer/{billing}"),
    "add_user_to_group": Call("POST", "/user-apis/user/1.0/addUserToGroup/customer/{billing}"),
    "search_devices": Call("GET", "/device-apis/devices/2.0/search/customer/{billing}"),
    "device_actions": Call("GET", DEVICES_1 + "/deviceActions/{billing}"),
    "check_action": Call("GET", DEVICES_1 + "/checkActionStatus/{billing}"),
    "lock": Call("POST", DEVICES_1 + "/lockDevice/{billing}"),
    "selective_wipe": Call("POST", DEVICES_1 + "/selectiveWipeDevice/{billing}"),
    "revoke_selective_wipe": Call("POST", DEVICES_1 + "/revokeSelectiveWipe/{billing}"),
    "remove_control": Call("POST", DEVICES_1 + "/removeDevice/{billing}"),
    "send_message": Call("POST", DEVICES_1 + "/sendMessage/{billing}"),
    "refresh": Call("POST", DEVICES_1 + "/refreshDeviceInformation/{billing}"),
    "change_policy": Call("POST", DEVICES_1 + "/changeDevicePolicy/{billing}"),
}
"""Every call there is. Wiping a device, finding it and resetting its passcode are none of them, and cannot be added by
a setting: no address is one."""


class Evidence(StrEnum):
    """Where a name is from."""

    SEEN = "seen"
    """In one public client, or two that differ."""
    GUESSED = "guessed"
    """By analogy; seen nowhere."""


@dataclass(frozen=True, slots=True)
class Name:
    """``default``: the word as the portal says it, several that mean the same separated by ``|``."""

    default: str
    evidence: Evidence
    says: str


NAMES: dict[str, Name] = {
    "add_user.username": Name("userName", Evidence.SEEN, "field of a new user: the username"),
    "add_user.domain": Name("domain", Evidence.SEEN, "field of a new user: the domain"),
    "add_user.email": Name("email", Evidence.SEEN, "field of a new user: the e-mail address (elsewhere: emailAddress)"),
    "add_user.full_name": Name("fullName", Evidence.SEEN, "field of a new user: the full name"),
    "add_user.managed_apple_account": Name(
        "", Evidence.GUESSED, "field of a new user: the Managed Apple Account; empty: it is not sent"
    ),
    "add_user_to_group.username": Name("userName", Evidence.GUESSED, "field: the username"),
    "add_user_to_group.domain": Name("domain", Evidence.GUESSED, "field: its domain"),
    "add_user_to_group.group": Name("groupIdentifier", Evidence.GUESSED, "field: the group"),
    "check_action.action": Name("actionId", Evidence.GUESSED, "parameter: the number that an action was given"),
    "check_action.device": Name("deviceId", Evidence.GUESSED, "parameter: the device of the action"),
    "check_action.state": Name("actionStatus|status", Evidence.GUESSED, "keys of the answer that hold the state"),
    "check_action.done": Name("Completed|Success|Executed", Evidence.GUESSED, "states: the device did it"),
    "check_action.failed": Name("Failed|Error|Cancelled|Expired", Evidence.GUESSED, "states: it will not"),
    "lock.device": Name("deviceId", Evidence.SEEN, "parameter of the lock: the device"),
    "selective_wipe.device": Name("deviceId", Evidence.SEEN, "parameter of the selective wipe: the device"),
    "revoke_selective_wipe.device": Name("deviceId", Evidence.GUESSED, "parameter of undoing it: the device"),
    "remove_control.device": Name("deviceId", Evidence.GUESSED, "parameter of removing control: the device"),
    "send_message.device": Name("deviceId", Evidence.SEEN, "parameter of a message: the device"),
    "refresh.device": Name("deviceId", Evidence.GUESSED, "parameter of reading again: the device"),
    "change_policy.device": Name("maas360DeviceId", Evidence.SEEN, "parameter of another policy: the device"),
    "status.managed": Name("Enrolled|Activated", Evidence.SEEN, "maas360ManagedStatus: it is managed"),
    "status.left": Name("User Removed Control", Evidence.SEEN, "maas360ManagedStatus: its owner left"),
    "status.removed": Name("Control Removed", Evidence.SEEN, "maas360ManagedStatus: IT removed control"),
    "wipe.none": Name("N/a|Not Applicable|None|Cancelled|Revoked", Evidence.GUESSED, "selectiveWipeStatus: none"),
    "wipe.done": Name("Completed|Complete|Executed|Wiped", Evidence.GUESSED, "selectiveWipeStatus: it is done"),
    "allowed.lock": Name("MDM_LOCK|LOCK|Lock|Lock Device", Evidence.GUESSED, "an action's id or name: lock"),
    "allowed.selective_wipe": Name(
        "MDM_SELECTIVE_WIPE|SELECTIVE_WIPE|Selective Wipe", Evidence.GUESSED, "an action's id or name: selective wipe"
    ),
    "allowed.revoke_selective_wipe": Name(
        "MDM_REVOKE_SELECTIVE_WIPE|REVOKE_SELECTIVE_WIPE|Revoke Selective Wipe|Cancel Selective Wipe",
        Evidence.GUESSED,
        "an action's id or name: undo the selective wipe",
    ),
    "allowed.remove_control": Name(
        "MDM_REMOVE_CONTROL|REMOVE_CONTROL|Remove Control|Remove MDM Control",
        Evidence.GUESSED,
        "an action's id or name: remove control",
    ),
    "allowed.send_message": Name("MDM_MESSAGE|SEND_MESSAGE|Message|Send Message", Evidence.GUESSED, "a message"),
    "allowed.refresh": Name("MDM_REFRESH|REFRESH|Refresh Device Information", Evidence.GUESSED, "read again"),
}
"""The table of what is unverified. docs/backends.md says what to try first."""
_WORD = re.compile(r"[A-Za-z0-9_. /|-]{0,200}")


class Vocabulary:
    """The names as they are with an operator's corrections (``name=word``, as ``[maas360] names`` has them)."""

    def __init__(self, corrections: Iterable[str] = ()) -> None:
        self._own = dict(each.split("=", 1) for each in corrections)

    def field(self, name: str) -> str:
        """The word for a field or parameter."""
        return self._own.get(name, NAMES[name].default)

    def means(self, name: str, told: str) -> bool:
        """Whether ``told`` is one of the words for ``name``; upper and lower case are the same."""
        words = {_plain(word) for word in self.field(name).split("|")}
        return _plain(told) in words - {""}


def problem_of(correction: str) -> str | None:
    """What is wrong with one correction, None if it can be used."""
    name, equals, word = correction.partition("=")
    if not equals or name not in NAMES:
        return "unknown_name"
    return None if _WORD.fullmatch(word) else "name_characters"


def _plain(word: str) -> str:
    return " ".join(word.split()).casefold()
