"""The queue of commands for managed devices: written with the decision, handed over by the worker, kept till answered.

Whoever asks, page, command or program, comes through ``order``, which refuses what user enrollment forbids.
"""

import plistlib
import uuid
from dataclasses import dataclass, field
from typing import Any

from portal.enrollment import allowed
from portal.enrollment.case import Case
from portal.events import Event
from portal.models import Command, CommandState, Device

HANDED = (CommandState.SENT, CommandState.NOT_NOW)
"""The device, or who keeps its queue, has them."""
OPEN = (CommandState.QUEUED, *HANDED)
"""Not answered yet."""
BY_DEVICE = (CommandState.ACKNOWLEDGED, CommandState.ERROR, CommandState.FORMAT_ERROR)
"""What a device answered last."""
SETTLED = (*BY_DEVICE, CommandState.FAILED)
"""Nothing changes them any more; an answer may still come to ``dropped`` and ``answer_lost``."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command to queue: its RequestType and the other keys of its Command dictionary."""

    request_type: str
    keys: dict[str, Any] = field(default_factory=dict)


READ = (
    Order("DeviceInformation", {"Queries": list(allowed.ASKED_QUERIES)}),
    Order("ProfileList", {"ManagedOnly": True}),
    Order("ManagedApplicationList"),
    Order("CertificateList", {"ManagedOnly": True}),
)
"""Everything that is read of a device."""
_FIRST = tuple(allowed.command(each.request_type, each.keys) for each in READ[:2])
DECLARE = "DeclarativeManagement"
"""Tells a device to look at what is declared; only the portal itself orders it."""
ONCE = frozenset({"DeviceLock", "SendMessage"})
"""Not repeated when only the answer may be lost: its owner would wonder."""
REMOVE_CONTROL = "RemoveControl"
"""What a server that enrolls devices by itself is asked, so that it lets one go with everything of work."""


def order(case: Case, device: Device, wanted: Order) -> Command:
    """Queue a command: what was checked, in the form in which the device gets it. Raises CommandForbidden."""
    check = allowed.command if device.server is None else allowed.errand
    return _queue(case, device, check(wanted.request_type, wanted.keys))


def ask_first(case: Case, device: Device) -> None:
    """Queue what is asked of a device as soon as it is enrolled: what it is, and which profiles it has."""
    for sent in _FIRST:
        _queue(case, device, sent)


def declare(case: Case, device: Device) -> Command:
    """Queue the command to look at what is declared."""
    return _queue(case, device, {"RequestType": DECLARE})


def install_profile_of_policy(case: Case, device: Device, name: str) -> Command:
    """Queue the installation of what a policy gives it under ``name``; the content is put in when it is sent."""
    return _queue(case, device, {"RequestType": "InstallProfile"}, name)


def remove_profile_of_policy(case: Case, device: Device, name: str, identifier: str) -> Command:
    """Queue its removal."""
    return _queue(case, device, {"RequestType": "RemoveProfile", "Identifier": identifier}, name)


def order_for_app(case: Case, device: Device, sent: dict[str, Any], app_id: str) -> Command:
    """Queue a command about a work app; what its configuration is is put in when it is sent."""
    return _queue(case, device, sent, app_id=app_id)


def with_keys(command: Command, keys: dict[str, Any]) -> bytes:
    """A command as the device gets it, with these keys."""
    body = plistlib.loads(command.payload)
    body["Command"] |= keys
    return plistlib.dumps(body)


def with_payload(command: Command, profile: bytes) -> bytes:
    """A command as the device gets it, with a profile in it."""
    return with_keys(command, {"Payload": profile})


def as_sent(case: Case, command: Command) -> bytes:
    """A command as the device gets it, with the profile that waits for it, if one does."""
    sealed = command.content_sealed
    return with_payload(command, case.vault.open(sealed)) if sealed is not None else command.payload


def over(command: Command, became: CommandState) -> None:
    """A command is over: it ``became`` one of those that are not open, and what waited to be put into it goes."""
    command.status, command.content_sealed = became, None


def _queue(
    case: Case, device: Device, sent: dict[str, Any], profile: str | None = None, app_id: str | None = None
) -> Command:
    command_uuid = str(uuid.uuid4()).upper()
    content = sent.get("Payload")
    body = {"CommandUUID": command_uuid, "Command": {key: value for key, value in sent.items() if key != "Payload"}}
    command = Command(
        uuid=command_uuid,
        device_id=device.id,
        request_type=sent["RequestType"],
        payload=plistlib.dumps(body),
        content_sealed=case.vault.seal(content) if content is not None else None,
        status=CommandState.QUEUED,
        created_at=case.now,
        next_attempt_at=case.now,
        profile=profile,
        app_id=app_id,
    )
    case.store.add(command)
    case.record(Event.COMMAND_QUEUED, command.request_type)
    return command


def waiting(case: Case, device: Device, request_type: str) -> list[Command]:
    """The commands of that kind that the device has not answered yet."""
    return [each for each in case.store.open_commands(device) if each.request_type == request_type]


def is_waiting(case: Case, device: Device, wanted: Order) -> bool:
    """Whether the device has not answered yet to just that, ordered by itself (not for an app, or a policy)."""
    known = (each for each in waiting(case, device, wanted.request_type) if each.app_id is None and not each.profile)
    return any(order_of(case, each) == wanted for each in known)


def order_of(case: Case, command: Command) -> Order:
    """What was ordered, with the profile that waits for it."""
    keys, sealed = keys_of(command), command.content_sealed
    content = {"Payload": case.vault.open(sealed)} if sealed is not None else {}
    return Order(keys.pop("RequestType"), {**keys, **content})


def keys_of(command: Command) -> dict[str, Any]:
    """The Command dictionary that the device gets, but for the profile that waits for it."""
    return dict(plistlib.loads(command.payload)["Command"])


def error_of(command: Command) -> str:
    """Why it failed: domain and code of its first error (``MCInstallationErrorDomain 4001``), else its state."""
    first = (command.errors or [{}])[0]
    return f"{first.get('ErrorDomain', '')} {first.get('ErrorCode', '')}".strip()[:120] or command.status


def drop(case: Case, device: Device) -> None:
    """The enrollment is over: what was not answered is not asked any more."""
    for command in case.store.open_commands(device):
        over(command, CommandState.DROPPED)
        command.handed_at = command.handed_at or case.now
