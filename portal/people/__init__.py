"""Employees and staff: finding them, their Managed Apple Account, disabling and erasing them."""

import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from portal import audit
from portal.events import Event
from portal.models import (
    PasswordLink,
    Person,
    WebSession,
)
from portal.settings.schema import Session as SessionRules

STAFF_ROLES = ("helpdesk", "admin")
ROLES = ("employee", *STAFF_ROLES)
LOCAL = "local"
"""The source of people that the portal itself keeps."""
PEOPLE_CHAIN = "people"
"""The audit chain of what concerns a person but no request yet."""


class LastAdmin(Exception):
    """The last admin can neither be disabled nor erased."""


class DevicesManaged(Exception):
    """Somebody with a managed device cannot be erased: its work data has to be removed, or it be given up, before."""


class UsernameTaken(Exception):
    """Somebody else has that username."""


class NotLocal(Exception):
    """The person is kept elsewhere: password and role are decided there."""


def fold_username(entered: str) -> str:
    """The form in which usernames are stored and compared."""
    return unicodedata.normalize("NFKC", entered).strip().casefold()


def by_username(session: Session, username: str, with_password: bool = False) -> Person | None:
    """The person with that username who is not erased, or None; ``with_password``: with their local account, if any."""
    query = select(Person).where(Person.username == fold_username(username), Person.erased_at.is_(None))
    return session.scalar(query.options(joinedload(Person.local_account)) if with_password else query)


def sign_in_name(session: Session, entered: str) -> str:
    """The username meant by ``entered``: itself, or that of the person whose Managed Apple Account it is."""
    account = fold_username(entered)
    if "@" not in account:
        return entered
    known = select(Person.username).where(Person.managed_apple_account == account, Person.erased_at.is_(None))
    return session.scalar(known) or entered


def names_of_actors(session: Session, actors: Iterable[str]) -> dict[str, str]:
    """What the people behind the trail's actor codes (``role:id``) are called, by code."""
    ids = {actor.rpartition(":")[2]: actor for actor in actors if ":" in actor}
    found = session.scalars(select(Person).where(Person.id.in_(ids)))
    return {ids[each.id]: each.name or each.username for each in found}


def end_sign_ins(session: Session, person: Person) -> None:
    """What counted before a change of password, address, role, source or factor counts no more.

    That is every session, every half-finished sign-in (a session, too), and every link that sets a password.
    """
    for table in (WebSession, PasswordLink):
        session.execute(delete(table).where(table.person_id == person.id))


def forget_old_sessions(session: Session, rules: SessionRules, now: datetime) -> None:
    """Housekeeping: drop sessions that are over by any rule."""
    idle = now - timedelta(minutes=max(rules.idle_minutes, rules.staff_idle_minutes))
    session.execute(delete(WebSession).where(WebSession.last_seen_at < idle))


def add(
    session: Session,
    username: str,
    name: str,
    email: str,
    account: str | None,
    role: str,
    locale: str,
    actor: str,
    now: datetime,
) -> Person:
    """Somebody kept by the portal itself, without a password yet. Raises UsernameTaken."""
    if by_username(session, username) is not None:
        raise UsernameTaken
    person = Person(
        username=fold_username(username),
        name=name,
        email=email,
        managed_apple_account=account,
        locale=locale,
        role=role,
        created_at=now,
    )
    session.add(person)
    session.flush()
    audit.record(
        session, audit.SETTINGS, Event.PERSON_ADDED, now, reason=role, actor=actor, detail={"person": person.id}
    )
    return person


def set_role(session: Session, person: Person, role: str, actor: str, now: datetime) -> None:
    """Give a local person another role; they sign in anew. Raises NotLocal, LastAdmin."""
    if person.source != LOCAL:
        raise NotLocal
    if role == person.role:
        return
    if person.role == "admin":
        keep_an_admin(session, person)
    before, person.role = person.role, role
    end_sign_ins(session, person)
    detail = {"person": person.id, "before": before, "after": role}
    audit.record(session, audit.SETTINGS, Event.PERSON_ROLE_CHANGED, now, reason=role, actor=actor, detail=detail)


def enable(session: Session, person: Person, actor: str, now: datetime) -> None:
    """Let a disabled person sign in again; devices and tokens that ended stay ended."""
    if person.disabled_at is None or person.erased_at is not None:
        return
    person.disabled_at = None
    audit.record(session, audit.SETTINGS, Event.PERSON_ENABLED, now, actor=actor, detail={"person": person.id})


def keep_an_admin(session: Session, person: Person) -> None:
    """Raises LastAdmin if nobody else is one."""
    if person.role != "admin" or person.disabled_at is not None:
        return
    if not other_admins(session, person):
        raise LastAdmin


def other_admins(session: Session, person: Person) -> bool:
    """Whether there is another admin who is not disabled."""
    others = select(Person.id).where(Person.role == "admin", Person.disabled_at.is_(None), Person.id != person.id)
    return session.scalar(others.limit(1)) is not None
