"""Signing in with corporate credentials: count the try, ask the right source, never tell more than yes or no."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from portal import audit, people
from portal.credentials import syncing, throttle
from portal.credentials.base import DIRECTORY, AccountProblem, Found, PasswordSource, SourceUnavailable, as_read
from portal.credentials.local import LocalAccounts
from portal.credentials.throttle import Attempt
from portal.database import Database, lock_name
from portal.events import Event
from portal.models import Person
from portal.settings import Settings

log = logging.getLogger("portal.sign_in")


class WrongCredentials(Exception):
    """Username and password do not fit, or the account does not exist or is disabled.

    ``person`` is whose account it is, where that is known: for the trail, never for the answer.
    """

    def __init__(self, person: Person | None = None) -> None:
        super().__init__()
        self.person = person


@dataclass(frozen=True)
class Sources:
    """Who can say whose password it is: the portal's own accounts, and a directory if there is one."""

    local: LocalAccounts
    directory: PasswordSource | None = None


class Services(Protocol):
    """What of a running portal signing in needs."""

    database: Database

    @property
    def settings(self) -> Settings:
        """As they are now."""
        ...

    @property
    def sources(self) -> Sources:
        """Who can say whose password it is."""
        ...


def check(services: Services, username: str, password: str, address: str, now: datetime) -> tuple[Person, Attempt]:
    """The person, and the counted try for the caller to ``throttle.release`` in its own transaction.

    Raises Throttled, WrongCredentials, AccountProblem, or SourceUnavailable (not counted).
    """
    username = as_read(username)
    database, sources, settings = services.database, services.sources, services.settings
    rules = settings.sign_in
    with database.transaction() as session:
        username = people.sign_in_name(session, username)
        known = people.by_username(session, username)
        counted = known or people.by_username(session, throttle.bare(username))
        is_local = sources.directory is None or (known is not None and known.source == people.LOCAL)
        account = throttle.password_of(counted) if counted is not None else throttle.typed(username)
        attempt = throttle.reserve(session, account, address, rules, now)

    def found_entry(subject: str) -> None:
        with database.transaction() as session:
            throttle.recount(session, attempt, throttle.entry(DIRECTORY, subject), rules, now)

    try:
        if sources.directory is None or is_local:
            with database.session() as session:
                person = sources.local.verify(session, username, password, now)
        else:
            found = sources.directory.check(username, password, found_entry)
            person = store_person(database, settings, found, now) if found else None
    except SourceUnavailable as problem:
        log.error("sign_in.source_unavailable reason=%s", problem.reason)
        with database.transaction() as session:
            throttle.release(session, attempt)
        raise
    if person is None:
        raise WrongCredentials(known)
    if person.disabled_at is not None:
        raise AccountProblem("disabled")
    return person, attempt


def look_up(database: Database, sources: Sources, settings: Settings, username: str, now: datetime) -> Person | None:
    """Somebody to invite: known to the portal, or to the directory, from which they are taken over.

    Raises SourceUnavailable when only the directory could tell, AccountProblem.
    """
    with database.session() as session:
        known = people.by_username(session, username)
    if sources.directory is None or (known is not None and known.source == people.LOCAL):
        return known
    try:
        found = sources.directory.find(username)
    except SourceUnavailable:
        if known is not None:
            return known
        raise
    return store_person(database, settings, found, now) if found else known


def store_person(database: Database, settings: Settings, found: Found, now: datetime) -> Person:
    """The person that a source told of, made or brought up to date. Raises AccountProblem."""
    with database.transaction() as session:
        lock_name(session, f"{found.source} {found.subject}")  # the same person may come twice at once
        person, changes = syncing.sync(session, settings, found, now)
        if changes:
            detail = {"person": person.id, "changed": sorted(changes)}
            audit.record(session, people.PEOPLE_CHAIN, Event.PERSON_SYNCED, now, reason=found.source, detail=detail)
    return person
