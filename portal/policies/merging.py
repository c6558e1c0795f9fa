"""Of some kinds a device may only have one payload: those of all policies of a person become one.

Where policies disagree the stricter one counts, so that no policy can undo another; which they are is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STRICT_WHEN_FALSE = ("allow",)
MOST_MINUTES = 15
"""What a declaration may say at most."""
STRICT_WHEN_TRUE = ("force", "require", "safariForce")


@dataclass(frozen=True, slots=True)
class Contradiction:
    """``key`` of the merged payload: what each policy says of it, by its name, and what counts."""

    key: str
    said: tuple[tuple[str, Any], ...]
    counts: Any


def restrictions(said: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], list[Contradiction]]:
    """One Restrictions payload of those of the policies with these names, and where they disagree."""
    merged: dict[str, Any] = {}
    contradictions = []
    for key in sorted({key for _, values in said for key in values}):
        stands = tuple((name, values[key]) for name, values in said if key in values)
        merged[key] = _stricter(key, [value for _, value in stands])
        if len({repr(value) for _, value in stands}) > 1:
            contradictions.append(Contradiction(key, stands, merged[key]))
    return merged, contradictions


def _stricter(key: str, values: list[Any]) -> Any:
    if all(isinstance(each, bool) for each in values):
        if key.startswith(STRICT_WHEN_FALSE):
            return all(values)
        if key.startswith(STRICT_WHEN_TRUE):
            return any(values)
    return values[0]


def passcode(said: Sequence[Mapping[str, Any]]) -> int | None:
    """Minutes until the screen locks by itself, at most; None if nobody asks for that. A passcode all of them ask for.

    Any value only takes away "Never" from Auto-Lock in user enrollment.
    """
    asked = [values.get("maxInactivity") for values in said]
    minutes = [each for each in asked if isinstance(each, int) and not isinstance(each, bool) and each > 0]
    return min(*minutes, MOST_MINUTES) if minutes else None
