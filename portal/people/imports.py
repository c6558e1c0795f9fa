"""People and Managed Apple Accounts from a CSV file: all of it or nothing, every problem with its line."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest

from sqlalchemy.orm import Session

from portal import mail_addresses, people
from portal.models import LONGEST_NAME, LONGEST_USERNAME, Person
from portal.people import accounts, lists
from portal.people.lists import ListRefused
from portal.settings import Settings

LARGEST_FILE = 20 * 1024 * 1024
MOST_LINES = 50_000
LONGEST_VALUE = 254
MOST_PROBLEMS = 100
COLUMNS = {"username", "managed_apple_account", "name", "email", "locale", "source"}
LONGEST = {"username": LONGEST_USERNAME, "name": LONGEST_NAME}
"""Characters of a value; of the others ``LONGEST_VALUE``."""
UNREADABLE = {
    "large": f"the file is larger than {LARGEST_FILE // 1024**2} MiB",
    "encoding": "line {line}: the file is not UTF-8",
    "binary": "line {line}: the file is not text",
}
SOURCE = re.compile(r"local|directory|oidc:[a-z0-9-]{1,20}")


class BadFile(Exception):
    """Something in the file is wrong; ``problems`` says what and where."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems


def read(session: Session, settings: Settings, content: bytes, now: datetime) -> int:
    """Add or change people; how many. Raises BadFile (the caller rolls back)."""
    problems: list[str] = []
    lines = _Lines(session, settings, now)
    count = 0
    for number, row in _rows(content):
        try:
            lines.take(row)
        except _WrongLine as wrong:
            problems.append(f"line {number}: {wrong}")
            if len(problems) >= MOST_PROBLEMS:
                break
        count += 1
    if problems:
        raise BadFile(problems)
    return count


def _rows(content: bytes) -> list[tuple[int, dict[str, str]]]:
    """(line, value by column) of each row."""
    try:
        told = list(lists.rows(content, LARGEST_FILE))
    except ListRefused as refusal:
        raise BadFile([UNREADABLE[refusal.code].format(line=refusal.detail)]) from None
    header = [name.strip().casefold() for name in (told[0][1] if told else [])]
    if "username" not in header or not set(header) <= COLUMNS or len(set(header)) < len(header):
        raise BadFile([f"line 1: columns must be username and some of {', '.join(sorted(COLUMNS - {'username'}))}"])
    told = [(line, cells) for line, cells in told[1:] if any(cells)]
    if len(told) > MOST_LINES:
        raise BadFile([f"more than {MOST_LINES:,} lines"])
    too_many = next((line for line, cells in told if len(cells) > len(header)), None)
    if too_many is not None:
        raise BadFile([f"line {too_many}: more values than columns"])
    return [
        (line, {key: cell.strip() for key, cell in zip_longest(header, cells, fillvalue="")}) for line, cells in told
    ]


class _WrongLine(Exception):
    """What is wrong with a line, in words."""


@dataclass
class _Lines:
    """Takes one line after another. ``usernames``, ``accounts``: what those before it had."""

    session: Session
    settings: Settings
    now: datetime
    usernames: set[str] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)

    def take(self, row: dict[str, str]) -> None:
        """Add or change the person of one line. Raises _WrongLine."""
        row["username"] = people.fold_username(row["username"])
        _check_values(row)
        if row["username"] in self.usernames:
            raise _WrongLine(f"{row['username']} stands there twice")
        self.usernames.add(row["username"])
        person = people.by_username(self.session, row["username"])
        account, email, locale = self._account(row, person), _email(row), self._locale(row, person)
        if person is None:
            person = self._new(row, email)
        told: dict[str, str | None] = {
            "locale": locale,
            "name": row.get("name") or person.name,
            "email": email or person.email,
        }
        if "managed_apple_account" in row:
            told["managed_apple_account"] = account
        people.take(self.session, person, told)

    def _account(self, row: dict[str, str], person: Person | None) -> str | None:
        written = row.get("managed_apple_account")
        if not written:
            return None
        account = accounts.normal(written)
        if account is None:
            raise _WrongLine(f"{written!r} cannot be a Managed Apple Account")
        if account in self.accounts or accounts.taken(self.session, account, person.id if person else None):
            raise _WrongLine(f"{account} belongs to somebody else")
        self.accounts.add(account)
        return account

    def _locale(self, row: dict[str, str], person: Person | None) -> str:
        locale = row.get("locale") or (person.locale if person else "") or self.settings.languages[0]
        if locale not in self.settings.languages:
            raise _WrongLine(f"the language {locale!r} is not offered")
        return locale

    def _new(self, row: dict[str, str], email: str) -> Person:
        if not row.get("name") or not email:
            raise _WrongLine(f"{row['username']} is not known, and name or email is missing")
        source = row.get("source") or people.LOCAL
        person = Person(
            username=row["username"], role="employee", source=source, created_at=self.now, email="", name=""
        )
        self.session.add(person)
        return person


def _check_values(row: dict[str, str]) -> None:
    too_long = any(len(value) > LONGEST.get(name, LONGEST_VALUE) for name, value in row.items())
    if too_long or not all(value.isprintable() for value in row.values()):
        raise _WrongLine("a value is too long or not text")
    if row.get("source") and not SOURCE.fullmatch(row["source"]):
        raise _WrongLine(f"{row['source']!r} is no source: local, directory, or oidc:NAME")
    if not row["username"]:
        raise _WrongLine("no username")


def _email(row: dict[str, str]) -> str:
    email = mail_addresses.usable(row.get("email", ""))
    if row.get("email") and not email:
        raise _WrongLine(f"{row['email']!r} cannot be an e-mail address")
    return email
