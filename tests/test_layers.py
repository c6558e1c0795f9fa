"""Imports run one way, and the heart knows nothing of the web."""

import ast
from pathlib import Path

import pytest

from portal.settings import ROOT

LAYERS = [
    {"settings", "clock", "vault", "database", "texts", "branding", "plists", "wording", "events", "labels"},
    {"models"},
    {
        "enrollment",
        "people",
        "credentials",
        "backends",
        "pki",
        "notifications",
        "audit",
        "discovery",
        "configuration",
        "tallies",
        "storage",
    },
    {"services"},
    {"extensions", "installation", "demo", "jobs", "logs", "simulator"},
    {"web", "cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = [path for path in (ROOT / "portal").rglob("*.py") if "migrations" not in path.parts]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "portal" else [node.module]
            )
            found |= set(names)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    part = path.relative_to(ROOT / "portal").parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for name in imported(path):
        if name.startswith("portal."):
            assert LEVEL[name.split(".")[1]] <= LEVEL[part], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_heart_knows_no_flask_no_sql_and_no_concrete_backend(path):
    part = path.relative_to(ROOT / "portal").parts[0].removesuffix(".py")
    if LEVEL.get(part, 9) <= 2:
        assert not {name for name in imported(path) if name.split(".")[0] in ("flask", "werkzeug", "flask_login")}
    if part == "enrollment":
        assert not {name for name in imported(path) if name.split(".")[0] == "sqlalchemy" or "storage" in name}
        assert not {
            name for name in imported(path) if name.startswith("portal.backends.") and name != "portal.backends.base"
        }


def test_the_simulator_imports_nothing_but_pki_helpers():
    for path in (ROOT / "portal" / "simulator").glob("*.py"):
        for name in imported(path):
            if name.startswith("portal."):
                assert name.startswith(("portal.pki", "portal.simulator")), f"{path.name} imports {name}"
