"""Whatever a code says, somebody reads it in words: every member of every enum, in every language."""

import ast
import re
from enum import StrEnum

import pytest
from babel.support import Translations
from markupsafe import Markup

from portal import labels, people
from portal.apps import commanding
from portal.apps.states import State
from portal.enrollment import allowed, commands, ending, journey
from portal.enrollment.eligibility import Verdict
from portal.events import Actor, Event
from portal.models import CommandState
from portal.notifications import alerts
from portal.policies import outcome
from portal.settings import ROOT
from portal.storage import search
from portal.texts import TRANSLATIONS, render
from portal.web.admin import settings_pages
from portal.wording import Labels

SPOKEN = [
    (labels.EVENT, Event),
    (labels.ACTOR, Actor),
    (labels.STATUS, journey.Status),
    (labels.STEP, journey.Step),
    (labels.ATTENTION, journey.Attention),
    (labels.AGE, search.Age),
    (labels.SOURCE, journey.SOURCES),
    (labels.REASON, ending.Reason),
    (labels.ROLE, people.ROLES),
    (labels.GROUP, labels.GROUP),
    (labels.PAGE_GROUP, settings_pages.INDEX),
    (labels.PAGE, [page for pages in settings_pages.INDEX.values() for page in pages]),
    (labels.PAGE_LEAD, [page for pages in settings_pages.INDEX.values() for page in pages]),
    (labels.FACTOR, ("app", "recovery_code", "passkey", "new_app", "provider")),
    (labels.COMMAND_STATE, CommandState),
    (labels.COMMAND, [each.request_type for each in commands.READ]),
    (labels.COMMAND, {*allowed.ERRANDS, commands.DECLARE, "InstallProfile", "RemoveProfile"}),
    (labels.COMMAND, (commanding.INSTALL, commanding.REMOVE, commanding.LIST, commanding.CONFIGURE)),
    (labels.APP_STATE, State),
    (labels.POLICY_STATE, outcome.State),
    (labels.ATTRIBUTE, set(allowed.ASKED_QUERIES) - {"DeviceName"}),
    (labels.ALERT, alerts.KINDS),
    (labels.SECURITY, {**alerts.TO_ADMINS, **alerts.TO_THE_PERSON}),
    (labels.CAMPAIGN, ("checked", "running", "paused", "cancelled", "done")),
]
"""Each table with everything that it has to name."""


@pytest.mark.parametrize("event", Event)
def test_every_event_is_found_under_one_of_the_trail_s_groups(event):
    groups = {group: (group, *labels.ALSO.get(group, ())) for group in labels.GROUP}
    assert len([group for group, beginnings in groups.items() if event.value.startswith(beginnings)]) == 1


REASON = re.compile(r"[a-z][a-z_]+")


def reasons():
    """Every reason that the code records by its literal."""
    found = set()
    for path in (ROOT / "portal").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in RECORDING:
                given = [each.value for each in node.keywords if each.arg == "reason"]
                given += [each for each in node.args if isinstance(each, (ast.Constant, ast.IfExp))]
                texts = [
                    text for each in given for text in (getattr(each, "body", each), getattr(each, "orelse", None))
                ]
                texts = [each.value for each in texts if isinstance(each, ast.Constant) and isinstance(each.value, str)]
                found |= {each for each in texts if REASON.fullmatch(each)}
    return found


RECORDING = {"record", "_record", "_event", "left", "device_refused", "certificate_refused", "ChallengeRefused"}


@pytest.mark.parametrize(("table", "codes"), SPOKEN, ids=lambda each: getattr(each, "__name__", ""))
def test_every_code_has_words_of_its_own_in_every_language(table, codes):
    german = Translations.load(TRANSLATIONS, ["de"])
    for code in codes:
        assert str(code) in table, code
        assert german.gettext(table[str(code)]), code


def test_every_reason_that_is_recorded_has_words():
    assert len(reasons()) > 12
    assert {each for each in reasons() if labels.REASON.find(each) is None} == set()


def test_every_refused_browser_is_described(app):
    with app.test_request_context("/"):
        source = '{% from "components/advice.html" import browser_words %}{{ browser_words(value) }}'
        for verdict in Verdict:
            if verdict is not Verdict.OK:
                assert app.jinja_env.from_string(source).render(value=verdict.value) != verdict.value


def test_every_problem_of_service_discovery_has_words():
    source = (ROOT / "portal" / "discovery" / "outside.py").read_text("utf-8")
    problems = set(re.findall(r'(?:_Problem|Outcome)\("([a-z_]+)"', source))
    assert len(problems) > 5
    assert problems - set(labels.DISCOVERY) == set()


def said(app, source, **values):
    with app.test_request_context("/"):
        return app.jinja_env.from_string(source).render(**values)


def test_a_code_without_words_is_shown_as_it_is_and_escaped(app):
    told = said(app, "{{ words(labels.REASON, value) }}", value="<b>100%")
    assert told == "&lt;b&gt;100%"


def test_no_code_is_no_words(app):
    assert said(app, "{{ words(labels.REASON, none) }}") == ""


def test_what_fills_a_text_is_escaped(app):
    told = said(app, "{{ words(labels.FIELD, 'confirm_wrong', name=value) }}", value="<b>")
    assert "&lt;b&gt;" in told


def test_mails_use_the_same_tables():
    told = render("mail/security.subject.txt", "de", name="your_factor_reset", who=Markup(""))
    assert told == Translations.load(TRANSLATIONS, ["de"]).gettext(labels.SECURITY["your_factor_reset"])


def test_a_code_that_only_begins_like_another_is_named_by_its_beginning():
    table = Labels({"push_gone": "gone", "push_*": "away"})
    assert [table.find(each) for each in ("push_gone", "push_503", "pull")] == ["gone", "away", None]


def test_every_enum_of_the_heart_is_known_here():
    """A new one has to be named above, or told here where its words are."""
    in_templates = {journey.Waiting, journey.Way, Verdict}
    known = {Event, Actor, ending.Reason, journey.Status, journey.Step, journey.Attention, search.Age} | in_templates
    heart = ("portal.enrollment", "portal.events")
    assert {each for each in StrEnum.__subclasses__() if each.__module__.startswith(heart)} - known == set()
