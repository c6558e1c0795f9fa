"""Reading property lists from devices: XML only, bounded in size and depth, no entities."""

import plistlib
from typing import Any
from xml.parsers import expat

DEEPEST = 32
MOST_NODES = 50_000
SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""What Apple's readers hold of an integer."""


class BadPlist(Exception):
    """The body is not a property list that a device would send."""


def read(body: bytes, once: bool = False) -> dict[str, Any]:
    """The dictionary in ``body``. Raises BadPlist; with ``once`` also for a key that stands twice in a dictionary.

    plistlib itself refuses entity declarations.
    """
    try:
        value = plistlib.loads(body, fmt=plistlib.FMT_XML)
    except Exception as error:  # plistlib lets many kinds through: expat's, ValueError, IndexError, AttributeError...
        raise BadPlist("not an XML property list") from error
    if not isinstance(value, dict):
        raise BadPlist("not a dictionary")
    check_bounds(value)
    if once and _keys_written(body) != _keys_in(value):
        raise BadPlist("a key stands twice")
    return value


def read_message(body: bytes) -> dict[str, Any]:
    """The same of a device's message, if every reader reads it alike: nothing but a property list's own elements.

    Others may take what stands under a prefix, or beside an element within a key, for something that was not read
    here. Raises BadPlist.
    """
    _Strict().parse(body)
    return read(body)


class _Strict:
    """Refuses whatever readers of property lists may differ in."""

    CONTAINERS = frozenset({"plist", "dict", "array"})
    LEAVES = frozenset({"key", "string", "data", "date", "integer", "real", "true", "false"})

    def __init__(self) -> None:
        self.inside = ""

    def parse(self, body: bytes) -> None:
        """Raises BadPlist."""
        parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self._begin, self._end
        parser.CommentHandler = parser.ProcessingInstructionHandler = self._refuse
        parser.StartCdataSectionHandler = parser.EntityDeclHandler = self._refuse
        try:
            parser.Parse(body, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise BadPlist("not an XML property list") from error

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if self.inside or name not in self.CONTAINERS | self.LEAVES:
            self._refuse()
        if attributes and (name != "plist" or set(attributes) != {"version"}):
            self._refuse()
        self.inside = name if name in self.LEAVES else ""

    def _end(self, _name: str) -> None:
        self.inside = ""

    def _refuse(self, *_: object) -> None:
        raise BadPlist("not a plain property list")


def check_bounds(value: Any) -> None:
    """Raises BadPlist for what is nested too deep, has too many values, or a number beyond 64 bits."""
    pending, nodes = [(value, 1)], 0
    while pending:
        current, depth = pending.pop()
        nodes += 1
        if depth > DEEPEST or nodes > MOST_NODES:
            raise BadPlist("too deep or too large")
        if isinstance(current, dict):
            pending.extend((child, depth + 1) for child in current.values())
        elif isinstance(current, list):
            pending.extend((child, depth + 1) for child in current)
        elif isinstance(current, int) and not SMALLEST <= current <= LARGEST:
            raise BadPlist("a number that no reader holds")


def _keys_written(body: bytes) -> int:
    count = 0

    def began(name: str, _attributes: object) -> None:
        nonlocal count
        count += name == "key"

    parser = expat.ParserCreate()
    parser.StartElementHandler = began
    parser.Parse(body, True)
    return count


def _keys_in(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_keys_in, value.values()))
    return sum(map(_keys_in, value)) if isinstance(value, list) else 0


def text(message: dict[str, Any], key: str, longest: int = 128) -> str | None:
    """The string under ``key``, None if it is missing. Raises BadPlist for anything else."""
    value = message.get(key)
    if value is None:
        return None
    if not _usable(value, longest):
        raise BadPlist(f"{key} is not a usable string")
    return str(value)


def optional_text(message: dict[str, Any], key: str, longest: int = 128) -> str | None:
    """The string under ``key``, which nothing depends on: what cannot be used is taken as missing."""
    value = message.get(key)
    return value if _usable(value, longest) else None


def _usable(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()
