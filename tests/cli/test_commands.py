"""The commands others build on: their output is an interface."""

import json
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select

from portal import audit, clock, create_app, demo, people
from portal.models import App, AppAudience, AuditEvent, Person
from portal.simulator import apps_and_books
from tests.factories import phone, push_identity
from tests.pages import Browser


@pytest.fixture
def run(app):
    def invoke(*arguments, code=0, **kwargs):
        result = app.test_cli_runner().invoke(args=arguments, **kwargs)
        assert result.exit_code == code, result.output
        return result.output

    return invoke


def test_invite_prints_what_others_read(run, company):
    company.person()
    printed = json.loads(run("invite", "erika", "--json"))
    assert set(printed) == {"id", "url", "passcode", "expires_at"}
    assert printed["url"].startswith("https://portal.example.com/e/")
    assert len(printed["passcode"]) == 6


def test_invite_refuses_in_words(run, company):
    company.person("nomaa", managed_apple_account=None)
    assert "no Managed Apple Account" in run("invite", "nomaa", code=1)
    assert "Nobody is known" in run("invite", "nobody", code=1)
    assert [event.kind for event in company.all_events()][-1] == "request.refused"


def test_status_tells_what_helpdesk_sees(app, run, company):
    invitation = company.invite(company.person())
    before = json.loads(run("status", invitation.request.id, "--json"))
    assert (before["status"], before["step"], before["employee"], before["device"]) == (
        "invited", "sign-in", "erika", None,
    )  # fmt: skip
    phone(app).install(company.profile(invitation))
    after = json.loads(run("status", invitation.request.id, "--json"))
    assert after["status"] == "enrolled"
    assert after["device"]["os_version"] == "17.6.1"
    assert set(after["events"][0]) == {"at", "kind", "reason"}
    assert "enrolled" in run("status", invitation.request.id)
    assert "no request" in run("status", "nothing", code=1)


def test_the_demo_has_the_people_it_promises(make_app):
    app = make_app(demo=True)
    portal = app.extensions["portal"]
    runner = app.test_cli_runner()
    assert runner.invoke(args=["demo-people"]).exit_code == 0
    accounts = json.loads(runner.invoke(args=["demo-accounts", "--json"]).output)
    assert {frozenset(account) for account in accounts} == {
        frozenset({"username", "password", "role", "totp_secret", "managed_apple_account"})
    }
    employees = [account for account in accounts if account["role"] == "employee"]
    assert len(employees) >= 3
    assert sum(account["managed_apple_account"] is None for account in employees) == 1
    for role in ("helpdesk", "admin"):
        assert next(each for each in accounts if each["role"] == role)["totp_secret"]
    again = json.loads(runner.invoke(args=["demo-accounts", "--json"]).output)
    assert again == accounts
    runner.invoke(args=["demo-people"])
    with portal.database.session() as session:
        assert session.query(Person).count() == len(accounts)
    assert (portal.settings.data / demo.FILE).stat().st_mode & 0o077 == 0
    helper = next(account for account in accounts if account["role"] == "helpdesk")
    browser = Browser(app).get("/staff/sign-in")
    code = pyotp.TOTP(helper["totp_secret"]).at(clock.now())
    assert browser.submit(username=helper["username"], password=helper["password"], code=code).path == "/helpdesk"


def test_outside_the_demo_there_are_no_demo_accounts_and_no_outbox(run, browser, company):
    assert "not a demo" in run("demo-accounts", "--json", code=1)
    assert "not a demo" in run("demo-people", code=1)
    assert browser.get("/staff/outbox").status == 404


def test_the_simulated_iphone_says_why_it_does_not_install(run, tmp_path):
    file = tmp_path / "x.mobileconfig"
    file.write_bytes(b"not a profile")
    assert "not properly signed" in run("iphone", "install", str(file), code=1)
    assert "No simulated iPhone" in run("iphone", "connect", "nothing", code=1)


def test_audit_verify_says_so(run, company):
    company.invite(company.person())
    assert run("audit", "verify") == "Every chain holds.\n"


def test_terms_are_published_once(run, tmp_path, session):
    (tmp_path / "en.txt").write_text("New terms.")
    run("terms", "publish", "2.0", str(tmp_path / "en.txt"))
    assert "published already" in run("terms", "publish", "2.0", str(tmp_path / "en.txt"), code=1)
    (tmp_path / "fr.txt").write_text("Rien.")
    assert "need a text in 'en'" in run("terms", "publish", "3.0", str(tmp_path / "fr.txt"), code=1)


def test_people_are_added_disabled_and_erased(run, session, portal):
    options = ["--name", "X", "--email", "x@example.com", "--password", "long enough"]
    assert "TOTP secret" in run("people", "add", "Boss", *options, "--role", "admin")
    assert "exists" in run("people", "add", "boss", *options, code=1)
    run("people", "add", "worker", *options[:-1], "long enough", "--managed-apple-account", "w@example.com")
    run("people", "disable", "worker")
    assert people.by_username(session, "worker").disabled_at
    session.rollback()
    run("people", "erase", "worker")
    assert people.by_username(session, "worker") is None
    assert "last admin" in run("people", "disable", "boss", code=1)
    assert audit.broken_links(portal.database) == []


def test_what_is_wrong_with_the_installation_is_said_in_a_sentence(template, tmp_path):
    runner = create_app(template.settings(tmp_path, "", secret_keys=())).test_cli_runner()
    for arguments, says in ((("ca",), "run `flask --app app setup`"), (("status", "X"), "run setup")):
        result = runner.invoke(args=arguments)
        assert (result.exit_code, type(result.exception), says in result.output) == (1, SystemExit, True)
        assert len(result.output.splitlines()) == 1


def test_setup_is_safe_to_repeat(run, portal):
    before = portal.authority.ca.certificate
    run("setup")
    portal.forget()
    assert portal.authority.ca.certificate == before


def test_before_setup_pages_say_that_nothing_works_yet(template, tmp_path, clock):
    app = create_app(template.settings(tmp_path, "", secret_keys=()))
    browser = Browser(app).get("/e/x")
    assert browser.status == 503
    assert app.test_client().get("/healthz").status_code == 200
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (503, "not ready")


@pytest.mark.parametrize(("days", "says"), [(0, "missing"), (365, None), (20, "expires_soon"), (-1, "expired")])
def test_a_portal_that_is_set_up_is_ready_and_says_whether_it_can_wake_devices(make_app, clock, days, says):
    chosen = {"backend": "embedded", "topic": "", "push_server": "https://push.example.com", "refresh_hours": 24}
    ends = clock() + timedelta(days=days)
    identity = push_identity(clock() - timedelta(days=30), ends) if days else ""
    answer = make_app(mdm={**chosen, "push_identity": identity}).test_client().get("/readyz")
    problems = {"push_certificate": says} if says else {}
    assert (answer.status_code, answer.json) == (200, {"status": "degraded" if says else "ready", "problems": problems})


def test_a_demo_has_nobody_to_wake(make_app):
    assert make_app(demo=True).test_client().get("/readyz").json == {"status": "ready", "problems": {}}


def test_work_apps_are_taken_in_from_the_command_line(make_app, tmp_path):
    with apps_and_books.serving() as location:
        app = make_app(apps={"enabled": True, **location.settings()})
        run = app.test_cli_runner().invoke
        asset, token = location.add("Mail", 5), tmp_path / "content.vpptoken"
        token.write_bytes(b"no token")
        assert "Not usable" in run(args=["apps", "token", str(token)]).output
        location.config["mdmInfo"] = {"id": "other", "name": "Old server", "metadata": ""}
        token.write_bytes(location.token())
        assert "Another server uses the location: Old server" in run(args=["apps", "token", str(token)]).output
        assert "The token is in use." in run(args=["apps", "token", str(token), "--take-over"]).output
        add = ["apps", "add", "--store", asset.adam_id]
        assert "Say one of" in run(args=["apps", "add", "--everybody"]).output
        assert "Nothing is known of it" in run(args=["apps", "add", "--store", "999"]).output
        for wrong, says in {
            "--store": ("12 OR 1", "1" * 21, "\u0661"),
            "--manifest": ("http://a.example/m.plist", "https://a.example/" + "m" * 500, "https://a.example/\am"),
        }.items():
            for each in says:
                refused = run(args=["apps", "add", wrong, each])
                assert refused.exit_code == 1, each
                assert refused.output.startswith(("That is no", "The address has to")), each
        added = run(args=[*add, "--offer"])
        assert added.exit_code == 0, added.output
        again = run(args=add)
        assert (again.exit_code, again.output) == (1, "It is in the catalogue already.\n")
    with app.extensions["portal"].database.session() as session:
        made = session.scalars(select(App)).one()
        assert (made.id, made.name, made.bundle_id) == (added.output.strip(), "Mail", asset.bundle_id)
        lines = session.execute(select(AppAudience.side, AppAudience.kind)).all()
        assert lines == [("offered", "everybody")]
        claimed = session.scalars(select(AuditEvent).where(AuditEvent.kind == "licenses.claimed")).one()
        assert claimed.detail["from"] == "Old server"


def test_no_work_app_is_taken_in_where_the_room_is_closed(make_app, tmp_path):
    run = make_app().test_cli_runner().invoke
    token = tmp_path / "content.vpptoken"
    token.write_bytes(b"x")
    for args in (["add", "--store", "361285480"], ["token", str(token)]):
        refused = run(args=["apps", *args])
        assert refused.exit_code == 1
        assert "switched off" in refused.output
