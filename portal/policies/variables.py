"""What of a person may stand in a policy: a short list, put in as values once everything else was read and checked."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from portal.policies.paths import below

NAMES = ("email", "managed_apple_account", "username", "name")
_MARK = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets a policy, as far as a policy may know them; empty where nothing is known."""

    email: str
    managed_apple_account: str
    username: str
    name: str

    def value(self, variable: str) -> str:
        """What stands for one of ``NAMES``."""
        return str(getattr(self, variable))


Secret = Callable[[str, str], bool]
"""Whether what stands at a path of a payload is a secret: in one ``{name}`` are six characters like any other."""


def used_in(kind: str, values: Mapping[str, Any], secret: Secret) -> set[str]:
    """The variables in a payload's values."""
    return {name for text in _texts(kind, values, secret) for name in _MARK.findall(text) if name in NAMES}


def unknown_in(kind: str, values: Mapping[str, Any], secret: Secret) -> set[str]:
    """What looks like a variable and is none: it would reach phones as it stands there."""
    return {name for text in _texts(kind, values, secret) for name in _MARK.findall(text) if name not in NAMES}


def fill(kind: str, values: Mapping[str, Any], recipient: Recipient, secret: Secret) -> dict[str, Any]:
    """The values for one person. In addresses what is put in is encoded, so that it stays one part of them."""
    return {key: _fill(kind, below("", key), each, recipient, secret) for key, each in values.items()}


def _fill(kind: str, path: str, value: Any, recipient: Recipient, secret: Secret) -> Any:
    if isinstance(value, Mapping):
        return {key: _fill(kind, below(path, key), each, recipient, secret) for key, each in value.items()}
    if isinstance(value, list):
        return [_fill(kind, path, each, recipient, secret) for each in value]
    if not isinstance(value, str) or secret(kind, path):
        return value
    address = path.rpartition(".")[2].upper().endswith(("URL", "URLS"))

    def put_in(mark: re.Match[str]) -> str:
        if mark[1] not in NAMES:
            return mark[0]
        known = recipient.value(mark[1])
        return quote(known, safe="") if address else known

    return _MARK.sub(put_in, value)


def _texts(kind: str, value: Any, secret: Secret, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(kind, each, secret, below(path, key))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(kind, each, secret, path)
    elif isinstance(value, str) and not secret(kind, path):
        yield value
