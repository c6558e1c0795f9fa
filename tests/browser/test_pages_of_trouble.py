"""Every page that tells of trouble, with a picture: errors, refusals, and a device that did not make it."""

import plistlib

import pytest

from portal import audit
from portal.backends.base import Health
from portal.enrollment import ending, management, steps
from portal.events import Event
from portal.simulator.iphone import IPhone, Unenrolled
from portal.simulator.work_apps import WorkApps
from portal.storage import brake
from portal.storage.cases import Cases
from tests.browser.conftest import needs_chromium
from tests.factories import phone_key, totp_code

pytestmark = needs_chromium


def phone_of(profile: bytes) -> IPhone:
    """A phone with its identity from ``profile``."""
    phone = IPhone(key=phone_key())
    phone.obtain_identity(phone.open_profile(profile))
    return phone


def test_refusals_of_people(scene):
    at = scene()
    at.company.person("nobody", managed_apple_account=None)
    at.open("/enroll")
    at.sign_in("nobody")
    at.sees("error-no-managed-apple-account", "You need a Managed Apple Account first")
    invitation = at.company.invite(at.company.person())
    at.company.person("other")
    at.open(f"/e/{invitation.token}")
    at.sign_in("other")
    at.sees("error-wrong-person", "This invitation is for someone else")


def test_self_enrollment_switched_off(scene):
    at = scene(enrollment={"self_enrollment": False})
    at.company.person()
    at.open("/enroll")
    at.sign_in("erika")
    at.sees("error-self-enrollment-off", "You need an invitation")


def test_bad_requests(scene):
    at = scene()
    at.open("/enroll/sign-out")
    at.sees("error-bad-request", "That did not work")
    at.open("/enroll?x=" + "x" * 5000)
    at.sees("error-too-large", "That was too much")
    at.open("/p/unknown.mobileconfig")
    at.sees("error-profile", "This profile is no longer there")
    at.open("/enroll/sign-in")
    at.engine.page.context.clear_cookies()
    at.sign_in("erika")
    at.sees("error-form-too-old", "Please do that once more")


def test_outages_and_faults(scene, monkeypatch, clock):
    at = scene()
    at.walk_to_download()
    clock.forward(minutes=9)
    health = at.portal.backend.health
    monkeypatch.setattr(at.portal.backend, "health", lambda: Health(ready=False, reason="test"))
    at.open("/enroll/profile.mobileconfig")
    at.engine.page.route("**/enroll/continue", lambda route: route.abort("aborted"))  # no retry while it is looked at
    at.sees("error-unavailable", "We cannot go on right now")
    at.engine.page.unroute("**/enroll/continue")
    at.open("/enroll/profile")
    monkeypatch.setattr(at.portal.backend, "health", health)
    at.engine.wait_for_heading("Download the profile")
    monkeypatch.setattr(steps, "sign_in", lambda *_: 1 / 0)
    invitation = at.company.invite(at.company.person("other"))
    at.open(f"/e/{invitation.token}")
    at.sign_in("other")
    at.sees("error-unexpected", "Something went wrong on our side")


def test_a_profile_that_ran_out(scene, clock):
    at = scene()
    at.walk_to_download()
    clock.forward(minutes=9)
    at.open("/enroll/finish")
    at.sees("8-expired", "The profile expired")
    at.engine.tap("main a.button")
    at.sees("7-profile-expired", "Download the profile")


def test_a_device_that_was_refused(scene):
    at = scene()
    _, profile = at.walk_to_download()
    phone = phone_of(profile)
    at.open("/enroll/finish")
    at.sees("8-waiting-device", "Waiting for your device")
    with pytest.raises(Unenrolled):
        phone._checkin({"MessageType": "Authenticate", "EnrollmentID": "X", "UDID": "X"})
    at.open("/enroll/finish")
    at.sees("8-refused", "Your device could not be added")
    at.engine.tap("main a.button")
    at.sees("7-profile-refused", "Download the profile")


def test_a_device_that_went_silent(scene, clock):
    at = scene()
    _, profile = at.walk_to_download()
    phone_of(profile).authenticate()
    clock.forward(minutes=11)
    at.open("/enroll/finish")
    at.sees("8-silent", "Your device went silent")
    at.engine.tap("main a.button")
    at.sees("7-profile-silent", "Download the profile")


WIFI = plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "com.example.wifi", "PayloadVersion": 1,
                       "PayloadUUID": "X", "PayloadDisplayName": "Wi-Fi at work",
                       "PayloadContent": [{"PayloadType": "com.apple.wifi.managed"}]})  # fmt: skip


def test_the_page_of_a_device(scene, clock):
    at = scene()
    invitation, profile = at.walk_to_download()
    states = {"com.example.mail": "Managed", "com.example.files": "Installing"}
    phone = IPhone(key=phone_key(), apps=WorkApps(states))
    phone.install(profile)
    device_id = at.company.device(invitation).id
    staff = "helpdesk:test"
    with at.portal.database.transaction() as session:
        management.install_profile(Cases(session, at.portal).of_device(device_id), WIFI, staff)
        management.read(Cases(session, at.portal).of_device(device_id), staff)
    phone.connect()
    at.company.person("helen", "admin")
    at.open("/staff/sign-in")
    at.engine.fill("code", totp_code(clock()))
    at.sign_in("helen")
    at.engine.wait_for_heading("Enrollment requests")
    at.open(f"/helpdesk/devices/{at.company.device(invitation).id}")
    at.sees("helpdesk-device", "iPhone · Erika", desk=True)
    at.engine.fill("confirm", "something else")
    at.engine.tap("form[action$='remove-work-data'] button")
    at.sees("helpdesk-device-not-confirmed", "iPhone · Erika")


def test_a_device_that_is_silent_and_one_that_does_not_leave(scene, clock):
    at = scene()
    invitation, profile = at.walk_to_download()
    IPhone(key=phone_key()).install(profile)
    clock.forward(days=31)
    at.company.person("helen", "helpdesk")
    at.open("/staff/sign-in")
    at.engine.fill("code", totp_code(clock()))
    at.sign_in("helen")
    at.engine.wait_for_heading("Enrollment requests")
    device_id = at.company.device(invitation).id
    at.open(f"/helpdesk/devices/{device_id}")
    at.sees("helpdesk-device-silent", "iPhone · Erika")
    with at.portal.database.transaction() as session:
        staff = "helpdesk:test"
        management.remove_work_data(Cases(session, at.portal).of_device(device_id), "iPhone", staff)
    at.open(f"/helpdesk/requests/{invitation.request.id}")
    at.sees("helpdesk-request-leaving", "Erika")


def test_a_request_that_was_closed(scene, clock):
    at = scene()
    invitation, _ = at.walk_to_download()
    with at.portal.database.transaction() as session:
        ending.cancel(Cases(session, at.portal).lock(invitation.request.id), "helpdesk:test")
    at.open("/enroll/finish")
    at.sees("8-closed", "This request is closed")


def test_an_enrollment_that_helpdesk_ends_while_the_brake_holds(scene, clock):
    at = scene()
    invitation, profile = at.walk_to_download()
    phone = phone_of(profile)
    phone.authenticate()
    phone.token_update()
    helen = at.company.person("helen", "helpdesk")
    with at.portal.database.transaction() as session:  # as many as go through in an hour
        for _ in range(brake.AT_LEAST):
            audit.record(session, audit.SETTINGS, Event.DEVICE_WIPE_ASKED, clock(), actor=audit.actor_of(helen))
    at.open("/staff/sign-in")
    at.engine.fill("code", totp_code(clock()))
    at.sign_in("helen")
    at.engine.wait_for_heading("Enrollment requests")
    at.open(f"/helpdesk/requests/{invitation.request.id}")
    at.engine.page.get_by_text("End the enrollment").first.click()
    at.engine.page.get_by_role("button", name="Yes").first.click()
    at.sees("helpdesk-request-held", "Erika")
    assert "its removal is held" in at.engine.page.content()
