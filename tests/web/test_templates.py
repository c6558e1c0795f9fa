"""What templates call exists, also in branches that no other test renders."""

import pytest
from jinja2 import nodes

from portal.settings import ROOT
from portal.texts import _environment

FOLDER = ROOT / "templates"
PAGES = [path for path in sorted(FOLDER.rglob("*.*")) if path.suffix in (".html", ".txt")]
GIVEN = {"masked"}
"""Functions that a view gives to its page."""
LOCAL = ("caller", "loop", "super", "self")


def defined(tree):
    """Names that a template makes: its macros, imports, variables and arguments."""
    found = {each.name for each in tree.find_all(nodes.Macro)}
    for each in tree.find_all(nodes.FromImport):
        found |= {name if isinstance(name, str) else name[1] for name in each.names}
    return found | {each.name for each in tree.find_all(nodes.Name) if each.ctx in ("store", "param")}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_whatever_a_template_calls_is_defined(app, path):
    environment = app.jinja_env if path.parent.name not in ("mail", "profile") else _environment("en")
    tree = environment.parse(path.read_text("utf-8"))
    called = {each.node.name for each in tree.find_all(nodes.Call) if isinstance(each.node, nodes.Name)}
    assert called - defined(tree) - set(environment.globals) - GIVEN - set(LOCAL) == set()
    for each in tree.find_all(nodes.FromImport):
        assert {name if isinstance(name, str) else name[0] for name in each.names} <= exported(environment, each)


@pytest.mark.parametrize("path", [path for path in PAGES if path.suffix == ".html"], ids=lambda path: path.stem)
def test_lines_can_be_read_without_scrolling(path):
    assert [line for line in path.read_text("utf-8").splitlines() if len(line) > 160] == []


def exported(environment, imported):
    tree = environment.parse((FOLDER / imported.template.value).read_text("utf-8"))
    return {each.name for each in tree.find_all(nodes.Macro)}
