"""Two devices, giving up, theft, and from the link in Safari to Settings."""

import pytest

from portal import discovery
from portal.simulator.iphone import SignInAgain, Unenrolled
from portal.simulator.model import MODELS
from portal.simulator.scep_client import InstallationFailed
from portal.simulator.settings_app import SettingsApp
from tests.account_driven.steps import ACCOUNT, IOS_18, begin, enroll, raw, token_of, walking, web_view
from tests.factories import BASE, Company, owner, phone
from tests.pages import Browser


def test_of_two_devices_the_last_to_begin_enrolls_and_the_first_is_told_why(app, company, invitation):
    first, second = SettingsApp(phone(app, 0, 18)), SettingsApp(phone(app, 1, 26))
    base_url, token = token_of(first, invitation, app)
    held = first.phone
    held.account, held.token = ACCOUNT, token
    held.obtain_identity(held.open_profile(first.fetch_profile(base_url, token)))
    employee = owner(app)
    second.sign_in(ACCOUNT, walking(app, invitation, employee=employee), BASE)
    with pytest.raises(Unenrolled):
        held.authenticate()
    assert company.status(invitation) == "enrolled"
    assert company.device(invitation).os_version == "26.0"
    assert ("device.refused", "certificate_revoked") in company.events(invitation)


def test_a_second_device_after_the_first_gets_a_request_of_its_own(app, company, invitation):
    enroll(app, invitation)
    second = SettingsApp(phone(app, 1, 18))
    base_url = second.discover(ACCOUNT, BASE)
    browser = web_view(app, second.begin(base_url)["url"]).sign_in()
    assert browser.heading == "Whose device is this?"
    assert company.status(invitation) == "enrolled"


STEPS = ("discovered", "challenged", "signed in", "token", "profile", "certificate", "authenticated")


@pytest.mark.parametrize("step", STEPS)
def test_a_device_that_gives_up_at_any_step_can_start_over(app, company, invitation, step):
    given_up = SettingsApp(phone(app, 0, 18))
    actions = {
        "discovered": lambda: given_up.discover(ACCOUNT, BASE),
        "challenged": lambda: given_up.begin(f"{BASE}/apple/enroll"),
        "signed in": lambda: web_view(app, begin(app)).sign_in(),
        "token": lambda: setattr(given_up.phone, "token", token_of(given_up, invitation, app)[1]),
        "profile": lambda: given_up.fetch_profile(f"{BASE}/apple/enroll", given_up.phone.token),
        "certificate": lambda: given_up.phone.obtain_identity(given_up.phone.open_profile(actions["profile"]())),
        "authenticated": lambda: given_up.phone.authenticate(),
    }
    given_up.phone.account = ACCOUNT
    for name in STEPS[: STEPS.index(step) + 1]:
        actions[name]()
    enroll(app, invitation, number=1)
    assert company.status(invitation) == "enrolled"
    kinds = [kind for kind, _ in company.events(invitation)]
    assert kinds.count("device.enrolled") == 1


def test_a_token_stolen_before_the_enrollment_cannot_enroll_a_second_device_unseen(
    app, company, invitation, settings_app
):
    base_url, token = token_of(settings_app, invitation, app)
    thief, victim = SettingsApp(phone(app, 1, 18)).phone, settings_app.phone
    for held in (thief, victim):
        held.account, held.token = ACCOUNT, token
    profile = settings_app.fetch_profile(base_url, token)
    thief.obtain_identity(thief.open_profile(profile))  # the challenge works once
    with pytest.raises(InstallationFailed):
        victim.obtain_identity(victim.open_profile(profile))
    assert ("certificate.refused", "challenge_used") in company.events(invitation)


def test_a_token_stolen_afterwards_is_worthless_without_the_device_s_certificate(app, company, invitation):
    stolen = enroll(app, invitation).phone.token
    company.person("other", managed_apple_account="other@work.example.com")
    theirs = company.invite(company.person("third"))
    thief = SettingsApp(phone(app, 2, 18))
    thief.sign_in("third@work.example.com", walking(app, theirs, "third"), BASE)
    own, thief.phone.token = thief.phone.token, stolen
    with pytest.raises(SignInAgain):
        thief.phone.connect()
    assert company.events(theirs)[-1] == ("token.refused", "token_of_another")
    thief.phone.token = own
    assert thief.phone.connect() == []
    answer = raw(thief.phone, "ServerURL", {"Status": "Idle"}, signature="", token=stolen)
    assert answer.status_code == 403


@pytest.mark.parametrize("ios", [18, 26])
def test_ios_18_walks_in_safari_and_finishes_in_settings(app, company, invitation, ios):
    browser = Browser(app, MODELS[ios].user_agent()).walk_to("profile", invitation)
    assert browser.heading == "Finish in Settings"
    assert browser.soup.find(id="account").text == ACCOUNT
    assert browser.get("/enroll/profile.mobileconfig").heading == "Finish in Settings"  # never a profile
    assert browser.client.get("/enroll/state", base_url=BASE).json["waiting"] == "download"
    settings_app = SettingsApp(phone(app, ios=ios))
    base_url, token = token_of(settings_app, invitation, app)
    profile = settings_app.fetch_profile(base_url, token)
    assert browser.client.get("/enroll/state", base_url=BASE).json == {"waiting": "install", "next": "/enroll/finish"}
    assert browser.get("/enroll/profile").heading == "Waiting for your device"
    held = settings_app.phone
    held.account, held.token = ACCOUNT, token
    held.obtain_identity(held.open_profile(profile))
    held.authenticate()
    held.token_update()
    assert browser.get("/enroll/finish").heading == "You are ready for work"


def test_a_try_in_settings_that_took_too_long_is_told_in_safari(app, clock, invitation, settings_app):
    browser = Browser(app, IOS_18).walk_to("profile", invitation)
    base_url, token = token_of(settings_app, invitation, app)
    settings_app.fetch_profile(base_url, token)
    clock.forward(minutes=11)
    assert browser.get("/enroll/finish").heading == "That took too long"
    browser.get("/enroll/profile")
    assert (browser.heading, "took too long" in browser.text) == ("Finish in Settings", True)


@pytest.mark.parametrize(
    ("ios", "prefer", "checked", "heading"),
    [
        (15, "auto", None, "Download the profile"),
        (17, "auto", "unreachable", "Download the profile"),
        (17, "auto", "", "Finish in Settings"),
        (15, "account", None, "Finish in Settings"),
        (17, "profile", "", "Download the profile"),
        (18, "profile", None, "Finish in Settings"),
    ],
)
def test_settings_and_the_last_check_choose_the_way_from_ios_15_to_17(make_app, clock, ios, prefer, checked, heading):
    app = make_app(account_driven={"prefer": prefer})
    held = app.extensions["portal"]
    company = Company(held)
    if checked is not None:
        with held.database.transaction() as session:
            discovery.record(session, "work.example.com", checked or None, "", clock())
    browser = Browser(app, MODELS[ios].user_agent()).walk_to("profile", company.invite(company.person()))
    assert browser.heading == heading


def test_an_ipad_that_says_it_is_a_mac_goes_on_when_it_is_told(app, invitation):
    mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) {} Safari/605.1.15"
    browser = Browser(app, mac.format("Version/18.1")).open_link(invitation)
    assert browser.heading == "Continue on your iPhone"
    assert browser.soup.find("a", string="This is an iPad")["href"] == f"/e/{invitation.token}?device=ipad"
    browser.get(f"/e/{invitation.token}?device=ipad")
    assert browser.path == "/enroll/sign-in"
    browser.walk_to("profile", invitation)
    assert browser.heading == "Finish in Settings"
    chrome = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
    assert not Browser(app, chrome).open_link(invitation).soup.find("a", string="This is an iPad")
    old = Browser(app, mac.format("Version/13.0")).get(f"/e/{invitation.token}?device=ipad")
    assert old.heading == "Update your device first"
