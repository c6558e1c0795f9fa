"""What a policy is made of: parts, each one payload with its values; how they are kept, and what is told of them.

A part's values are those of Apple's payload, nothing of our own between. Kept is JSON, sealed; beside it the outline,
which decides who gets what without being opened: no secret is in it, its digests are keyed.
"""

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from portal.policies import catalogue
from portal.policies.paths import below, names
from portal.policies.variables import used_in

PASSCODE = "com.apple.mobiledevice.passwordpolicy"
RESTRICTIONS = catalogue.RESTRICTIONS
MERGED = (PASSCODE, RESTRICTIONS)
"""Kinds of which a person gets one, made of those of all their policies."""
MOST_PARTS = 40
_SECRET = re.compile(
    r"password|passphrase|passcode|secret|challenge|token|authorization|credential|cookie|bearer|headermagic|psk|(?-i:PPK)"
    r"|(?:api|private|shared|access)[-_ ]?key",
    re.IGNORECASE,
)
"""Names under which something secret stands, Apple's and those of apps and servers that an upload may hold."""
_NO_SECRET = re.compile(r"(?:URL|UUID|Type|Method|Name|Identifier|Count|Date|Source|Encryption)$")
_OTHER_SECRETS = frozenset(
    {
        ("com.apple.security.pkcs12", "PayloadContent"),
        ("com.apple.security.acme", "ClientIdentifier"),
        ("com.apple.eas.account", "Certificate"),
    }
)
_HEADERS = re.compile(r"HTTPHeader", re.IGNORECASE)
"""Of a dictionary of HTTP headers every one."""


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


REFERS = re.compile(r"Certificate(?:Anchor)?UUID$|TLSTrustedCertificates$")
"""Keys whose values are PayloadUUIDs of other payloads in the same profile."""


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


@lru_cache(maxsize=4096)
def is_secret(kind: str, path: str) -> bool:
    """Whether what stands at this dotted path of a payload is never shown again, and nothing is put into it.

    A switch is no secret, whatever it is called.
    """
    if (kind, path) in _OTHER_SECRETS:
        return True
    key = key_of(kind, path)
    if key is not None and key.type in ("boolean", "integer", "real", "date"):
        return False
    *around, name = names(path)
    if any(_HEADERS.search(each) for each in around):
        return True
    named = [name, *(around if key is None else ())]  # what stands in something secret under a name of the company's
    return any(_SECRET.search(each) and not _NO_SECRET.search(each) for each in named)


def key_of(kind: str, path: str) -> catalogue.Key | None:
    """What Apple says of the key at a dotted path; None if it does not know it."""
    payload = catalogue.load().payloads.get(kind)
    keys, found = payload.keys if payload is not None else {}, None
    for name in path.split("."):
        if name.isdigit() and found is not None and found.type == "array":
            found = next(iter(found.keys.values()), None)
        else:
            found = keys.get(name)
        if found is None:
            return None
        keys = found.keys
    return found


def holds_secret(kind: str, path: str, value: object) -> bool:
    """The same of a value that stands there: a switch and nothing are no secrets."""
    return not isinstance(value, bool) and value not in ("", b"") and is_secret(kind, path)


def secrets(part: Part) -> dict[str, Any]:
    """The secrets of a part, by dotted path."""
    return {path: value for path, value in walk(part.values) if holds_secret(part.type, path, value)}


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no dictionary, by its dotted path; lists as they are, unless they hold dictionaries."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from walk(each, below(path, key))
    elif isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        for number, each in enumerate(value):
            yield from walk(each, f"{path}.{number}")
    else:
        yield path, value


def references(part: Part) -> set[str]:
    """The PayloadUUIDs of parts that this one refers to, as those are written here: in capitals."""
    found: set[str] = set()
    for path, value in walk(part.values):
        *_, name = names(path)
        if REFERS.search(name):
            found |= {each.upper() for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)}
    return found


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

    ``native``: it can be declared by itself; ``values``: only of parts that are merged; ``needs``: the parts of the
    same policy that it refers to; ``renews``: it is another one after a while, since what it gives runs out.
    """

    uuid: str
    type: str
    digest: str
    variables: tuple[str, ...]
    since: tuple[int, ...]
    native: bool
    values: Mapping[str, Any] | None = None
    needs: tuple[str, ...] = ()
    renews: bool = False

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
            "needs": list(self.needs),
            "renews": self.renews,
        }


def outline_from(told: Mapping[str, Any]) -> Outline:
    """What ``Outline.as_json`` wrote."""
    lists = {name: tuple(told.get(name, ())) for name in ("variables", "since", "needs")}
    return Outline(**{**told, **lists})


def outline(
    parts: Sequence[Part], key: bytes, native: Callable[[Part], bool], renews: Callable[[Part], bool]
) -> list[Outline]:
    """What is told of ``parts``; ``key`` keeps anybody from guessing a secret by its digest."""
    made, names = [], {each.uuid for each in parts}
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
                needs=tuple(sorted(references(each) & names)),
                renews=renews(each),
            )
        )
    return made
