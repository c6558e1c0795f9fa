"""What one person's device gets of all the policies that are theirs: pure, and without opening any of them.

Each thing a device gets is an item with a token that is another one as soon as its content is another: the digests of
its parts, and what of the person is put in. So what is declared can be compared for thousands of devices at once.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from portal.policies import merging, native
from portal.policies.content import MERGED, PASSCODE, RESTRICTIONS, Outline
from portal.policies.merging import Contradiction
from portal.policies.variables import Recipient

REVISION = 1
"""Another one if what is made of the same parts ever becomes another: devices then fetch it anew."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One policy of a person, in the version that is theirs. ``pilot``: because they are in its pilot group."""

    policy_id: str
    name: str
    version: int
    parts: tuple[Outline, ...]
    pilot: bool = False


class Kind(StrEnum):
    """How an item reaches a device, and what is in it."""

    PASSCODE = "passcode"
    RESTRICTIONS = "restrictions"
    ACCOUNT = "account"
    PROFILE = "profile"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a device gets: ``identifier`` is its name, ``token`` its content.

    ``policies``: where it comes from; ``parts``: which parts are in it; ``values``: what it says, if it was merged;
    ``type``: of its payload, if that is an account of its own.
    """

    identifier: str
    kind: Kind
    token: str
    policies: tuple[str, ...]
    parts: tuple[str, ...] = ()
    values: Mapping[str, Any] | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part that a device does not get: ``old_ios`` (``detail``: the iOS it needs), ``no_value`` (of a variable), or
    ``needs`` (``detail``: the type of a part that it refers to and that is left out)."""

    policy_id: str
    uuid: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Composition:
    """All of it."""

    items: tuple[Item, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()

    def of(self, policy_id: str) -> list[Item]:
        """The items that a policy has a part in."""
        return [each for each in self.items if policy_id in each.policies]


def compose(
    grants: Sequence[Grant], recipient: Recipient, ios: tuple[int, ...], declared: bool, since: "Since | None" = None
) -> Composition:
    """What a device with that iOS gets. ``declared``: it takes declarations, not only profiles.

    ``since``: what happened to the device since it was enrolled.
    """
    left: list[LeftOut] = []
    usable = [(grant, _whole(grant, recipient, ios, left)) for grant in grants]
    items = [*_passcode(usable)]
    merged, contradictions = _restrictions(usable)
    items += merged
    for grant, parts in usable:
        own = [part for part in parts if part.type not in MERGED]
        alone = [part for part in own if declared and part.native and ios >= native.FIRST_IOS]
        items += [_item(f"account.{part.uuid}", Kind.ACCOUNT, grant, [part], recipient) for part in alone]
        together = [part for part in own if part not in alone]
        if together:
            items.append(_item(f"policy.{grant.policy_id}", Kind.PROFILE, grant, together, recipient))
    since = since or Since()
    items = [replace(each, token=since.token(each.token, _renews(each, usable))) for each in items]
    return Composition(tuple(items), tuple(left), tuple(contradictions))


@dataclass(frozen=True, slots=True)
class Since:
    """What makes the same content another for one device. ``again``: how often everything was asked to be sent anew;
    ``period``: how often what runs out was due for renewal."""

    again: int = 0
    period: int = 0

    def token(self, token: str, renews: bool) -> str:
        """The token of an item after that; as it was if nothing happened."""
        told = (self.again, self.period if renews else 0)
        return token if told == (0, 0) else _token(repr(told), token)


def _renews(item: Item, usable: "Usable") -> bool:
    return any(part.renews and part.uuid in item.parts for _, parts in usable for part in parts)


def _whole(grant: Grant, recipient: Recipient, ios: tuple[int, ...], left: list[LeftOut]) -> list[Outline]:
    """The parts of a policy that fit, without those that refer to one that does not."""
    found = [part for part in grant.parts if _fits(grant, part, recipient, ios, left)]
    while len(found) < len(grant.parts):
        gone = {part.uuid: part.type for part in grant.parts} | dict.fromkeys((part.uuid for part in found), "")
        lost = [(part, next((gone[each] for each in part.needs if gone.get(each)), "")) for part in found]
        if not any(needed for _, needed in lost):
            break
        left += [LeftOut(grant.policy_id, part.uuid, "needs", needed) for part, needed in lost if needed]
        found = [part for part, needed in lost if not needed]
    return found


def _fits(grant: Grant, part: Outline, recipient: Recipient, ios: tuple[int, ...], left: list[LeftOut]) -> bool:
    if ios < part.since:
        left.append(LeftOut(grant.policy_id, part.uuid, "old_ios", ".".join(map(str, part.since))))
        return False
    missing = [name for name in part.variables if not recipient.value(name)]
    if missing:
        left.append(LeftOut(grant.policy_id, part.uuid, "no_value", missing[0]))
    return not missing


Usable = Sequence[tuple[Grant, list[Outline]]]


def _of_kind(usable: Usable, kind: str) -> list[tuple[Grant, Outline]]:
    return [(grant, part) for grant, parts in usable for part in parts if part.type == kind]


def _passcode(usable: Usable) -> Iterator[Item]:
    found = _of_kind(usable, PASSCODE)
    if found:
        minutes = merging.passcode([part.values or {} for _, part in found])
        yield _merged("passcode", Kind.PASSCODE, [grant for grant, _ in found], {"minutes": minutes})


def _restrictions(usable: Usable) -> tuple[list[Item], list[Contradiction]]:
    found = _of_kind(usable, RESTRICTIONS)
    values, contradictions = merging.restrictions([(grant.name, part.values or {}) for grant, part in found])
    if not values:
        return [], contradictions
    return [_merged("restrictions", Kind.RESTRICTIONS, [grant for grant, _ in found], values)], contradictions


def _merged(identifier: str, kind: Kind, grants: Sequence[Grant], values: Mapping[str, Any]) -> Item:
    theirs = tuple(dict.fromkeys(grant.policy_id for grant in grants))
    return Item(identifier, kind, _token(identifier, values), theirs, values=values)


def _item(identifier: str, kind: Kind, grant: Grant, parts: Sequence[Outline], recipient: Recipient) -> Item:
    says: tuple[Any, ...] = tuple(
        (part.uuid, part.digest, tuple(recipient.value(name) for name in part.variables)) for part in parts
    )
    named = (*says, grant.name) if kind is Kind.PROFILE else says  # a profile shows its policy's name
    return Item(
        identifier,
        kind,
        _token(identifier, named),
        (grant.policy_id,),
        tuple(part.uuid for part in parts),
        type=parts[0].type if kind is Kind.ACCOUNT else None,
    )


def _token(identifier: str, says: object) -> str:
    content = repr((REVISION, identifier, sorted(says.items()) if isinstance(says, Mapping) else says))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
