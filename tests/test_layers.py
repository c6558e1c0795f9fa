"""Imports run one way, and the heart knows nothing of the web."""

import ast
from pathlib import Path

import pytest

from portal.settings import ROOT

LAYERS = [
    {
        *("settings", "clock", "vault", "database", "texts", "branding", "plists", "wording", "events", "labels"),
        *("mail_addresses", "bounded", "kept"),
    },
    {"models"},
    {
        "enrollment",
        "apple_business",
        "apps",
        "apps_and_books",
        "declarations",
        "policies",
        "people",
        "credentials",
        "backends",
        "pki",
        "notifications",
        "audit",
        "discovery",
        "settings.kept",
        "tallies",
        "storage",
    },
    {"services"},
    {"extensions", "installation", "demo", "jobs", "logs", "simulator"},
    {"web", "cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
KEPT = {path.stem for path in (ROOT / "portal" / "settings").glob("*.py")} - {"__init__", "loading", "schema"}
"""Modules of ``portal.settings`` that keep what admins save; the others know no database."""
FILES = [path for path in (ROOT / "portal").rglob("*.py") if "migrations" not in path.parts]


def part_of(module: str) -> str:
    """The name in ``LAYERS`` of what is called ``portal.<module>``."""
    first, _, rest = module.partition(".")
    return "settings.kept" if first == "settings" and rest.split(".")[0] in KEPT else first


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
            if node.module.split(".")[0] == "portal":
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    part = part_of(".".join(path.relative_to(ROOT / "portal").with_suffix("").parts))
    if part == "__init__":
        return
    for name in imported(path):
        if name.startswith("portal."):
            assert LEVEL[part_of(name.removeprefix("portal."))] <= LEVEL[part], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_heart_knows_no_flask_no_sql_and_no_concrete_backend(path):
    part = path.relative_to(ROOT / "portal").parts[0].removesuffix(".py")
    if LEVEL.get(part, 9) <= 2:
        assert not {name for name in imported(path) if name.split(".")[0] in ("flask", "werkzeug", "flask_login")}
    if part == "enrollment":
        assert not {name for name in imported(path) if name.split(".")[0] == "sqlalchemy" or "storage" in name}
        assert not {
            name
            for name in imported(path)
            if name.startswith("portal.backends") and not f"{name}.".startswith("portal.backends.base.")
        }


def test_the_simulator_imports_nothing_but_pki_helpers():
    for path in (ROOT / "portal" / "simulator").glob("*.py"):
        for name in imported(path):
            if name.startswith("portal."):
                assert name.startswith(("portal.pki", "portal.simulator")), f"{path.name} imports {name}"
