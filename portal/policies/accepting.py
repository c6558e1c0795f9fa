"""What may be kept as the parts of a policy: what user enrollment takes, and what can be written as it has to leave.

The form in which a part leaves is tried here, before anybody gets it: what cannot be written would otherwise stop every
device that is to have it.
"""

import json
import math
import plistlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from portal.policies import catalogue, checking, content, native, own_authority, rendering
from portal.policies.checking import BROKEN, FORBIDDEN, Problem
from portal.policies.content import MERGED, MOST_PARTS, PASSCODE, Part
from portal.policies.paths import below
from portal.policies.variables import Recipient, unknown_in

DEEPEST = 20
LEAST, MOST = -(2**63), 2**64 - 1
"""Integers of a property list."""
SOMEBODY = Recipient("somebody@example.com", "somebody@example.com", "somebody", "Somebody")
CANNOT_BE_WRITTEN = (TypeError, ValueError, OverflowError, KeyError, AttributeError, RecursionError)


def problems(parts: Sequence[Part]) -> list[Problem]:
    """Everything that can be said of these parts as those of one policy."""
    found = [*_odd(parts)]
    if found:
        return found  # the rest of the rules may rely on it
    payloads = [{**each.values, "PayloadType": each.type, "PayloadUUID": each.uuid} for each in parts]
    if payloads:
        found += checking.check({"PayloadType": "Configuration", "PayloadContent": payloads})
    for each in parts:
        for name in sorted(unknown_in(each.type, each.values, content.is_secret)):
            found.append(Problem(each.type, "", "unknown_variable", f"{{{name}}}"))
        found += _dangling(each, parts)
    found = [each for each in found if each.payload != PASSCODE]
    if usable(found):
        found += [Problem(each.type, "", "cannot_be_written") for each in parts if not _can_be_written(each)]
    return found


def usable(found: Sequence[Problem]) -> bool:
    """Whether parts with these problems may be given to anybody."""
    return worst(found) is None


def worst(found: Sequence[Problem]) -> Problem | None:
    """The first of these problems for which they may not."""
    return next((each for each in found if each.problem in FORBIDDEN | BROKEN), None)


def _odd(parts: Sequence[Part]) -> Iterator[Problem]:
    if len(parts) > MOST_PARTS:
        yield Problem("", "", "too_many")
    for kind in {each.type for each in parts} & set(MERGED):
        if sum(each.type == kind for each in parts) > 1:
            yield Problem(kind, "", "twice")
    if len({each.uuid.casefold() for each in parts}) < len(parts):
        yield Problem("", "PayloadUUID", "uuid_twice")
    for each in parts:
        if each.type in MERGED:
            yield from _not_merged(each)
        for path, why in _unwritable(each.values, "", 0):
            yield Problem(each.type, path, why)


def _not_merged(part: Part) -> Iterator[Problem]:
    """What is made one with others holds plain values of keys that Apple knows, nothing else."""
    known = catalogue.load().payloads[part.type].keys
    for name, value in part.values.items():
        if name not in known or not isinstance(value, bool | int | str | list):
            yield Problem(part.type, str(name), "wrong_type")


def _unwritable(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Where something stands that no property list, or no JSON, can hold: its path and the problem."""
    if depth > DEEPEST:
        yield path, "wrong_type"
    elif isinstance(value, Mapping):
        for key, each in value.items():
            here = below(path, key)
            if not isinstance(key, str) or not _is_plain(key):
                yield path, "control_character"
            else:
                yield from _unwritable(each, here, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _unwritable(each, path, depth + 1)
    elif isinstance(value, str):
        if not _is_plain(value):
            yield path, "control_character"
    elif isinstance(value, bool | bytes | datetime):
        return
    elif not isinstance(value, int | float) or not math.isfinite(value) or not LEAST <= value <= MOST:
        yield path, "out_of_range"


def _is_plain(text: str) -> bool:
    """Only what XML may hold (XML 1.0, section 2.2), and no halves of characters."""
    return not any(
        (letter < " " and letter not in "\t\n\r") or "\ud800" <= letter <= "\udfff" or letter in "\ufffe\uffff"
        for letter in text
    )


def _dangling(part: Part, parts: Sequence[Part]) -> Iterator[Problem]:
    """References to parts that are not there: iOS refuses the whole profile."""
    there = {each.uuid for each in parts if each.type in checking.CERTIFICATES}
    for path, value in content.walk(part.values):
        named = value if isinstance(value, list) else [value]
        if content.REFERS.search(path) and any(str(each) not in there for each in named if each):
            yield Problem(part.type, path, "certificate_elsewhere")


def _can_be_written(part: Part) -> bool:
    """Whether it can be made in each form in which it leaves."""
    try:
        (filled,) = rendering.filled([part], SOMEBODY)
        plistlib.dumps(rendering.profile("check", "Check", "Check", [filled]))
        if native.can_be(part) and part.type != PASSCODE:
            made = native.account(filled.type, filled.values)
            json.dumps([made.payload, [each.document() for each in made.credentials.values()]])
        if own_authority.is_own(filled):
            own_authority.names(filled.values).subject.public_bytes()
        told = content.outline([part], b"check", native.can_be, own_authority.is_own)
        json.dumps([each.as_json() for each in told])
    except CANNOT_BE_WRITTEN:
        return False
    return True
