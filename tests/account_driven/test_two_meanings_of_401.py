"""What answers a managed device, of either way, with 401: nothing by accident."""

import pytest
from sqlalchemy.exc import OperationalError

from portal.backends.embedded import checkin as checkins
from portal.backends.embedded import connect as connects
from portal.enrollment import access, management
from portal.simulator.iphone import Unenrolled
from tests.account_driven.steps import ACCOUNT, enroll, raw, token_of
from tests.factories import phone
from tests.pages import Browser


@pytest.fixture(params=["account", "profile"])
def managed(request, app, company, invitation):
    """A managed phone of either way."""
    if request.param == "account":
        return enroll(app, invitation).phone
    held = phone(app)
    held.install(company.profile(invitation))
    return held


def test_a_connection_needs_its_token_whatever_it_calls_itself(app, company, portal, invitation):
    held = enroll(app, invitation).phone
    company.act(invitation, access.ask_to_sign_in_again, "helpdesk:test")
    company.act_on(company.device(invitation).id, management.lock_screen, "admin:test")
    for message in ({"Status": "Idle"}, {"Status": "Idle", "MessageType": "CheckOut"}):
        answer = raw(held, "ServerURL", message)
        assert (answer.status_code, answer.content) == (401, b"")


SPOILT = {
    "nothing signed": {"signature": ""},
    "another signature": {"signature": "AAAA"},
    "not a plist": {"body": b"garbage"},
    "another EnrollmentID": {"message": {"Status": "Idle", "EnrollmentID": "X"}},
    "unknown Status": {"message": {"Status": "Strange"}},
    "unknown command": {"message": {"Status": "Acknowledged", "CommandUUID": "X"}},
}


@pytest.mark.parametrize("case", SPOILT)
@pytest.mark.parametrize("url", ["ServerURL", "CheckInURL"])
def test_no_mistake_ever_answers_a_managed_device_401(managed, case, url):
    spoilt = {"message": {"Status": "Idle"}, **SPOILT[case]}
    answer = raw(managed, url, **spoilt)
    assert answer.status_code in (400, 403), answer.text
    assert "unrecognized" not in answer.text
    assert managed.connect() == []


@pytest.mark.parametrize("error", [OperationalError("x", None, Exception()), RuntimeError("a bug"), MemoryError()])
def test_no_outage_and_no_bug_ever_answers_a_managed_device_401(managed, monkeypatch, error):
    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(connects, "handle", fail)
    monkeypatch.setattr(checkins, "handle", fail)
    for url in ("ServerURL", "CheckInURL"):
        assert raw(managed, url, {"Status": "Idle"}).status_code in (500, 503)
    monkeypatch.undo()
    assert managed.connect() == []


def test_the_throttle_of_people_never_reaches_devices(app, managed, company):
    for _ in range(60):  # more wrong tries than an address may make
        Browser(app).get("/enroll/sign-in").sign_in("erika", "wrong")
    assert managed.connect() == []


def test_a_profile_driven_device_needs_no_token_and_never_gets_a_challenge(app, company, invitation):
    held = phone(app)
    held.install(company.profile(invitation))
    for token in ("", "x"):
        answer = raw(held, "ServerURL", {"Status": "Idle"}, token=token)
        assert answer.status_code == 200
        assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("token", ["", "x", "y" * 400])
def test_an_account_driven_device_with_another_token_is_asked_to_sign_in(app, company, invitation, token):
    held = enroll(app, invitation).phone
    for url, message in (("ServerURL", {"Status": "Idle"}), ("CheckInURL", {"MessageType": "TokenUpdate"})):
        answer = raw(held, url, message, token=token or "-")
        assert answer.status_code == 401
        assert 'method="apple-as-web"' in answer.headers["WWW-Authenticate"]
    assert held.connect() == []


def test_leaving_needs_no_token(app, company, invitation):
    held = enroll(app, invitation).phone
    message = {"MessageType": "CheckOut", "Topic": held.mdm["Topic"]}
    assert raw(held, "CheckInURL", message, token="gone").status_code == 200
    assert company.status(invitation) == "removed"


def test_an_ended_enrollment_is_told_by_apple_s_code_not_by_a_challenge(app, company, invitation):
    held = enroll(app, invitation).phone
    held.remove()
    answer = raw(held, "ServerURL", {"Status": "Idle"})
    assert (answer.status_code, answer.json()["code"]) == (403, "com.apple.unrecognized.device")
    with pytest.raises(Unenrolled):
        held.connect()


def test_a_device_that_sends_its_udid_is_refused(app, company, invitation, settings_app):
    base_url, token = token_of(settings_app, invitation, app)
    held = settings_app.phone
    held.account, held.token = ACCOUNT, token
    held.obtain_identity(held.open_profile(settings_app.fetch_profile(base_url, token)))
    message = {"MessageType": "Authenticate", "Topic": held.mdm["Topic"], "EnrollmentID": "X", "UDID": "X"}
    answer = raw(held, "CheckInURL", message)
    assert (answer.status_code, answer.json()["code"]) == (403, "com.apple.unrecognized.device")
    assert company.status(invitation) == "refused"
    assert ("device.refused", "hardware_identifier") in company.events(invitation)
