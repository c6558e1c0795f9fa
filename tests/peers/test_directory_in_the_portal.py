"""People of a directory in the portal: signing in, being invited, changing, and a directory that is out of reach."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import select

from portal.models import Person, SignInAttempt
from portal.simulator.employee import Employee
from tests.factories import Company, phone
from tests.pages import Browser
from tests.peers.slapd import BASE, PASSWORD, Slapd, needs_slapd
from tests.servers import portal_server

pytestmark = needs_slapd


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    server = Slapd(tmp_path_factory.mktemp("slapd"))
    yield server
    server.kill()


@pytest.fixture
def make(make_app, slapd):
    made = []

    def portal_with(managed_apple_account=None, **changes):
        app = make_app(ldap=slapd.settings(**changes), managed_apple_account=managed_apple_account or {})
        made.append(app.extensions["portal"])
        return app, Company(made[-1])

    yield portal_with
    for portal in made:
        if portal.directory is not None:
            portal.directory.close()


def person(company, username):
    with company.portal.database.session() as session:
        return session.scalar(select(Person).where(Person.username == username))


def sign_in(app, username, password=PASSWORD, browser=None):
    return (browser or Browser(app).get("/enroll")).submit(username=username, password=password)


def test_an_employee_of_the_directory_enrolls_from_invitation_to_device(make):
    app, company = make()
    done = app.test_cli_runner().invoke(args=["invite", "dora", "--json"])
    told = json.loads(done.output)
    browser = Browser(app).get(told["url"].removeprefix("https://portal.example.com"))
    sign_in(app, "dora", browser=browser)
    for answer in ({"ownership": "employee"}, {"acknowledge": "yes"}, {"passcode": told["passcode"]},
                   {"continue": "yes"}, {"accept": "yes"}):  # fmt: skip
        browser.submit(**answer)
    phone(app).install(browser.download())
    assert browser.get("/enroll/finish").heading == "You are ready for work"
    dora = person(company, "dora")
    assert (dora.source, dora.managed_apple_account, dora.locale) == ("directory", "dora@work.example.com", "de")


def test_helpdesk_invites_from_the_directory(make, clock):
    app, company = make()
    company.person("helen2", "helpdesk")
    browser = Browser(app).staff_sign_in("helen2", clock())
    browser.submit("/helpdesk/requests", username="dora")
    assert browser.heading == "Dora"
    browser.get("/helpdesk").submit("/helpdesk/requests", username="nomaa")
    assert "no Managed Apple Account" in browser.error_of("username")
    browser.get("/helpdesk").submit("/helpdesk/requests", username="nobody")
    assert "Nobody is known" in browser.error_of("username")


def test_staff_of_the_directory_come_by_group(make):
    app, company = make(helpdesk_group=f"cn=helpdesk,ou=groups,{BASE}", admin_group=f"cn=admins,ou=groups,{BASE}")
    browser = Browser(app).get("/staff/sign-in").submit(username="ada", password=PASSWORD, code="")
    assert browser.heading == "Set up your second factor"
    assert person(company, "ada").role == "admin"
    outsider = Browser(app).get("/staff/sign-in").submit(username="dora", password=PASSWORD, code="")
    assert outsider.status == 422


def test_an_account_problem_is_explained_to_its_owner(make):
    app, _ = make()
    browser = sign_in(app, "gone")
    assert browser.error_of("username") == "Your account is disabled. Ask your helpdesk."
    assert "don't match" in sign_in(app, "gone", "wrong").error_of("password")


def test_unknown_and_known_people_get_the_same_answer(make):
    app, _ = make()
    pages = [sign_in(app, username, "wrong") for username in ("dora", "nobody", "*", "dora)(uid=*")]
    assert len({(page.status, page.error_of("password")) for page in pages}) == 1


def test_what_changed_in_the_directory_changes_here_at_the_next_sign_in(make):
    app, company = make(managed_apple_account={"source": "pattern", "domain": "one.example.com"})
    sign_in(app, "dora")
    assert person(company, "dora").managed_apple_account == "dora@one.example.com"
    app, company = make(managed_apple_account={"source": "email", "domain_map": ["example.com=two.example.com"]})
    sign_in(app, "dora")
    assert person(company, "dora").managed_apple_account == "dora@two.example.com"


def test_a_local_account_is_never_taken_over(make):
    app, company = make()
    company.person("dora", managed_apple_account="local@work.example.com")
    assert sign_in(app, "dora").status == 422  # the directory's password does not open the local account
    assert sign_in(app, "dora", "correct horse battery").heading == "Whose device is this?"


def test_an_outage_is_a_calm_page_counts_nothing_and_is_named(make, slapd):
    app, company = make()
    dora = company.invite(company.person("erika"))
    slapd.kill()
    try:
        for _ in range(12):  # more than the throttle would allow
            browser = sign_in(app, "dora", browser=Browser(app).open_link(dora))
            assert (browser.status, browser.heading) == (503, "We cannot go on right now")
        ready = app.test_client().get("/readyz")
        assert (ready.status_code, ready.json["problems"]["credentials"]) == (200, "unreachable")
        assert ("sign_in.refused", "source_unavailable") in company.events(dora)
        with company.portal.database.session() as session:
            assert session.scalars(select(SignInAttempt)).all() == []
        assert sign_in(app, "erika", "correct horse battery").heading == "Whose device is this?"  # local people go on
    finally:
        slapd.start()
    assert sign_in(app, "dora").heading == "Whose device is this?"


@pytest.mark.each_database
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"service_password": "wrong"}, "does not accept the portal's own password"),
        ({"ca_file": ""}, "certificate is not trusted"),
        ({"servers": ["ldaps://127.0.0.1:1"]}, "no answer"),
    ],
)
def test_helpdesk_reads_what_is_wrong_with_the_directory(make, clock, changes, said):
    app, company = make(**changes)
    company.person("helen2", "helpdesk")
    invitation = company.invite(company.person("erika"))
    assert sign_in(app, "dora", browser=Browser(app).open_link(invitation)).status == 503
    page = Browser(app).staff_sign_in("helen2", clock()).get(f"/helpdesk/requests/{invitation.request.id}")
    assert said in page.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "read as: Found("),
        ({"service_password": "wrong"}, "does not accept the service account"),
        ({"servers": ["ldaps://127.0.0.1:1"]}, "does not answer"),
    ],
)
def test_credentials_check_says_step_by_step_what_works(make, changes, said):
    app, _ = make(**changes)
    done = app.test_cli_runner().invoke(args=["credentials", "check", "dora"])
    assert said in done.output
    assert (done.exit_code == 0) == (not changes)


def test_two_hundred_sign_ins_in_a_minute_lose_nothing_and_leak_no_connection(slapd, tmp_path):
    """Two web processes of the portal, eight people at once."""
    rules = slapd.settings()
    environment = {f"PORTAL_LDAP_{name.upper()}": json.dumps(value) if isinstance(value, list) else str(value)
                   for name, value in rules.items()}  # fmt: skip
    with portal_server(tmp_path, {**environment, "PORTAL_SIGN_IN_ADDRESS_TRIES": "100000"}) as server:

        def enter(_number):
            employee = Employee(server.url)
            with employee.http:
                employee.open("/enroll")
                employee.answer(username="dora", password=PASSWORD)
                return employee.heading

        with ThreadPoolExecutor(8) as pool:
            headings = list(pool.map(enter, range(200)))
        assert headings == ["Whose device is this?"] * 200
        assert slapd.connections() <= 2 * 4  # the pools of two processes
        assert httpx.get(server.url + "/readyz").status_code == 200


def test_an_account_has_its_tries_however_its_name_is_typed_where_nobody_is_looked_up_before(make):
    app, _ = make(bind="direct", user_dn=f"uid={{username}},ou=people,{BASE}")
    name = "o'brien{}(x)*"  # OpenLDAP takes any number of spaces for one
    between = (" ", "  ", "\u00a0 \u2003", " \u034f ", " \ufe0f\u200b ", " \u3164 ")
    answers = [sign_in(app, name.format(spaces), "wrong").status for spaces in between * 2]
    assert answers == [422] * 10 + [429] * 2
    assert sign_in(app, name.format("   ")).status == 429


def test_what_is_typed_is_what_the_directory_is_asked_for(make):
    app, _ = make(bind="direct", user_dn=f"uid={{username}},ou=people,{BASE}")
    assert sign_in(app, " o'brien \u00a0 (x)\u200b*").status == 200
