"""Nobody fills the trail, helpdesk's mailbox or the provider's log by signing in, or not, again and again."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.credentials.test_openid import ISSUER, FakeProvider
from tests.factories import BASE
from tests.pages import Browser

PROVIDER = {
    "name": "corp",
    "title": "Corp",
    "issuer": ISSUER,
    "client_id": "portal",
    "client_secret": "x",
}


@pytest.fixture
def provider(portal, configure):
    """Single sign-on whose provider takes no code."""
    configure(oidc__providers=[PROVIDER])
    fake = FakeProvider(answer=httpx.Response(400, json={"error": "invalid_grant"}))
    portal.__dict__["providers"] = {"corp": fake.provider(name="corp")}
    return fake


def told(company):
    return [(each.kind, each.reason) for each in company.all_events()]


def begun(app, area="employee"):
    """A browser that comes back from the provider, and its state."""
    browser = app.test_client()
    there = browser.get(f"/sign-in/corp/{area}", base_url=BASE)
    return browser, parse_qs(urlsplit(there.headers["Location"]).query)["state"][0]


def back(browser, state):
    return browser.get("/sign-in/corp/callback", query_string={"state": state, "code": "x"}, base_url=BASE).status_code


def test_what_no_browser_began_is_told_nobody_and_uses_up_no_tries(app, company, provider):
    before = told(company)
    assert {back(app.test_client(), f"made up {number}") for number in range(60)} == {403}
    assert told(company) == before
    assert back(*begun(app)) == 403  # not 429: another site's pictures do not keep anybody from signing in


def test_a_state_that_is_none_is_told_once_to_whoever_looks_at_the_request(app, company, provider):
    invitation = company.invite(company.person())
    browser = Browser(app).open_link(invitation)
    for number in range(5):
        browser.get(f"/sign-in/corp/callback?state={number}")
    assert company.events(invitation).count(("sign_in.refused", "sso_state")) == 1


@pytest.mark.parametrize("area", ["employee", "staff"])
def test_the_provider_is_asked_no_more_often_than_a_network_may_try(app, company, provider, settings, clock, area):
    most = settings.sign_in.address_tries
    answers = [back(*begun(app, area)) for _ in range(most + 5)]
    assert answers == [403] * most + [429] * 5
    assert len([each for each in provider.asked if each.url.path == "/token"]) == most
    assert told(company).count(("sign_in.refused" if area == "employee" else "staff.sign_in_refused", "throttled")) == 1
    clock.forward(minutes=settings.sign_in.window_minutes + 1)
    assert back(*begun(app, area)) == 403


def test_whoever_signs_in_takes_the_try_back(app, portal, configure, settings, clock):
    configure(oidc__providers=[PROVIDER], enrollment__email_as_managed_apple_account=True)
    now = int(clock().timestamp())
    fake = FakeProvider({"iat": now, "exp": now + 300})
    portal.__dict__["providers"] = {"corp": fake.provider(name="corp")}
    for _ in range(settings.sign_in.address_tries + 2):
        browser, state = begun(app)
        with browser.session_transaction(base_url=BASE) as session:
            fake.claims["nonce"] = session["single_sign_on"][state][2]
        assert back(browser, state) == 303


@pytest.mark.parametrize(
    "content", [b'{"a":' * 20_000, b"[" * 50_000, b'{"expires_in": 1e999, "id_token": "a.b.c"}', b"null"]
)
def test_whatever_a_provider_answers_is_no_fault_of_the_portal(app, portal, configure, content):
    configure(oidc__providers=[PROVIDER])
    answer = httpx.Response(200, content=content, headers={"Content-Type": "application/json"})
    portal.__dict__["providers"] = {"corp": FakeProvider(answer=answer).provider(name="corp")}
    assert back(*begun(app)) in (403, 503)


def test_whoever_has_no_account_is_told_of_once_a_day(app, company, clock):
    company.person("norbert", managed_apple_account=None)
    company.person("nora", managed_apple_account=None)

    def refused():
        return told(company).count(("request.refused", "no_managed_apple_account"))

    def try_(name, times):
        for _ in range(times):
            assert Browser(app).get("/enroll").sign_in(name).status == 403

    try_("norbert", 5)
    try_("nora", 2)
    try_("norbert", 2)
    assert refused() == 2
    clock.forward(hours=25)
    try_("norbert", 3)
    assert refused() == 3


def test_signing_in_again_and_again_fills_nobody_s_trail(app, company, clock):
    company.person("mallory")
    of_erika = company.invite(company.person())
    for _ in range(6):
        Browser(app).open_link(of_erika).sign_in("mallory")
        Browser(app).open_link(of_erika).sign_in()
    told = [each for each in company.events(of_erika) if each[0].startswith("sign_in.")]
    assert told == [("sign_in.refused", "wrong_person"), ("sign_in.accepted", None)]
    clock.forward(minutes=16)
    Browser(app).open_link(of_erika).sign_in()
    assert company.events(of_erika)[-1] == ("sign_in.accepted", None)
    assert [each[0] for each in company.events(of_erika)].count("sign_in.accepted") == 2
