"""Sign-in throttling: tries counted in the database, so that it holds across processes and restarts."""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from portal.database import lock_name
from portal.models import SignInAttempt
from portal.people import fold_username
from portal.settings import SignIn


class Throttled(Exception):
    """Too many tries; ``seconds`` until the oldest one is forgotten."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """A counted try; ``release`` forgets it when it succeeded or could not be judged."""

    id: int
    account_key: str


def reserve(session: Session, username: str, address: str, rules: SignIn, now: datetime) -> Attempt:
    """Count a try before it is judged, so that parallel guesses get no extra. Raises Throttled.

    The account is counted whether or not it exists.
    """
    account_key, address_key = _key("account", fold_username(username)), _key("address", address)
    for name in sorted((account_key, address_key)):
        lock_name(session, name)
    since = now - timedelta(minutes=rules.window_minutes)
    for column, key, limit in (
        (SignInAttempt.account_key, account_key, rules.account_tries),
        (SignInAttempt.address_key, address_key, rules.address_tries),
    ):
        count, oldest = session.execute(
            select(func.count(), func.min(SignInAttempt.at)).where(column == key, SignInAttempt.at > since)
        ).one()
        if count >= limit:
            wait = oldest + timedelta(minutes=rules.window_minutes) - now
            raise Throttled(max(1, math.ceil(wait.total_seconds())))
    attempt = SignInAttempt(account_key=account_key, address_key=address_key, at=now)
    session.add(attempt)
    session.flush()
    return Attempt(attempt.id, account_key)


def succeed(session: Session, attempt: Attempt) -> None:
    """The try was right: the account's earlier wrong tries are forgotten too."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.account_key == attempt.account_key))


def forget(session: Session, username: str) -> None:
    """Staff vouches for the account: its wrong tries are forgotten."""
    session.execute(
        delete(SignInAttempt).where(SignInAttempt.account_key == _key("account", fold_username(counted(username))))
    )


def release(session: Session, attempt: Attempt) -> None:
    """The try could not be judged (the source was out of reach): it does not count."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.id == attempt.id))


def counted(username: str) -> str:
    """One counter for an account however it is typed: name, DOMAIN\\name, name@domain."""
    return username.rpartition("\\")[2].partition("@")[0] or username


def forget_old(session: Session, rules: SignIn, now: datetime) -> None:
    """Housekeeping: drop what no longer counts."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.at < now - timedelta(minutes=rules.window_minutes)))


def _key(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}:{value}".encode("utf-8", "surrogatepass")).hexdigest()
