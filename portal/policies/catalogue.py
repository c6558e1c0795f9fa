"""Every payload type and key that iOS knows, and whether it applies in user enrollment. Facts: ``payloads.json``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "payloads.json"
USABLE = ("allowed", "required")
RESTRICTIONS = "com.apple.applicationaccess"
NOT_FOR_POLICIES = ("com.apple.mdm", "com.apple.declarations")
"""Usable for whoever manages the device, which is this portal already."""
ENVELOPE = ("TopLevel", "CommonPayloadKeys")
"""What is around every payload: no types of their own."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a payload. ``ue``: allowed, ignored, forbidden or removed; versions are those of iOS."""

    name: str
    type: str
    ue: str
    since: str
    required: bool = False
    supervised: bool = False
    deprecated: str = ""
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    keys: Mapping[str, "Key"] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether a user-enrolled device obeys it."""
        return self.ue in USABLE

    def walk(self, path: str = "") -> Iterator[tuple[str, "Key"]]:
        """This key and those within it, with their dotted paths."""
        here = f"{path}.{self.name}" if path else self.name
        yield here, self
        for each in self.keys.values():
            yield from each.walk(here)


@dataclass(frozen=True, slots=True)
class Payload:
    """One payload type. ``several``: whether more than one may be installed; ``manual``: also without an MDM."""

    type: str
    title: str
    ue: str
    since: str
    supervised: bool
    several: bool
    manual: bool
    deprecated: str
    keys: Mapping[str, Key]

    @property
    def usable(self) -> bool:
        """Whether a policy for user enrollment may carry it."""
        return self.ue in USABLE and self.type not in NOT_FOR_POLICIES

    def walk(self) -> Iterator[tuple[str, Key]]:
        """Every key with its dotted path."""
        for each in self.keys.values():
            yield from each.walk()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All of it, with where the facts are from."""

    source: str
    later: str
    payloads: Mapping[str, Payload]

    def usable(self) -> frozenset[str]:
        """The types that a policy for user enrollment may carry."""
        return frozenset(name for name, each in self.payloads.items() if each.usable)

    def search(self, words: str, usable_only: bool) -> list[tuple[Payload, list[tuple[str, Key]]]]:
        """Payloads whose name, title or keys hold every one of ``words``, with the keys that do; all keys for none."""
        wanted = words.casefold().split()
        found = []
        for each in sorted(self.payloads.values(), key=lambda payload: payload.title.casefold()):
            if usable_only and not each.usable:
                continue
            keys = [(path, key) for path, key in each.walk() if key.usable or not usable_only]
            if not _holds(f"{each.type} {each.title}", wanted):
                keys = [(path, key) for path, key in keys if _holds(path, wanted)]
                if not keys:
                    continue
            found.append((each, keys))
        return found


def _holds(text: str, wanted: list[str]) -> bool:
    return all(word in text.casefold() for word in wanted)


@lru_cache(maxsize=1)
def load() -> Catalogue:
    """The catalogue; read when it is first needed."""
    told = json.loads(DATA.read_text("utf-8"))
    payloads = {
        name: Payload(
            type=name,
            title=each["title"],
            ue=each["ue"],
            since=each["since"],
            supervised=each["supervised"],
            several=each["several"],
            manual=each["manual"],
            deprecated=each.get("deprecated", ""),
            keys=_keys(each["keys"]),
        )
        for name, each in told["payloads"].items()
        if name not in ENVELOPE
    }
    return Catalogue(told["source"], told["later"], payloads)


def _keys(told: dict[str, Any]) -> dict[str, Key]:
    return {
        name: Key(
            name=name,
            type=each["type"],
            ue=each["ue"],
            since=each["since"],
            required=each.get("required", False),
            supervised=each.get("supervised", False),
            deprecated=each.get("deprecated", ""),
            choices=tuple(each.get("rangelist", ())),
            least=(each.get("range") or {}).get("min"),
            most=(each.get("range") or {}).get("max"),
            keys=_keys(each.get("keys", {})),
        )
        for name, each in told.items()
    }
