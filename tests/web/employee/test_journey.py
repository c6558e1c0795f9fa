"""The employee's way from the link to the finish page."""

import plistlib
import re
from email import message_from_bytes

import pyotp
import pytest
from sqlalchemy.event import listen

from portal import jobs
from portal.enrollment import ending
from portal.enrollment.errors import NoManagedAppleAccount
from portal.enrollment.journey import Step
from portal.models import OutboxMessage
from portal.pki import cms
from portal.simulator.scep_client import InstallationFailed
from portal.storage import statistics, terms
from portal.storage.cases import Cases
from tests.factories import PASSWORD, Company, editing, phone
from tests.pages import Browser


def test_an_employee_enrolls_from_link_to_managed_device(app, browser, company):
    invitation = company.invite(company.person())
    browser.walk_to("profile", invitation)
    lines = phone(app).install(browser.download())
    assert lines[-1] == "commands answered: DeviceInformation, ProfileList, DeclarativeManagement"
    browser.get("/enroll/finish")
    assert browser.heading == "You are ready for work"
    assert "erika@work.example.com" in browser.text
    assert company.status(invitation) == "enrolled"
    device = company.device(invitation)
    assert device.attributes["OSVersion"] == "17.6.1"
    assert set(device.attributes) <= {"AvailableDeviceCapacity", "BuildVersion", "DeviceCapacity", "Model",
                                      "ModelName", "OSVersion", "ProductName", "SupplementalBuildVersion"}  # fmt: skip


def test_every_page_has_one_question_a_title_and_a_step(browser, company):
    invitation = company.invite(company.person())
    browser.open_link(invitation)
    for number, answer in enumerate(
        (
            {"username": "erika", "password": PASSWORD},
            {"ownership": "employee"},
            {"acknowledge": "yes"},
            {"passcode": invitation.passcode},
            {"continue": "yes"},
            {"accept": "yes"},
            {},
        ),
        start=1,
    ):
        assert len(browser.soup.find_all("h1")) == 1
        assert browser.heading in browser.soup.title.get_text()
        assert f"Step {number} of 7" in browser.soup.get_text()
        assert browser.soup.find("progress")["value"] == str(number - 0.5)
        browser.submit(**answer)


def test_fields_tell_the_phone_what_to_fill_in(browser, company):
    invitation = company.invite(company.person())
    browser.open_link(invitation)
    assert browser.soup.find(id="username")["autocomplete"] == "username"
    assert browser.soup.find(id="password")["autocomplete"] == "current-password"
    browser.walk_to("passcode", invitation)
    assert browser.soup.find(id="passcode")["autocomplete"] == "one-time-code"
    assert browser.soup.find(id="passcode")["inputmode"] == "numeric"


def test_opening_a_link_changes_nothing(app, browser, company, session):
    invitation = company.invite(company.person())
    before = company.events(invitation)
    for _ in range(3):
        browser.open_link(invitation)
    assert company.events(invitation) == before
    assert company.status(invitation) == "invited"


@pytest.mark.parametrize("mangle", [lambda t: t[:-1], lambda t: t + "x", lambda t: "a" * 5000, lambda t: "é%00"])
def test_every_unusable_link_looks_the_same(browser, company, mangle):
    invitation = company.invite(company.person())
    browser.get(f"/e/{mangle(invitation.token)}")
    assert browser.status in (404, 400)
    if browser.status == 404:
        assert browser.heading == "This link cannot be used"


def test_whoever_walked_it_gets_back_to_where_they_are_by_their_own_link(app, browser, company):
    invitation = company.invite(company.person())
    browser.walk_to("profile", invitation)
    phone(app).install(browser.download())
    assert browser.open_link(invitation).heading == "You are ready for work"
    assert type(browser)(app).open_link(invitation).status == 404


@pytest.mark.parametrize("typed", ["12345", "1234567", "abcdef", "12 34", "١٢٣٤٥"])
def test_what_cannot_be_a_passcode_is_no_try(browser, company, typed):
    invitation = company.invite(company.person())
    browser.walk_to("passcode", invitation).submit(passcode=typed)
    assert "six digits" in browser.error_of("passcode")
    assert company.request(invitation).passcode_tries == 0


def test_a_locked_passcode_page_says_one_thing_and_goes_on_by_itself(browser, company, clock):
    invitation = company.invite(company.person())
    form = browser.walk_to("passcode", invitation).hidden()
    wrong = "000000" if invitation.passcode != "000000" else "000001"
    for _ in range(company.portal.settings.passcode.tries):
        browser.post("/enroll/passcode", {**form, "passcode": wrong})
    assert browser.heading == "Send yourself a new passcode"
    button = browser.soup.find(id="passcode")
    assert browser.soup.select_one(".summary a, a.error")["href"] == "#passcode"
    assert "disabled" in button.attrs
    assert browser.soup.find("meta", attrs={"http-equiv": "refresh"})["content"] == "61"
    clock.forward(minutes=1)
    browser.get("/enroll/passcode")
    assert "disabled" not in browser.soup.find(id="passcode").attrs
    assert browser.soup.find("meta", attrs={"http-equiv": "refresh"}) is None


def test_used_expired_and_cancelled_links_look_like_unknown_ones(app, browser, company, clock):
    person = company.person()
    used, cancelled, expired = company.invite(person), company.invite(person), company.invite(person)
    browser.walk_to("profile", used)
    phone(app).install(browser.download())
    with company.portal.database.transaction() as session:
        ending.cancel(Cases(session, company.portal).lock(cancelled.request.id), "helpdesk:test")
    clock.forward(days=7)
    pages = set()
    for token in (used.token, cancelled.token, expired.token, "unknown"):
        stranger = type(browser)(app).get(f"/e/{token}")
        pages.add((stranger.status, stranger.text))
    assert len(pages) == 1
    assert pages.pop()[0] == 404


def test_only_the_invited_person_may_go_on_and_helpdesk_sees_it(app, browser, company):
    invitation = company.invite(company.person())
    company.person("max")
    browser.open_link(invitation).sign_in("max")
    assert browser.status == 403
    assert browser.heading == "This invitation is for someone else"
    assert ("sign_in.refused", "wrong_person") in company.events(invitation)
    assert company.status(invitation) == "invited"
    assert browser.get("/enroll/ownership").path == "/enroll/sign-in"


def test_corporate_devices_are_sent_to_helpdesk_and_a_wrong_tap_can_be_mended(browser, company, clock):
    invitation = company.invite(company.person())
    browser.walk_to("ownership", invitation)
    browser.submit(ownership="corporate")
    assert browser.heading == "This is set up another way"
    assert company.status(invitation) == "corporate"
    assert ("ownership.chosen", "corporate") in company.events(invitation)

    def past_ownership():
        with company.portal.database.session() as session:
            return dict(statistics.gather(session, clock()).funnel)[Step.OWNERSHIP]

    assert past_ownership() == 0
    browser.submit(ownership="employee")
    assert browser.path == "/enroll/privacy"
    assert past_ownership() == 1


def test_the_privacy_notice_must_be_acknowledged(browser, company):
    browser.walk_to("privacy", company.invite(company.person()))
    browser.submit()
    assert browser.status == 422
    assert "Read the notice" in browser.text
    assert browser.get("/enroll/passcode").path == "/enroll/privacy"


@pytest.mark.parametrize("typed", ["{0}", " {1} {2} ", "{1}-{2}", "{full}", "{1}\u00a0{2}", "\u200b{0}"], ids=repr)
def test_pasted_spaced_and_full_width_passcodes_work(browser, company, typed):
    invitation = company.invite(company.person())
    code = invitation.passcode
    full = "".join(chr(ord("０") + int(digit)) for digit in code)
    browser.walk_to("passcode", invitation)
    browser.submit(passcode=typed.format(code, code[:3], code[3:], full=full))
    assert browser.path == "/enroll/overview"


def test_the_terms_shown_are_the_terms_recorded(browser, company, session):
    invitation = company.invite(company.person())
    browser.walk_to("terms", invitation)
    assert "Version 1.0" in browser.text
    browser.submit(accept="yes")
    request = company.request(invitation)
    assert request.terms_version == "1.0"
    assert request.terms_sha256 == terms.sha256(terms.text_of(session, "1.0", "en").text)
    assert request.terms_accepted_at is not None


def test_terms_published_meanwhile_must_be_accepted_instead(browser, company, clock):
    invitation = company.invite(company.person())
    browser.walk_to("terms", invitation)
    clock.forward(minutes=1)
    with company.portal.database.transaction() as session:
        terms.publish(editing(company.portal, session, clock()), "2.0", {"en": "All new."})
    browser.submit(accept="yes")
    assert browser.status == 422
    assert "The terms were just renewed" in browser.text
    assert "All new." in browser.text
    assert company.request(invitation).terms_accepted_at is None
    browser.submit(accept="yes")
    assert browser.path == "/enroll/profile"
    assert company.request(invitation).terms_version == "2.0"


def test_terms_published_before_the_download_are_asked_again(browser, company, clock):
    invitation = company.invite(company.person())
    browser.walk_to("profile", invitation)
    clock.forward(minutes=1)
    with company.portal.database.transaction() as session:
        terms.publish(editing(company.portal, session, clock()), "2.0", {"en": "All new."})
    assert browser.get("/enroll/profile").path == "/enroll/terms"


def test_after_the_download_the_page_counts_down_and_offers_another(browser, company, clock):
    browser.walk_to("profile", company.invite(company.person()))
    assert browser.heading == "Download the profile"
    browser.download()
    clock.forward(minutes=2)
    browser.get("/enroll/profile")
    assert browser.heading == "Profile downloaded"
    assert "6 minutes" in browser.text
    assert browser.soup.find(attrs={"data-seconds": True})["data-seconds"] == "360"
    assert browser.soup.find("a", string="Download again")["href"] == "/enroll/profile.mobileconfig"


def test_an_expired_profile_says_so_and_a_new_one_works(app, browser, company, clock):
    invitation = company.invite(company.person())
    browser.walk_to("profile", invitation)
    old = browser.download()
    clock.forward(minutes=8)
    assert browser.get("/enroll/finish").heading == "The profile expired"
    assert company.status(invitation) == "profile_expired"
    with pytest.raises(InstallationFailed, match="failInfo 2"):
        phone(app).install(old)
    assert ("certificate.refused", "challenge_expired") in company.events(invitation)
    phone(app).install(browser.get("/enroll/profile").download())
    assert company.status(invitation) == "enrolled"


def test_a_second_phone_proves_itself_and_the_first_is_told(app, browser, company, clock):
    invitation = company.invite(company.person())
    browser.walk_to("profile", invitation)
    second = type(browser)(app).open_link(invitation).sign_in()
    assert second.path == "/enroll/passcode"
    assert "used already: here before you were signed out, or on another device" in second.text
    clock.forward(minutes=1)
    second.submit("/enroll/passcode/send")
    assert "on its way" in second.text
    second.submit(passcode=newest_passcode(company, invitation))
    assert second.path == "/enroll/profile"
    assert browser.get("/enroll/profile").path == "/enroll/passcode"
    assert "used already: here before you were signed out, or on another device" in browser.text


def test_self_enrollment_makes_a_request_and_mails_a_passcode(app, browser, company, session):
    company.person()
    browser.get("/enroll").sign_in()
    assert browser.path == "/enroll/ownership"
    mails = session.query(OutboxMessage).all()
    assert [mail.kind for mail in mails] == ["passcode"]
    again = type(browser)(app).get("/enroll").sign_in()
    assert again.path == "/enroll/ownership"
    assert session.query(OutboxMessage).count() == 1


def test_without_a_managed_apple_account_self_enrollment_ends_clearly(browser, company):
    company.person(managed_apple_account=None)
    browser.get("/enroll").sign_in()
    assert browser.status == 403
    assert browser.heading == "You need a Managed Apple Account first"
    assert ("request.refused", "no_managed_apple_account") in [
        (event.kind, event.reason) for event in company.all_events()
    ]


def test_without_a_managed_apple_account_nobody_can_create_a_request(company):
    with pytest.raises(NoManagedAppleAccount):
        company.invite(company.person(managed_apple_account=None))
    assert [event.kind for event in company.all_events()][-1] == "request.refused"


def test_a_setting_lets_the_e_mail_address_serve_as_managed_apple_account(make_app):
    app = make_app(enrollment={"self_enrollment": True, "request_lifetime_days": 7,
                               "email_as_managed_apple_account": True})  # fmt: skip
    company = Company(app.extensions["portal"])
    invitation = company.invite(company.person(managed_apple_account=None))
    profile = Browser(app).walk_to("profile", invitation).download()
    mdm = plistlib.loads(cms.verify(profile).content)["PayloadContent"][1]
    assert mdm["ManagedAppleID"] == "erika@example.com"


def test_self_enrollment_can_be_switched_off(make_app):
    app = make_app(enrollment={"self_enrollment": False, "request_lifetime_days": 7,
                               "email_as_managed_apple_account": False})  # fmt: skip
    Company(app.extensions["portal"]).person()
    browser = Browser(app).get("/enroll").sign_in()
    assert (browser.status, browser.heading) == (403, "You need an invitation")


def test_a_device_that_leaves_ends_the_enrollment(app, browser, company):
    invitation = company.invite(company.person())
    browser.walk_to("profile", invitation)
    device = phone(app)
    device.install(browser.download())
    device.remove()
    assert company.status(invitation) == "removed"
    assert browser.get("/enroll/finish").heading == "The work side was removed"
    device.remove()  # said twice, still the same
    assert company.status(invitation) == "removed"


def newest_passcode(company, invitation):
    """What the newest mail says, computed as the mail was."""
    request = company.request(invitation)
    secret = company.portal.vault.open(request.passcode_secret_sealed).decode()
    return pyotp.HOTP(secret).at(request.passcode_counter)


def test_employee_and_helpdesk_read_the_same_number_of_minutes(app, browser, company, clock):
    """A begun minute counts, on every page."""
    invitation = company.invite(company.person())
    company.person("hilda", "helpdesk")
    helpdesk = Browser(app).staff_sign_in("hilda", clock())
    browser.walk_to("profile", invitation)
    browser.download()
    for seconds in (20, 31, 40, 200):
        clock.forward(seconds=seconds)
        shown = re.search(r"within (\d+) minute", browser.get("/enroll/profile").text)[1]
        assert f"it works {shown} more minutes" in helpdesk.get(f"/helpdesk/requests/{invitation.request.id}").text


def test_a_page_that_cannot_be_drawn_takes_no_counted_try_back(company, browser, monkeypatch):
    invitation = company.invite(company.person())
    form = browser.walk_to("passcode", invitation).hidden()
    wrong = "000000" if invitation.passcode != "000000" else "000001"

    def fails(*_, **__):
        raise RuntimeError

    monkeypatch.setattr("portal.web.employee.steps.render_template", fails)
    for _ in range(8):
        browser.post("/enroll/passcode", {**form, "passcode": wrong})
        assert browser.status == 500
    assert company.request(invitation).passcode_tries == company.portal.settings.passcode.tries
    assert ("passcode.rejected", "locked") in company.events(invitation)


def test_who_has_no_ticket_and_no_session_waits_for_no_writer(portal, browser):
    written = []
    listen(portal.database.engine, "before_cursor_execute", lambda _c, _cursor, told, *_: written.append(told))
    browser.get("/enroll/sign-in")
    form = browser.hidden()
    for path in ("/enroll/ownership", "/enroll/privacy", "/enroll/passcode", "/enroll/terms", "/enroll/profile"):
        browser.post(path, form)
        assert browser.path == "/enroll/sign-in"
    assert browser.get("/p/abcdef.mobileconfig").status in (404, 410)
    assert not [told for told in written if re.match("BEGIN IMMEDIATE|INSERT|UPDATE", told) or "FOR UPDATE" in told]


def test_whose_request_is_over_begins_again_where_that_is_allowed(browser, company, portal):
    invitation = company.invite(company.person())
    browser.walk_to("passcode", invitation)
    with portal.database.transaction() as session:
        ending.cancel(Cases(session, portal).lock(invitation.request.id), "helpdesk:x")
    browser.get("/enroll/passcode")
    assert browser.heading == "This request is closed"
    browser.get(browser.soup.select_one(".actions a")["href"])
    browser.sign_in()
    assert (browser.path, company.status(invitation)) == ("/enroll/ownership", "cancelled")


def test_where_it_is_not_allowed_they_are_told_whom_to_ask(make_app, company, clock):
    app = make_app(enrollment={"self_enrollment": False})
    portal = app.extensions["portal"]
    company = Company(portal)
    invitation = company.invite(company.person())
    browser = Browser(app).walk_to("passcode", invitation)
    with portal.database.transaction() as session:
        ending.cancel(Cases(session, portal).lock(invitation.request.id), "helpdesk:x")
    assert "Ask your helpdesk for a new invitation" in browser.get("/enroll/passcode").text
    assert not browser.soup.select(".actions a")
    assert not Browser(app).get("/e/nothing").soup.select(".actions a")


def test_a_passcode_is_mailed_in_the_language_of_the_page(app, company, portal, tmp_path):
    erika = company.person()
    browser = Browser(app, language="de").get("/enroll").sign_in()
    browser.submit(ownership="employee").submit(acknowledge="yes")
    jobs.Worker(portal.live.base).every_minute()
    mail = "".join(message_from_bytes(each.read_bytes()).get_payload()[0].get_payload(decode=True).decode()
                   for each in (tmp_path / "outbox").glob("*.eml"))  # fmt: skip
    assert erika.locale == "en"
    assert "Ihr neuer Passcode" in mail
    assert "https://portal.example.com/enroll" in mail
