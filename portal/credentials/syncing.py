"""Taking people over from a directory or an identity provider, at each sign-in and when they are invited."""

import hashlib
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import mail_addresses, people
from portal.credentials.base import AccountProblem, Found
from portal.models import LONGEST_KEY, LONGEST_NAME, LONGEST_PHONE, LONGEST_USERNAME, CampaignEntry, Person
from portal.people import accounts, audiences
from portal.settings import Settings


def sync(session: Session, settings: Settings, found: Found, now: datetime) -> tuple[Person, set[str]]:
    """The person that ``found`` tells of, made or brought up to date, and the names of what changed.

    Matched by the source's own stable key alone; somebody who was entered for this source before their first sign-in
    is matched by username, once. Never by an e-mail address. Raises AccountProblem(username_taken).
    """
    username, subject = people.fold_username(found.username)[:LONGEST_USERNAME], key_of(found.subject)
    person = session.scalar(
        select(Person)
        .where(Person.source == found.source, Person.subject == subject)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    holder = people.by_username(session, username)
    if person is None and holder is not None and (holder.source, holder.subject) == (found.source, None):
        person = holder
    if holder is not None and holder is not person:
        raise AccountProblem("username_taken")
    changes: set[str] = set()
    if person is None:
        person = Person(source=found.source, username=username, name="", email="", role="employee", created_at=now)
        session.add(person)
        changes.add("added")
    values = {
        "subject": subject,
        "username": username,
        "name": found.name[:LONGEST_NAME],
        "email": mail_addresses.usable(found.email),
        "phone": found.phone if found.phone and len(found.phone) <= LONGEST_PHONE else None,
        "locale": _language(found.locale, settings) or person.locale or settings.languages[0],
        "role": _role(session, person, found.role),
    }
    if settings.managed_apple_account.source != "import":
        values["managed_apple_account"] = _account(session, settings, person, found)
    if username != person.username:  # lists of people to invite call them by it
        renamed = update(CampaignEntry).where(CampaignEntry.username == person.username)
        session.execute(renamed.values(username=username))
    changes |= people.take(session, person, values)
    person.synced_at = now
    session.flush()
    if settings.knows_groups and audiences.set_groups(session, person.id, found.source, found.groups):
        audiences.mark(session, person.id, now)
    return person, changes


def key_of(subject: str) -> str:
    """How a source's stable key for somebody is kept: as it is, or its digest if no database would take it."""
    if len(subject) <= LONGEST_KEY and subject.isprintable():
        return subject
    return "sha256:" + hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()


def _account(session: Session, settings: Settings, person: Person, found: Found) -> str | None:
    account = accounts.derive(
        settings.managed_apple_account, people.fold_username(found.username), found.email, found.managed_apple_account
    )
    return None if account and accounts.taken(session, account, person.id) else account


def _role(session: Session, person: Person, told: str) -> str:
    """The role by the source's groups; the last admin stays one."""
    if person.role == "admin" and told != "admin" and not people.other_admins(session, person):
        return "admin"
    return told


def _language(told: str | None, settings: Settings) -> str | None:
    language = (told or "").replace("_", "-").partition("-")[0].casefold()
    return language if language in settings.languages else None
