"""The web view of Settings: who signs in, what is asked, what carries over from Safari."""

import pytest

from portal.enrollment import ending
from portal.storage.cases import Cases
from tests.account_driven.steps import ACCOUNT, IOS_18, begin, walking, web_view
from tests.factories import BASE, owner
from tests.pages import Browser


def test_the_web_view_knows_the_account_that_was_typed(app, invitation):
    browser = web_view(app, begin(app))
    assert browser.soup.find(id="username")["value"] == ACCOUNT
    browser.sign_in(ACCOUNT)  # the account itself signs in, beside the username
    assert browser.heading == "Whose device is this?"
    assert browser.path == "/apple/enroll/ownership"


@pytest.mark.each_database
def test_signing_in_is_always_asked_and_leaves_safari_alone(app, invitation):
    browser = Browser(app, IOS_18).walk_to("privacy", invitation)
    browser.get(begin(app).removeprefix(BASE) + f"?user-identifier={ACCOUNT}")
    assert (browser.path, browser.heading) == ("/apple/enroll/sign-in", "Sign in to begin")
    browser.sign_in()
    assert browser.path == "/apple/enroll/privacy"
    browser.get(begin(app).removeprefix(BASE) + f"?user-identifier={ACCOUNT}")
    assert browser.path == "/apple/enroll/sign-in"  # and once more for the next device
    assert browser.get("/enroll/continue").path == "/enroll/privacy"  # Safari's own session lives on


@pytest.mark.parametrize("address", ["/apple/sign-in", "/apple/sign-in/mangled.handle", "/apple/sign-in/" + "x" * 3000])
def test_the_web_view_begins_even_if_its_handle_got_lost(app, company, invitation, settings_app, address):
    token = walking(app, invitation)(f"{BASE}{address}?user-identifier={ACCOUNT}")
    assert settings_app.fetch_profile(f"{BASE}/apple/enroll", token)


def test_what_can_be_corrected_never_ends_the_enrollment(app, invitation):
    browser = web_view(app, begin(app))
    browser.sign_in(password="wrong")
    assert (browser.status, browser.error_of("password")[:8]) == (200, "Username")
    browser.sign_in().submit(ownership="")
    assert (browser.status, browser.heading) == (200, "Whose device is this?")
    browser.post("/apple/enroll/ownership", {"ownership": "employee"})  # without the token of the form
    assert (browser.status, browser.heading) == (200, "Please do that once more")
    assert (
        "form-action 'self' apple-remotemanagement-user-login:;" in browser.response.headers["Content-Security-Policy"]
    )


def test_another_account_than_ones_own_is_named_and_refused(app, company, invitation):
    browser = web_view(app, begin(app), "someone@work.example.com")
    browser.sign_in("erika")
    assert browser.heading == "That account is not yours"
    assert "er…\u2060@work.example.com" in browser.text
    assert ACCOUNT not in browser.text
    assert company.events(invitation)[-1] == ("sign_in.refused", "another_account")
    assert company.step(invitation) == "sign-in"


def test_the_account_may_be_typed_in_capitals(app, invitation):
    assert web_view(app, begin(app), ACCOUNT.upper()).sign_in("erika").path == "/apple/enroll/ownership"


def test_without_a_managed_apple_account_it_ends_clearly(app, company):
    company.person("nobody", managed_apple_account=None)
    browser = web_view(app, begin(app), "nobody@work.example.com").sign_in("nobody")
    assert browser.heading == "You need a Managed Apple Account first"


def test_settings_can_begin_without_an_invitation(app, company, session):
    company.person()
    browser = web_view(app, begin(app)).sign_in()
    for answer in ({"ownership": "employee"}, {"acknowledge": "yes"}):
        browser.submit(**answer)
    assert browser.heading == "Enter the passcode from the e-mail"


def test_what_was_done_in_safari_within_the_hour_is_not_asked_again(app, company, clock, invitation, settings_app):
    Browser(app, IOS_18).walk_to("profile", invitation)
    clock.forward(minutes=59)
    seen = []
    employee = owner(app)
    employee.tell = seen.append
    base_url = settings_app.discover(ACCOUNT, BASE)
    token = settings_app.ask_owner(settings_app.begin(base_url), ACCOUNT, walking(app, invitation, employee=employee))
    assert seen == ["/apple/enroll/sign-in: Sign in to begin"]
    assert settings_app.fetch_profile(base_url, token)


def test_after_an_hour_privacy_passcode_and_terms_are_asked_again(app, company, clock, invitation):
    Browser(app, IOS_18).walk_to("profile", invitation)
    clock.forward(minutes=61)
    browser = web_view(app, begin(app)).sign_in()
    assert browser.heading == "What IT can and cannot see"
    browser.submit(acknowledge="yes")
    assert browser.heading == "Send yourself a new passcode"
    assert "This passcode was used already" in browser.text


def test_a_request_cancelled_meanwhile_ends_on_a_page(app, company, portal, clock, invitation):
    browser = web_view(app, begin(app)).sign_in()
    with portal.database.transaction() as session:
        ending.cancel(Cases(session, portal).lock(invitation.request.id), "helpdesk:test")
    browser.get("/apple/enroll/continue")
    assert browser.heading == "This request is closed"
