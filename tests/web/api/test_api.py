"""Programs: tokens, inviting, reading, metrics."""

import re

import pytest

from portal import people
from portal.events import Actor
from portal.lifecycle import closing
from portal.models import ApiToken
from portal.storage.cases import Cases
from tests.factories import BASE, phone
from tests.pages import Browser


@pytest.fixture
def admin(app, company, clock):
    company.person("adam", role="admin", name="Ada Admin")
    return Browser(app).staff_sign_in("adam", clock())


@pytest.fixture
def token(admin):
    admin.get("/admin/tokens")
    admin.post("/admin/tokens", admin.filled() | {"name": "HR", "scope.requests": "yes", "scope.metrics": "yes"})
    return admin.soup.find(id="token").text


@pytest.fixture
def call(app):
    def run(method, path, token="", **kwargs):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return app.test_client().open(path, method=method, base_url=BASE, headers=headers, **kwargs)

    return run


def test_a_program_invites_and_follows_the_person_and_never_sees_link_or_passcode(app, call, token, company, browser):
    company.person()
    answer = call("POST", "/api/requests", token, json={"username": "erika"})
    assert answer.status_code == 201
    assert set(answer.json) == {"id", "expires_at"}
    report = call("GET", f"/api/requests/{answer.json['id']}", token).json
    assert (report["status"], report["step"], report["employee"], report["device"]) == (
        "invited",
        "sign-in",
        "erika",
        None,
    )
    assert [event["kind"] for event in report["events"]] == ["request.created"]


@pytest.mark.parametrize("username", ["\ud800", "a\udfffb", "\x00"])
def test_a_name_that_is_no_text_is_no_name(call, token, username):
    assert call("POST", "/api/requests", token, json={"username": username}).status_code == 400


def test_what_helpdesk_could_not_do_a_program_cannot_either(call, token, company):
    company.person("nomaa", managed_apple_account=None)
    refused = call("POST", "/api/requests", token, json={"username": "nomaa"})
    assert (refused.status_code, refused.json["error"]) == (409, "no_managed_apple_account")
    assert call("POST", "/api/requests", token, json={"username": "nobody"}).status_code == 404
    company.invite(company.person())
    again = call("POST", "/api/requests", token, json={"username": "erika"})
    assert (again.status_code, again.json["error"]) == (409, "open_request")
    assert call("GET", "/api/requests/nothing", token).status_code == 404


@pytest.mark.parametrize("kwargs", [{}, {"data": "no json"}, {"json": []}, {"json": {}}, {"json": {"username": 1}},
                                    {"json": {"username": ""}}, {"json": {"username": "x" * 129}},
                                    {"json": {"username": "a\0b"}}])  # fmt: skip
def test_a_bad_body_is_a_clear_400(call, token, kwargs):
    answer = call("POST", "/api/requests", token, **kwargs)
    assert (answer.status_code, answer.json["error"]) == (400, "bad_request")


def test_a_token_is_kept_as_a_hash_shown_once_limited_and_revoked_at_once(admin, call, token, company, session, clock):
    kept = session.query(ApiToken).one()
    assert token not in (kept.token_hash, str(kept.scopes))
    assert token not in admin.get("/admin/tokens").text
    admin.post("/admin/tokens", admin.filled(holding="name") | {"name": "Watcher", "scope.metrics": "yes"})
    watcher = admin.soup.find(id="token").text
    assert call("GET", "/metrics", watcher).status_code == 200
    refused = call("POST", "/api/requests", watcher, json={"username": "erika"})
    assert (refused.status_code, refused.json["error"]) == (403, "insufficient_scope")
    admin.get("/admin/tokens")
    assert "used" in admin.text
    action = next(form["action"] for form in admin.soup.find_all("form") if "/revoke" in (form.get("action") or ""))
    admin.submit(action)
    assert "Revoked. It stopped working at once." in admin.text
    answers = {call("GET", "/metrics", each).status_code for each in (token, watcher)}
    assert answers == {200, 401}
    assert {"api_token.made", "api_token.revoked"} <= {event.kind for event in company.all_events()}
    assert token not in str([event.detail for event in company.all_events()])


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic ept_x", "Bearer ept_" + "x" * 40, "Bearer ept_" + "x" * 500]
)
def test_without_a_good_token_there_is_only_401(app, header):
    answer = app.test_client().get("/metrics", base_url=BASE, headers={"Authorization": header})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_without_name_or_scope_is_not_made(admin, session):
    for values in ({"name": "", "scope.metrics": "yes"}, {"name": "x"}):
        admin.get("/admin/tokens")
        admin.post("/admin/tokens", admin.filled(holding="name") | values)
        assert admin.status == 422
    assert session.query(ApiToken).count() == 0


def test_metrics_tell_of_a_certificate_that_cannot_be_read_instead_of_failing(call, token, portal, monkeypatch):
    monkeypatch.setattr(type(portal), "signer", property(lambda _portal: open("/nonexistent")))  # noqa: SIM115
    answer = call("GET", "/metrics", token)
    assert answer.status_code == 200
    assert "portal_signer_days_left -1" in answer.get_data(as_text=True)


def test_what_a_program_did_reads_by_its_name_and_what_the_directory_said_by_the_directory(
    call, admin, token, company, portal, clock
):
    company.person()
    call("POST", "/api/requests", token, json={"username": "erika"})
    with portal.database.transaction() as session:
        person = people.by_username(session, "erika")
        closing.disable(Cases(session, portal, clock()), person, Actor.DIRECTORY)
    admin.get("/admin/audit")
    assert "HR" in admin.text
    assert "the directory" in admin.text


def test_metrics_count_and_name_nobody(app, call, token, company, browser):
    phone(app).install(browser.walk_to("profile", company.invite(company.person())).download())
    company.invite(company.person("max"))
    text = call("GET", "/metrics", token).get_data(as_text=True)
    values = dict(re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE))
    assert values['portal_requests{status="enrolled"}'] == "1"
    assert values['portal_requests{status="invited"}'] == "1"
    assert values["portal_devices_managed"] == "1"
    assert values["portal_mail_waiting"] == "2"
    assert values["portal_backend_ready"] == "1"
    assert int(values["portal_signer_days_left"]) > 0
    assert not re.search(r"erika|max@|Erika", text)
