"""The Managed Apple Account of a person: where it comes from, and that it is one and nobody else's."""

import re
from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from portal.models import Person
from portal.settings import Settings
from portal.settings.schema import ManagedAppleAccount

LONGEST = 254
_ACCOUNT = re.compile(r"[^@\s\"<>]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")


def normal(account: str) -> str | None:
    """The form in which accounts are stored and compared, None if it cannot be one."""
    folded = account.strip().casefold()
    return folded if len(folded) <= LONGEST and _ACCOUNT.fullmatch(folded) else None


def derive(rules: ManagedAppleAccount, username: str, email: str, told: str | None) -> str | None:
    """The account by the rules: what the source ``told``, the e-mail address, or the pattern. None if there is none."""
    if rules.source == "email":
        local, _, domain = email.strip().casefold().rpartition("@")
        return normal(f"{local}@{rules.mapped(domain)}")
    if rules.source == "pattern":
        domain = (rules.domain or email.rpartition("@")[2]).strip().casefold()
        values = {"username": username.partition("@")[0], "domain": rules.mapped(domain)}
        account = rules.pattern
        for name, value in values.items():
            account = account.replace("{" + name + "}", value)
        return normal(account)
    return normal(told) if told and rules.source == "attribute" else None


def of(session: Session, person: Person, settings: Settings) -> str | None:
    """The account that ``person`` enrolls with: the stored one, else a derived one that nobody else has."""
    if person.managed_apple_account:
        return person.managed_apple_account
    account = _derived(person, settings)
    if account is None or taken(session, account, person.id):
        return None
    return account if account not in (_derived(each, settings) for each in _alike(session, person)) else None


def _derived(person: Person, settings: Settings) -> str | None:
    account = derive(settings.managed_apple_account, person.username, person.email, None)
    if account is None and settings.enrollment.email_as_managed_apple_account:
        account = normal(person.email)
    return account


def _alike(session: Session, person: Person) -> Sequence[Person]:
    """Everybody else for whom the rules may come to the same: with their e-mail address, or their name in a domain."""
    name = person.username.partition("@")[0]
    same = [Person.username == name, Person.username.startswith(f"{name}@", autoescape=True)]
    if person.email:
        same.append(func.lower(Person.email) == person.email.lower())
    others = (Person.id != person.id, Person.erased_at.is_(None), Person.managed_apple_account.is_(None))
    return session.scalars(select(Person).where(*others, or_(*same))).all()


def taken(session: Session, account: str, person_id: str | None) -> bool:
    """Whether somebody else has ``account``."""
    query = select(Person.id).where(Person.managed_apple_account == account, Person.id != (person_id or ""))
    return session.scalar(query.limit(1)) is not None
