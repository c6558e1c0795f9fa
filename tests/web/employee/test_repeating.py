"""Double taps, the back button, reloads and a backend that is away end in one consistent state."""

import pytest

from portal.backends.base import Health
from portal.enrollment import ending
from portal.storage.cases import Cases
from tests.factories import phone
from tests.pages import BASE

FORMS = {
    "ownership": {"ownership": "employee"},
    "privacy": {"acknowledge": "yes"},
    "overview": {"continue": "yes"},
    "terms": {"accept": "yes"},
}


@pytest.mark.parametrize("step", FORMS)
def test_a_double_tap_counts_once_and_goes_on(browser, company, step):
    invitation = company.invite(company.person())
    browser.walk_to(step, invitation)
    data = {**browser.hidden(), **FORMS[step]}
    browser.post(f"/enroll/{step}", data)
    after = (browser.path, company.events(invitation))
    browser.post(f"/enroll/{step}", data)
    assert (browser.path, company.events(invitation)) == after


def test_the_back_button_leads_forward_again(browser, company):
    browser.walk_to("terms", company.invite(company.person()))
    for step in ("sign-in", "ownership", "privacy", "passcode", "overview"):
        assert browser.get(f"/enroll/{step}").path == "/enroll/terms"


def test_tapping_the_link_again_goes_on_where_one_was(browser, company):
    invitation = company.invite(company.person())
    browser.walk_to("overview", invitation)
    assert browser.open_link(invitation).path == "/enroll/overview"
    assert browser.get("/enroll").path == "/enroll/overview"


def test_after_enrolling_every_page_is_the_finish_page(app, browser, company):
    phone(app).install(browser.walk_to("profile", company.invite(company.person())).download())
    for step in ("ownership", "profile", "terms", "finish"):
        assert browser.get(f"/enroll/{step}").heading == "You are ready for work"
    answer = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
    assert answer.headers["Location"] == "/enroll/finish"


def test_the_finish_page_follows_the_device(app, browser, company):
    browser.walk_to("profile", company.invite(company.person()))
    states = [browser.get("/enroll/state").response.json]
    device = phone(app)
    payload = device.open_profile(browser.download())
    states.append(browser.get("/enroll/state").response.json)
    device.obtain_identity(payload)
    states.append(browser.get("/enroll/state").response.json)
    assert browser.get("/enroll/finish").heading == "Waiting for your device"
    assert browser.soup.find("noscript").find("meta", attrs={"http-equiv": "refresh"})
    device.authenticate()
    states.append(browser.get("/enroll/state").response.json)
    device.token_update()
    states.append(browser.get("/enroll/state").response.json)
    assert [state["waiting"] for state in states] == ["download", "install", "device", "account", "enrolled"]
    assert [state["next"] for state in states] == ["/enroll/profile"] * 2 + ["/enroll/finish"] * 3


def test_a_device_that_goes_silent_gets_a_way_on(app, browser, company, clock):
    browser.walk_to("profile", company.invite(company.person()))
    device = phone(app)
    device.obtain_identity(device.open_profile(browser.download()))
    clock.forward(minutes=11)
    assert browser.get("/enroll/finish").heading == "Your device went silent"
    phone(app, 1).install(browser.get("/enroll/profile").download())
    assert browser.get("/enroll/finish").heading == "You are ready for work"


def test_with_the_backend_away_everything_up_to_the_profile_works(browser, company, monkeypatch):
    invitation = company.invite(company.person())
    backend = company.portal.backend
    monkeypatch.setattr(backend, "health", lambda: Health(False, "away"))
    browser.walk_to("profile", invitation)
    answer = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
    assert answer.status_code == 503
    assert 'http-equiv="refresh"' in answer.get_data(as_text=True)
    monkeypatch.undo()
    browser.download()


def test_a_cancelled_request_says_so_on_the_page_that_is_open(browser, company, clock):
    invitation = company.invite(company.person())
    browser.walk_to("terms", invitation)
    data = {**browser.hidden(), "accept": "yes"}
    with company.portal.database.transaction() as session:
        ending.cancel(Cases(session, company.portal).lock(invitation.request.id), "helpdesk:test")
    browser.post("/enroll/terms", data)
    assert (browser.path, browser.heading) == ("/enroll/finish", "This request is closed")
