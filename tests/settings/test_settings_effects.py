"""Settings that an admin saves do what their help says, at once; those that no other test already moves."""

import re
from datetime import timedelta

from portal import jobs
from portal.models import OutboxMessage
from portal.settings import ROOT, overlay
from tests.factories import PASSWORD, phone
from tests.pages import Browser

OLD_IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 15_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/15.4 Mobile/15E148 Safari/604.1"
)


def test_every_setting_is_moved_by_some_test():
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    unmoved = [
        name for name in overlay.names() if not re.search(rf"\b{name.rpartition('.')[2]}\b", tests.replace("__", "."))
    ]
    assert unmoved == []


def test_self_enrollment_for_lets_only_these_begin(app, company, configure):
    for name in ("erika", "max"):
        company.person(name, email=f"{name}@{name}.example")
    configure(enrollment__self_enrollment_for=["ERIKA"])
    assert Browser(app).get("/enroll").sign_in("erika").path == "/enroll/ownership"
    assert Browser(app).get("/enroll").sign_in("max").heading == "You need an invitation"
    configure(enrollment__self_enrollment_for=["@max.example"])
    assert Browser(app).get("/enroll").sign_in("max").path == "/enroll/ownership"
    configure(enrollment__self_enrollment=False)
    other = company.person("nora")
    assert Browser(app).get("/enroll").sign_in("nora").status == 403
    assert Browser(app).open_link(company.invite(other)).sign_in("nora").path == "/enroll/ownership"


def test_offer_corporate_takes_the_answer_away(app, company, configure, browser):
    configure(enrollment__offer_corporate=False)
    browser.walk_to("ownership", company.invite(company.person()))
    assert [each["value"] for each in browser.soup.find_all("button", attrs={"name": "ownership"})] == ["employee"]
    browser.submit(ownership="corporate")
    assert browser.path == "/enroll/ownership"
    assert browser.submit(ownership="employee").path == "/enroll/privacy"


def test_devices_per_person_bounds_the_managed_ones(app, company, configure, browser, clock):
    configure(enrollment__devices_per_person=1)
    person = company.person()
    device = phone(app)
    device.install(browser.walk_to("profile", company.invite(person)).download())
    assert Browser(app).get("/enroll").sign_in().heading == "You have a device already"
    company.person("hilda", role="helpdesk")
    staff = Browser(app).staff_sign_in("hilda", clock())
    staff.get("/helpdesk").submit("/helpdesk/requests", username="erika")
    assert "as many managed devices as one may have" in staff.error_of("username")
    refused = app.test_cli_runner().invoke(args=["invite", "erika"])
    assert "as many managed devices" in refused.stderr
    device.remove()
    assert Browser(app).get("/enroll").sign_in().path == "/enroll/ownership"


def test_minimum_ios_asks_older_devices_to_update(app, company, configure):
    invitation = company.invite(company.person())
    assert Browser(app, user_agent=OLD_IPHONE).open_link(invitation).path == "/enroll/sign-in"
    configure(enrollment__minimum_ios="16.0")
    page = Browser(app, user_agent=OLD_IPHONE).open_link(invitation)
    assert page.heading == "Update your device first"
    assert "iOS 16.0 or later" in page.text
    assert Browser(app).open_link(invitation).path == "/enroll/sign-in"


def test_request_lifetime_days_is_for_new_requests(company, configure, clock):
    configure(enrollment__request_lifetime_days=2)
    assert company.invite(company.person()).request.expires_at == clock() + timedelta(days=2)


def test_resend_seconds_and_sends_bound_how_often_a_passcode_is_sent(company, configure, browser, clock):
    configure(passcode__resend_seconds=120, passcode__sends=2)
    browser.walk_to("passcode", company.invite(company.person()))
    clock.forward(seconds=100)
    browser.submit("/enroll/passcode/send", **{"continue": "send"})
    assert "was sent a moment ago" in browser.text
    clock.forward(seconds=30)
    browser.get("/enroll/passcode").submit("/enroll/passcode/send", **{"continue": "send"})
    assert "is on its way" in browser.text
    clock.forward(seconds=130)
    browser.get("/enroll/passcode").submit("/enroll/passcode/send", **{"continue": "send"})
    assert "Ask your helpdesk" in browser.text


def test_tries_lock_the_passcode(company, configure, browser):
    configure(passcode__tries=2)
    browser.walk_to("passcode", company.invite(company.person()))
    browser.submit(passcode="000000")
    browser.submit(passcode="000000")
    assert "cannot be used any more" in browser.text


def test_sessions_end_as_the_settings_say(app, company, configure, clock):
    configure(session__idle_minutes=5, session__absolute_hours=1, session__staff_idle_minutes=3)
    company.person("hilda", role="helpdesk")
    walker = Browser(app).open_link(company.invite(company.person())).sign_in()
    staff = Browser(app).staff_sign_in("hilda", clock())
    clock.forward(minutes=4)
    assert staff.get("/helpdesk").path == "/staff/sign-in"
    for _ in range(14):
        assert walker.get("/enroll/ownership").path == "/enroll/ownership"
        clock.forward(minutes=4)
    clock.forward(minutes=4)
    assert walker.get("/enroll/ownership").path == "/enroll/sign-in"  # after an hour in any case


def test_account_tries_and_window_minutes_throttle(company, configure, browser, clock):
    configure(sign_in__account_tries=2, sign_in__window_minutes=4)
    browser.open_link(company.invite(company.person()))
    for _ in range(2):
        browser.sign_in(password="wrong password")
    assert browser.sign_in().status == 429
    clock.forward(minutes=5)
    assert browser.sign_in().path == "/enroll/ownership"


def test_address_tries_throttle_one_address_whatever_the_account(company, configure, browser):
    configure(sign_in__address_tries=2)
    browser.open_link(company.invite(company.person()))
    for name in ("nobody", "somebody"):
        browser.sign_in(name, "wrong password")
    assert browser.sign_in().status == 429


def test_password_length_is_what_a_new_password_needs(app, company, configure):
    company.person()
    configure(sign_in__password_length=20)
    browser = Browser(app).get("/account/password")
    typed = {"username": "erika", "password": PASSWORD, "new": "nineteen letters xy", "again": "nineteen letters xy"}
    browser.submit(**typed)
    assert "It needs at least 20 characters." in browser.error_of("new")
    browser.submit(**typed | dict.fromkeys(("new", "again"), "twenty letters or more xyz"))
    assert browser.error_of("new") == ""


def test_finish_more_is_added_at_the_end(app, company, configure, browser):
    configure(texts__finish_more={"en": "Expect Mail and Calendar."})
    phone(app).install(browser.walk_to("profile", company.invite(company.person())).download())
    assert "Expect Mail and Calendar." in browser.get("/enroll/finish").text


def test_mail_days_forget_what_was_sent(company, configure, portal, session, clock):
    configure(retention__mail_days=2)
    company.invite(company.person())
    worker = jobs.Worker(portal.live.base)
    worker.deliver()
    clock.forward(days=3)
    worker.live.refresh(0)
    worker.every_minute()
    assert session.query(OutboxMessage).count() == 0


def test_lifetime_minutes_and_certificate_days_are_in_the_next_profile(app, company, configure, browser, clock):
    configure(profile__lifetime_minutes=3, profile__certificate_days=30)
    browser.walk_to("profile", company.invite(company.person()))
    device = phone(app)
    payload = device.open_profile(browser.download())
    device.obtain_identity(payload)
    assert device.identity.certificate.not_valid_after_utc - clock() <= timedelta(days=30)
