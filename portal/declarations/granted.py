"""The policies of a device's owner, as what the device is told: declarations where it knows them, else profiles."""

import json
import plistlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from portal.declarations import addresses
from portal.declarations.addresses import Reference
from portal.enrollment.case import Case
from portal.manifest import Declaration, activation
from portal.policies import composing, native, own_authority, rendering
from portal.policies.accepting import CANNOT_BE_WRITTEN
from portal.policies.composing import Composition, Grant, Item, Kind, Since
from portal.policies.content import Part
from portal.policies.variables import Recipient

LEGACY = "com.apple.configuration.legacy"
IDENTITY, CREDENTIAL = "com.apple.asset.useridentity", "com.apple.asset.credential.userpassword"
FIRST_WITHOUT_PROOF = (17, 0)
"""Since then an asset can say that a plain GET fetches it."""
JSON_TYPE, PROFILE_TYPE = "application/json", "application/x-apple-aspen-config"


class CannotBeMade(Exception):
    """What was published cannot be written for this device; nobody else's messages may suffer from it."""


@dataclass(frozen=True, slots=True)
class Document:
    """What an address gives."""

    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class DevicePolicies:
    """What one device gets of policies; ``declared``: as declarations."""

    grants: tuple[Grant, ...]
    composition: Composition
    declared: bool

    def item(self, identifier: str) -> Item | None:
        """One thing that the device gets, by its name."""
        return next((each for each in self.composition.items if each.identifier == identifier), None)


def to(case: Case, ios: tuple[int, ...], declared: bool) -> DevicePolicies:
    """What ``case.device`` gets where it is served."""
    if not case.settings.policies.enabled:
        return DevicePolicies((), Composition(), declared)
    device = case.known_device
    again = case.store.declarative_state(device).again or 0
    since = Since(again, own_authority.period(device.enrolled_at, case.now))
    grants = tuple(case.store.granted(case.request.person_id))
    return DevicePolicies(grants, composing.compose(grants, recipient(case), ios, declared, since), declared)


def recipient(case: Case) -> Recipient:
    """Whose device it is, as far as a policy may know them; the account is the one on the device."""
    person = case.request.person
    return Recipient(person.email, case.request.managed_apple_account, person.username, person.name)


def declarations(items: tuple[Item, ...], make: Callable[[Item], "Maker"] | None = None) -> Iterator[Declaration]:
    """The declarations of these items, each with what makes it count. Without ``make`` they can only be compared."""
    for item in items:
        maker = make(item) if make is not None else None
        yield Declaration(_type_of(item), item.identifier, maker.configuration if maker else {}, item.token)
        yield activation(item.identifier)
        if item.kind is Kind.ACCOUNT:
            for name, kind in (("who", IDENTITY), ("in", CREDENTIAL), ("out", CREDENTIAL)):
                if item.type is not None and name in native.ASSETS[item.type]:
                    asset = f"{name}.{item.parts[0]}"
                    yield Declaration(kind, asset, maker.asset(name) if maker else {}, item.token)


def _type_of(item: Item) -> str:
    if item.kind is Kind.PASSCODE:
        return native.PASSCODE_SETTINGS
    if item.kind is Kind.ACCOUNT:
        assert item.type is not None
        return native.type_of(item.type)
    return LEGACY


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes what one item says, when ``case.device`` fetches it."""

    case: Case
    granted: DevicePolicies
    item: Item
    ios: tuple[int, ...]

    def configuration(self) -> Mapping[str, Any]:
        """The payload of its configuration. Raises CannotBeMade."""
        try:
            return self._configuration()
        except CANNOT_BE_WRITTEN as error:
            raise CannotBeMade(self.item.identifier) from error

    def _configuration(self) -> Mapping[str, Any]:
        if self.item.kind is Kind.PASSCODE:
            return native.passcode((self.item.values or {}).get("minutes"))
        if self.item.kind is Kind.ACCOUNT:
            made = self.account()
            references = {path: f"{name}.{self.item.parts[0]}" for path, name in made.assets.items()}
            return native.refer(made, references)
        return {"ProfileURL": self._address("")}

    def asset(self, name: str) -> Callable[[], Mapping[str, Any]]:
        """What makes the payload of one of an account's assets."""
        return lambda: self._identity() if name == "who" else self._credential(name)

    def account(self) -> native.Account:
        """The account that the item is."""
        (part,) = self._parts()
        return native.account(part.type, part.values)

    def profile(self) -> bytes:
        """The profile that the item is (a property list). Raises CannotBeMade."""
        try:
            return self._profile()
        except CANNOT_BE_WRITTEN as error:
            raise CannotBeMade(self.item.identifier) from error

    def _profile(self) -> bytes:
        item, settings = self.item, self.case.settings
        identifier = profile_identifier(self.case, item.identifier)
        name = next((each.name for each in self.granted.grants if each.policy_id == item.policies[0]), "")
        if item.kind is Kind.RESTRICTIONS:
            parts = [rendering.restrictions(identifier, item.values or {})]
            name = settings.company.name
        elif item.kind is Kind.PASSCODE:
            parts = [rendering.passcode(identifier, (item.values or {}).get("minutes"))]
            name = settings.company.name
        else:
            parts = self._parts()
        return plistlib.dumps(rendering.profile(identifier, name, settings.company.name, parts))

    def document(self, part: str) -> Document | None:
        """What the address of the item, or of one of its assets, gives; None for one that it has not."""
        if not part:
            return Document(self.profile(), PROFILE_TYPE) if self.item.kind is not Kind.ACCOUNT else None
        made = self.account().credentials.get(part) if self.item.kind is Kind.ACCOUNT else None
        return Document(json.dumps(made.document()).encode(), JSON_TYPE) if made is not None else None

    def _identity(self) -> Mapping[str, Any]:
        name, email = self.account().identity
        return {"FullName": name or recipient(self.case).name, "EmailAddress": email}

    def _credential(self, name: str) -> Mapping[str, Any]:
        plain = {"Authentication": {"Type": "None"}} if self.ios >= FIRST_WITHOUT_PROOF else {}
        return {"Reference": {"DataURL": self._address(name), "ContentType": JSON_TYPE}, **plain}

    def _address(self, part: str) -> str:
        reference = Reference(self.case.known_device.id, self.item.identifier, part, self.item.token)
        return self.case.settings.url(addresses.PATH + addresses.sign(self.case.vault, reference, self.case.now))

    def _parts(self) -> list[Part]:
        (policy_id,) = self.item.policies
        (grant,) = [each for each in self.granted.grants if each.policy_id == policy_id]
        by_uuid = {each.uuid: each for each in self.case.store.policy_parts(policy_id, grant.version)}
        parts = rendering.filled([by_uuid[each] for each in self.item.parts], recipient(self.case))
        return [self._with_server(each) if own_authority.is_own(each) else each for each in parts]

    def _with_server(self, part: Part) -> Part:
        """A part that asks the portal's own authority, with a challenge for this device and content."""
        reference = Reference(self.case.known_device.id, self.item.identifier, part.uuid, self.item.token)
        challenge = addresses.sign(self.case.vault, reference, self.case.now)
        url = self.case.settings.url(own_authority.PATH)
        return own_authority.with_server(part, url, challenge, self.case.store.work_authority_fingerprint())

    def part(self, uuid: str) -> Part | None:
        """One part of the item, variables filled in."""
        (policy_id,) = self.item.policies
        (grant,) = [each for each in self.granted.grants if each.policy_id == policy_id]
        found = [each for each in self.case.store.policy_parts(policy_id, grant.version) if each.uuid == uuid]
        return rendering.filled(found, recipient(self.case))[0] if found and uuid in self.item.parts else None


def profile_identifier(case: Case, identifier: str) -> str:
    """The PayloadIdentifier of an item's profile."""
    return f"{case.settings.enrollment_profile}.{identifier}"
