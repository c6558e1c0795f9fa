"""Connections to a directory: verified TLS always, failover, short timeouts, a small pool for the service account.

ldap3 is used because it is pure Python: it installs on a fresh machine without a compiler, and no thread of the web
server is held inside a C library that has timeouts of its own. Sources: RFC 4511, RFC 4513, Microsoft's page on the
bind errors of Active Directory.
"""

import logging
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, Full, LifoQueue

import ldap3
from ldap3.core.exceptions import (
    LDAPException,
    LDAPExceptionError,
    LDAPResponseTimeoutError,
    LDAPSASLPrepError,
    LDAPSocketReceiveError,
)

from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.settings.schema import Ldap

REST_SECONDS = 30.0
"""How long a server that did not answer is asked last."""
POOL_SIZE = 4
SUCCESS, SIZE_LIMIT_EXCEEDED, NO_SUCH_OBJECT, INVALID_CREDENTIALS, BUSY, UNAVAILABLE = 0, 4, 32, 49, 51, 52
"""Result codes of RFC 4511 appendix A."""
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
    """One entry as it was read; attribute names are folded."""

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


class Connections:
    """Opens, keeps and closes connections. Safe to share between threads."""

    def __init__(self, settings: Ldap) -> None:
        self._settings = settings
        self._failed_at: dict[str, float] = {}
        self._idle: LifoQueue[ldap3.Connection] = LifoQueue(POOL_SIZE)
        self._lock = threading.Lock()

    @contextmanager
    def service(self) -> Iterator[ldap3.Connection]:
        """A connection bound as the service account, kept for the next one unless something goes wrong.

        Raises SourceUnavailable.
        """
        connection = self._idle_connection() or self.bind(self._settings.service_dn, self._settings.service_password)
        if connection is None:
            raise SourceUnavailable("service_password")
        try:
            yield connection
        except AccountProblem:
            self._keep(connection)
            raise
        except BaseException:
            close(connection)
            raise
        self._keep(connection)

    def bind(self, user: str, password: str) -> ldap3.Connection | None:
        """A bound connection to the first server that answers, None if it does not accept the credentials.

        Raises SourceUnavailable with the reason of the last server, AccountProblem.
        """
        problem = SourceUnavailable("not_configured")
        for url in self.in_order():
            try:
                connection = self._open(url)
                with _speaking(connection):
                    if _accepted(connection, user, password):
                        return connection
            except SourceUnavailable as failed:
                log.warning("directory.unreachable server=%s reason=%s", url, failed)
                with self._lock:
                    self._failed_at[url] = time.monotonic()
                problem = failed
                continue
            close(connection)
            return None
        raise problem

    def in_order(self) -> list[str]:
        """The servers as configured, but those last that did not answer a moment ago."""
        now = time.monotonic()
        with self._lock:
            resting = {url for url, at in self._failed_at.items() if now - at < REST_SECONDS}
        return sorted(self._settings.servers, key=lambda url: url in resting)

    def close(self) -> None:
        """Close every idle connection."""
        while (connection := self._next_idle()) is not None:
            close(connection)

    def _next_idle(self) -> ldap3.Connection | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None

    def _idle_connection(self) -> ldap3.Connection | None:
        while (connection := self._next_idle()) is not None:
            if _alive(connection):
                return connection
            close(connection)
        return None

    def _keep(self, connection: ldap3.Connection) -> None:
        try:
            self._idle.put_nowait(connection)
        except Full:
            close(connection)

    def _open(self, url: str) -> ldap3.Connection:
        seconds = self._settings.timeout_seconds
        system = ssl.get_default_verify_paths()
        try:
            tls = ldap3.Tls(
                validate=ssl.CERT_REQUIRED,
                version=ssl.PROTOCOL_TLS_CLIENT,
                ca_certs_file=self._settings.ca_file or system.cafile,
                ca_certs_path=None if self._settings.ca_file else system.capath,
            )
        except LDAPExceptionError:
            raise SourceUnavailable("tls", "the CA file cannot be read") from None
        server = ldap3.Server(url, tls=tls, connect_timeout=seconds, get_info=ldap3.NONE)
        connection = ldap3.Connection(
            server, receive_timeout=seconds, auto_referrals=False, read_only=True, client_strategy=ldap3.SYNC
        )
        with _speaking(connection):
            connection.open(read_server_info=False)
            if not server.ssl and not connection.start_tls(read_server_info=False):
                raise SourceUnavailable("tls", "StartTLS was refused")
        return connection


def read(connection: ldap3.Connection, base: str, query: str, attributes: list[str], size_limit: int) -> list[Entry]:
    """The entries below ``base`` that fit ``query``, at most ``size_limit``. Raises SourceUnavailable."""
    with _wire():
        connection.search(base, query, attributes=attributes, size_limit=size_limit)
        result = connection.result
        if result["result"] not in (SUCCESS, SIZE_LIMIT_EXCEEDED, NO_SUCH_OBJECT):
            raise SourceUnavailable("search", str(result.get("description", "")))
        return [
            Entry(each["dn"], {name.casefold(): list(values) for name, values in each["raw_attributes"].items()})
            for each in connection.response or []
            if each["type"] == "searchResEntry"
        ]


def close(connection: ldap3.Connection) -> None:
    """Say goodbye and close; never fails."""
    try:
        connection.unbind()
    except (LDAPException, OSError):
        log.debug("directory.close_failed")


def ad_problem(message: str) -> str | None:
    """What Active Directory's bind error tells of an account whose password is right."""
    data = _AD_DATA.search(message)
    return _AD_CODES.get(data[1]) if data else None


def _accepted(connection: ldap3.Connection, user: str, password: str) -> bool:
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
    if result["result"] in (BUSY, UNAVAILABLE):
        raise SourceUnavailable("busy", str(result.get("description", "")))
    log.warning("directory.bind_refused result=%s", result.get("description"))
    return False


def _alive(connection: ldap3.Connection) -> bool:
    """Whether an idle connection still works (the server may have closed it)."""
    try:
        return bool(connection.search("", "(objectClass=*)", search_scope=ldap3.BASE, attributes=["1.1"]))
    except (LDAPException, OSError):
        return False


@contextmanager
def _speaking(connection: ldap3.Connection) -> Iterator[None]:
    """Close the connection if anything goes wrong on it."""
    try:
        with _wire():
            yield
    except BaseException:
        close(connection)
        raise


@contextmanager
def _wire() -> Iterator[None]:
    """Turn whatever goes wrong on the wire into SourceUnavailable, with a code."""
    try:
        yield
    except (LDAPException, OSError) as error:
        raise SourceUnavailable(_code(error), str(error)[:200]) from error


def _code(error: Exception) -> str:
    text = str(error).casefold()
    if isinstance(error, (LDAPResponseTimeoutError, LDAPSocketReceiveError)) or "timed out" in text:
        return "timeout"
    return "tls" if any(word in text for word in ("certificate", "ssl", "tls")) else "unreachable"
