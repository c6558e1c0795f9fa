"""From the last question of the journey to a device that MaaS360 manages."""

import httpx
import pytest

from portal.backends.maas360 import following
from portal.enrollment import ending
from portal.models import Device
from portal.simulator import maas360
from portal.simulator.settings_app import SettingsApp
from tests.backends.maas360.tenancy import IOS_14
from tests.factories import BASE, PASSWORD, phone
from tests.pages import Browser

AWAY, HERE = "https://maas360.example/enroll/byod", f"{BASE}/apple/enroll"


def discovered(tenancy, account, **query):
    asked = {"user-identifier": account, "model-family": "iPhone", **query}
    answer = tenancy.app.test_client().get("/.well-known/com.apple.remotemanagement", query_string=asked, base_url=BASE)
    return answer.json["Servers"][0]["BaseURL"], answer.headers["Cache-Control"]


def devices(tenancy):
    with tenancy.portal.database.session() as session:
        return list(session.query(Device))


# --- the page ------------------------------------------------------------------------------------------------------


def test_an_iphone_arrives_from_settings(tenancy):
    invitation = tenancy.invite()
    browser = tenancy.handed_over(invitation)
    assert browser.heading == "Finish in Settings"
    assert "60 minutes" in browser.text
    assert tenancy.company.status(invitation) == "profile_issued"
    tenancy.tenant.enroll(invitation.request.managed_apple_account)
    tenancy.work()
    assert tenancy.company.status(invitation) == "enrolled"
    assert browser.get("/enroll/profile").heading == "You are ready for work"
    device = tenancy.company.device(invitation)
    assert (device.way, device.server, device.os_version, device.product_name) == (
        "account",
        "maas360",
        "18.1",
        "iPhone 14",
    )
    assert device.attributes["Policy"] == "Default iOS MDM Policy"


def test_an_older_iphone_is_led_to_maas360s_own_page(tenancy):
    invitation = tenancy.invite()
    browser = tenancy.handed_over(invitation, user_agent=IOS_14)
    assert browser.heading == "Finish in MaaS360"
    assert browser.soup.find("a", href="https://maas360.example/e/example") is not None
    assert browser.soup.find(id="account").text == "erika@work.example.com"
    tenancy.tenant.enroll("erika@work.example.com")
    tenancy.work()
    assert tenancy.company.device(invitation).way == "profile"


def test_nothing_is_handed_over_before_the_terms_are_accepted(tenancy):
    invitation = tenancy.invite()
    browser = Browser(tenancy.app).walk_to("terms", invitation)
    browser.post("/enroll/hand-over", browser.hidden() | {"continue": "yes"})
    assert browser.path == "/enroll/terms"
    assert tenancy.company.status(invitation) == "in_progress"
    assert tenancy.tenant.calls == []


def test_nobody_is_handed_over_by_a_link_or_without_the_form(tenancy):
    invitation = tenancy.invite()
    browser = Browser(tenancy.app).walk_to("profile", invitation)
    assert browser.get("/enroll/hand-over").status == 405
    assert browser.post("/enroll/hand-over", {"continue": "yes"}).status == 400  # no CSRF token
    assert tenancy.company.status(invitation) == "in_progress"


def test_no_profile_of_the_portal_is_given(tenancy):
    invitation = tenancy.invite()
    browser = tenancy.handed_over(invitation)
    assert browser.get("/enroll/profile.mobileconfig").path == "/enroll/profile"
    for path in ("/mdm/checkin", "/mdm/connect", "/mdm/relay"):
        assert tenancy.app.test_client().put(path, data=b"x", base_url=BASE).status_code in (404, 503)


def test_the_last_page_repeats_its_steps_until_the_device_is_there(tenancy):
    invitation = tenancy.invite()
    browser = tenancy.handed_over(invitation)
    assert browser.get("/enroll/finish").path == "/enroll/profile"
    state = browser.client.get("/enroll/state", base_url=BASE, headers=browser.headers).json
    assert state == {"waiting": "install", "next": "/enroll/profile"}
    tenancy.tenant.enroll("erika@work.example.com")
    tenancy.work()
    state = browser.client.get("/enroll/state", base_url=BASE, headers=browser.headers).json
    assert state == {"waiting": "enrolled", "next": "/enroll/finish"}


def test_when_the_time_is_over_the_last_step_begins_anew(tenancies):
    tenancy = tenancies(handover_minutes=5)
    invitation = tenancy.invite()
    browser = tenancy.handed_over(invitation)
    tenancy.clock.forward(minutes=5)
    assert tenancy.company.status(invitation) == "profile_expired"
    assert discovered(tenancy, "erika@work.example.com")[0] == HERE
    browser.get("/enroll/profile")
    assert browser.heading == "Set up your device"
    assert "The time for it is over" in browser.text
    tenancy.hand_over(browser)
    assert discovered(tenancy, "erika@work.example.com")[0] == AWAY


def test_who_took_too_long_to_sign_in_there_still_arrives(tenancies):
    tenancy = tenancies(handover_minutes=5)
    invitation = tenancy.invite()
    tenancy.handed_over(invitation)
    tenancy.tenant.enroll("erika@work.example.com")
    tenancy.work(seconds=3600)
    assert tenancy.company.status(invitation) == "enrolled"


@pytest.mark.parametrize(
    ("settings", "browser", "heading"),
    [({"enrollment_url": ""}, {"user_agent": IOS_14}, "Your device cannot be set up yet"),
     ({"enrollment_url": ""}, {}, "Finish in Settings"),
     ({"discovery_url": ""}, {}, "Finish in MaaS360"),
     ({"discovery_url": ""}, {"user_agent": IOS_14}, "Finish in MaaS360")],
)  # fmt: skip
def test_a_device_enrolls_in_the_way_that_there_is(tenancies, settings, browser, heading):
    tenancy = tenancies(**settings)
    assert tenancy.handed_over(tenancy.invite(), **browser).heading == heading


# --- whom MaaS360 knows --------------------------------------------------------------------------------------------


def test_who_is_unknown_there_is_told_whom_to_ask_and_helpdesk_reads_it(tenancy):
    invitation = tenancy.invite(known=False)
    browser = tenancy.handed_over(invitation)
    assert (browser.status, browser.heading) == (403, "Your device cannot be set up yet")
    assert "does not know you yet" in browser.text
    assert tenancy.company.events(invitation)[-1] == ("handover.refused", "unknown_there")
    for _ in range(3):
        tenancy.hand_over(browser.get("/enroll/profile"))
    kinds = [kind for kind, _ in tenancy.company.events(invitation)]
    assert kinds.count("handover.refused") == 1  # told once in a row
    tenancy.tenant.add_user("erika@work.example.com")
    assert tenancy.hand_over(browser.get("/enroll/profile")).heading == "Finish in Settings"


def test_who_is_known_by_the_mail_address_alone_is_known(tenancy):
    invitation = tenancy.invite(known=False)
    tenancy.tenant.add_user("erika@example.com")
    assert tenancy.handed_over(invitation).heading == "Finish in Settings"


def test_an_inactive_user_is_refused(tenancy):
    invitation = tenancy.invite(known=False)
    tenancy.tenant.add_user("erika@work.example.com", status="Inactive")
    assert "not active" in tenancy.handed_over(invitation).text


def test_people_are_added_where_that_is_wanted(tenancies):
    tenancy = tenancies(**{"add_users": True, "user_group": "BYOD", "user_domain": "example"})
    assert tenancy.handed_over(tenancy.invite(known=False)).heading == "Finish in Settings"
    (user,) = tenancy.tenant.users
    assert (user["userName"], user["emailAddress"], user["fullName"]) == ("erika", "erika@work.example.com", "Erika")
    assert [call for call in tenancy.tenant.calls if call.startswith("add")] == ["addUser", "addUserToGroup"]


@pytest.mark.each_database
def test_a_user_who_cannot_be_added_is_not_handed_over(tenancies):
    tenancy = tenancies(**{"add_users": True, "names": ("add_user.email=emailAddress",)})
    invitation = tenancy.invite(known=False)
    assert "could not add you" in tenancy.handed_over(invitation).text
    assert tenancy.company.events(invitation)[-1] == ("handover.refused", "not_added_there")


def test_an_outage_is_said_and_nothing_is_lost(tenancy):
    invitation = tenancy.invite()
    tenancy.tenant.mood["searchUsers"] = lambda: (503, {})
    browser = tenancy.handed_over(invitation)
    assert (browser.status, browser.heading) == (503, "We cannot go on right now")
    assert tenancy.company.status(invitation) == "in_progress"
    del tenancy.tenant.mood["searchUsers"]
    tenancy.rested()
    browser.get("/enroll/profile")
    assert browser.heading == "Set up your device"


# --- service discovery ---------------------------------------------------------------------------------------------


def test_iphones_are_led_away_only_when_the_journey_is_done(tenancy):
    invitation, other = tenancy.invite(), tenancy.invite("max")
    account = "erika@work.example.com"
    assert discovered(tenancy, account) == (HERE, "no-store")
    tenancy.handed_over(invitation)
    assert discovered(tenancy, account) == (AWAY, "no-store")
    assert discovered(tenancy, account.upper()) == (AWAY, "no-store")
    assert discovered(tenancy, other.request.managed_apple_account)[0] == HERE
    assert discovered(tenancy, "", via="apple")[0] == HERE
    tenancy.tenant.enroll(account)
    tenancy.work()
    assert discovered(tenancy, account)[0] == HERE


def test_a_cancelled_request_leads_nowhere_else(tenancy):
    invitation = tenancy.invite()
    tenancy.handed_over(invitation)
    tenancy.company.act(invitation, ending.cancel, "helpdesk:test")
    assert discovered(tenancy, "erika@work.example.com")[0] == HERE
    device = tenancy.tenant.enroll("erika@work.example.com")
    tenancy.work()
    tenancy.work()
    assert tenancy.company.status(invitation) == "cancelled"
    assert [each["name"] for each in device.pending] == ["removeDevice"]  # managed there: it is let go
    assert ("device.refused", "request_ended") in tenancy.company.events(invitation)


@pytest.mark.each_database
def test_who_begins_in_settings_is_led_through_the_journey_and_back(tenancy):
    invitation = tenancy.invite()
    settings_app = SettingsApp(phone(tenancy.app, ios=18))
    begun = settings_app.begin(settings_app.discover("erika@work.example.com", BASE))
    assert begun["method"] == "apple-as-web"
    web_view = walking_page(tenancy, invitation, begun["url"] + "?user-identifier=erika@work.example.com")
    assert web_view.heading == "Now once more"
    assert settings_app.discover("erika@work.example.com", BASE) == AWAY


def walking_page(tenancy, invitation, url):
    """The web view, walked through every question; the page it ends with."""
    browser = Browser(tenancy.app, user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)")
    browser.get(url.removeprefix(BASE))
    answers = {"sign-in": {"username": "erika", "password": PASSWORD}, "ownership": {"ownership": "employee"},
               "privacy": {"acknowledge": "yes"}, "passcode": {"passcode": invitation.passcode},
               "overview": {"continue": "yes"}, "terms": {"accept": "yes"}}  # fmt: skip
    while (step := browser.path.rpartition("/")[2]) in answers:
        browser.submit(**answers.pop(step))
    return browser


# --- which device it is --------------------------------------------------------------------------------------------


def test_a_device_that_was_there_before_is_not_the_new_one(tenancy):
    invitation = tenancy.invite()
    old = tenancy.tenant.enroll("erika@work.example.com", lastMdmRegisteredInEpochms="1577836800000")
    tenancy.handed_over(invitation)
    tenancy.work()
    assert tenancy.company.status(invitation) == "profile_issued"
    new = tenancy.tenant.enroll("erika@work.example.com", model="iPhone 15")
    tenancy.work(seconds=10)
    assert tenancy.company.device(invitation).product_name == "iPhone 15"
    assert old.server_id != new.server_id


def test_a_device_that_was_there_counts_when_it_registers_anew(tenancy):
    invitation = tenancy.invite()
    old = tenancy.tenant.enroll("erika@work.example.com", lastMdmRegisteredInEpochms="1577836800000")
    tenancy.handed_over(invitation)
    old.row["lastMdmRegisteredInEpochms"] = 1_900_000_000_000
    tenancy.work()
    assert tenancy.company.status(invitation) == "enrolled"


def test_two_requests_of_one_person_get_a_device_each(tenancy):
    person = tenancy.company.person()
    tenancy.tenant.add_user("erika@work.example.com")
    first = tenancy.company.invite(person)
    tenancy.enrolled(first)
    second = tenancy.company.invite(person)
    tenancy.handed_over(second)
    tenancy.work()
    assert tenancy.company.status(second) == "profile_issued"
    tenancy.tenant.enroll("erika@work.example.com")
    tenancy.work(seconds=10)
    assert tenancy.company.status(second) == "enrolled"
    assert len(devices(tenancy)) == 2


@pytest.mark.parametrize(
    "row",
    [{"maas360ManagedStatus": "Not Enrolled"}, {"maas360ManagedStatus": "User Removed Control"},
     {"maas360ManagedStatus": "", "deviceStatus": "Active"}, {"platformName": "Android"}],
)  # fmt: skip
def test_what_is_not_managed_has_not_arrived(tenancy, row):
    invitation = tenancy.invite()
    tenancy.handed_over(invitation)
    tenancy.tenant.enroll("erika@work.example.com", **row)
    tenancy.work()
    assert devices(tenancy) == []


def test_a_device_that_is_managed_as_a_whole_is_refused(tenancy):
    invitation = tenancy.invite()
    browser = tenancy.handed_over(invitation)
    tenancy.tenant.enroll("erika@work.example.com", isSupervisedDevice=True)
    tenancy.work()
    assert tenancy.company.status(invitation) == "refused"
    assert "managed as a whole" in browser.get("/enroll/profile").text
    assert discovered(tenancy, "erika@work.example.com")[0] == HERE
    assert devices(tenancy) == []


def test_another_persons_device_never_arrives(tenancy):
    invitation = tenancy.invite()
    tenancy.handed_over(invitation)
    tenancy.tenant.enroll("erika@work.example.com.evil.example")
    tenancy.tenant.enroll("xerika@work.example.com")
    tenancy.work()
    assert devices(tenancy) == []


def test_nothing_personal_is_stored_or_logged(tenancy, caplog):
    caplog.set_level("DEBUG")
    tenancy.enrolled()
    tenancy.sweep()
    (device,) = devices(tenancy)
    stored = repr({column.name: getattr(device, column.name) for column in Device.__table__.columns})
    row = tenancy.tenant.devices[0].row
    for key in (
        "udid",
        "imeiEsn",
        "platformSerialNumber",
        "phoneNumber",
        "wifiMacAddress",
        "deviceName",
        "maas360DeviceID",
    ):
        assert str(row[key]) not in stored + caplog.text


def test_a_new_device_gets_the_policy_that_is_set(tenancies):
    tenancy = tenancies(**{"policy": "BYOD"})
    _, device = tenancy.enrolled()
    tenancy.work()
    assert device.row["mdmPolicy"] == "BYOD"


def test_a_thousand_who_wait_are_asked_about_twenty_at_a_time(tenancy, monkeypatch):
    monkeypatch.setattr(following, "LOOKS_A_ROUND", 2)
    invitations = [tenancy.invite(f"person{number}") for number in range(5)]
    for each in invitations:
        tenancy.handed_over(each)
        tenancy.tenant.enroll(each.request.managed_apple_account)
    seen = []
    for _ in range(3):
        tenancy.tenant.calls.clear()
        tenancy.work()
        seen.append(sum(tenancy.company.status(each) == "enrolled" for each in invitations))
    assert seen == [2, 4, 5]


def test_the_simulated_iphone_walks_the_whole_way(tenancy):
    invitation = tenancy.invite()
    tenancy.handed_over(invitation)
    settings_app = SettingsApp(phone(tenancy.app, ios=18))
    here = httpx.WSGITransport(app=tenancy.app.wsgi_app)
    settings_app.phone.http = httpx.Client(
        transport=here, mounts={"https://maas360.example": httpx.WSGITransport(tenancy.tenant)}
    )
    owner = maas360.owner_at(lambda url, form: settings_app.phone.http.post(url, data=form))
    lines = settings_app.sign_in_elsewhere("erika@work.example.com", owner, BASE)
    assert lines[0] == f"discovered {AWAY}"
    tenancy.work()
    assert tenancy.company.status(invitation) == "enrolled"
