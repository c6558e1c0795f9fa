"""Versions of iOS, as numbers that compare."""

import re

_A_VERSION = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}")


def is_version(told: str) -> bool:
    """Whether it is a version of iOS, as numbers with dots."""
    return _A_VERSION.fullmatch(told) is not None


def version_key(version: str) -> tuple[int, ...]:
    """A version as numbers that compare: 18 is 18.0."""
    numbers = [int(part) for part in version.split(".")]
    while numbers[-1:] == [0]:
        numbers.pop()
    return tuple(numbers)


def version_of(told: str | None) -> tuple[int, ...]:
    """What a device, a store or an admin calls its version, as ``version_key``; nothing if it is not known."""
    return version_key(told) if told and is_version(told) else ()
