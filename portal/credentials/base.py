"""What every source of corporate credentials offers, and what it may answer."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

DIRECTORY = "directory"
"""The name of people's source where that is the directory."""


_OVERLOOKED = re.compile("[\u034f\u115f\u1160\u1806\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\ufffc\U000e0100-\U000e01ef]")


def as_read(name: str) -> str:
    """``name`` as a directory reads it (RFC 4518, section 2): any spaces as one, without what cannot be seen.

    Several ways of typing one account's name are one then, for whoever counts tries as for whoever judges them.
    """
    seen = "".join(each for each in _OVERLOOKED.sub("", name) if unicodedata.category(each) != "Cf")
    return "".join(each for each in " ".join(seen.split()) if unicodedata.category(each) != "Cc")


class StaffGroups(Protocol):
    """Settings of a source: whose members are staff; an empty one is nobody's."""

    @property
    def helpdesk_group(self) -> str: ...

    @property
    def admin_group(self) -> str: ...


def role_by_groups(chosen: StaffGroups, belongs_to: Callable[[str], bool]) -> str:
    """The highest role that somebody's groups give; who is in none of them is an employee."""
    for role, group in (("admin", chosen.admin_group), ("helpdesk", chosen.helpdesk_group)):
        if group and belongs_to(group):
            return role
    return "employee"


class SourceUnavailable(Exception):
    """The source cannot answer now; no try is counted. ``reason`` is a code for events, logs and ``/readyz``."""

    def __init__(self, reason: str = "unreachable", detail: str = "") -> None:
        super().__init__(f"{reason} {detail}".strip())
        self.reason = reason
        self.detail = detail


class AccountProblem(Exception):
    """The credentials are right, but the account may not be used; ``reason`` is a code that pages put into words.

    disabled, expired, password_expired, must_change_password, not_allowed, or username_taken.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """How an account stands.

    ``problem``: nothing if it can be used, else disabled, expired, must_change_password or not_found; ``subject``:
    whose it is; ``groups``: None if they were not asked for.
    """

    problem: str
    subject: str = ""
    groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a source tells of a person. ``subject`` is its stable key for them; names and addresses may change.

    ``groups``: those that they are in; None if they were not asked for.
    """

    source: str
    subject: str
    username: str
    name: str
    email: str
    phone: str | None = None
    locale: str | None = None
    managed_apple_account: str | None = None
    role: str = "employee"
    groups: frozenset[str] | None = None


class PasswordSource(Protocol):
    """Checks a username and a password with somebody else."""

    name: str

    def check(self, username: str, password: str, found: Callable[[str], None] = lambda _subject: None) -> Found | None:
        """Whose credentials these are, or None, in the same way for an unknown account. An empty password never fits.

        ``found`` is called with the subject of the entry that was found, before its password is tried; what it raises
        goes through. Raises SourceUnavailable, AccountProblem.
        """
        ...

    def find(self, username: str) -> Found | None:
        """The person with that username, without their password (to invite them). Raises SourceUnavailable."""
        ...


class ProviderRefused(Exception):
    """The provider ended the sign-in, or its answer cannot be trusted; ``reason`` is a code."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} {detail}".strip())
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Pending:
    """What a browser that was sent to the provider has to come back with."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who came back, how they proved it (``amr`` and ``acr`` of the ID token), and when (``auth_time``, in seconds)."""

    found: Found
    methods: frozenset[str]
    proved_at: float | None = None
