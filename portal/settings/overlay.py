"""Names of settings, and laying saved values over the files' settings. Nothing here knows the database."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from portal.settings import Settings
from portal.settings.held_secrets import TYPED_FOR
from portal.settings.schema import Section

FIXED = frozenset(
    {
        "demo",
        "data_dir",
        "public_url",
        "database_url",
        "secret_keys",
        "company.identifier",
        "mdm.backend",
        "mdm.topic",
        "mdm.push_server",
        "nanomdm.api_url",
        "nanomdm.api_key",
        "nanomdm.webhook_secret",
        "nanomdm.server_url",
        "nanomdm.timeout_seconds",
        "queue.redis_url",
        "proxy.trusted",
        "proxy.monitoring",
    }
)
"""Settings that a running portal cannot change: where it lives, and what enrolled devices rely on."""
SECRET_NAMES = ("password", "secret", "token", "identity", "api_key", "access_key")
"""A setting whose name ends so is never shown again."""
MASK = "••••••"
LONGEST_SHOWN = 500
"""Characters of one value in the history; what is longer (a logo) is cut there, not where it is kept."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one setting: a code for a page's words, a sentence for a command's."""

    name: str
    code: str
    says: str
    values: dict[str, Any] = field(default_factory=dict)


class NotValid(Exception):
    """The settings cannot be used like that; ``problems`` names each."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{each.name}: {each.says}" for each in problems))
        self.problems = problems


def names() -> Iterator[str]:
    """Every setting that can be changed while the portal runs, as ``section.key``."""
    for name, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from (f"{name}.{key}" for key in kind.model_fields if f"{name}.{key}" not in FIXED)
        elif name not in FIXED:
            yield name


def value_of(settings: Settings, name: str) -> Any:
    """The value of one setting, as JSON knows it."""
    section, _, key = name.rpartition(".")
    holder: BaseModel = getattr(settings, section) if section else settings
    return holder.model_dump(mode="json", include={key})[key]


def pinned(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The settings that a variable of the environment decides.

    With a secret, to whom it goes is decided there, too: in the files, or by variables of their own.
    """
    given = set(environment)
    by_variable = {name for name, variables in _variables().items() if not given.isdisjoint(variables)}
    with_secrets = {each for secret, addresses in TYPED_FOR.items() if secret in by_variable for each in addresses}
    return frozenset(by_variable | with_secrets)


def variable(name: str) -> str:
    """The variable that a setting, or a whole section, may be in."""
    return "PORTAL_" + name.upper().replace(".", "_")


@cache
def _variables() -> dict[str, tuple[str, str]]:
    """By setting: the variables that decide it, its own and that of its whole section."""
    return {name: (variable(name), variable(name.partition(".")[0])) for name in names()}


def lay_over(base: Settings, values: Mapping[str, Any]) -> Settings:
    """``base`` with ``values`` (section.key -> JSON). Raises NotValid with every problem."""
    merged = base.model_dump()
    unknown = set(values) - set(names())
    if unknown:
        raise NotValid([Problem(name, "unknown", "there is no such setting to change") for name in sorted(unknown)])
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (merged[section] if section else merged)[key] = value
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise NotValid([_problem(item) for item in error.errors(include_url=False, include_input=False)]) from None


def _problem(item: Any) -> Problem:
    values = {key: value for key, value in (item.get("ctx") or {}).items() if isinstance(value, str | int | float)}
    where = [str(part) for part in item["loc"]]
    name = ".".join(where[:2]) if where else str(values.get("setting", ""))
    if "." not in name and "setting" in values:
        name = str(values["setting"])
    if len(where) > 2:
        values["item"] = where[2]
        values["part"] = where[3] if len(where) > 3 else ""
    return Problem(name, item["type"], item["msg"], values)


def is_secret(name: str) -> bool:
    """Whether a setting, or a key of one of its tables, is never shown again."""
    return name.rpartition(".")[2].endswith(SECRET_NAMES)


def masked(name: str, value: Any) -> Any:
    """``value`` for people's eyes: secrets as dots, also those within tables."""
    if isinstance(value, list):
        return [masked(name, each) for each in value]
    if isinstance(value, dict):
        return {key: masked(key, each) for key, each in value.items()}
    if value and is_secret(name):
        return MASK
    return f"{value[:LONGEST_SHOWN]}…" if isinstance(value, str) and len(value) > LONGEST_SHOWN else value
