"""What the proxy in front of a delegated backend is told about each request of a device."""

import plistlib

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from portal.enrollment import access, ending
from portal.models import Certificate, Device
from portal.simulator.settings_app import SettingsApp
from portal.storage.cases import Cases
from tests.account_driven.steps import ACCOUNT, walking
from tests.backends.delegated import SETTINGS, TOPIC, Delegated, authenticate, check_out, token_update
from tests.factories import BASE, phone, phone_key

CHECKIN, CONNECT = "application/x-apple-aspen-mdm-checkin", "application/x-apple-aspen-mdm"


@pytest.fixture
def delegated(make_app, clock):
    made = Delegated(make_app, clock)
    yield made
    made.worker.database.engine.dispose()


def ask(delegated, device, kind=CONNECT, token=None, signature=None, body=b"whatever"):
    """What nginx would ask for a request of ``device``."""
    headers = {"Mdm-Signature": device.signature(body) if signature is None else signature, "Content-Type": kind}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return delegated.client.get("/mdm/authorize", headers=headers, base_url=BASE)


def leave(delegated, device_id, reference):
    delegated.tell(check_out(device_id, reference)).work()


@pytest.fixture
def profile_driven(delegated):
    device = delegated.prepared()
    reference = delegated.reference()
    delegated.tell(authenticate("E-1", reference), token_update("E-1", reference)).work()
    return device


@pytest.fixture
def account_driven(delegated):
    """An enrolled iPhone from Settings, without the messages that NanoMDM would take."""
    settings_app = SettingsApp(phone(delegated.app, 0, 18))
    base_url = settings_app.discover(ACCOUNT, BASE)
    owner = walking(delegated.app, delegated.invitation)
    token = settings_app.ask_owner(settings_app.begin(base_url), ACCOUNT, owner)
    profile = settings_app.fetch_profile(base_url, token)
    device = settings_app.phone
    device.account, device.token = ACCOUNT, token
    device.obtain_identity(device.open_profile(profile))
    reference = delegated.reference()
    delegated.tell(authenticate("E-1", reference), token_update("E-1", reference)).work()
    return device


def test_a_device_is_let_through_with_its_own_reference(delegated, profile_driven):
    answer = ask(delegated, profile_driven, CONNECT)
    assert (answer.status_code, answer.headers["X-Enrollment-Reference"]) == (204, delegated.reference())


@pytest.mark.parametrize("kind", [CHECKIN, CHECKIN + "; charset=UTF-8", CHECKIN.upper(), CHECKIN + "x"])
def test_a_proxy_that_would_not_have_check_ins_read_lets_none_pass(delegated, profile_driven, kind):
    assert ask(delegated, profile_driven, kind).status_code == 503


def test_the_profile_names_the_reference_and_no_other_backend_s_address(delegated):
    device = delegated.prepared()
    for key, path in (("ServerURL", "/mdm/connect"), ("CheckInURL", "/mdm/checkin")):
        assert device.mdm[key] == f"{BASE}{path}?ref={delegated.reference()}"


@pytest.mark.parametrize("signature", ["", "nonsense", "AAAA", "x" * 70_000])
def test_without_a_signature_nobody_passes_and_nobody_unenrolls(delegated, profile_driven, signature):
    assert ask(delegated, profile_driven, signature=signature).status_code == 403


def test_a_signature_whose_attributes_were_changed_is_refused(delegated, profile_driven):
    from base64 import b64decode, b64encode

    genuine = b64decode(profile_driven.signature(b"body"))
    at = len(genuine) - 10
    broken = genuine[:at] + bytes([genuine[at] ^ 1]) + genuine[at + 1 :]
    assert ask(delegated, profile_driven, signature=b64encode(broken).decode()).status_code == 403


def test_a_certificate_that_was_never_issued_is_refused(delegated, profile_driven, clock):
    authority = delegated.portal.authority
    certificate = authority.issue(phone_key(2).public_key(), "made-up", "Example", 30, clock())
    profile_driven.identity = type(profile_driven.identity)(certificate, phone_key(2))
    assert ask(delegated, profile_driven).status_code == 403


def test_who_left_is_told_to_unenroll_each_in_their_own_way(delegated, profile_driven):
    leave(delegated, "E-1", delegated.reference())
    answer = ask(delegated, profile_driven)
    assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (401, None)


def test_who_left_from_settings_is_told_by_apple_s_code(delegated, account_driven):
    leave(delegated, "E-1", delegated.reference())
    answer = ask(delegated, account_driven, token=account_driven.token)
    assert (answer.status_code, answer.headers["X-Enrollment-Refusal"]) == (403, "com.apple.unrecognized.device")


@pytest.mark.parametrize("token", [None, "", "unknown", "x" * 9000])
def test_commands_need_a_good_token(delegated, account_driven, token):
    assert ask(delegated, account_driven, token=account_driven.token).status_code == 204
    answer = ask(delegated, account_driven, token=token)
    assert (answer.status_code, 'method="apple-as-web"' in answer.headers["WWW-Authenticate"]) == (401, True)


@pytest.mark.parametrize(
    "kind", [CONNECT, "text/plain", "application/xml", "", CONNECT.upper(), CONNECT + "; charset=UTF-8", " " + CONNECT]
)
def test_commands_need_a_token_whatever_the_request_calls_itself(delegated, account_driven, kind):
    assert ask(delegated, account_driven, kind).status_code == 401
    assert ask(delegated, account_driven, kind, account_driven.token).status_code == 204


def relay(delegated, device, message, token=None, **headers):
    body = message if isinstance(message, bytes) else plistlib.dumps(message)
    headers = {"Mdm-Signature": device.signature(body), "Content-Type": CHECKIN, **headers}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return delegated.client.put("/mdm/relay", data=body, headers=headers, base_url=BASE)


def saying(kind, enrollment_id="E-1", **values):
    return {"MessageType": kind, "EnrollmentID": enrollment_id, "Topic": TOPIC, **values}


def test_a_check_in_is_handed_on_as_it_was_signed_with_whose_it_is(delegated, profile_driven):
    assert relay(delegated, profile_driven, saying("TokenUpdate", Token=b"t", PushMagic="m")).status_code == 200
    query, body = delegated.api.handed_on[-1]
    assert query == f"ref={delegated.reference()}"
    assert plistlib.loads(body)["Token"] == b"t"


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (saying("TokenUpdate", "E-2"), 403),
        (saying("CheckOut", "E-2"), 403),
        (saying("GetBootstrapToken"), 400),
        (saying("UserAuthenticate"), 410),
        (b"no property list", 400),
    ],
    ids=["token of another", "good-bye of another", "not offered", "user", "garbage"],
)
def test_what_is_not_the_devices_own_is_not_handed_on(delegated, profile_driven, message, status):
    assert relay(delegated, profile_driven, message).status_code == status
    assert delegated.api.handed_on == []
    assert delegated.company.status(delegated.invitation) == "enrolled"


@pytest.mark.parametrize("values", [{"EnrollmentID": "E-1"}, {"UDID": "x"}, {"Topic": "another"}])
def test_a_newcomer_who_may_not_enroll_never_reaches_the_backend(delegated, profile_driven, values):
    """Somebody else's EnrollmentID, a whole device, another topic."""
    other = delegated.company.invite(delegated.company.person("max"))
    newcomer = delegated.prepared(1, other)
    assert relay(delegated, newcomer, saying("Authenticate", "E-9") | values).status_code == 401
    assert delegated.api.handed_on == []
    assert delegated.company.events(other)[-1][0] == "device.refused"


def test_who_claims_anothers_enrollment_id_loses_their_certificate(delegated, profile_driven, session):
    other = delegated.company.invite(delegated.company.person("max"))
    thief = delegated.prepared(1, other)
    assert relay(delegated, thief, saying("Authenticate")).status_code == 401
    revoked = session.query(Certificate).filter(Certificate.revoked_at.is_not(None)).one()
    assert (revoked.request_id, revoked.revoked_reason) == (other.request.id, "enrollment_id_of_another_device")
    assert delegated.company.events(other)[-1] == ("device.refused", "enrollment_id_of_another_device")
    assert relay(delegated, thief, saying("Authenticate", "E-7")).status_code == 401
    assert ask(delegated, thief).status_code == 401
    assert ask(delegated, profile_driven).status_code == 204


def test_a_good_bye_needs_no_token(delegated, account_driven):
    assert relay(delegated, account_driven, saying("TokenUpdate", Token=b"t", PushMagic="m")).status_code == 401
    assert relay(delegated, account_driven, saying("CheckOut")).status_code == 200


def test_while_the_backend_is_away_a_check_in_is_asked_for_again(delegated, profile_driven):
    delegated.api.answer = lambda request: httpx.Response(500)
    answer = relay(delegated, profile_driven, saying("TokenUpdate", Token=b"t", PushMagic="m"))
    assert answer.status_code == 503


def test_a_device_that_is_not_enrolled_yet_needs_its_token_for_everything(delegated):
    settings_app = SettingsApp(phone(delegated.app, 0, 18))
    base_url = settings_app.discover(ACCOUNT, BASE)
    owner = walking(delegated.app, delegated.invitation)
    token = settings_app.ask_owner(settings_app.begin(base_url), ACCOUNT, owner)
    device = settings_app.phone
    device.account = ACCOUNT
    device.obtain_identity(device.open_profile(settings_app.fetch_profile(base_url, token)))
    assert [ask(delegated, device, CONNECT, each).status_code for each in (None, token)] == [401, 204]


def test_signing_in_again_is_asked_and_the_new_token_counts(delegated, account_driven, clock):
    with delegated.portal.database.transaction() as session:
        assert access.ask_to_sign_in_again(
            Cases(session, delegated.portal).lock(delegated.invitation.request.id), "helpdesk:x"
        )
    assert ask(delegated, account_driven, token=account_driven.token).status_code == 401


def test_a_device_that_is_to_leave_hears_of_it_whatever_its_token(delegated, account_driven, clock):
    with delegated.portal.database.transaction() as session:
        device = session.get_one(Device, delegated.company.device(delegated.invitation).id)
        ending.ask(Cases(session, delegated.portal).of_device(device.id), "selective_wipe", "helpdesk:x")
    assert ask(delegated, account_driven, token="stolen").status_code == 204


@pytest.mark.parametrize("error", [OperationalError("x", {}, Exception()), RuntimeError("bug")])
def test_an_outage_is_never_a_yes_and_never_a_401(delegated, profile_driven, monkeypatch, error):
    def broken(*_args):
        raise error

    monkeypatch.setattr(Cases, "of_certificate", broken)
    assert ask(delegated, profile_driven).status_code in (500, 503)


def test_an_old_certificate_is_refused_without_unenrolling(delegated, profile_driven, clock):
    clock.forward(days=1826)
    assert ask(delegated, profile_driven).status_code == 403


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (saying("DeclarativeManagement", Endpoint="tokens"), 200),
        (saying("GetToken", TokenServiceType="com.apple.maid"), 400),
    ],
    ids=["declarations", "token"],
)
def test_what_the_portal_answers_itself_never_gets_to_nanomdm(delegated, profile_driven, message, status):
    assert relay(delegated, profile_driven, message).status_code == status
    assert delegated.api.handed_on == []


def prefixed(name):
    """A message in which another reader finds a second name."""
    body = plistlib.dumps(saying("TokenUpdate", Token=b"t", PushMagic="m")).decode()
    return body.replace("</dict>", f"{name}</dict>").encode()


@pytest.mark.parametrize(
    "name",
    [
        '<a:key xmlns:a="x">UDID</a:key><a:string xmlns:a="x">E-2</a:string>',
        "<key>UD<x/>ID</key><string>E-2</string>",
        "<key>UD<!-- -->ID</key><string>E-2</string>",
        "<key>UD<![CDATA[ID]]></key><string>E-2</string>",
        "<key>UDID</key><string>E-2</string>",
        "<key>udid</key><string>E-2</string>",
        "<key>UserID</key><string>E-2</string>",
    ],
)
@pytest.mark.parametrize("path", ["/mdm/relay", "/mdm/checkin", "/mdm/connect"])
def test_nobody_calls_himself_by_another_name_for_nanomdm_alone(delegated, profile_driven, name, path):
    body = prefixed(name)
    headers = {"Mdm-Signature": profile_driven.signature(body), "Content-Type": CHECKIN}
    answer = delegated.client.put(path, data=body, headers=headers, base_url=BASE)
    assert answer.status_code in (400, 403)
    assert delegated.api.handed_on == []


def test_what_the_portal_passes_on_itself_is_signed_by_who_it_is_from(delegated, profile_driven):
    before = list(delegated.api.handed_on)
    for url, kind in (("/mdm/checkin", CHECKIN), ("/mdm/connect", CONNECT)):
        answer = delegated.client.put(url, data=b"x", headers={"Content-Type": kind}, base_url=BASE)
        assert answer.status_code == 403
    other = plistlib.dumps({"Status": "Idle", "EnrollmentID": "somebody-else"})
    headers = {"Content-Type": CONNECT, "Mdm-Signature": profile_driven.signature(other)}
    answer = delegated.client.put("/mdm/connect", data=other, headers=headers, base_url=BASE)
    assert answer.status_code == 403
    assert delegated.api.handed_on == before


def test_with_devices_of_its_own_nobody_is_asked(app):
    assert app.test_client().get("/mdm/authorize", base_url=BASE).status_code == 404
    assert SETTINGS["mdm"]["backend"] == "nanomdm"
