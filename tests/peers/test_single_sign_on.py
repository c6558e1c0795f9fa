"""Single sign-on against a real OpenID provider: the whole way, and what must not work."""

import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from portal.credentials import oidc
from portal.models import Person
from portal.simulator.iphone import IPhone
from tests.browser import engines
from tests.browser.conftest import needs_chromium
from tests.factories import BASE, Company, phone
from tests.pages import Browser
from tests.peers.openid import OpenIdProvider, log_in, needs_openid
from tests.servers import portal_server

pytestmark = needs_openid
CALLBACK = f"{BASE}/sign-in/test/callback"


@pytest.fixture(scope="module")
def openid():
    provider = OpenIdProvider([CALLBACK])
    yield provider
    provider.stop()


@pytest.fixture
def make(make_app, openid, clock):
    """A portal that knows the provider, and its people. The provider's clock is the machine's."""
    clock.time = datetime.now(UTC)

    def portal_with(**changes):
        app = make_app(oidc={"providers": [openid.settings(**changes)]})
        return app, Company(app.extensions["portal"])

    return portal_with


def begin(browser, area="employee"):
    """Send the browser to the provider; its address."""
    answer = browser.client.get(f"/sign-in/test/{area}", base_url=BASE, headers=browser.headers)
    assert answer.status_code == 302
    return answer.headers["Location"]


def come_back(browser, address):
    parts = urlsplit(address)
    return browser.get(f"{parts.path}?{parts.query}")


def sign_in(browser, login, area="employee"):
    """Through the provider and back."""
    return come_back(browser, log_in(begin(browser, area), login, CALLBACK))


def person(company, username):
    with company.portal.database.session() as session:
        return session.scalar(select(Person).where(Person.username == username))


def test_an_employee_enrolls_by_single_sign_on(make):
    app, company = make()
    browser = Browser(app).get("/enroll")
    assert browser.soup.find("a", string="Sign in with Test SSO")["href"] == "/sign-in/test/employee"
    sign_in(browser, "sub-olga")
    assert browser.heading == "Whose device is this?"
    olga = person(company, "olga")
    assert (olga.source, olga.subject, olga.locale) == ("oidc:test", "sub-olga", "de")
    assert olga.managed_apple_account == "olga@work.example.com"
    browser.submit(ownership="employee").submit(acknowledge="yes")
    assert browser.heading == "Enter the passcode from the e-mail"


def test_an_invited_person_signs_in_and_enrolls(make):
    app, company = make()
    sign_in(Browser(app).get("/enroll"), "sub-olga")
    invitation = company.invite(person(company, "olga"))
    browser = Browser(app).open_link(invitation)
    sign_in(browser, "sub-olga")
    for answer in ({"ownership": "employee"}, {"acknowledge": "yes"}, {"passcode": invitation.passcode},
                   {"continue": "yes"}, {"accept": "yes"}):  # fmt: skip
        browser.submit(**answer)
    phone(app).install(browser.download())
    assert company.status(invitation) == "enrolled"


def test_somebody_else_than_the_invited_person_is_refused(make):
    app, company = make()
    invitation = company.invite(company.person())
    browser = Browser(app).open_link(invitation)
    sign_in(browser, "sub-olga")
    assert browser.heading == "This invitation is for someone else"


def test_nobody_becomes_somebody_by_name_or_unverified_e_mail(make):
    """The provider's own key alone tells who it is."""
    app, company = make()
    company.person("local", email="local@example.com")
    sign_in(Browser(app).get("/enroll"), "sub-olga")
    browser = Browser(app).get("/enroll")
    sign_in(browser, "sub-thief")  # says it is "local", with Olga's address and account
    assert browser.heading == "Your account cannot be used here"
    assert person(company, "local").source == "local"
    assert person(company, "olga").subject == "sub-olga"


def test_a_state_works_once_and_only_in_the_browser_it_was_made_for(make):
    app, _ = make()
    browser = Browser(app).get("/enroll")
    address = log_in(begin(browser), "sub-olga", CALLBACK)
    stranger = come_back(Browser(app).get("/enroll"), address)
    assert stranger.heading == "The sign-in did not work"
    come_back(browser, address)
    assert browser.heading == "Whose device is this?"
    browser.submit("/enroll/sign-out")
    come_back(browser, address)
    assert browser.heading == "The sign-in did not work"


def test_the_session_changes_at_the_sign_in(make):
    app, _ = make()
    browser = Browser(app).get("/enroll")
    before = browser.client.get_cookie("__Host-portal", domain="portal.example.com")
    sign_in(browser, "sub-olga")
    after = browser.client.get_cookie("__Host-portal", domain="portal.example.com")
    assert before is None or before.value != after.value


def test_a_sign_in_begun_too_long_ago_is_refused(make, clock):
    app, _ = make()
    browser = Browser(app).get("/enroll")
    address = log_in(begin(browser), "sub-olga", CALLBACK)
    clock.forward(minutes=15)
    assert come_back(browser, address).heading == "The sign-in did not work"


def test_a_clock_ten_minutes_off_is_named_and_two_minutes_are_not(make, clock):
    app, _ = make()
    browser = Browser(app).get("/enroll")
    clock.forward(minutes=-10)
    assert "clocks" in come_back(browser, log_in(begin(browser), "sub-olga", CALLBACK)).text
    clock.forward(minutes=8.1)
    assert come_back(browser, log_in(begin(browser), "sub-olga", CALLBACK)).heading == "Whose device is this?"


def test_a_required_group_is_required(make):
    app, _ = make(required_group="enroll")
    browser = Browser(app).get("/enroll")
    sign_in(browser, "sub-noah")
    assert browser.heading == "Your account cannot be used here"


def test_without_a_managed_apple_account_it_ends_clearly(make):
    app, _ = make()
    browser = Browser(app).get("/enroll")
    sign_in(browser, "sub-noah")
    assert browser.heading == "You need a Managed Apple Account first"


def test_staff_come_by_group_and_need_a_second_factor(make):
    app, company = make()
    browser = Browser(app).get("/staff/sign-in")
    assert browser.soup.find("a", string="Sign in with Test SSO")
    sign_in(browser, "sub-helga", "staff")
    assert browser.heading == "Set up your second factor"
    assert person(company, "helga").role == "helpdesk"
    assert sign_in(Browser(app), "sub-olga", "staff").heading == "Your account cannot be used here"


def test_a_provider_that_moved_to_new_keys_is_understood(make, openid, monkeypatch):
    app, _ = make()
    sign_in(Browser(app).get("/enroll"), "sub-olga")
    openid.stop()
    openid.start()
    monkeypatch.setattr(oidc, "KEYS_AGAIN_SECONDS", 0.0)
    browser = Browser(app).get("/enroll")
    sign_in(browser, "sub-olga")
    assert browser.heading == "Whose device is this?"


def test_a_provider_that_is_down_is_a_calm_page_and_no_lock_out(make, openid):
    app, _ = make()
    openid.stop()
    try:
        browser = Browser(app).get("/sign-in/test/employee")
        assert (browser.status, browser.heading) == (503, "We cannot go on right now")
    finally:
        openid.start()
    assert begin(Browser(app)).startswith(openid.issuer)


def test_a_provider_that_calls_itself_otherwise_is_not_believed(make, openid):
    app, _ = make(issuer=openid.issuer.replace("127.0.0.1", "localhost"))
    assert Browser(app).get("/sign-in/test/employee").status == 503


def test_a_wrong_client_secret_is_the_portal_s_problem_not_the_person_s(make):
    app, _ = make(client_secret="wrong")
    browser = Browser(app).get("/enroll")
    sign_in(browser, "sub-olga")
    assert browser.heading == "The sign-in did not work"


def test_a_domain_leads_to_its_provider_and_others_are_asked_for_a_password(make):
    app, company = make(domains=["example.com"])
    company.person("erika")
    browser = Browser(app).get("/enroll")
    assert browser.soup.find(id="password") is None
    browser.submit(username="olga@example.com")
    assert browser.heading == "On to Test SSO"
    assert "hint=olga" in browser.soup.find("a", class_="button")["href"]
    browser.get("/enroll/sign-in").submit(username="erika")
    assert browser.soup.find(id="password") is not None
    browser.sign_in("erika")
    assert browser.heading == "Whose device is this?"


def test_signing_out_leads_through_the_provider(make, openid):
    app, _ = make()
    browser = Browser(app).get("/enroll")
    sign_in(browser, "sub-olga")
    browser.submit("/enroll/sign-out")
    assert browser.heading == "On to Test SSO"
    assert browser.soup.find("a", class_="button")["href"].startswith(openid.issuer + "/session/end?client_id=portal")


def test_settings_web_view_signs_in_through_the_provider(make):
    app, _ = make()
    browser = Browser(app).get("/apple/sign-in?user-identifier=olga@work.example.com")
    address = begin(browser, "web_view")
    assert "login_hint=olga%40work.example.com" in address
    come_back(browser, log_in(address, "sub-olga", CALLBACK))
    assert (browser.path, browser.heading) == ("/apple/enroll/ownership", "Whose device is this?")


@needs_chromium
def test_the_way_through_the_provider_s_own_page_in_a_browser(openid, tmp_path):
    """From the link over the provider's login page to the finish page, with pictures of what is ours."""
    with portal_server(tmp_path, {}) as server:
        server.stop()
        openid.stop()
        openid.redirects = [f"{server.url}/sign-in/test/callback", CALLBACK]
        openid.start()
        server.environment["PORTAL_OIDC_PROVIDERS"] = json.dumps([openid.settings(required_group="enroll")])
        server.environment["PORTAL_MANAGED_APPLE_ACCOUNT_SOURCE"] = "attribute"
        server.start()
        people = tmp_path / "people.csv"
        people.write_text("username,name,email,source\nolga,Olga,olga@example.com,oidc:test\n")
        server.flask("people", "import", str(people))  # somebody who is invited before their first sign-in
        accounts = tmp_path / "accounts.csv"
        accounts.write_text("username,managed_apple_account\nolga,olga@work.example.com\n")
        server.flask("people", "import", str(accounts))
        invitation = json.loads(server.flask("invite", "olga", "--json"))
        with engines.chromium() as engine:
            engine.open(invitation["url"])
            engine.wait_for_heading("Sign in to begin")
            engine.picture("1-sign-in-single-sign-on")
            engine.tap("text=Sign in with Test SSO")
            engine.page.fill("input[name=login]", "sub-olga")
            engine.page.fill("input[name=password]", "x")
            engine.page.click("button[type=submit]")
            engine.page.click("button[type=submit]")  # consent
            engine.wait_for_heading("Whose device is this?")
            for button in ("button[value=employee]", "button[name=acknowledge]"):
                engine.tap(button)
            engine.wait_for_heading("Enter the passcode from the e-mail")
            engine.fill("passcode", invitation["passcode"])
            for button in ("button[form=enter]", "button[name=continue]", "button[name=accept]"):
                engine.tap(button)
            with engine.page.expect_download() as waiting:
                engine.tap("main a.button")
            profile = waiting.value.path().read_bytes()
            IPhone().install(profile)
            engine.open(f"{server.url}/enroll/finish")
            engine.wait_for_heading("You are ready for work")
