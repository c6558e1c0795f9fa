"""The part of a simulated iPhone that speaks declarative management, stricter than a real one would be.

It fetches only what is new or has another token, forgets what is not listed any more, and reports what it became.
Facts: Apple, "Integrating declarative management"; the schema's ``declarative/protocol``.
"""

import json
import plistlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from portal.pki import cms
from portal.pki.authority import Identity
from portal.simulator.model import Model
from portal.simulator.scep_client import InstallationFailed

LONGEST = 64
"""Octets of identifiers and tokens."""
KINDS = {"Activations": "activation", "Configurations": "configuration", "Assets": "asset", "Management": "management"}
KNOWN = {
    "com.apple.activation.simple": (15, 0),
    "com.apple.configuration.management.status-subscriptions": (15, 0),
    "com.apple.configuration.passcode.settings": (15, 0),
    "com.apple.configuration.legacy": (15, 0),
    "com.apple.configuration.account.mail": (15, 0),
    "com.apple.configuration.account.exchange": (15, 0),
    "com.apple.configuration.account.caldav": (15, 0),
    "com.apple.configuration.account.carddav": (15, 0),
    "com.apple.configuration.account.google": (15, 0),
    "com.apple.configuration.account.ldap": (15, 0),
    "com.apple.configuration.account.subscribed-calendar": (15, 0),
    "com.apple.configuration.app.managed": (17, 2),
    "com.apple.asset.useridentity": (15, 0),
    "com.apple.asset.credential.userpassword": (15, 0),
    "com.apple.management.organization-info": (15, 0),
}
"""Types that this iPhone understands in user enrollment, since which iOS."""
REPORTABLE = {
    "device.model.identifier": (15, 0),
    "device.model.marketing-name": (15, 0),
    "device.operating-system.version": (15, 0),
    "device.operating-system.build-version": (15, 0),
    "device.operating-system.supplemental.build-version": (16, 1),
    "passcode.is-present": (16, 0),
    "passcode.is-compliant": (16, 0),
    "mdm.app": (16, 0),
    "app.managed.list": (17, 2),
    "account.list.caldav": (16, 0),
    "account.list.carddav": (16, 0),
    "account.list.exchange": (16, 0),
    "account.list.google": (16, 0),
    "account.list.ldap": (16, 0),
    "account.list.mail": (16, 0),
    "account.list.subscribed-calendar": (16, 0),
    "security.certificate.list": (17, 0),
}

USABLE_PAYLOADS = frozenset(
    {
        "com.apple.applicationaccess",
        "com.apple.caldav.account",
        "com.apple.carddav.account",
        "com.apple.eas.account",
        "com.apple.extensiblesso",
        "com.apple.ldap.account",
        "com.apple.mail.managed",
        "com.apple.mobiledevice.passwordpolicy",
        "com.apple.security.pem",
        "com.apple.security.pkcs1",
        "com.apple.security.pkcs12",
        "com.apple.security.root",
        "com.apple.security.scep",
        "com.apple.subscribedcalendar.account",
        "com.apple.vpn.managed.applayer",
        "com.apple.webClip.managed",
        "com.apple.wifi.managed",
    }
)
"""What this iPhone takes in a profile; one of any other type makes it refuse the profile whole."""
FORBIDDEN_RESTRICTIONS = ("allowCamera", "allowEraseContentAndSettings", "allowAppRemoval", "allowUIAppInstallation")

Ask = Callable[[str, bytes | None], bytes]
"""Sends a check-in for an endpoint, perhaps with Data; what it is answered. Raises KeyError for 404."""
Get = Callable[[str], bytes]
"""A plain GET of an address. Raises KeyError for anything but 200."""
Obtain = Callable[[dict[str, Any]], Identity]
"""An identity from the SCEP server of a payload's settings. Raises InstallationFailed."""


@dataclass
class Declared:
    """What one iPhone was told, and what it tells."""

    model: Model
    ask: Ask
    get: Get
    obtain: Obtain
    token: str = ""
    held: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By kind and identifier."""
    fetched: list[str] = field(default_factory=list)
    """Every declaration that it fetched, in order."""
    values: dict[str, Any] = field(default_factory=dict)
    """What it would tell of itself, by status item; changed by tests."""
    invalid: set[str] = field(default_factory=set)
    """Identifiers of declarations that it does not accept."""
    reported: bool = False
    declare_apps: Callable[[dict[str, dict[str, Any]]], None] = lambda apps: None
    """Gets the declarations of all apps that are declared now, by identifier."""
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Installed by declaration: by the declaration's identifier."""
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)
    """Fetched for accounts: by the asset's identifier."""
    identities: dict[str, Identity] = field(default_factory=dict)
    """By PayloadUUID: those that it got over SCEP."""
    problems: dict[str, str] = field(default_factory=dict)
    """What it could not apply: by identifier Apple's code."""
    _credential_tokens: dict[str, str] = field(default_factory=dict)
    _told_values: dict[str, Any] = field(default_factory=dict)
    _told_states: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def synchronize(self, data: bytes | None) -> None:
        """The command to look came, perhaps with the tokens. Raises InstallationFailed for what no iPhone takes."""
        tokens = _json(data) if data else _json(self.ask("tokens", None))
        token = str(tokens["SyncTokens"]["DeclarationsToken"])
        if not token or len(token.encode()) > 256:
            raise InstallationFailed("no usable DeclarationsToken")
        if token != self.token:
            self._take(_json(self.ask("declaration-items", None)))
        if not self.reported or self._told_states != self._states():
            self.report()

    def report(self, full: bool = False) -> None:
        """Tell what it is and what became of the declarations: all the first time and with ``full``, else changes."""
        items: dict[str, Any] = {}
        full_ = full or not self.reported
        told_values, told_states = ({}, {}) if full_ else (self._told_values, self._told_states)
        if full_:
            _put(items, "management.client-capabilities", self._capabilities())
        has = self.values | self._lists()
        values = {name: has[name] for name in self._subscribed() if name in self.supported and name in has}
        for name, value in values.items():
            if name not in told_values or told_values[name] != value:
                _put(items, name, _difference(told_values.get(name, []), value) if isinstance(value, list) else value)
        states = self._states()
        _put(items, "management.declarations", _changes(told_states, states))
        report = {"StatusItems": items, "Errors": [], "FullReport": full_}
        if self.ask("status", json.dumps(report).encode()):
            raise InstallationFailed("a report is answered with nothing")
        self.reported, self._told_values, self._told_states = True, values, states

    def _lists(self) -> dict[str, list[dict[str, str]]]:
        """The accounts and certificates that it has by declarations, and one account of its owner's."""
        lists: dict[str, list[dict[str, str]]] = {
            "account.list.mail": [{"identifier": "own", "hostname": "imap.personal.example", "username": "private"}]
        }
        for (kind, identifier), each in self.held.items():
            account = each["Type"].removeprefix("com.apple.configuration.account.")
            if kind == "configuration" and account != each["Type"] and identifier not in self.problems:
                entry = {"identifier": f"account {identifier}", "declaration-identifier": identifier}
                lists.setdefault(f"account.list.{account}", []).append(entry)
        certificates = lists.setdefault("security.certificate.list", [])
        for identifier, installed in self.profiles.items():
            for payload in installed["profile"]["PayloadContent"]:
                if payload["PayloadType"].startswith("com.apple.security."):
                    entry = {"identifier": payload["PayloadUUID"], "declaration-identifier": identifier}
                    certificates.append(entry | {"subject-summary": payload["PayloadDisplayName"]})
        return lists

    @property
    def supported(self) -> list[str]:
        """The status items that its iOS knows."""
        return sorted(name for name, since in REPORTABLE.items() if self._version >= since)

    @property
    def _version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.model.os_version.split("."))

    def _take(self, answer: dict[str, Any]) -> None:
        listed = answer["Declarations"]
        if listed.keys() != KINDS.keys():
            raise InstallationFailed("the manifest has to have all four lists")
        wanted: dict[tuple[str, str], str] = {}
        for name, kind in KINDS.items():
            for item in listed[name]:
                if item.keys() != {"Identifier", "ServerToken"}:
                    raise InstallationFailed("a manifest lists identifiers and tokens, nothing else")
                if any(not value or len(value.encode()) > LONGEST for value in item.values()):
                    raise InstallationFailed("an identifier or token is too long")
                wanted[kind, item["Identifier"]] = item["ServerToken"]
        for (kind, identifier), token in wanted.items():
            if self.held.get((kind, identifier), {}).get("ServerToken") != token:
                self._fetch(kind, identifier, token)
        self.held = {key: each for key, each in self.held.items() if key in wanted}
        self._apply()
        self.token = str(answer["DeclarationsToken"])

    def _fetch(self, kind: str, identifier: str, token: str) -> None:
        self.fetched.append(identifier)
        try:
            told = _json(self.ask(f"declaration/{kind}/{identifier}", None))
        except KeyError:
            self.held.pop((kind, identifier), None)
            return
        same = (told.get("Identifier"), told.get("ServerToken"), told.get("Type", "").split(".")[2:3])
        if same != (identifier, token, [kind]) or not isinstance(told.get("Payload"), dict):
            raise InstallationFailed(f"{identifier} is not what the manifest lists")
        self.held[kind, identifier] = told

    def _apply(self) -> None:
        """Do what is declared: install profiles, set up accounts; take away what is declared no more."""
        named = {identifier: each for (_, identifier), each in self.held.items()}
        self.profiles = {name: each for name, each in self.profiles.items() if name in named}
        self.credentials = {name: each for name, each in self.credentials.items() if name in named}
        self._credential_tokens = {name: each for name, each in self._credential_tokens.items() if name in named}
        self.problems = {}
        self.declare_apps({
            identifier: each
            for (kind, identifier), each in self.held.items()
            if each["Type"].endswith(".app.managed") and self._is_active(kind, identifier)
        })  # fmt: skip
        for (kind, identifier), each in self.held.items():
            if kind == "configuration" and self._is_active(kind, identifier):
                try:
                    self._apply_one(identifier, each, named)
                except (KeyError, InstallationFailed) as problem:
                    self.problems[identifier] = f"Error.{type(problem).__name__}"

    def _apply_one(self, identifier: str, told: dict[str, Any], named: dict[str, dict[str, Any]]) -> None:
        if told["Type"].endswith(".legacy"):
            if self.profiles.get(identifier, {}).get("token") != told["ServerToken"]:
                profile = read_profile(self.get(told["Payload"]["ProfileURL"]))
                self.identities |= identities_of(profile, self.obtain)
                self.profiles[identifier] = {"token": told["ServerToken"], "profile": profile}
        elif ".account." in told["Type"]:
            for reference in _references(told["Payload"]):
                asset = named[reference]
                token = asset["ServerToken"]
                if asset["Type"].endswith("userpassword") and self._credential_tokens.get(reference) != token:
                    self.credentials[reference] = _json(self.get(asset["Payload"]["Reference"]["DataURL"]))
                    if not self.credentials[reference].get("UserName"):
                        raise InstallationFailed("credentials without a user name")
                    self._credential_tokens[reference] = token

    def _subscribed(self) -> list[str]:
        return [
            item["Name"]
            for (kind, identifier), each in self.held.items()
            if each["Type"].endswith("status-subscriptions") and self._is_active(kind, identifier)
            for item in each["Payload"]["StatusItems"]
        ]

    def _is_active(self, kind: str, identifier: str) -> bool:
        activations = [each for (of, _), each in self.held.items() if of == "activation"]
        named = {name for each in activations for name in each["Payload"]["StandardConfigurations"]}
        return kind != "configuration" or identifier in named

    def _states(self) -> dict[str, list[dict[str, Any]]]:
        states: dict[str, list[dict[str, Any]]] = {name.lower(): [] for name in KINDS}
        for (kind, identifier), each in self.held.items():
            since = KNOWN.get(each["Type"])
            refused = identifier in self.invalid or identifier in self.problems
            good = since is not None and self._version >= since and not refused
            used = self._is_active(kind, identifier)
            code = self.problems.get(identifier, "Error.ConfigurationCannotBeApplied")
            code = "Error.UnknownDeclarationType" if since is None else code
            reasons = [] if good and used else [{"code": code if used else "Info.NotReferencedByActivation"}]
            name = next(key for key, word in KINDS.items() if word == kind).lower()
            states[name].append(
                {
                    "identifier": identifier,
                    "server-token": each["ServerToken"],
                    "active": good and used,
                    "valid": "unknown" if not used else "valid" if good else "invalid",
                    "reasons": reasons,
                }
            )
        return states

    def _capabilities(self) -> dict[str, Any]:
        known = sorted(name for name, since in KNOWN.items() if self._version >= since)
        declarations = {name.lower(): [each for each in known if f".{kind}." in each] for name, kind in KINDS.items()}
        return {
            "supported-versions": ["1.0.0"],
            "supported-features": {},
            "supported-payloads": {"declarations": declarations, "status-items": self.supported},
        }


def _changes(
    before: dict[str, list[dict[str, Any]]], states: dict[str, list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """What of the declarations' states was not told like that, and which are gone."""
    changed = {}
    for name, listed in states.items():
        known = {each["identifier"]: each for each in before.get(name, [])}
        gone = known.keys() - {each["identifier"] for each in listed}
        changed[name] = [each for each in listed if known.get(each["identifier"]) != each]
        changed[name] += [{"identifier": identifier, "_removed": True} for identifier in sorted(gone)]
    return changed


def _difference(before: list[dict[str, str]], now: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The entries of a list that are new or changed, and which are gone."""
    known = {each["identifier"]: each for each in before}
    gone = known.keys() - {each["identifier"] for each in now}
    changed: list[dict[str, Any]] = [each for each in now if known.get(each["identifier"]) != each]
    return changed + [{"identifier": identifier, "_removed": True} for identifier in sorted(gone)]


def _put(items: dict[str, Any], name: str, value: Any) -> None:
    *parts, last = name.split(".")
    for part in parts:
        items = items.setdefault(part, {})
    items[last] = value


def _json(content: bytes) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except ValueError as error:
        raise InstallationFailed("an answer of declarative management has to be JSON") from error
    if not isinstance(told, dict):
        raise InstallationFailed("an answer of declarative management has to be an object")
    return told


def read_profile(content: bytes) -> dict[str, Any]:
    """A profile, signed or not, if an iPhone takes it in user enrollment. Raises InstallationFailed."""
    try:
        plain = content if content.lstrip()[:1] == b"<" else cms.verify(content).content
        profile: dict[str, Any] = plistlib.loads(plain, fmt=plistlib.FMT_XML)
    except (cms.CmsError, plistlib.InvalidFileException, ValueError) as error:
        raise InstallationFailed("the profile cannot be read") from error
    payloads, uuids = profile["PayloadContent"], set()
    for payload in payloads:
        if payload["PayloadType"] not in USABLE_PAYLOADS:
            raise InstallationFailed(f"{payload['PayloadType']} is not allowed in user enrollment")
        name = payload.get("PayloadUUID")
        if name is not None and name in uuids:
            raise InstallationFailed("a PayloadUUID stands there twice")
        uuids.add(name)
        if any(key in payload for key in FORBIDDEN_RESTRICTIONS):
            raise InstallationFailed("a restriction that is not allowed in user enrollment")
    for payload in payloads:
        identity = payload.get("PayloadCertificateUUID")
        if identity is not None and identity not in uuids:
            raise InstallationFailed("an identity that is not in the profile")
    return profile


def identities_of(profile: dict[str, Any], obtain: Obtain) -> dict[str, Identity]:
    """What its SCEP payloads give, by PayloadUUID. Raises InstallationFailed."""
    asked = [each for each in profile["PayloadContent"] if each["PayloadType"] == "com.apple.security.scep"]
    return {
        each["PayloadUUID"]: obtain(each["PayloadContent"]) for each in asked if each["PayloadContent"].get("Challenge")
    }


def _references(payload: dict[str, Any]) -> list[str]:
    found = []
    for key, value in payload.items():
        if isinstance(value, dict):
            found += _references(value)
        elif key.endswith("AssetReference"):
            found.append(str(value))
    return found
