"""People and Managed Apple Accounts from a CSV file: all of it or nothing, every problem with its line."""

import csv
import io
import re
from datetime import datetime

from sqlalchemy.orm import Session

from portal import mail_addresses, people
from portal.models import LONGEST_NAME, LONGEST_USERNAME, Person
from portal.people import accounts
from portal.settings import Settings

LARGEST_FILE = 20 * 1024 * 1024
MOST_LINES = 50_000
LONGEST_VALUE = 254
MOST_PROBLEMS = 100
COLUMNS = {"username", "managed_apple_account", "name", "email", "locale", "source"}
LONGEST = {"username": LONGEST_USERNAME, "name": LONGEST_NAME}
"""Characters of a value; of the others ``LONGEST_VALUE``."""
SOURCE = re.compile(r"local|directory|oidc:[a-z0-9-]{1,20}")


class BadFile(Exception):
    """Something in the file is wrong; ``problems`` says what and where."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems


def read(session: Session, settings: Settings, content: bytes, now: datetime) -> int:
    """Add or change people; how many. Raises BadFile (the caller rolls back)."""
    problems: list[str] = []
    seen_names: set[str] = set()
    seen_accounts: set[str] = set()
    count = 0
    for number, row in enumerate(_rows(content), start=2):
        problem = _take(session, settings, row, now, seen_names, seen_accounts)
        if problem:
            problems.append(f"line {number}: {problem}")
            if len(problems) >= MOST_PROBLEMS:
                break
        count += 1
    if problems:
        raise BadFile(problems)
    return count


def _rows(content: bytes) -> list[dict[str, str]]:
    if len(content) > LARGEST_FILE:
        raise BadFile(["the file is larger than 20 MiB"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile([f"byte {error.start}: the file is not UTF-8"]) from None
    delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = {name.strip().casefold() for name in reader.fieldnames or []}
    if "username" not in header or not header <= COLUMNS:
        raise BadFile([f"line 1: columns must be username and some of {', '.join(sorted(COLUMNS - {'username'}))}"])
    rows = []
    for row in reader:
        if None in row:
            raise BadFile([f"line {reader.line_num}: more values than columns"])
        rows.append({key.strip().casefold(): (value or "").strip() for key, value in row.items()})
        if len(rows) > MOST_LINES:
            raise BadFile(["more than 50,000 lines"])
    return rows


def _take(
    session: Session,
    settings: Settings,
    row: dict[str, str],
    now: datetime,
    seen_names: set[str],
    seen_accounts: set[str],
) -> str | None:
    """Take one line; what is wrong with it, if anything."""
    username = row["username"] = people.fold_username(row["username"])
    too_long = any(len(value) > LONGEST.get(name, LONGEST_VALUE) for name, value in row.items())
    if too_long or not all(value.isprintable() for value in row.values()):
        return "a value is too long or not text"
    if row.get("source") and not SOURCE.fullmatch(row["source"]):
        return f"{row['source']!r} is no source: local, directory, or oidc:NAME"
    if not username:
        return "no username"
    if username in seen_names:
        return f"{username} stands there twice"
    seen_names.add(username)
    person = people.by_username(session, username)
    account = accounts.normal(row["managed_apple_account"]) if row.get("managed_apple_account") else None
    if row.get("managed_apple_account") and account is None:
        return f"{row['managed_apple_account']!r} cannot be a Managed Apple Account"
    if account and (account in seen_accounts or accounts.taken(session, account, person.id if person else None)):
        return f"{account} belongs to somebody else"
    seen_accounts |= {account} if account else set()
    email = mail_addresses.usable(row.get("email", ""))
    if row.get("email") and not email:
        return f"{row['email']!r} cannot be an e-mail address"
    if person is None:
        if not row.get("name") or not email:
            return f"{username} is not known, and name or email is missing"
        person = Person(
            username=username,
            role="employee",
            source=row.get("source") or people.LOCAL,
            created_at=now,
            email="",
            name="",
        )
        session.add(person)
    locale = row.get("locale") or person.locale or settings.languages[0]
    if locale not in settings.languages:
        return f"the language {locale!r} is not offered"
    person.locale = locale
    if person.id and email and email != person.email:
        people.end_sign_ins(session, person)
    person.name, person.email = row.get("name") or person.name, email or person.email
    if "managed_apple_account" in row:
        person.managed_apple_account = account
    return None
