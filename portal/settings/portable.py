"""The settings as a TOML file, to keep under version control and to carry to another portal. Secrets by reference.

A secret stands in the file as ``{ stored = true }`` (the one this portal holds), ``{ env = "NAME" }`` or
``{ file = "/path" }``; never itself.
"""

import os
import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w

from portal.settings import Settings, held_secrets, overlay
from portal.settings.overlay import NotValid, Problem
from portal.settings.references import Sources

STORED = {"stored": True}


def export(settings: Settings, more: Mapping[str, Any] | None = None) -> str:
    """Every setting that can be changed while the portal runs, as TOML; ``more`` stands behind them."""
    tree: dict[str, Any] = {}
    for name in overlay.names():
        section, _, key = name.rpartition(".")
        value = _hide(name, overlay.value_of(settings, name))
        (tree.setdefault(section, {}) if section else tree)[key] = value
    return tomli_w.dumps({**tree, **(more or {})}, multiline_strings=True)


def parse(text: str) -> dict[str, Any]:
    """A TOML file as it stands. Raises NotValid."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotValid([Problem("file", "toml", str(error))]) from None


def read(
    told: str | Mapping[str, Any], settings: Settings, environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """The values in a TOML file (its text, or parsed), secrets filled in: section.key -> JSON. Raises NotValid."""
    tree = parse(told) if isinstance(told, str) else told
    sources, values = Sources(environment, settings.data), {}
    for name, value in _flat(tree).items():
        if name not in set(overlay.names()):
            raise NotValid([Problem(name, "unknown", "there is no such setting, or it cannot be changed at run time")])
        values[name] = _fill(name, value, overlay.value_of(settings, name), sources)
    return values


def differences(values: Mapping[str, Any], settings: Settings) -> dict[str, tuple[Any, Any]]:
    """What a file would change: name -> (now, in the file), secrets masked. Raises NotValid."""
    values = held_secrets.settle(values, lambda name: overlay.value_of(settings, name))
    changed = overlay.lay_over(settings, values)
    pairs = {name: (overlay.value_of(settings, name), overlay.value_of(changed, name)) for name in values}
    return {
        name: (overlay.masked(name, now), overlay.masked(name, then))
        for name, (now, then) in pairs.items()
        if now != then
    }


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{inner}": each for inner, each in value.items()})
        else:
            flat[key] = value
    return flat


def _hide(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_hide(name, each) for each in value]
    if isinstance(value, dict):
        return {key: _hide(key, each) for key, each in value.items()}
    return dict(STORED) if value and overlay.is_secret(name) else value


def _fill(name: str, value: Any, current: Any, sources: Sources) -> Any:
    if isinstance(value, list):
        known = {each.get("name"): each for each in current or [] if isinstance(each, dict)}
        return [_fill_table(name, each, known, sources) if isinstance(each, dict) else each for each in value]
    return _secret(name, value, current, sources) if overlay.is_secret(name) else value


def _fill_table(name: str, table: dict[str, Any], known: dict[Any, Any], sources: Sources) -> Any:
    current = known.get(table.get("name"), {})
    return {
        key: _secret(f"{name}.{key}", each, current.get(key, ""), sources) if overlay.is_secret(key) else each
        for key, each in table.items()
    }


def _secret(name: str, value: Any, current: Any, sources: Sources) -> str:
    if value in ("", None):
        return ""
    if value == STORED and current:
        return held_secrets.KEPT  # if it is still for the same server
    found = sources.find(value, overlay.variable(name))
    if found is not None:
        try:
            return found.decode().strip()
        except UnicodeDecodeError:
            raise NotValid([Problem(name, "secret_reference", "what it points to is no text")]) from None
    says = (
        'a secret is written as { env = "NAME" }, { file = "/path" } or, where one is held, { stored = true }; '
        "the portal's own variables and files are for themselves alone"
    )
    raise NotValid([Problem(name, "secret_reference", says)])
