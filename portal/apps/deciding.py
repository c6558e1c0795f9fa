"""What is to be done next about one app on one device: a pure function over what is known of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from portal.apps.states import ENDS, NEVER_THERE, THERE, State

LOOK_SOON, LOOK_AT_LAST = timedelta(seconds=15), timedelta(days=1)
"""How soon a device is asked how far an app is; later ever more rarely, for its owner may let it wait for days."""
RETRIES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
"""When what failed is tried again: a license is not always there for the device right after it was given."""
GRACE = timedelta(days=1)
"""An app whose owner left its group is removed after that: a directory that was misread meanwhile takes nothing."""


class Step(Enum):
    """What to do."""

    REST = auto()
    GET_LICENSE = auto()
    NO_LICENSE = auto()
    TOO_OLD = auto()
    INSTALL = auto()
    CONFIGURE = auto()
    ASK = auto()
    """How far the device is."""
    REMOVE = auto()
    FORGET = auto()
    """Nothing is there any more, and nothing is wanted."""


@dataclass(frozen=True, slots=True)
class Facts:
    """``asked``: a command about this app is on its way. ``licensed``: it needs none, or there is one; ``hopeless``:
    there is none to be had for now. ``fits``: the iOS is new enough. ``current``: the device knows how it is to behave.
    ``due``: the time came that was set for it; ``waits``: it did not come yet. ``tries``: how often it was sent or
    removed in vain.
    """

    state: State
    wanted: bool
    asked: bool = False
    licensed: bool = True
    hopeless: bool = False
    fits: bool = True
    current: bool = True
    due: bool = False
    waits: bool = False
    tries: int = 0


def next_step(facts: Facts) -> Step:
    """What to do next."""
    if facts.asked:
        return Step.REST
    if not facts.wanted:
        return _on_the_way_out(facts)
    if facts.state in THERE and not facts.current:
        return Step.REST if facts.waits else Step.CONFIGURE
    if facts.state in ENDS - {State.TOO_OLD}:
        return Step.ASK if facts.due else Step.REST
    if not facts.fits:
        return Step.TOO_OLD
    if not facts.licensed:
        return Step.NO_LICENSE if facts.hopeless else Step.GET_LICENSE
    if facts.state in NEVER_THERE or facts.state is State.REMOVING:
        return Step.REST if facts.waits and facts.state is State.LICENSE else Step.INSTALL
    if not facts.due:
        return Step.REST
    return Step.INSTALL if facts.state is State.FAILED else Step.ASK


def _on_the_way_out(facts: Facts) -> Step:
    if facts.state in NEVER_THERE or (facts.state is State.REMOVING and facts.tries > len(RETRIES)):
        return Step.FORGET
    return Step.REMOVE if facts.due else Step.REST


def retry_at(tries: int, now: datetime) -> datetime | None:
    """When what failed for the ``tries``-th time is tried again; None: not by itself."""
    return now + RETRIES[tries - 1] if 0 < tries <= len(RETRIES) else None


def look_at(since: datetime, now: datetime) -> datetime:
    """When to ask again about what is in a state ``since`` then."""
    return now + max(LOOK_SOON, min(now - since, LOOK_AT_LAST))
