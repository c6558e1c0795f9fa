"""Signing in with corporate credentials: count the try, ask the source, never tell more than yes or no."""

from datetime import datetime

from portal.credentials import throttle
from portal.credentials.base import CredentialSource, SourceUnavailable
from portal.credentials.throttle import Attempt
from portal.database import Database
from portal.models import Person
from portal.settings import SignIn


class WrongCredentials(Exception):
    """Username and password do not fit, or the account does not exist or is disabled."""


def check(
    database: Database,
    source: CredentialSource,
    rules: SignIn,
    username: str,
    password: str,
    address: str,
    now: datetime,
) -> tuple[Person, Attempt]:
    """The person, and the counted try for the caller to ``throttle.succeed`` in its own transaction.

    Raises Throttled, WrongCredentials, or SourceUnavailable (not counted).
    """
    with database.transaction() as session:
        attempt = throttle.reserve(session, username, address, rules, now)
    try:
        with database.session() as session:
            person = source.verify(session, username, password, now)
    except SourceUnavailable:
        with database.transaction() as session:
            throttle.release(session, attempt)
        raise
    if person is None:
        raise WrongCredentials
    return person, attempt
