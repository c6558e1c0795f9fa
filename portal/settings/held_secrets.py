"""Secrets that the portal holds, and the servers they were typed for: a secret never goes anywhere else.

Whoever may change where the portal connects to could otherwise have every held secret sent to a server of their own.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

KEPT = "\0kept"
"""The value of a secret that was not typed: the one that is held, if it is still for the same server."""
TYPED_FOR: dict[str, tuple[str, ...]] = {
    "ldap.service_password": ("ldap.servers", "ldap.ca_file", "ldap.bind", "ldap.service_dn"),
    "mail.password": ("mail.host", "mail.port", "mail.security", "mail.username"),
    "sms.authorization_secret": ("sms.url",),
    "maas360.password": ("maas360.host", "maas360.billing_id", "maas360.username"),
    "maas360.app_access_key": ("maas360.host", "maas360.billing_id"),
}
"""Secret -> the settings that say to whom it goes, and how safely."""
IN_TABLES: dict[str, dict[str, tuple[str, ...]]] = {"oidc.providers": {"client_secret": ("issuer",)}}
"""The same within the tables of a setting; a table is known by its ``name``."""


def settle(wanted: Mapping[str, Any], current: Callable[[str], Any]) -> dict[str, Any]:
    """``wanted`` (section.key -> JSON) with each kept secret as it is, or empty where it would go elsewhere.

    ``current`` gives the value that a setting has now. A secret that is not in ``wanted`` counts as kept.
    """
    settled = dict(wanted)
    for secret, addresses in TYPED_FOR.items():
        if wanted.get(secret, KEPT) != KEPT:
            continue
        held, moved = current(secret), any(name in wanted and wanted[name] != current(name) for name in addresses)
        if secret in wanted or (moved and held):
            settled[secret] = "" if moved else held
    for name, secrets in IN_TABLES.items():
        if isinstance(wanted.get(name), list):
            settled[name] = [_table(each, current(name) or [], secrets) for each in wanted[name]]
    return settled


def together(changed: Iterable[str]) -> set[str]:
    """The settings that have to be kept and brought back together with ``changed``: a secret with its server."""
    names = set(changed)
    for secret, addresses in TYPED_FOR.items():
        if names & {secret, *addresses}:
            names |= {secret, *addresses}
    return names


def _table(table: Any, current: list[dict[str, Any]], secrets: Mapping[str, tuple[str, ...]]) -> Any:
    if not isinstance(table, dict):
        return table
    known = next((each for each in current if each.get("name") == table.get("name")), {})
    settled = dict(table)
    for secret, addresses in secrets.items():
        if table.get(secret) == KEPT:
            same = all(table.get(address) == known.get(address) for address in addresses)
            settled[secret] = known.get(secret, "") if same else ""
    return settled
