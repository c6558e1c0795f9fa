"""Imports run one way, and the heart knows nothing of the web."""

import ast
from pathlib import Path

import pytest

from portal.settings import ROOT

LAYERS = [
    {"bounded", "branding", "clock", "database", "kept", "mail_addresses", "manifest", "plists"},
    {"vault", "versions", "wording"},
    {"apps_and_books", "events", "models", "settings"},
    {"audit", "labels", "pki", "tallies"},
    {"apple_business", "people", "policies", "texts"},
    {"discovery", "notifications"},
    {"enrollment"},
    {"apps", "credentials"},
    {"declarations", "settings.kept"},
    {"storage"},
    {"backends", "lifecycle"},
    {"services"},
    {"extensions", "installation", "jobs", "logs", "demo", "simulator"},
    {"backups"},
    {"web", "cli"},
]
"""Each knows only what stands above it here: no two packages know each other, nor two of one line."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FREE = {"__init__", "loading", "logo", "references", "schema"}
KEPT = {path.stem for path in (ROOT / "portal" / "settings").glob("*.py")} - FREE
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
            other = part_of(name.removeprefix("portal."))
            assert other == part or LEVEL[other] < LEVEL[part], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_heart_knows_no_flask_and_no_sql(path):
    part = path.relative_to(ROOT / "portal").parts[0].removesuffix(".py")
    if LEVEL.get(part, 99) < LEVEL["services"]:
        assert not {name for name in imported(path) if name.split(".")[0] in ("flask", "werkzeug", "flask_login")}
    if part == "enrollment":
        assert not {name for name in imported(path) if name.split(".")[0] == "sqlalchemy"}


def test_the_simulator_imports_nothing_but_pki_helpers():
    for path in (ROOT / "portal" / "simulator").glob("*.py"):
        for name in imported(path):
            if name.startswith("portal."):
                assert name.startswith(("portal.pki", "portal.simulator")), f"{path.name} imports {name}"
