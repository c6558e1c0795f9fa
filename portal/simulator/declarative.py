"""The part of a simulated iPhone that speaks declarative management, stricter than a real one would be.

It fetches only what is new or has another token, forgets what is not listed any more, and reports what it became.
Facts: Apple, "Integrating declarative management"; the schema's ``declarative/protocol``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from portal.simulator.model import Model
from portal.simulator.scep_client import InstallationFailed

LONGEST = 64
"""Octets of identifiers and tokens."""
KINDS = {"Activations": "activation", "Configurations": "configuration", "Assets": "asset", "Management": "management"}
KNOWN = {
    "com.apple.activation.simple": (15, 0),
    "com.apple.configuration.management.status-subscriptions": (15, 0),
    "com.apple.configuration.passcode.settings": (15, 0),
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
}

Ask = Callable[[str, bytes | None], bytes]
"""Sends a check-in for an endpoint, perhaps with Data; what it is answered. Raises KeyError for 404."""


@dataclass
class Declared:
    """What one iPhone was told, and what it tells."""

    model: Model
    ask: Ask
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

    def look(self, data: bytes | None) -> None:
        """The command to look came, perhaps with the tokens. Raises InstallationFailed for what no iPhone takes."""
        tokens = _json(data) if data else _json(self.ask("tokens", None))
        token = str(tokens["SyncTokens"]["DeclarationsToken"])
        if not token or len(token.encode()) > 256:
            raise InstallationFailed("no usable DeclarationsToken")
        if token != self.token:
            self._take(_json(self.ask("declaration-items", None)))
            self.report()

    def report(self, full: bool = False) -> None:
        """Tell what it is and what became of the declarations."""
        items: dict[str, Any] = {}
        if full or not self.reported:
            _put(items, "management.client-capabilities", self._capabilities())
        for name in self._subscribed():
            if name in self.supported and name in self.values:
                _put(items, name, self.values[name])
        _put(items, "management.declarations", self._states())
        report = {"StatusItems": items, "Errors": [], "FullReport": full or not self.reported}
        if self.ask("status", json.dumps(report).encode()):
            raise InstallationFailed("a report is answered with nothing")
        self.reported = True

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
            good = since is not None and self._version >= since and identifier not in self.invalid
            used = self._is_active(kind, identifier)
            code = "Error.UnknownDeclarationType" if since is None else "Error.ConfigurationCannotBeApplied"
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
