"""What becomes of a license, and of somebody who can get some, by what Apple says: decided by values alone."""

from datetime import datetime, timedelta
from enum import StrEnum

from portal.apps.seats import Kind
from portal.apps_and_books import answers

TRY_AGAIN = tuple(timedelta(hours=hours) for hours in (1, 4, 24))
"""When what Apple refused is asked again; the last one again and again."""
MOST_UNKNOWN = 3
"""How often somebody whom Apple does not know is made known anew for the same license."""


class Outcome(StrEnum):
    """What became of one license that Apple was asked to give or to take back."""

    OPEN = "open"
    """The answer does not say: Apple's lists do."""
    HELD = "held"
    WANTED_AGAIN = "wanted_again"
    FAILED = "failed"
    RETURNED = "returned"
    NOT_RETURNED = "not_returned"


class UserOutcome(StrEnum):
    """What became of somebody whom Apple was asked to know, or to give up."""

    OPEN = "open"
    KNOWN = "known"
    NEW_AGAIN = "new_again"
    FAILED = "failed"
    FORGOTTEN = "forgotten"
    NOT_RETIRED = "not_retired"


def of_seat(kind: Kind, number: int, tries: int, *, complete: bool) -> Outcome:
    """By an event that is over. ``number``: Apple's error, 0 for none; ``complete``: the event went well altogether.

    Whether Apple gave the others what was asked for when an event failed for some is not documented [?].
    """
    if not number and not complete:
        return Outcome.OPEN
    if kind is Kind.DISASSOCIATE:  # whom Apple does not know has nothing
        return Outcome.RETURNED if number in (0, answers.USER_UNKNOWN) else Outcome.NOT_RETURNED
    if number == answers.USER_UNKNOWN and tries < MOST_UNKNOWN:
        return Outcome.WANTED_AGAIN
    return Outcome.FAILED if number else Outcome.HELD


def of_listed_seat(kind: Kind, number: int, *, is_there: bool) -> Outcome:
    """By Apple's lists. ``number``: why the request failed for those who are missing there; 0 if it did not."""
    if kind is Kind.DISASSOCIATE:
        return Outcome.NOT_RETURNED if is_there else Outcome.RETURNED
    if is_there:
        return Outcome.HELD
    return Outcome.FAILED if number else Outcome.WANTED_AGAIN


def of_user(kind: Kind, number: int, *, complete: bool) -> UserOutcome:
    """The same of somebody, by an event that is over."""
    if not number and not complete:
        return UserOutcome.OPEN
    if kind is Kind.RETIRE:
        return UserOutcome.FORGOTTEN if number in (0, answers.USER_UNKNOWN) else UserOutcome.NOT_RETIRED
    return UserOutcome.FAILED if number else UserOutcome.KNOWN


def of_listed_user(kind: Kind, *, is_known: bool) -> UserOutcome:
    """By Apple's lists."""
    if kind is Kind.RETIRE:
        return UserOutcome.NOT_RETIRED if is_known else UserOutcome.FORGOTTEN
    return UserOutcome.KNOWN if is_known else UserOutcome.NEW_AGAIN


def again_at(tries: int, now: datetime) -> datetime:
    """When what Apple refused so often is asked again."""
    return now + TRY_AGAIN[min(tries, len(TRY_AGAIN) - 1)]


def soon_at(tries: int, now: datetime) -> datetime:
    """The same of what became nothing, nobody knows why: the first time at once."""
    return again_at(tries - 1, now) if tries else now
