"""How an app behaves on the devices that get it: removable or not, its configuration, its VPN and domains.

Facts: Apple, "InstallApplication" (Attributes, Configuration, ManagementFlags) and "Settings" (ApplicationAttributes,
ApplicationConfiguration): a key that is left out there is removed from the app.
"""

import json
import plistlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from portal import plists
from portal.models import App
from portal.policies import variables
from portal.policies.variables import Recipient
from portal.vault import Vault

LARGEST = 64 * 1024
"""Bytes of a configuration as it is typed."""
MOST_DOMAINS = 50
REMOVED_WITH_ENROLLMENT, NOT_IN_BACKUPS = 1, 4
"""ManagementFlags."""
DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}")
SERVICE = re.compile(r"(applinks|webcredentials|appclips|activitycontinuation):.+")
"""What stands before an associated domain."""
UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class NotUsable(Exception):
    """What was typed cannot be given to a device; ``code``: large, configuration, variable, domains, vpn."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


@dataclass(frozen=True, slots=True)
class Behaviour:
    """``configuration``: a dictionary for the app, in which variables may stand; ``vpn``: the VPNUUID of a policy."""

    removable: bool = True
    configuration: Mapping[str, Any] = field(default_factory=dict)
    vpn: str = ""
    domains: tuple[str, ...] = ()

    def written(self) -> bytes:
        """To be sealed."""
        plain = asdict(self) | {"configuration": plistlib.dumps(dict(self.configuration)).decode()}
        return json.dumps(plain).encode()

    def attributes(self) -> dict[str, Any]:
        """What stands under Attributes."""
        found: dict[str, Any] = {} if self.removable else {"Removable": False}
        if self.vpn:
            found["VPNUUID"] = self.vpn
        if self.domains:
            found["AssociatedDomains"] = list(self.domains)
        return found

    def configured_for(self, recipient: Recipient) -> dict[str, Any]:
        """The configuration for one person."""
        return variables.fill("", self.configuration, recipient, lambda _kind, _path: False)


def of(app: App, vault: Vault) -> Behaviour:
    """How ``app`` behaves. Raises VaultError."""
    return read(vault.open(app.behaviour_sealed))


def read(written: bytes) -> Behaviour:
    """The way back from ``written``."""
    told = json.loads(written)
    configuration = plistlib.loads(told["configuration"].encode())
    return Behaviour(told["removable"], configuration, told["vpn"], tuple(told["domains"]))


def entered(removable: bool, configuration: str, vpn: str, domains: str) -> Behaviour:
    """What somebody typed: the configuration as a property list, or the inside of its dictionary; a domain in a line.

    Raises NotUsable.
    """
    if vpn and not UUID.fullmatch(vpn):
        raise NotUsable("vpn")
    lines = tuple(dict.fromkeys(each.strip() for each in domains.splitlines() if each.strip()))
    wrong = next((each for each in lines if not _is_associated(each)), None)
    if wrong is not None or len(lines) > MOST_DOMAINS:
        raise NotUsable("domains", (wrong or "")[:100])
    return Behaviour(removable, configuration_in(configuration), vpn, lines)


def configuration_in(typed: str) -> dict[str, Any]:
    """The dictionary of a configuration. Raises NotUsable."""
    text = typed.strip()
    if len(text.encode()) > LARGEST:
        raise NotUsable("large")
    if not text:
        return {}
    if "<plist" not in text:
        inside = text if text.startswith("<dict") else f"<dict>{text}</dict>"
        text = f'<?xml version="1.0" encoding="UTF-8"?><plist version="1.0">{inside}</plist>'
    try:
        found = plists.read(text.encode(), once=True)
        plistlib.dumps(found)
    except (plists.BadPlist, TypeError, ValueError, OverflowError):
        raise NotUsable("configuration") from None
    if not found:
        raise NotUsable("configuration")
    unknown = variables.unknown_in("", found, lambda _kind, _path: False)
    if unknown:
        raise NotUsable("variable", sorted(unknown)[0])
    return found


def shown(configuration: Mapping[str, Any]) -> str:
    """A configuration as it is typed: what stands inside of its dictionary."""
    if not configuration:
        return ""
    lines = plistlib.dumps(dict(configuration), sort_keys=False).decode().split("\n")
    first, last = lines.index("<dict>"), len(lines) - 1 - lines[::-1].index("</dict>")
    inside = lines[first + 1 : last]
    less_indented = "\n".join(each.removeprefix("\t") for each in inside)
    try:
        same = configuration_in(less_indented) == configuration
    except NotUsable:
        same = False
    return less_indented if same else "\n".join(inside)  # a tab may belong to a text of several lines


def _is_associated(line: str) -> bool:
    service, _, domain = line.partition(":")
    return (
        line.isprintable()
        and SERVICE.fullmatch(line) is not None
        and bool(service)
        and DOMAIN.fullmatch(domain.partition("?")[0]) is not None
    )
