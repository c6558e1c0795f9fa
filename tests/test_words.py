"""Whatever the trail records, somebody reads it in words."""

import ast
import re

import pytest

from portal.settings import ROOT

KIND = re.compile(r"[a-z_]+\.[a-z_]+")
RECORDING = {"record", "_record", "_event", "event"}
BY_VARIABLE = {
    "command.acknowledged",
    "command.error",
    "command.format_error",
    "command.not_now",
    "second_factor.locked",
}
"""Kinds that are put together at run time."""


def recorded():
    """Every kind of event that the code records, by its literal."""
    found = set(BY_VARIABLE)
    for path in (ROOT / "portal").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in RECORDING:
                    texts = [each for argument in node.args for each in ast.walk(argument)]
                    found |= {each.value for each in texts if isinstance(each, ast.Constant)
                              and isinstance(each.value, str) and KIND.fullmatch(each.value)}  # fmt: skip
    return found


@pytest.fixture
def words(app):
    def of(macro, value):
        with app.test_request_context("/"):
            source = '{% from "components/words.html" import ' + macro + " %}{{ " + macro + "(value) }}"
            return app.jinja_env.from_string(source).render(value=value).strip()

    return of


def test_every_kind_of_event_has_words(words):
    kinds = recorded()
    assert len(kinds) > 60
    assert {kind for kind in kinds if words("event_words", {"kind": kind, "detail": None}) == kind} == set()


def test_every_group_that_can_be_searched_has_words(words):
    from portal.web.admin.audit_trail import GROUPS

    assert {group for group in GROUPS if words("group_words", group) == group} == set()


def test_every_second_factor_has_words_of_its_own(words):
    factors = ("app", "recovery_code", "passkey", "new_app", "provider")
    assert len({words("factor_words", each) for each in factors}) == len(factors)
