"""LDAP and Active Directory: who somebody is, and whether it is their password; search-then-bind or direct bind.

Sources: RFC 4515 (filters), RFC 4514 (names), RFC 4513 section 5.1.2 (why an empty password never binds), Microsoft's
pages on userAccountControl and accountExpires.
"""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import ldap3
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from portal import clock
from portal.credentials import ldap_connections
from portal.credentials.base import (
    DIRECTORY,
    AccountProblem,
    AccountStatus,
    Found,
    SourceUnavailable,
    role_by_groups,
)
from portal.credentials.ldap_connections import Connections, Entry, read
from portal.settings.schema import Ldap

DISABLED_FLAG = 0x2
"""ADS_UF_ACCOUNTDISABLE in userAccountControl."""
NEVER = {0, 0x7FFFFFFFFFFFFFFF}
"""Values of accountExpires that mean never."""
FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
ACCOUNT_ATTRIBUTES = ("userAccountControl", "accountExpires", "pwdLastSet")
INTEGER = re.compile("-?[0-9]{1,19}")
DEEPEST_GROUPS = 10
MOST_GROUPS = 500

log = logging.getLogger("portal.directory")


class Directory:
    """The PasswordSource for a directory. Safe to share between threads."""

    name = DIRECTORY

    def __init__(self, settings: Ldap, with_groups: bool = False) -> None:
        """``with_groups``: tell of everybody in which groups they are."""
        self._settings = settings
        self._with_groups = with_groups
        self.connections = Connections(settings)

    def check(self, username: str, password: str, found: Callable[[str], None] = lambda _subject: None) -> Found | None:
        """See PasswordSource."""
        if not username.strip() or not password:
            return None  # an empty password would be an anonymous bind, which succeeds (RFC 4513 section 5.1.2)
        if self._settings.bind == "direct":
            return self._check_directly(username, password)
        with self.connections.service() as connection:
            entry = self._search_person(connection, username)
        if entry is not None:
            found(self._subject(entry))
        # Nobody is tried like somebody, so that the time tells nothing about who exists.
        fits = self._bind_as(entry.dn if entry else f"cn=nobody,{self._settings.base_dn}", password)
        if entry is None or not fits:
            return None
        with self.connections.service() as connection:
            return self._found(connection, entry)

    def find(self, username: str) -> Found | None:
        """See PasswordSource. Needs the service account."""
        with self.connections.service() as connection:
            entry = self._search_person(connection, username)
            return self._found(connection, entry, strict=False) if entry else None

    def account_status(self, username: str) -> AccountStatus:
        """How the account stands. Needs the service account. Raises SourceUnavailable."""
        with self.connections.service() as connection:
            entry = self._search_person(connection, username)
            if entry is None:
                return AccountStatus("not_found")
            groups = frozenset(self._groups(connection, entry.dn)) if self._with_groups else None
        try:
            _check_usable(entry, clock.now())
        except AccountProblem as problem:
            return AccountStatus(problem.reason, self._subject(entry), groups)
        return AccountStatus("", self._subject(entry), groups)

    def probe(self, username: str | None) -> Iterator[str]:
        """Say step by step what works, for ``credentials check``. Raises SourceUnavailable where it stops."""
        for url in self._settings.servers:
            yield f"server {url}"
        with self.connections.service() as connection:
            yield f"connected to {connection.server.host}, bound as {self._settings.service_dn or 'anonymous'}"
            if username is None:
                return
            entry = self._search_person(connection, username)
            yield f"entry: {entry.dn if entry else 'none or more than one'}"
            if entry is not None:
                yield f"groups: {', '.join(sorted(self._groups(connection, entry.dn))) or 'none'}"
                yield f"read as: {self._found(connection, entry, strict=False)}"

    def close(self) -> None:
        """Close every idle connection."""
        self.connections.close()

    # --- who is it -------------------------------------------------------------------------------------------------

    def _check_directly(self, username: str, password: str) -> Found | None:
        template, bare = self._settings.user_dn, username.rpartition("\\")[2].strip()
        if not bare:
            return None
        if "=" in template:
            user = template.replace("{username}", escape_rdn(bare))
        else:  # a whole user principal name may be typed where the template would only add its domain
            user = bare if "@" in bare and "@" in template else template.replace("{username}", bare)
        connection = self.connections.bind(user, password)
        if connection is None:
            return None
        try:
            entry = self._search_person(connection, username)
            # Two rules say whose name that is, the directory's at the bind and the filter: they may mean two people.
            theirs = entry is not None and self._bind_as(entry.dn, password)
            return self._found(connection, entry) if entry is not None and theirs else None
        finally:
            ldap_connections.close(connection)

    def _bind_as(self, dn: str, password: str) -> bool:
        connection = self.connections.bind(dn, password)
        if connection is None:
            return False
        ldap_connections.close(connection)
        return True

    def _search_person(self, connection: ldap3.Connection, username: str) -> Entry | None:
        bare = username.rpartition("\\")[2]  # DOMAIN\user
        query = self._settings.user_filter.replace("{username}", escape_filter_chars(bare))
        names = self._attribute_names()
        entries = read(connection, self._settings.base_dn, query, names, size_limit=2)
        if len(entries) > 1:
            log.warning("directory.ambiguous entries=%s", len(entries))
        return entries[0] if len(entries) == 1 else None

    def _attribute_names(self) -> list[str]:
        chosen = self._settings
        names = {
            chosen.subject_attribute,
            chosen.username_attribute,
            chosen.name_attribute,
            chosen.email_attribute,
            chosen.phone_attribute,
            chosen.locale_attribute,
            chosen.managed_apple_account_attribute,
        }
        return [*sorted(names - {""}), *ACCOUNT_ATTRIBUTES]

    def _found(self, connection: ldap3.Connection, entry: Entry, strict: bool = True) -> Found:
        """What the entry tells. ``strict``: refuse accounts that may not sign in. Raises AccountProblem."""
        chosen = self._settings
        groups: set[str] = set()
        asked = self._with_groups or chosen.required_group or chosen.helpdesk_group or chosen.admin_group
        if asked:
            groups = self._groups(connection, entry.dn)
        if strict:
            _check_usable(entry, clock.now())
            if chosen.required_group and chosen.required_group.casefold() not in groups:
                raise AccountProblem("not_allowed")
        username = entry.text(chosen.username_attribute)
        if username is None:
            raise SourceUnavailable("mapping", f"no {chosen.username_attribute}")
        return Found(
            source=DIRECTORY,
            subject=self._subject(entry),
            username=username,
            name=entry.text(chosen.name_attribute) or username,
            email=entry.text(chosen.email_attribute) or "",
            phone=entry.text(chosen.phone_attribute),
            locale=entry.text(chosen.locale_attribute),
            managed_apple_account=entry.text(chosen.managed_apple_account_attribute),
            role=role_by_groups(chosen, lambda group: group.casefold() in groups),
            groups=frozenset(groups) if asked else None,
        )

    def _subject(self, entry: Entry) -> str:
        return entry.text(self._settings.subject_attribute) or entry.dn.casefold()

    def _groups(self, connection: ldap3.Connection, dn: str) -> set[str]:
        """Folded DNs of the groups that ``dn`` is in, with the groups that those are in."""
        known: set[str] = set()
        pending = [dn]
        for _ in range(DEEPEST_GROUPS if self._settings.nested_groups else 1):
            found: list[str] = []
            for member in pending:
                query = self._settings.group_filter.replace("{dn}", escape_filter_chars(member))
                base = self._settings.group_base_dn or self._settings.base_dn
                for entry in read(connection, base, query, ["1.1"], size_limit=MOST_GROUPS):
                    if entry.dn.casefold() not in known:
                        known.add(entry.dn.casefold())
                        found.append(entry.dn)
            if not found or len(known) > MOST_GROUPS:
                break
            pending = found
        return known


def _check_usable(entry: Entry, now: datetime) -> None:
    if _number(entry, "userAccountControl", 0) & DISABLED_FLAG:
        raise AccountProblem("disabled")
    expires = _number(entry, "accountExpires", 0)
    if expires > 0 and expires not in NEVER and _filetime(expires) <= now:
        raise AccountProblem("expired")
    if _number(entry, "pwdLastSet", -1) == 0:
        raise AccountProblem("must_change_password")


def _number(entry: Entry, attribute: str, otherwise: int) -> int:
    """An integer of 64 bits at most, as LDAP writes it; what is none tells nothing."""
    written = entry.text(attribute) or ""
    return int(written) if INTEGER.fullmatch(written) else otherwise


def _filetime(value: int) -> datetime:
    """Active Directory's time: 100 ns since 1601; what is beyond the calendar is never."""
    try:
        return FILETIME_EPOCH + timedelta(microseconds=value // 10)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
