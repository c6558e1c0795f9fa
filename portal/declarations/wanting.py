"""What one device is to have: everything it is told, from its iOS, what it can report and the policies of its owner."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from portal import manifest
from portal.apps import behaviour, declaring
from portal.declarations import granted, status
from portal.declarations.granted import DevicePolicies, Maker
from portal.declarations.status import Known
from portal.enrollment.case import Case
from portal.manifest import Declaration, Manifest
from portal.models import DeclarativeState
from portal.policies.composing import Composition
from portal.settings import Settings
from portal.versions import version_of

FIRST_IOS = (15,)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that one device is to have: the manifest, and of policies what is in it, or comes as profiles."""

    manifest: Manifest
    granted: DevicePolicies

    @property
    def parts(self) -> set[str]:
        """The parts of policies that are in it, by their names."""
        return {part for item in self.granted.composition.items for part in item.parts}

    @property
    def token(self) -> str:
        """Another one as soon as anything is another."""
        return token_of(self.manifest, self.granted.composition, self.granted.declared)


def token_of(declared: Manifest, composition: Composition, as_declarations: bool) -> str:
    """The same from its parts."""
    if as_declarations or not composition.items:
        return declared.token
    profiles = sorted([each.identifier, each.token] for each in composition.items)
    return hashlib.sha256(json.dumps([declared.token, profiles]).encode()).hexdigest()


def declares(settings: Settings, ios: tuple[int, ...]) -> bool:
    """Whether a device with that iOS is told declarations."""
    return settings.mdm.declarative and ios >= FIRST_IOS


def basic(settings: Settings, ios: tuple[int, ...], supported: Sequence[str] | None) -> Manifest:
    """What every device with that iOS is told, which can report the ``supported`` items."""
    if not declares(settings, ios):
        return Manifest()
    subscribed = status.subscribable(ios, supported)
    return manifest.basic(settings.company.name, settings.company.support_email, subscribed)


def wanted(case: Case) -> Wanted:
    """Everything that ``case.device`` is to have now."""
    ios = version_of(case.known_device.os_version)
    declared = declares(case.settings, ios)
    theirs = granted.to(case, ios, declared)
    told = basic(case.settings, ios, known_of(case).supported)
    if declared:
        items = theirs.composition.items
        told = told.with_(tuple(granted.declarations(items, lambda item: Maker(case, theirs, item, ios))))
        told = told.with_(tuple(_apps(case)))
    return Wanted(told, theirs)


def _apps(case: Case) -> Iterator[Declaration]:
    """The work apps that ``case.device`` gets by declaration."""
    if not case.settings.apps.enabled:
        return
    rows = {
        each.app_id: each.declared
        for each in case.store.device_apps(case.known_device)
        if each.is_declared and each.declared
    }
    if rows:
        apps = case.store.apps(set(rows))
        told = {app_id: declaring.payload(app, behaviour.of(app, case.vault)) for app_id, app in apps.items()}
        yield from declaring.declarations(list(rows.items()), told)


def known_of(case: Case) -> Known:
    """What ``case.device`` reported."""
    state = state_of(case)
    return Known(**state.known) if state.known else Known()


def state_of(case: Case, *, lock: bool = False) -> DeclarativeState:
    """What is kept of ``case.device``; locked before anything is read that its mark is about."""
    return case.store.declarative_state(case.known_device, lock=lock)
