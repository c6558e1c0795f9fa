"""Who may open what: every route has a decision here, and every role is tried at every route."""

import re

import pytest
from flask import Blueprint

from portal.web import rules
from tests.factories import BASE
from tests.pages import Browser

ANYBODY, DEVICES, EMPLOYEES, HELPDESK, ADMINS = "anybody", "devices", "employees", "helpdesk", "admins"
PROGRAMS, SERVERS = "programs with a token", "servers that sign what they say"
SIGNING_IN = "whoever proved the first factor, or staff"
DECISIONS = {
    ANYBODY: """static brand.colours brand.logo_file brand.app_icon operations.healthz operations.readyz safari.enter
        safari.tell_browser
        safari.front_door safari.enroll safari.ticket single_sign_on.begin single_sign_on.finish single_sign_on.logo
        staff.sign_in staff.sign_out staff.outbox account.change_password account.set_password""",
    DEVICES: "apple.*",
    SERVERS: "hooks.*",
    PROGRAMS: "api.*",
    EMPLOYEES: """employee.* web_view.* safari.profile safari.profile_file
        safari.hand_over safari.finish safari.state handover.* my.*""",
    SIGNING_IN: """staff.second_factor_page staff.passkeys_page staff.options_for_adding staff.options_for_signing_in
        staff.add_passkey staff.use_passkey staff.remove_passkey staff.confirm staff.confirm_by_passkey
        staff.sessions_page staff.end_session""",
    HELPDESK: "helpdesk.*",
    ADMINS: "admin.*",
}
BY_PATTERN = {pattern: who for who, patterns in DECISIONS.items() for pattern in patterns.split()}


def decision(endpoint):
    return BY_PATTERN.get(endpoint) or BY_PATTERN.get(endpoint.partition(".")[0] + ".*")


@pytest.fixture
def routes(app):
    """(rule, method) of every route; a rule's variables are filled with something that does not exist."""
    return [
        (rule, method) for rule in app.url_map.iter_rules() for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
    ]


def path_of(rule):
    return re.sub(r"<int:\w+>", "1", re.sub(r"<(?:path:)?\w+>", "nothing", rule.rule))


def ask(browser, rule, method):
    """The answer, with a good CSRF token, so that only the role decides."""
    browser.get("/staff/sign-in")
    token = browser.soup.find("input", attrs={"name": "csrf_token"})
    data = {"csrf_token": token["value"]} if token else {}
    data = {} if method == "GET" else data
    return browser.client.open(path_of(rule), method=method, base_url=BASE, headers=browser.headers, data=data)


def test_every_route_has_a_decision(routes):
    assert {rule.endpoint for rule, _ in routes if decision(rule.endpoint) is None} == set()


def test_pages_without_rules_are_not_served(app):
    app.register_blueprint(Blueprint("forgotten", "tests"))
    with pytest.raises(LookupError, match="forgotten"):
        rules.check(app)


def test_what_is_not_said_is_closed():
    silent = rules.Rules(area=rules.STAFF)
    assert (silent.machines, silent.programs, silent.long_texts, dict(silent.bodies)) == (False, False, False, {})


def test_every_view_that_a_rule_names_exists(app):
    views = {rule.endpoint for rule in app.url_map.iter_rules()}
    for name, held in rules._RULES.items():
        for each in (*held.bodies, *held.json_views, *held.any_browser):
            assert f"{name}.{each}" in views


def test_every_decision_is_about_a_route(app):
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
    groups = {endpoint.partition(".")[0] + ".*" for endpoint in endpoints}
    assert set(BY_PATTERN) - endpoints - groups == set()


@pytest.mark.parametrize("who", ["nobody", "employee", "helpdesk", "admin"])
def test_staff_pages_answer_only_to_their_role(app, company, clock, routes, who):
    browser = Browser(app)
    if who == "employee":
        browser.open_link(company.invite(company.person())).sign_in()
    elif who != "nobody":
        company.person(who, role=who)
        browser.staff_sign_in(who, clock())
    for rule, method in routes:
        wanted = decision(rule.endpoint)
        if wanted not in (HELPDESK, ADMINS):
            continue
        answer = ask(browser, rule, method)
        where = f"{who}: {method} {rule.rule} -> {answer.status_code}"
        if who in ("nobody", "employee"):
            assert answer.status_code == 303, where
            assert answer.headers["Location"] == "/staff/sign-in", where
        elif who == "helpdesk" and wanted == ADMINS:
            assert answer.status_code == 403, where
        else:
            assert answer.status_code not in (401, 403), where
            assert answer.headers.get("Location") != "/staff/sign-in", where


@pytest.mark.parametrize("who", ["nobody", "admin"])
def test_programs_need_a_token_whoever_is_signed_in(app, company, clock, routes, who):
    browser = Browser(app)
    if who == "admin":
        company.person(who, role=who)
        browser.staff_sign_in(who, clock())
    asked = [(rule, method) for rule, method in routes if decision(rule.endpoint) == PROGRAMS]
    assert len(asked) >= 3
    for rule, method in asked:
        assert ask(browser, rule, method).status_code == 401, rule


@pytest.mark.parametrize("who", ["nobody", "helpdesk", "admin"])
def test_staff_and_strangers_walk_nobody_s_journey(app, company, clock, routes, who):
    browser = Browser(app)
    company.invite(company.person())
    if who != "nobody":
        company.person(who, role=who)
        browser.staff_sign_in(who, clock())
    for rule, method in routes:
        if decision(rule.endpoint) != EMPLOYEES or rule.endpoint.endswith(("sign_in", "sign_out", ".begin")):
            continue
        answer = ask(browser, rule, method)
        page = answer.get_data(as_text=True)
        signs_in = "/sign-in" in answer.headers.get("Location", "") or answer.status_code >= 400
        assert signs_in or "erika" not in page.casefold(), f"{who}: {method} {rule.rule} -> {answer.status_code}"
        assert answer.status_code != 200 or answer.mimetype == "text/html" or rule.endpoint == "safari.state"
