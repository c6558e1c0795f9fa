"""Licenses: what is still to be asked of Apple, in as few requests as its limits allow.

One request gives every app in it to every user in it. So users who lack the same apps are asked for together; or, if
that is fewer, each app for everybody who lacks it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from portal.apps_and_books.answers import Limits

T = TypeVar("T")
Asset = tuple[str, str]
"""Adam id and pricing."""


class UserState(StrEnum):
    """How far it is that Apple knows somebody under our id."""

    NEW = "new"
    ASKED = "asked"
    KNOWN = "known"
    FAILED = "failed"
    RETIRED = "retired"
    """Forgotten, or about to be: Apple is asked to give them up when nothing is theirs any more."""


class SeatState(StrEnum):
    """How far one license for one user is."""

    WANTED = "wanted"
    ASKED = "asked"
    HELD = "held"
    FAILED = "failed"
    UNWANTED = "unwanted"
    RETURNING = "returning"


class Kind(StrEnum):
    """What Apple is asked to do."""

    CREATE = "create"
    RETIRE = "retire"
    ASSOCIATE = "associate"
    DISASSOCIATE = "disassociate"


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: each of these apps, for each of these users."""

    assets: tuple[Asset, ...]
    users: tuple[str, ...]


def batches(lacking: Mapping[str, Sequence[Asset]], limits: Limits) -> list[Batch]:
    """Requests that give everybody what they lack, each once, and nothing else."""
    together, each_app = list(_by_set(lacking, limits)), list(_by_app(lacking, limits))
    return together if len(together) <= len(each_app) else each_app


def halves(batch: Batch) -> tuple[Batch, ...]:
    """A batch that was refused whole, as two; nothing if it cannot be made smaller."""
    if len(batch.users) > 1:
        middle = len(batch.users) // 2
        return Batch(batch.assets, batch.users[:middle]), Batch(batch.assets, batch.users[middle:])
    if len(batch.assets) > 1:
        middle = len(batch.assets) // 2
        return Batch(batch.assets[:middle], batch.users), Batch(batch.assets[middle:], batch.users)
    return ()


def _by_set(lacking: Mapping[str, Sequence[Asset]], limits: Limits) -> Iterator[Batch]:
    alike: dict[tuple[Asset, ...], list[str]] = {}
    for user, assets in lacking.items():
        alike.setdefault(tuple(sorted(set(assets))), []).append(user)
    for assets, users in alike.items():
        for some in pieces(assets, limits.assets):
            yield from (Batch(tuple(some), tuple(each)) for each in pieces(users, limits.client_user_ids))


def _by_app(lacking: Mapping[str, Sequence[Asset]], limits: Limits) -> Iterator[Batch]:
    without: dict[Asset, list[str]] = {}
    for user, assets in lacking.items():
        for asset in set(assets):
            without.setdefault(asset, []).append(user)
    for asset, users in without.items():
        yield from (Batch((asset,), tuple(each)) for each in pieces(users, limits.client_user_ids))


def pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in runs of at most ``size``."""
    return (items[first : first + size] for first in range(0, len(items), size))
