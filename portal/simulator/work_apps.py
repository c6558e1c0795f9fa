"""Work apps on a simulated iPhone: what the App Store, its owner and iOS would do with what IT asks.

Facts: Apple, "InstallApplication", "ManagedApplicationList", "RemoveApplication", "Settings"; some states are told
once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ONCE = {"UserInstalledApp", "UserRejected", "UpdateRejected", "ManagementRejected", "Failed"}
"""States that are told once, and forgotten then."""
NOT_FOUND = 9610
"""ErrorCode for an app that the account of the phone has no license for."""


@dataclass
class WorkApps:
    """The apps of one phone. ``states``: what is managed, by bundle identifier."""

    states: dict[str, str] = field(default_factory=dict)
    personal: set[str] = field(default_factory=set)
    """Installed by its owner: IT never hears of them."""
    store: Callable[[str], str] = lambda adam_id: f"com.example.app{adam_id}"
    """The App Store: the bundle identifier of an adam id."""
    manifests: dict[str, str] = field(default_factory=dict)
    """In-house apps: the bundle identifier by the manifest's address."""
    licensed: Callable[[str], bool] = lambda adam_id: True
    """Whether the work account has a license for an adam id now."""
    owner: dict[str, str] = field(default_factory=dict)
    """What its owner does when asked, by bundle identifier: accept (if nothing is said), reject, later."""
    configurations: dict[str, dict[str, Any]] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the declaration's identifier: what was told, and what became of it."""
    began: bool = False
    """A declared app was begun with since the last report."""
    installed: list[str] = field(default_factory=list)
    """Every installation that was begun, in order."""

    def install(self, command: dict[str, Any]) -> dict[str, Any]:
        """InstallApplication."""
        if "ChangeManagementState" in command:
            return _refused(12021, "ChangeManagementState is forbidden in user enrollment.")
        names = [key for key in ("iTunesStoreID", "Identifier", "ManifestURL") if key in command]
        if len(names) != 1 or command.get("ManagementFlags", 0) & ~5:
            return _refused(12021, "Exactly one app has to be named.")
        adam_id = str(command.get("iTunesStoreID", ""))
        if adam_id:
            if command.get("Options", {}).get("PurchaseMethod") != 1:
                return {"Status": "Error", "RejectionReason": "PurchaseMethodNotSupported", **_chain(12021, "method")}
            identifier = self.store(adam_id)
        else:
            identifier = self.manifests[command["ManifestURL"]]
        if identifier in self.personal:
            return {"Status": "Error", "RejectionReason": "AppAlreadyInstalled", **_chain(12026, "already installed")}
        if adam_id and not self.licensed(adam_id):
            return _refused(NOT_FOUND, "License not found.")
        self.installed.append(identifier)
        self.configurations[identifier] = command.get("Configuration", {})
        self.attributes[identifier] = command.get("Attributes", {})
        self.states[identifier] = "Prompting"
        return {"Status": "Acknowledged", "Identifier": identifier, "State": "Prompting"}

    def listed(self, command: dict[str, Any]) -> dict[str, Any]:
        """ManagedApplicationList."""
        wanted = command.get("Identifiers")
        told = {name: {"Status": state} for name, state in self.states.items() if wanted is None or name in wanted}
        for name, entry in told.items():
            if entry["Status"] in ONCE:
                del self.states[name]
        return {"Status": "Acknowledged", "ManagedApplicationList": told}

    def remove(self, identifier: str) -> dict[str, Any]:
        """RemoveApplication: only of what is managed."""
        if self.states.pop(identifier, None) is None:
            return _refused(12017, f"{identifier} is not managed.")
        self.configurations.pop(identifier, None)
        return {"Status": "Acknowledged"}

    def settings(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Settings: configuration and attributes of managed apps; what is left out is taken away."""
        for item in items:
            if item["Identifier"] not in self.states:
                return _refused(12017, f"{item['Identifier']} is not managed.")
            if item["Item"] == "ApplicationConfiguration":
                self.configurations[item["Identifier"]] = item.get("Configuration", {})
            elif item["Item"] == "ApplicationAttributes":
                self.attributes[item["Identifier"]] = item.get("Attributes", {})
        return {
            "Status": "Acknowledged",
            "Settings": [{"Item": each["Item"], "Status": "Acknowledged"} for each in items],
        }

    def declare(self, apps: dict[str, dict[str, Any]]) -> None:
        """Declared now, by declaration: what is new is asked for, what is gone is removed."""
        for name in self.declared.keys() - apps.keys():
            del self.declared[name]
        for name, declaration in apps.items():
            told, token = declaration["Payload"], declaration["ServerToken"]
            if self.declared.get(name, {}).get("token") == token:
                continue
            adam_id = str(told.get("AppStoreID", ""))
            if adam_id and told["InstallBehavior"]["License"] != {"Assignment": "User"}:
                raise ValueError("user enrollment needs a license of the user")
            identifier = self.store(adam_id) if adam_id else self.manifests[told["ManifestURL"]]
            self.declared[name] = {"told": told, "token": token, "identifier": identifier, "adam_id": adam_id}
            self.began = True

    def declared_list(self) -> list[dict[str, Any]]:
        """The status item ``app.managed.list``."""
        return [
            {"identifier": each["identifier"], "declaration-identifier": name, "state": each.get("state", "queued"),
             **({"reasons": [{"code": each["reason"]}]} if "reason" in each else {})}
            for name, each in sorted(self.declared.items())
        ]  # fmt: skip

    def _ask_about_declared(self) -> None:
        for each in self.declared.values():
            identifier, says = each["identifier"], self.owner.get(each["identifier"], "accept")
            failed = ""
            if identifier in self.personal:
                failed = "Error.UnmanagedAppAlreadyInstalled"
            elif each["adam_id"] and not self.licensed(each["adam_id"]):
                failed = "Error.LicenseNotFound"
            elif says == "reject":
                failed = "Error.UserRejected"
            each.pop("reason", None)
            if failed:
                each |= {"state": "failed", "reason": failed}
            else:
                each["state"] = "managed" if says == "accept" else "prompting-for-consent"

    def ask_owner(self) -> None:
        """Its owner answers what is on the screen."""
        self._ask_about_declared()
        for identifier, state in self.states.items():
            if state == "Prompting":
                says = self.owner.get(identifier, "accept")
                self.states[identifier] = {"accept": "Managed", "reject": "UserRejected"}.get(says, "Prompting")

    def delete(self, identifier: str) -> None:
        """Its owner deletes a work app."""
        self.states[identifier] = "ManagedButUninstalled"

    def forget(self) -> None:
        """The enrollment is over: everything of work is gone."""
        self.states, self.configurations, self.attributes, self.declared = {}, {}, {}, {}

    def reported(self) -> list[dict[str, str]]:
        """The status item ``mdm.app``."""
        return [{"identifier": name, "state": state.lower()} for name, state in sorted(self.states.items())]


def _chain(code: int, text: str) -> dict[str, Any]:
    error = {"ErrorCode": code, "ErrorDomain": "MCMDMErrorDomain", "USEnglishDescription": text}
    return {"ErrorChain": [error | {"LocalizedDescription": text}]}


def _refused(code: int, text: str) -> dict[str, Any]:
    return {"Status": "Error", **_chain(code, text)}
