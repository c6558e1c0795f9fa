"""Local accounts: argon2id with 19 MiB, 2 passes, 1 lane (OWASP's first choice).

One thread of a process makes all hashes. A thread keeps what it needed once, so in each of a web process's threads they
would take 19 MiB for good; and more hashes at once than there are cores are no faster.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy.orm import Session

from portal import people
from portal.models import LocalAccount, Person

LONGEST_PASSWORD = 1024
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _hasher.hash("no account has this hash")


@lru_cache(maxsize=1)
def _thread(_process: int) -> ThreadPoolExecutor:
    """Where a process makes its hashes; a forked one makes its own, for threads are not forked along."""
    return ThreadPoolExecutor(1, "password")


class LocalAccounts:
    """The portal's own accounts."""

    name = people.LOCAL

    def verify(self, session: Session, username: str, password: str, now: datetime) -> Person | None:
        """The person whose credentials these are, disabled or not; or None, in the same time for an unknown account.

        An empty password never fits. Runs outside of any write transaction, since hashing takes its time.
        """
        person = people.by_username(session, username, with_password=True)
        account = person.local_account if person else None
        stored = account.password_hash if account else _NOBODY
        session.expunge_all()
        session.rollback()  # hold no transaction while hashing
        fits = _fits(stored, password[:LONGEST_PASSWORD])
        return person if account is not None and fits and password else None


def set_password(session: Session, person: Person, password: str) -> LocalAccount:
    """Give ``person`` a local account with ``password``, or change its password."""
    account = person.local_account
    if account is None:
        account = LocalAccount(person=person)
        session.add(account)
    account.password_hash = _thread(os.getpid()).submit(_hasher.hash, password).result()
    return account


def _fits(stored: str, password: str) -> bool:
    try:
        return _thread(os.getpid()).submit(_hasher.verify, stored, password).result()
    except (Argon2Error, InvalidHashError):
        return False
