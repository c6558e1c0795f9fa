"""Work apps by declaration (``app.managed``, iOS 17.2), where an admin chose that: off by default, for nobody tried it.

One app is never given both ways: what a device got by command stays so, and what is declared is never commanded. An app
with a configuration is given by command, for only iOS 18.4 takes one with a declaration. Facts: Apple,
``app.managed.yaml``, ``app.managed.list.yaml``.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from portal.apps.behaviour import Behaviour
from portal.apps.states import State
from portal.manifest import Declaration, activation
from portal.models import App
from portal.settings import Settings

MANAGED = "com.apple.configuration.app.managed"
FIRST_IOS = (17, 2)
STATES = {
    "optional": State.PROMPTING,
    "queued": State.QUEUED,
    "prompting-for-consent": State.PROMPTING,
    "prompting-for-login": State.PROMPTING_FOR_LOGIN,
    "prompting-for-management": State.PROMPTING_FOR_MANAGEMENT,
    "downloading": State.INSTALLING,
    "installing": State.INSTALLING,
    "managed": State.MANAGED,
    "managed-but-uninstalled": State.MANAGED_BUT_UNINSTALLED,
    "failed": State.FAILED,
}
REASONS = {
    "Error.UserRejected": State.USER_REJECTED,
    "Error.UnmanagedAppAlreadyInstalled": State.USER_INSTALLED,
}
"""Failures that are somebody's decision."""


def can_be(settings: Settings, ios: tuple[int, ...], behaviour: Behaviour) -> bool:
    """Whether an app that behaves so is given by declaration to a device with that iOS."""
    return settings.apps.declared and settings.mdm.declarative and ios >= FIRST_IOS and not behaviour.configuration


def payload(app: App, behaviour: Behaviour) -> Mapping[str, Any]:
    """What is declared. The license is the person's, and given before."""
    told: dict[str, Any] = {"InstallBehavior": {"Install": "Required"}, "IncludeInBackup": False}
    if app.adam_id is not None:
        told["AppStoreID"] = app.adam_id
        told["InstallBehavior"]["License"] = {"Assignment": "User"}
    else:
        told["ManifestURL"] = app.manifest_url
    attributes = {key: value for key, value in behaviour.attributes().items() if key != "Removable"}
    return told | ({"Attributes": attributes} if attributes else {})


def digest(told: Mapping[str, Any]) -> str:
    """Another one for every other content."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def identifier(app_id: str) -> str:
    """What the declaration of an app is called."""
    return f"app.{app_id}"


def declarations(
    declared: Sequence[tuple[str, str]], payloads: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[Declaration]:
    """The declarations of these apps (id and digest), each with what makes it count.

    Without ``payloads``, by app, they can only be compared.
    """
    for app_id, content in sorted(declared):
        known = payloads[app_id] if payloads is not None else {}
        yield Declaration(MANAGED, identifier(app_id), known, content)
        yield activation(identifier(app_id))


def state_of(entry: Mapping[str, str]) -> tuple[State, str]:
    """What a device reported of such an app, and why."""
    state, reason = STATES.get(entry.get("state", ""), State.UNKNOWN), entry.get("reason", "")
    decided = REASONS.get(reason)
    return (decided, "") if state is State.FAILED and decided is not None else (state, reason)
