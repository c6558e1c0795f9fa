"""Counting tries at passwords and codes, in the database, so that it holds across processes and restarts.

A try is counted for what it tries (an account's password, somebody's second factor) and for the network it comes from,
before it is judged. One that was right takes itself back, and nothing else: who proved one thing has not proved
another, and those who tried before may have been somebody else.
"""

import hashlib
import math
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session

from portal.database import lock_name
from portal.models import Person, SignInAttempt
from portal.models.people import folded
from portal.settings.schema import SignIn

CLEARED = ""
"""The account key of a try that counts for its network alone."""
IPV6_PREFIX = 64
"""Bits: whoever has one address of such a network has them all."""


class Throttled(Exception):
    """Too many tries; ``seconds`` until the oldest one is forgotten."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    @property
    def minutes(self) -> int:
        """The same in whole minutes, at least one."""
        return math.ceil(self.seconds / 60)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A counted try; ``release`` takes it back when it was right or could not be judged."""

    id: int
    account_key: str


def password_of(person: Person) -> str:
    """What is tried with a password of somebody known: their entry at its source, however their name is typed."""
    return entry(person.source, person.subject or person.id)


def entry(source: str, subject: str) -> str:
    """What is tried with a password of an entry that its source found."""
    return f"password of {source} {subject}"


def typed(username: str) -> str:
    """What is tried with a password of nobody known: the name, without its domain.

    Directories take many ways of writing it for the same; spaces, marks and what cannot be seen make no difference.
    """
    letters = "".join(each for each in folded(bare(username)) if unicodedata.category(each)[0] not in "CMZ")
    return f"password of somebody called {letters}"


def bare(username: str) -> str:
    """A username as it may be typed (``DOMAIN\\name``, ``name@domain``), alone."""
    return username.rpartition("\\")[2].partition("@")[0] or username


def second_factor_of(person: Person) -> str:
    """What is tried with a code."""
    return f"second factor of {person.id}"


def passkey_of(person: Person, address: str) -> str:
    """What is tried with a passkey: neither guessing codes nor sending nonsense elsewhere keeps its owner from it."""
    return f"passkey of {person.id} from {network_of(address)}"


def new_password_of(person: Person) -> str:
    """What is chosen with a right old one: judging it takes time, and each is told by mail."""
    return f"new password of {person.id}"


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or of IPv6 the network of 64 bits."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else f"{int(parsed) >> (128 - IPV6_PREFIX):x}/{IPV6_PREFIX}"
    return str(parsed)


def reserve(session: Session, account: str, address: str, rules: SignIn, now: datetime) -> Attempt:
    """Count a try of ``account`` (see above) before it is judged, so that parallel guesses get no extra.

    Raises Throttled. The account is counted whether or not it exists.
    """
    account_key, address_key = _key("account", account), _key("address", network_of(address))
    for name in sorted((account_key, address_key)):
        lock_name(session, name)
    of_account, of_address = SignInAttempt.account_key == account_key, SignInAttempt.address_key == address_key
    _check(session, [(of_account, rules.account_tries), (of_address, rules.address_tries)], rules, now)
    attempt = SignInAttempt(account_key=account_key, address_key=address_key, at=now)
    session.add(attempt)
    session.flush()
    return Attempt(attempt.id, account_key)


def reserve_network(session: Session, address: str, rules: SignIn, now: datetime) -> Attempt:
    """Count a try of nobody known, for its network alone. Raises Throttled."""
    address_key = _key("address", network_of(address))
    lock_name(session, address_key)
    _check(session, [(SignInAttempt.address_key == address_key, rules.address_tries)], rules, now)
    attempt = SignInAttempt(account_key=CLEARED, address_key=address_key, at=now)
    session.add(attempt)
    session.flush()
    return Attempt(attempt.id, CLEARED)


def reserve_alone(session: Session, account: str, rules: SignIn, now: datetime) -> None:
    """Count something of ``account`` that is no try, and counts for no network. Raises Throttled."""
    key = _key("account", account)
    lock_name(session, key)
    _check(session, [(SignInAttempt.account_key == key, rules.account_tries)], rules, now)
    session.add(SignInAttempt(account_key=key, address_key=key, at=now))


def recount(session: Session, attempt: Attempt, account: str, rules: SignIn, now: datetime) -> Attempt:
    """The try is one of ``account``, as its source found out before it judged the password. Raises Throttled."""
    account_key = _key("account", account)
    if account_key == attempt.account_key:
        return attempt
    lock_name(session, account_key)
    _check(session, [(SignInAttempt.account_key == account_key, rules.account_tries)], rules, now)
    session.execute(update(SignInAttempt).where(SignInAttempt.id == attempt.id).values(account_key=account_key))
    return Attempt(attempt.id, account_key)


def release(session: Session, attempt: Attempt) -> None:
    """The try was right, or could not be judged: it does not count. Older ones do."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.id == attempt.id))


def clear(session: Session, account: str) -> None:
    """What was tried is proved, or staff vouches for it: its older tries count for their networks alone."""
    of_account = SignInAttempt.account_key == _key("account", account)
    session.execute(update(SignInAttempt).where(of_account).values(account_key=CLEARED))


def forget_old(session: Session, rules: SignIn, now: datetime) -> None:
    """Housekeeping: drop what no longer counts."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.at < now - timedelta(minutes=rules.window_minutes)))


def _check(session: Session, limits: list[tuple[ColumnElement[bool], int]], rules: SignIn, now: datetime) -> None:
    """Raises Throttled if as many tries as one may have fit one of ``limits``."""
    window = timedelta(minutes=rules.window_minutes)
    fitting = [which for which, _ in limits]
    figures = [figure.filter(which) for which in fitting for figure in (func.count(), func.min(SignInAttempt.at))]
    found: list[Any] = list(
        session.execute(select(*figures).where(or_(*fitting), SignInAttempt.at > now - window)).one()
    )
    for (_, limit), count, oldest in zip(limits, found[::2], found[1::2], strict=True):
        if count >= limit:
            raise Throttled(max(1, math.ceil((oldest + window - now).total_seconds())))


def _key(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}:{value}".encode("utf-8", "surrogatepass")).hexdigest()
