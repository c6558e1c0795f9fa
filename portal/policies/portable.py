"""Policies in the TOML file of the settings: what each is called, who gets it, and its parts. Secrets by reference.

A part's values are those of Apple's payload; bytes stand as ``{ data = "..." }`` (Base64), a secret as
``{ stored = true }`` (the one this portal holds), ``{ env = "NAME" }`` or ``{ file = "/path" }``, never itself.
"""

import base64
import binascii
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from portal.policies import accepting, catalogue, content, holding
from portal.policies.content import Part
from portal.policies.paths import below
from portal.settings.references import Sources

STORED = {"stored": True}
TABLE = "policy"
"""What the array of tables is called in the file."""
_OURS = uuid.UUID("b2f1c6a4-5b0e-4a37-9d55-0f2a7c8e9d14")
"""Where the names begin of parts that have none of their own here."""


class NotReadable(Exception):
    """A policy in the file cannot be taken: ``where`` it is wrong (its name and the path), and what."""

    def __init__(self, where: str, says: str) -> None:
        super().__init__(f"{where}: {says}")
        self.where, self.says = where, says


@dataclass(frozen=True, slots=True)
class Written:
    """One policy as a file says it. ``audience``: lines such as ``everybody``, ``group oidc:Sales``,
    ``person erika``, ``except group list:Interns``, ``trial person max``."""

    name: str
    audience: tuple[str, ...]
    parts: tuple[Part, ...]


def table(policy: Written) -> dict[str, Any]:
    """A policy as a table of the file."""
    parts = [{"id": each.uuid, "type": each.type, "values": _told(each.type, each.values)} for each in policy.parts]
    return {"name": policy.name, "audience": list(policy.audience), "part": parts}


def _told(kind: str, value: Any, path: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _told(kind, each, below(path, key)) for key, each in value.items()}
    if path and content.holds_secret(kind, path, value):
        return dict(STORED)
    if isinstance(value, list):
        return [_told(kind, each, f"{path}.{number}") for number, each in enumerate(value)]
    return {"data": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def read(told: Sequence[Any], held: Callable[[str], Sequence[Part]], sources: Sources) -> list[Written]:
    """The policies of a file, checked. ``held``: the parts that the portal has of a policy now. Raises NotReadable."""
    found = [_policy(each, held, sources) for each in told]
    names = [each.name.casefold() for each in found]
    twice = next((each.name for each in found if names.count(each.name.casefold()) > 1), None)
    if twice is not None:
        raise NotReadable(twice, "this policy stands there twice")
    return found


def _policy(told: Any, held: Callable[[str], Sequence[Part]], sources: Sources) -> Written:
    name = told.get("name") if isinstance(told, dict) else None
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise NotReadable(TABLE, "each policy needs a name")
    unknown = set(told) - {"name", "audience", "part"}
    if unknown:
        raise NotReadable(name, f"there is no {sorted(unknown)[0]} in a policy")
    audience, parts = told.get("audience", []), told.get("part", [])
    if not isinstance(audience, list) or not all(isinstance(each, str) for each in audience):
        raise NotReadable(name, "audience is a list of lines")
    if not isinstance(parts, list) or not all(isinstance(each, dict) for each in parts):
        raise NotReadable(name, "part is an array of tables")
    before = {each.uuid: each for each in held(name)}
    ids = {
        str(each["id"]).upper(): _id(name, number, each, before) for number, each in enumerate(parts) if "id" in each
    }
    made, stored = [], {}
    for number, each in enumerate(parts):
        part, kept = _part(name, _id(name, number, each, before), each, before, sources)
        made.append(Part(part.uuid, part.type, _follow("", part.values, ids)))
        stored[part.uuid] = kept
    for each in made:
        changed = before.get(each.uuid, Part(each.uuid, each.type, {}))  # taken out, it may come back as another
        if any(stored[other.uuid] for other in holding.trusting(changed, each, made)):
            raise NotReadable(f"{name}, {each.type}", "another part sends a stored secret by this certificate")
    wrong = accepting.worst(accepting.problems(made)) if made else None
    if wrong is not None:
        raise NotReadable(f"{name}, {wrong.place}", wrong.problem.replace("_", " "))
    return Written(name.strip(), tuple(audience), tuple(made))


def _part(
    policy: str, name: str, told: dict[str, Any], held: Mapping[str, Part], sources: Sources
) -> tuple[Part, set[str]]:
    """One part, and which of its secrets stay as they are."""
    kind, values = told.get("type"), told.get("values", {})
    where = f"{policy}, {kind}"
    if not isinstance(kind, str) or kind not in catalogue.load().usable():
        raise NotReadable(where, "no payload that a policy may carry")
    if not isinstance(values, dict):
        raise NotReadable(where, "values is a table")
    before = held.get(name)
    before = before if before is not None and before.type == kind else None
    reader = _Reader(where, kind, before, sources)
    part = Part(name, kind, reader.read(values, ""))
    if before is not None and set(holding.sent_elsewhere(before, part)) & reader.stored:
        raise NotReadable(where, "a stored secret would be sent elsewhere, or less safely; say where it stands")
    return part, reader.stored


def _id(policy: str, number: int, told: dict[str, Any], held: Mapping[str, Part]) -> str:
    """The PayloadUUID of a part: the one that it has here, else one made of where it stands in the file.

    So the same file gives the same part again, and two policies with one id two.
    """
    told_id = told.get("id")
    if told_id is None:
        return str(uuid.uuid5(_OURS, f"{policy.casefold()} {number} {told.get('type')}")).upper()
    try:
        name = str(uuid.UUID(str(told_id))).upper()
    except ValueError:
        raise NotReadable(f"{policy}, {told.get('type')}", "id is a UUID") from None
    return name if name in held else str(uuid.uuid5(_OURS, f"{policy.casefold()} {name}")).upper()


def _follow(key: str, value: Any, ids: Mapping[str, str]) -> Any:
    """References to other parts, by the names that these have here, however they are written in the file."""
    if isinstance(value, Mapping):
        return {name: _follow(str(name), each, ids) for name, each in value.items()}
    if isinstance(value, list):
        return [_follow(key, each, ids) for each in value]
    return ids.get(value.upper(), value) if isinstance(value, str) and content.REFERS.search(key) else value


class _Reader:
    """Reads the values of one part; ``stored``: the secrets that stay as they are."""

    def __init__(self, where: str, kind: str, before: Part | None, sources: Sources) -> None:
        self.where, self.kind, self.sources = where, kind, sources
        self.held = content.secrets(before) if before is not None else {}
        self.stored: set[str] = set()

    def read(self, value: Any, path: str) -> Any:
        """A value as a payload has it."""
        if isinstance(value, dict):
            is_data = set(value) == {"data"} and isinstance(value["data"], str)
            if path and content.is_secret(self.kind, path):
                if len(value) == 1 and set(value) <= {"stored", "env", "file"}:
                    return self._secret(path, value)
                if is_data:
                    self._refuse_secret(path)
            if is_data:
                return self._data(path, value["data"])
            return {key: self.read(each, below(path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self.read(each, f"{path}.{number}") for number, each in enumerate(value)]
        if path and isinstance(value, str) and value and content.is_secret(self.kind, path):
            self._refuse_secret(path)
        return value if not isinstance(value, datetime) or value.tzinfo else value.replace(tzinfo=UTC)

    def _refuse_secret(self, path: str) -> NoReturn:
        raise NotReadable(f"{self.where}, {path}", "a secret stands in the file by reference, never itself")

    def _data(self, path: str, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise NotReadable(f"{self.where}, {path}", "data is Base64") from None

    def _secret(self, path: str, reference: dict[str, Any]) -> Any:
        where = f"{self.where}, {path}"
        key = content.key_of(self.kind, path)
        is_data = key is not None and key.type == "data"
        if reference == STORED and path in self.held:
            self.stored.add(path)
            return self.held[path]
        found = self.sources.find(reference)
        if found is None:
            raise NotReadable(where, "nothing stands where this points to, or it is the portal's own")
        if is_data and "file" in reference:
            return found
        try:
            text = found.decode().strip()
        except UnicodeDecodeError:
            raise NotReadable(where, "what it points to is no text") from None
        return self._data(path, text) if is_data else text
