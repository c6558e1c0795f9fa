"""LDAP and Active Directory: search-then-bind or direct bind, over verified TLS, with failover and short timeouts.

ldap3 is used because it is pure Python: it installs on a fresh machine without a compiler, and no thread of the web
server is held inside a C library that has timeouts of its own. Sources: RFC 4511 (protocol), RFC 4515 (filters),
RFC 4514 (names), Microsoft's pages on userAccountControl, accountExpires and the bind errors of Active Directory.
"""

import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from queue import Empty, Full, LifoQueue

import ldap3
from ldap3.core.exceptions import (
    LDAPBindError,
    LDAPException,
    LDAPResponseTimeoutError,
    LDAPSASLPrepError,
    LDAPSocketReceiveError,
)
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from portal.credentials.base import AccountProblem, Found, SourceUnavailable
from portal.settings import Ldap

NAME = "directory"
DISABLED_FLAG = 0x2
"""ADS_UF_ACCOUNTDISABLE in userAccountControl."""
NEVER = {0, 0x7FFFFFFFFFFFFFFF}
"""Values of accountExpires that mean never."""
FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
ACCOUNT_ATTRIBUTES = ("userAccountControl", "accountExpires", "pwdLastSet")
DEEPEST_GROUPS = 10
MOST_GROUPS = 500
REST_SECONDS = 30.0
"""How long a server that did not answer is asked last."""
POOL_SIZE = 4
INVALID_CREDENTIALS = 49
BUSY = {51, 52}
_AD_CODES = {
    "532": "password_expired",
    "533": "disabled",
    "701": "expired",
    "773": "must_change_password",
}
"""The ``data`` of Active Directory's bind error 49 that is told only to whoever knows the password."""
_AD_DATA = re.compile(r"\bdata ([0-9a-f]{3}),")

log = logging.getLogger("portal.directory")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it was read."""

    dn: str
    attributes: dict[str, list[bytes]]

    def text(self, name: str) -> str | None:
        """The first value of an attribute, None if there is none. Binary keys are given in hex."""
        values = self.attributes.get(name.casefold())
        if not values:
            return None
        value = bytes(values[0])
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return value.hex()
        return text if text.isprintable() else value.hex()


class Directory:
    """The PasswordSource for a directory. Safe to share between threads."""

    name = NAME

    def __init__(self, settings: Ldap) -> None:
        self._settings = settings
        self._failed_at: dict[str, float] = {}
        self._idle: LifoQueue[ldap3.Connection] = LifoQueue(POOL_SIZE)
        self._lock = threading.Lock()

    def check(self, username: str, password: str) -> Found | None:
        """See PasswordSource."""
        if not username.strip() or not password:
            return None  # an empty password would be an anonymous bind, which succeeds (RFC 4513 section 5.1.2)
        if self._settings.bind == "direct":
            return self._check_directly(username, password)
        with self._service() as connection:
            entry = self._search_person(connection, username)
        # Nobody is tried like somebody, so that the time tells nothing about who exists.
        fits = self._bind_as(entry.dn if entry else f"cn=nobody,{self._settings.base_dn}", password)
        if entry is None or not fits:
            return None
        with self._service() as connection:
            return self._found(connection, entry)

    def find(self, username: str) -> Found | None:
        """See PasswordSource. Needs the service account."""
        with self._service() as connection:
            entry = self._search_person(connection, username)
            return self._found(connection, entry, strict=False) if entry else None

    def probe(self, username: str | None) -> Iterator[str]:
        """Say step by step what works, for ``credentials check``. Raises SourceUnavailable where it stops."""
        for url in self._settings.servers:
            yield f"server {url}"
        with self._service() as connection:
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
        while True:
            try:
                _close(self._idle.get_nowait())
            except Empty:
                return

    # --- who is it -------------------------------------------------------------------------------------------------

    def _check_directly(self, username: str, password: str) -> Found | None:
        template, bare = self._settings.user_dn, username.rpartition("\\")[2].strip()
        if not bare:
            return None
        if "=" in template:
            user = template.replace("{username}", escape_rdn(bare))
        else:  # a whole user principal name may be typed where the template would only add its domain
            user = bare if "@" in bare and "@" in template else template.replace("{username}", bare)
        connection = self._connect(user, password)
        if connection is None:
            return None
        try:
            entry = self._search_person(connection, username)
            return self._found(connection, entry) if entry else None
        finally:
            _close(connection)

    def _bind_as(self, dn: str, password: str) -> bool:
        connection = self._connect(dn, password)
        if connection is None:
            return False
        _close(connection)
        return True

    def _search_person(self, connection: ldap3.Connection, username: str) -> Entry | None:
        bare = username.rpartition("\\")[2]  # DOMAIN\user
        query = self._settings.user_filter.replace("{username}", escape_filter_chars(bare))
        names = self._attribute_names()
        entries = _read(connection, self._settings.base_dn, query, names, size_limit=2)
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
        if chosen.required_group or chosen.helpdesk_group or chosen.admin_group:
            groups = self._groups(connection, entry.dn)
        if strict:
            _check_usable(entry, datetime.now(UTC))
            if chosen.required_group and chosen.required_group.casefold() not in groups:
                raise AccountProblem("not_allowed")
        username = entry.text(chosen.username_attribute)
        if username is None:
            raise SourceUnavailable("mapping", f"no {chosen.username_attribute}")
        return Found(
            source=NAME,
            subject=entry.text(chosen.subject_attribute) or entry.dn.casefold(),
            username=username,
            name=entry.text(chosen.name_attribute) or username,
            email=entry.text(chosen.email_attribute) or "",
            phone=entry.text(chosen.phone_attribute),
            locale=entry.text(chosen.locale_attribute),
            managed_apple_account=entry.text(chosen.managed_apple_account_attribute),
            role=_role(groups, chosen),
        )

    def _groups(self, connection: ldap3.Connection, dn: str) -> set[str]:
        """Folded DNs of the groups that ``dn`` is in, with the groups that those are in."""
        known: set[str] = set()
        pending = [dn]
        for _ in range(DEEPEST_GROUPS if self._settings.nested_groups else 1):
            found: list[str] = []
            for member in pending:
                query = self._settings.group_filter.replace("{dn}", escape_filter_chars(member))
                base = self._settings.group_base_dn or self._settings.base_dn
                for entry in _read(connection, base, query, ["1.1"], size_limit=MOST_GROUPS):
                    if entry.dn.casefold() not in known:
                        known.add(entry.dn.casefold())
                        found.append(entry.dn)
            if not found or len(known) > MOST_GROUPS:
                break
            pending = found
        return known

    # --- connections -----------------------------------------------------------------------------------------------

    @contextmanager
    def _service(self) -> Iterator[ldap3.Connection]:
        """A connection bound as the service account, kept for the next one unless something goes wrong."""
        connection = self._idle_connection() or self._service_connection()
        try:
            yield connection
        except AccountProblem:
            self._keep(connection)
            raise
        except BaseException:
            _close(connection)
            raise
        self._keep(connection)

    def _idle_connection(self) -> ldap3.Connection | None:
        while True:
            try:
                connection = self._idle.get_nowait()
            except Empty:
                return None
            with _speaking():
                if _alive(connection):
                    return connection
            _close(connection)

    def _service_connection(self) -> ldap3.Connection:
        connection = self._connect(self._settings.service_dn, self._settings.service_password)
        if connection is None:
            raise SourceUnavailable("service_password")
        return connection

    def _keep(self, connection: ldap3.Connection) -> None:
        try:
            self._idle.put_nowait(connection)
        except Full:
            _close(connection)

    def _connect(self, user: str, password: str) -> ldap3.Connection | None:
        """A bound connection to the first server that answers, None if it does not accept the credentials.

        Raises SourceUnavailable with the reason of the last server, AccountProblem.
        """
        problem = SourceUnavailable("not_configured")
        for url in self._in_order():
            try:
                connection = self._open(url)
            except SourceUnavailable as failed:
                log.warning("directory.unreachable server=%s reason=%s", url, failed)
                with self._lock:
                    self._failed_at[url] = time.monotonic()
                problem = failed
                continue
            try:
                with _speaking():
                    if _bind(connection, user, password):
                        return connection
            except BaseException:
                _close(connection)
                raise
            _close(connection)
            return None
        raise problem

    def _in_order(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            resting = {url for url, at in self._failed_at.items() if now - at < REST_SECONDS}
        return sorted(self._settings.servers, key=lambda url: url in resting)

    def _open(self, url: str) -> ldap3.Connection:
        seconds = self._settings.timeout_seconds
        tls = ldap3.Tls(
            validate=ssl.CERT_REQUIRED,
            version=ssl.PROTOCOL_TLS_CLIENT,
            ca_certs_file=self._settings.ca_file or ssl.get_default_verify_paths().cafile,
            ca_certs_path=None if self._settings.ca_file else ssl.get_default_verify_paths().capath,
        )
        server = ldap3.Server(url, tls=tls, connect_timeout=seconds, get_info=ldap3.NONE)
        connection = ldap3.Connection(
            server, receive_timeout=seconds, auto_referrals=False, read_only=True, client_strategy=ldap3.SYNC
        )
        with _speaking(lambda: _close(connection)):
            connection.open(read_server_info=False)
            if not server.ssl and not connection.start_tls(read_server_info=False):
                raise SourceUnavailable("tls", "StartTLS was refused")
        return connection


def ad_problem(message: str) -> str | None:
    """What Active Directory's bind error tells of an account whose password is right."""
    data = _AD_DATA.search(message)
    return _AD_CODES.get(data[1]) if data else None


def _bind(connection: ldap3.Connection, user: str, password: str) -> bool:
    connection.user, connection.password = user or None, password or None
    connection.authentication = ldap3.SIMPLE if user else ldap3.ANONYMOUS
    try:
        if connection.bind(read_server_info=False):
            return True
    except LDAPSASLPrepError:
        return False  # characters that no password has (RFC 4013)
    result = connection.result
    if result["result"] == INVALID_CREDENTIALS:
        problem = ad_problem(str(result.get("message", "")))
        if problem:
            raise AccountProblem(problem)
        return False
    if result["result"] in BUSY:
        raise SourceUnavailable("busy", str(result.get("description", "")))
    log.warning("directory.bind_refused result=%s", result.get("description"))
    return False


def _read(connection: ldap3.Connection, base: str, query: str, attributes: list[str], size_limit: int) -> list[Entry]:
    with _speaking():
        connection.search(base, query, attributes=attributes, size_limit=size_limit)
        result = connection.result
        if result["result"] not in (0, 4, 32):  # success, size limit exceeded, no such object
            raise SourceUnavailable("search", str(result.get("description", "")))
        return [
            Entry(each["dn"], {name.casefold(): list(values) for name, values in each["raw_attributes"].items()})
            for each in connection.response or []
            if each["type"] == "searchResEntry"
        ]


def _alive(connection: ldap3.Connection) -> bool:
    """Whether an idle connection still works (the server may have closed it)."""
    try:
        return bool(connection.search("", "(objectClass=*)", search_scope=ldap3.BASE, attributes=["1.1"]))
    except (LDAPException, OSError):
        return False


def _check_usable(entry: Entry, now: datetime) -> None:
    control = entry.text("userAccountControl")
    if control is not None and control.lstrip("-").isdigit() and int(control) & DISABLED_FLAG:
        raise AccountProblem("disabled")
    expires = entry.text("accountExpires")
    if expires is not None and expires.isdigit() and int(expires) not in NEVER and _filetime(int(expires)) <= now:
        raise AccountProblem("expired")
    if entry.text("pwdLastSet") == "0":
        raise AccountProblem("must_change_password")


def _filetime(value: int) -> datetime:
    """Active Directory's time: 100 ns since 1601; what is beyond the calendar is never."""
    try:
        return FILETIME_EPOCH + timedelta(microseconds=value // 10)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _role(groups: set[str], chosen: Ldap) -> str:
    if chosen.admin_group and chosen.admin_group.casefold() in groups:
        return "admin"
    if chosen.helpdesk_group and chosen.helpdesk_group.casefold() in groups:
        return "helpdesk"
    return "employee"


@contextmanager
def _speaking(clean_up: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turn whatever goes wrong on the wire into SourceUnavailable, with a code."""
    try:
        yield
    except SourceUnavailable:
        clean_up()
        raise
    except (LDAPException, OSError, ssl.SSLError) as error:
        clean_up()
        raise SourceUnavailable(_code(error), str(error)[:200]) from error


def _code(error: Exception) -> str:
    text = str(error).casefold()
    if isinstance(error, (LDAPResponseTimeoutError, LDAPSASLPrepError, LDAPSocketReceiveError)) or "timed out" in text:
        return "timeout"
    if isinstance(error, LDAPBindError):
        return "service_password"
    return "tls" if any(word in text for word in ("certificate", "ssl", "tls")) else "unreachable"


def _close(connection: ldap3.Connection) -> None:
    try:
        connection.unbind()
    except (LDAPException, OSError):
        log.debug("directory.close_failed")
