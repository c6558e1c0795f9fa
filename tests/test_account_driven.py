"""Account-driven user enrollment: from Settings, through the web view, to a managed device and beyond."""

import plistlib
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from portal import people
from portal.backends.embedded import checkin as checkins
from portal.backends.embedded import connect as connects
from portal.enrollment import requests
from portal.models import Base, Person
from portal.pki import cms
from portal.simulator import iphone
from portal.simulator.employee import Stuck
from portal.simulator.iphone import MODELS, InstallationFailed, Model, SignInAgain, Unenrolled, payload_of
from portal.simulator.settings_app import SettingsApp
from tests.factories import BASE, PASSWORD, owner, phone, phone_key
from tests.pages import Browser

ACCOUNT = "erika@work.example.com"
IOS_18 = MODELS[18].user_agent()


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture
def settings_app(app):
    """The Settings app of an iPhone with iOS 18."""
    return SettingsApp(phone(app, ios=18))


def walking(app, invitation=None, username="erika", employee=None):
    """An owner who answers everything the web view asks."""
    walker = employee or owner(app)
    return lambda url: walker.walk_web_view(url, username, PASSWORD, lambda: invitation.passcode)


def token_of(settings_app, invitation, app):
    """(BaseURL, access token) at the end of the web view."""
    base_url = settings_app.discover(ACCOUNT, BASE)
    return base_url, settings_app.ask_owner(settings_app.begin(base_url), ACCOUNT, walking(app, invitation))


def enroll(app, invitation, number=0, ios=18):
    """The Settings app of a phone that enrolled."""
    settings_app = SettingsApp(phone(app, number, ios))
    settings_app.sign_in(ACCOUNT, walking(app, invitation), BASE)
    return settings_app


def web_view(app, url, identifier=ACCOUNT):
    """A browser at the beginning of the web view."""
    browser = Browser(app, IOS_18)
    return browser.get(url.removeprefix(BASE) + f"?user-identifier={identifier}")


def rows(portal):
    """How many rows there are in all tables."""
    with portal.database.session() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) for table in Base.metadata.sorted_tables
        }


def post(app, body=b"", **headers):
    """One post of Settings."""
    sent = {"Content-Type": "application/pkcs7-signature", "User-Agent": "DeviceManagementClient/1.0", **headers}
    return app.test_client().post("/apple/enroll", data=body, base_url=BASE, headers=sent)


def signed(**info):
    """MachineInfo in a signature, as a phone with iOS 18 would send it unless told otherwise."""
    content = {**MODELS[18].machine_info("en"), **info}
    name = iphone.x509.Name([])
    body = plistlib.dumps({key: value for key, value in content.items() if value is not None})
    return cms.sign(body, phone_key(), iphone.self_signed(name, phone_key()))


# --- the way as Apple documents it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ios", MODELS)
def test_an_iphone_enrolls_from_settings(app, company, invitation, ios):
    phone_ = enroll(app, invitation, ios=ios).phone
    device = company.device(invitation)
    assert company.status(invitation) == "enrolled"
    assert (device.way, device.os_version) == ("account", MODELS[ios].os_version)
    kinds = [kind for kind, _ in company.events(invitation)]
    for kind in ("sign_in.accepted", "privacy.acknowledged", "passcode.verified", "terms.accepted", "profile.issued",
                 "profile.downloaded", "certificate.issued", "device.authenticated", "device.enrolled"):  # fmt: skip
        assert kinds.count(kind) == 1, kind
    assert phone_.connect() == []
    phone_.remove()
    assert company.status(invitation) == "removed"


def test_the_first_post_is_answered_with_the_challenge_and_stores_nothing(app, portal, company):
    company.person()
    before = rows(portal)
    answer = post(app, signed())
    assert (answer.status_code, answer.data) == (401, b"")
    challenge = answer.headers["WWW-Authenticate"]
    found = re.fullmatch(
        r'Bearer method="apple-as-web", url="(https://portal\.example\.com/apple/sign-in/[^"?]+)"', challenge
    )
    assert found
    assert web_view(app, found[1]).heading == "Sign in to begin"
    assert rows(portal) == before


def test_the_profile_is_for_account_driven_enrollment_only(app, invitation, settings_app):
    base_url, token = token_of(settings_app, invitation, app)
    profile = plistlib.loads(cms.verify(settings_app.fetch_profile(base_url, token)).content)
    mdm = payload_of(profile, "com.apple.mdm")
    assert (mdm["EnrollmentMode"], mdm["AssignedManagedAppleID"]) == ("BYOD", ACCOUNT)
    assert not {"ManagedAppleID", "AccessRights"} & set(mdm)
    # Opened in Safari it would be something else: the token is no ticket for a download.
    assert app.test_client().get(f"/p/{token}.mobileconfig", base_url=BASE).status_code == 404


def test_the_profile_is_the_same_however_often_it_is_fetched(app, invitation, settings_app):
    base_url, token = token_of(settings_app, invitation, app)
    assert settings_app.fetch_profile(base_url, token) == settings_app.fetch_profile(base_url, token)


def test_a_check_in_whose_answer_got_lost_can_be_repeated(app, company, invitation, settings_app):
    base_url, token = token_of(settings_app, invitation, app)
    held = settings_app.phone
    held.account, held.token = ACCOUNT, token
    held.obtain_identity(held.open_profile(settings_app.fetch_profile(base_url, token)))
    for _ in range(2):
        held.authenticate()
    assert settings_app.fetch_profile(base_url, token)  # even now, as long as no device is enrolled
    for _ in range(2):
        held.token_update()
    assert company.status(invitation) == "enrolled"


@pytest.mark.parametrize(
    ("info", "status", "reason"),
    [
        ({"PRODUCT": "Mac15,3"}, 403, "only iPhone and iPad"),
        ({"PRODUCT": "AppleTV14,1"}, 403, "only iPhone and iPad"),
        ({"PRODUCT": "iPad14,1"}, 401, ""),
        ({"PRODUCT": None}, 400, "PRODUCT"),
        ({"VERSION": None}, 400, "VERSION"),
        ({"LANGUAGE": None}, 401, ""),
        ({"PRODUCT": 5}, 400, "PRODUCT"),
        # before iOS 17 only the build is told: 18 is iOS 14, 19 is iOS 15, 23 is iOS 26
        ({"OS_VERSION": None, "VERSION": "18H17", "MDM_CAN_REQUEST_SOFTWARE_UPDATE": None}, 403, "iOS 15.0 or later"),
        ({"OS_VERSION": None, "VERSION": "19H386"}, 401, ""),
        ({"OS_VERSION": None, "VERSION": "23A341"}, 401, ""),
        ({"OS_VERSION": None, "VERSION": "mangled", "MDM_CAN_REQUEST_SOFTWARE_UPDATE": None}, 403, "iOS 15.0 or later"),
        ({"OS_VERSION": "15.0"}, 401, ""),
        ({"OS_VERSION": "x" * 40}, 400, "OS_VERSION"),
        ({"UNKNOWN_KEY": {"deep": [1]}}, 401, ""),
    ],
)
def test_what_the_device_says_of_itself_decides(app, company, info, status, reason):
    answer = post(app, signed(**info))
    assert answer.status_code == status
    assert reason in answer.text


def test_an_ios_that_can_update_is_told_to(make_app):
    app = make_app(account_driven={"domains": (), "prefer": "auto", "minimum_ios": "18.3", "token_minutes": 10,
                                   "sign_in_again_days": 0, "device_roots": ""})  # fmt: skip
    answer = post(app, signed(OS_VERSION="18.2.1"))
    assert answer.status_code == 403
    assert answer.json["code"] == "com.apple.softwareupdate.required"
    assert answer.json["details"] == {"OSVersion": "18.3"}
    assert post(app, signed(OS_VERSION="18.3")).status_code == 401
    assert post(app, signed(OS_VERSION="26.0")).status_code == 401


def test_identifiers_of_the_hardware_are_dropped(app, company, invitation, caplog):
    caplog.set_level("DEBUG")
    secrets = {
        "UDID": "UDID-NEVER-KEPT",
        "SERIAL": "SERIAL-NEVER-KEPT",
        "IMEI": "IMEI-NEVER-KEPT",
        "MEID": "M-NEVER-KEPT",
    }
    answer = post(app, signed(**secrets))
    assert answer.status_code == 401
    browser = web_view(app, answer.headers["WWW-Authenticate"].split('"')[3])
    browser.sign_in()
    import base64

    handle = answer.headers["WWW-Authenticate"].split("/sign-in/")[1].split(".")[0]
    known = base64.urlsafe_b64decode(handle + "=" * (-len(handle) % 4)).decode("latin-1")
    told = [str(event.detail) for event in company.all_events()]
    assert "NEVER-KEPT" not in known + caplog.text + " ".join(told)


def test_a_device_must_be_made_by_apple_where_that_is_configured(make_app, tmp_path):
    trusted = iphone.self_signed(iphone.x509.Name([]), phone_key())
    roots = tmp_path / "roots.pem"
    roots.write_bytes(trusted.public_bytes(iphone.Encoding.PEM))
    app = make_app(account_driven={"domains": (), "prefer": "auto", "minimum_ios": "15.0", "token_minutes": 10,
                                   "sign_in_again_days": 0, "device_roots": str(roots)})  # fmt: skip
    body = plistlib.dumps(MODELS[18].machine_info("en"))
    assert post(app, cms.sign(body, phone_key(), trusted)).status_code == 401
    other = iphone.self_signed(iphone.x509.Name([]), phone_key(1))
    answer = post(app, cms.sign(body, phone_key(1), other))
    assert (answer.status_code, answer.text) == (403, "not signed by a device that Apple made\n")


@pytest.mark.parametrize("body", [b"", b"x", plistlib.dumps({"PRODUCT": "iPhone16,1"}), b"\x30\x80" + b"\x00" * 40],
                         ids=["empty", "garbage", "unsigned", "broken"])  # fmt: skip
def test_what_is_not_signed_is_refused(app, portal, body):
    before = rows(portal)
    assert post(app, body).status_code == 400
    assert rows(portal) == before


def test_a_body_that_was_changed_after_signing_is_refused(app):
    assert post(app, signed().replace(b"iPhone16,1", b"iPhone16,9")).status_code == 400


def test_a_body_of_two_megabytes_is_refused(app):
    assert post(app, b"x" * 2_000_000).status_code == 413


# --- the web view ----------------------------------------------------------------------------------------------------


def begin(app):
    """The address of the web view."""
    return post(app, signed()).headers["WWW-Authenticate"].split('"')[3]


def test_the_web_view_knows_the_account_that_was_typed(app, invitation):
    browser = web_view(app, begin(app))
    assert browser.soup.find(id="username")["value"] == ACCOUNT
    browser.sign_in(ACCOUNT)  # the account itself signs in, beside the username
    assert browser.heading == "Whose device is this?"
    assert browser.path == "/apple/enroll/ownership"


def test_signing_in_is_always_asked_and_leaves_safari_alone(app, invitation):
    browser = Browser(app, IOS_18).walk_to("privacy", invitation)
    browser.get(begin(app).removeprefix(BASE) + f"?user-identifier={ACCOUNT}")
    assert (browser.path, browser.heading) == ("/apple/enroll/sign-in", "Sign in to begin")
    browser.sign_in()
    assert browser.path == "/apple/enroll/privacy"
    browser.get(begin(app).removeprefix(BASE) + f"?user-identifier={ACCOUNT}")
    assert browser.path == "/apple/enroll/sign-in"  # and once more for the next device
    assert browser.get("/enroll/continue").path == "/enroll/privacy"  # Safari's own visit lives on


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
    assert browser.heading == "That is another account than yours"
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
    assert browser.heading == "Enter your passcode"


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
    assert browser.heading == "Enter your passcode"
    assert "used" in browser.text or "new" in browser.text


def test_a_request_cancelled_meanwhile_ends_on_a_page(app, company, portal, clock, invitation):
    browser = web_view(app, begin(app)).sign_in()
    with portal.database.transaction() as session:
        requests.cancel(session, invitation.request.id, "helpdesk:test", clock())
    browser.get("/apple/enroll/continue")
    assert browser.heading == "This request is closed"


# --- tokens ----------------------------------------------------------------------------------------------------------


def refused(app, token, body=None):
    """The status of a fetch, and that a fresh challenge came with it."""
    answer = post(app, body or signed(), Authorization=f"Bearer {token}")
    assert 'method="apple-as-web"' in answer.headers.get("WWW-Authenticate", "")
    return answer.status_code


@pytest.mark.parametrize("token", ["x", "", "x" * 5000, "ü".encode().decode("latin-1"), "a b c", "../../p"])
def test_an_unknown_token_gets_a_fresh_challenge(app, token):
    assert refused(app, token) == 401


def test_an_expired_token_gets_a_fresh_challenge(app, company, clock, invitation, settings_app):
    _, token = token_of(settings_app, invitation, app)
    clock.forward(minutes=10)
    assert refused(app, token) == 401
    assert company.events(invitation)[-1] == ("token.refused", "token_expired")


def test_a_token_replayed_after_the_enrollment_gets_a_fresh_challenge(app, company, invitation):
    token = enroll(app, invitation).phone.token
    assert refused(app, token) == 401
    assert company.events(invitation)[-1] == ("token.refused", "token_used")


def test_a_token_of_a_cancelled_request_gets_a_fresh_challenge(app, company, portal, clock, invitation, settings_app):
    _, token = token_of(settings_app, invitation, app)
    with portal.database.transaction() as session:
        requests.cancel(session, invitation.request.id, "helpdesk:test", clock())
    assert refused(app, token) == 401
    assert company.events(invitation)[-1] == ("token.refused", "token_revoked")


def test_tokens_are_stored_only_as_hashes(app, portal, invitation, settings_app, caplog):
    caplog.set_level("DEBUG")
    _, token = token_of(settings_app, invitation, app)
    with portal.database.engine.connect() as connection:
        stored = [str(row) for table in Base.metadata.sorted_tables for row in connection.execute(select(table))]
    assert token not in "".join(stored) + caplog.text


def test_a_refusal_is_told_once_in_a_row(app, company, invitation):
    token = enroll(app, invitation).phone.token
    for _ in range(3):
        refused(app, token)
    assert company.events(invitation).count(("token.refused", "token_used")) == 1


# --- signing in again ------------------------------------------------------------------------------------------------


def ask_again(browser, invitation, clock):
    """Helpdesk presses the button."""
    browser.staff_sign_in("helen", clock())
    browser.get(f"/helpdesk/requests/{invitation.request.id}")
    return browser.submit(f"/helpdesk/requests/{invitation.request.id}/sign-in-again")


def test_helpdesk_can_have_the_owner_sign_in_again(app, browser, company, clock, invitation):
    company.person("helen", "helpdesk")
    settings_app = enroll(app, invitation)
    held = settings_app.phone
    old = held.token
    page = ask_again(browser, invitation, clock)
    assert "asked to sign in again" in page.text
    with pytest.raises(SignInAgain) as asked:
        held.connect()
    assert company.status(invitation) == "enrolled"  # nothing is lost meanwhile
    settings_app.sign_in_again(asked.value, walking(app, invitation))
    assert held.token != old
    assert held.connect() == []
    assert company.status(invitation) == "enrolled"
    kinds = [event for event in company.events(invitation) if event[0].startswith("token.")]
    assert kinds == [
        ("token.revoked", "asked_by_helpdesk"),
        ("token.refused", "token_revoked"),
        ("token.granted", "again"),
    ]
    held.token = old
    with pytest.raises(SignInAgain):
        held.connect()


def test_nobody_else_can_sign_in_again_for_a_device(app, browser, company, clock, invitation):
    company.person("helen", "helpdesk")
    company.person("other")
    settings_app = enroll(app, invitation)
    ask_again(browser, invitation, clock)
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    with pytest.raises(Stuck):
        settings_app.sign_in_again(asked.value, walking(app, invitation, "other"))
    assert company.events(invitation)[-1] == ("sign_in.refused", "wrong_person")


def test_a_disabled_person_s_device_is_asked_and_cannot_go_on(app, company, portal, clock, invitation):
    settings_app = enroll(app, invitation)
    with portal.database.transaction() as session:
        person = session.scalar(select(Person).where(Person.username == "erika"))
        people.disable(session, person, "admin:test", clock())
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    with pytest.raises(Stuck):
        settings_app.sign_in_again(asked.value, walking(app, invitation))
    assert company.status(invitation) == "enrolled"


def test_devices_can_be_made_to_sign_in_again_after_some_days(make_app, clock):
    from tests.factories import Company

    app = make_app(account_driven={"domains": (), "prefer": "auto", "minimum_ios": "15.0", "token_minutes": 10,
                                   "sign_in_again_days": 30, "device_roots": ""})  # fmt: skip
    company = Company(app.extensions["portal"])
    invitation = company.invite(company.person())
    settings_app = enroll(app, invitation)
    clock.forward(days=29)
    assert settings_app.phone.connect() == []
    clock.forward(days=1)
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    settings_app.sign_in_again(asked.value, walking(app, invitation))
    assert settings_app.phone.connect() == []


def test_a_device_may_sign_in_again_days_after_it_was_asked(app, browser, company, clock, invitation):
    company.person("helen", "helpdesk")
    settings_app = enroll(app, invitation)
    ask_again(browser, invitation, clock)
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    clock.forward(days=20)
    settings_app.sign_in_again(asked.value, walking(app, invitation))
    assert settings_app.phone.connect() == []


# --- the two meanings of 401 -----------------------------------------------------------------------------------------


@pytest.fixture(params=["account", "profile"])
def managed(request, app, company, browser, invitation):
    """A managed phone of either way."""
    if request.param == "account":
        return enroll(app, invitation).phone
    held = phone(app)
    held.install(browser.walk_to("profile", invitation).download())
    return held


def raw(held, url, message, body=None, signature=None, token=None):
    """A message of the phone, with parts of it spoilt."""
    body = plistlib.dumps({"EnrollmentID": held.enrollment_id, **message}) if body is None else body
    headers = {"Mdm-Signature": held.signature(body) if signature is None else signature}
    shown = held.token if token is None else token
    if shown:
        headers["Authorization"] = f"Bearer {shown}"
    return held.http.put(held.mdm[url], content=body, headers=headers)


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


def test_a_profile_driven_device_needs_no_token_and_never_gets_a_challenge(app, browser, company, invitation):
    held = phone(app)
    held.install(browser.walk_to("profile", invitation).download())
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


# --- two devices, giving up, theft -----------------------------------------------------------------------------------


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
    browser = web_view(app, second.begin(base_url)).sign_in()
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


# --- from the link in Safari -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ios", [18, 26])
def test_ios_18_walks_in_safari_and_finishes_in_settings(app, company, invitation, ios):
    browser = Browser(app, MODELS[ios].user_agent()).walk_to("profile", invitation)
    assert browser.heading == "Finish in Settings"
    assert browser.soup.find(id="account")["value"] == ACCOUNT
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
    from portal import discovery
    from tests.factories import Company

    app = make_app(account_driven={"domains": (), "prefer": prefer, "minimum_ios": "15.0", "token_minutes": 10,
                                   "sign_in_again_days": 0, "device_roots": ""})  # fmt: skip
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


# --- whatever comes --------------------------------------------------------------------------------------------------

calm = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=200)


@calm
@given(
    body=st.one_of(
        st.binary(max_size=400), st.integers(0, 3000).map(lambda at: signed()[:at] + b"\xff" + signed()[at:])
    )
)
def test_no_body_brings_the_portal_down(app, body):
    assert post(app, body).status_code in (400, 401, 403)


@calm
@given(authorization=header_text)
def test_no_authorization_brings_the_portal_down(app, authorization):
    assert post(app, signed(), Authorization=authorization).status_code == 401


@calm
@given(
    value=st.recursive(
        st.one_of(
            st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=40),
            st.integers(-9, 9),
            st.booleans(),
            st.binary(max_size=9),
        ),
        lambda child: st.lists(child, max_size=3),
        max_leaves=5,
    ),
    key=st.sampled_from(["PRODUCT", "VERSION", "OS_VERSION", "LANGUAGE", "MDM_CAN_REQUEST_SOFTWARE_UPDATE"]),
)
def test_no_machine_info_brings_the_portal_down(app, key, value):
    assert post(app, signed(**{key: value})).status_code in (400, 401, 403)


@calm
@given(handle=st.text(max_size=100), identifier=st.text(max_size=300))
def test_no_web_view_address_brings_the_portal_down(app, handle, identifier):
    from urllib.parse import quote

    path = f"/apple/sign-in/{quote(handle, safe='')}"
    answer = app.test_client().get(path, query_string={"user-identifier": identifier}, base_url=BASE)
    assert answer.status_code in (200, 303, 308, 400, 404)


def test_a_model_knows_its_ios():
    assert [Model(os_version=version).major for version in ("15.8", "26.0")] == [15, 26]
