"""What a policy is made of: parts, each one payload with its values; how they are kept, and what is told of them.

A part's values are those of Apple's payload, nothing of our own between. Kept is JSON, sealed; beside it the outline,
which decides who gets what without being opened: no secret is in it, its digests are keyed.
"""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from portal.policies import catalogue
from portal.policies.variables import used_in

PASSCODE = "com.apple.mobiledevice.passwordpolicy"
RESTRICTIONS = catalogue.RESTRICTIONS
MERGED = (PASSCODE, RESTRICTIONS)
"""Kinds of which a person gets one, made of those of all their policies."""
MOST_PARTS = 40
SECRET_ENDINGS = ("Password", "Secret", "Challenge", "HeaderMagic")
_IDENTITY = ("com.apple.security.pkcs12", "PayloadContent")


@dataclass(frozen=True, slots=True)
class Part:
    """One payload. ``uuid``: its PayloadUUID, by which other parts of the policy refer to it."""

    uuid: str
    type: str
    values: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What Apple calls this kind."""
        known = catalogue.load().payloads.get(self.type)
        return known.title if known is not None else self.type


def new_part(kind: str, values: Mapping[str, Any]) -> Part:
    """A part that was not there before."""
    return Part(str(uuid.uuid4()).upper(), kind, values)


def write(parts: Sequence[Part]) -> bytes:
    """The parts as JSON, to be sealed."""
    told = [{"uuid": each.uuid, "type": each.type, "values": _plain(each.values)} for each in parts]
    return json.dumps(told, sort_keys=True).encode()


def read(content: bytes) -> tuple[Part, ...]:
    """The way back."""
    return tuple(Part(each["uuid"], each["type"], _rich(each["values"])) for each in json.loads(content))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        told = {key: _plain(each) for key, each in value.items()}
        return {"$keys": told} if any(key.startswith("$") for key in told) else told
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return {"$data": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$date": (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()}
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$data"}:
            return base64.b64decode(value["$data"])
        if value.keys() == {"$date"}:
            return datetime.fromisoformat(value["$date"])
        value = value["$keys"] if value.keys() == {"$keys"} else value
        return {key: _rich(each) for key, each in value.items()}
    return [_rich(each) for each in value] if isinstance(value, list) else value


def is_secret(kind: str, path: str) -> bool:
    """Whether what stands at this dotted path of a payload is never shown again."""
    name = path.rpartition(".")[2]
    return name.endswith(SECRET_ENDINGS) or (kind, path) == _IDENTITY or name in ("Certificate",)


def secrets(part: Part) -> Iterator[tuple[str, Any]]:
    """The secrets of a part, by dotted path."""
    for path, value in walk(part.values):
        if is_secret(part.type, path) and not isinstance(value, bool):
            yield path, value


def walk(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no dictionary, by its dotted path; lists as they are."""
    for key, value in values.items():
        here = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from walk(value, here)
        else:
            yield here, value


def at(values: Mapping[str, Any], path: str) -> Any:
    """What stands at a dotted path; None if nothing does."""
    found: Any = values
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set what stands at a dotted path."""
    *parents, last = path.split(".")
    for name in parents:
        values = values.setdefault(name, {})
    values[last] = value


@dataclass(frozen=True, slots=True)
class Outline:
    """What decides about one part: which content it is (``digest``), whose data it needs, since which iOS it works.

    ``native``: it can be declared by itself; ``values``: only of parts that are merged.
    """

    uuid: str
    type: str
    digest: str
    variables: tuple[str, ...]
    since: tuple[int, ...]
    native: bool
    values: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """To be kept; ``outline_from`` is the way back."""
        return {
            "uuid": self.uuid,
            "type": self.type,
            "digest": self.digest,
            "variables": list(self.variables),
            "since": list(self.since),
            "native": self.native,
            "values": self.values,
        }


def outline_from(told: Mapping[str, Any]) -> Outline:
    """What ``Outline.as_json`` wrote."""
    return Outline(**{**told, "variables": tuple(told["variables"]), "since": tuple(told["since"])})


def outline(parts: Sequence[Part], key: bytes, native: Callable[[Part], bool]) -> list[Outline]:
    """What is told of ``parts``; ``key`` keeps anybody from guessing a secret by its digest."""
    made = []
    for each in parts:
        known = catalogue.load().payloads[each.type]
        content = write([each])
        made.append(
            Outline(
                uuid=each.uuid,
                type=each.type,
                digest=hmac.new(key, content, hashlib.sha256).hexdigest(),
                variables=tuple(sorted(used_in(each.type, each.values, is_secret))),
                since=tuple(int(number) for number in known.since.split(".")),
                native=native(each),
                values=dict(each.values) if each.type in MERGED else None,
            )
        )
    return made
