"""The embedded MDM server, spoken to by a simulated iPhone and by liars."""

import json
import plistlib
import uuid

import pytest
from sqlalchemy.exc import OperationalError

from portal.backends import dispatch
from portal.backends.embedded import connect
from portal.enrollment import allowed, ending
from portal.enrollment.commands import Order
from portal.models import Command, Device
from portal.pki.authority import Identity
from portal.simulator.iphone import IPhone, Unenrolled
from portal.simulator.scep_client import InstallationFailed, self_signed
from portal.storage.cases import Cases
from tests.factories import phone, phone_key, queue_command
from tests.pages import Browser


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture
def prepared(app, company, invitation) -> IPhone:
    """A phone that has its certificate but did not check in yet."""
    device = phone(app)
    device.obtain_identity(device.open_profile(company.profile(invitation)))
    return device


@pytest.fixture
def enrolled(prepared) -> IPhone:
    prepared.authenticate()
    prepared.token_update()
    prepared.connect()
    return prepared


def send(device, url, message, *, signature=None, body=None):
    """Send ``message`` as it is; returns the response."""
    body = plistlib.dumps(message) if body is None else body
    headers = {"Mdm-Signature": device.signature(body) if signature is None else signature}
    return device.http.put(device.mdm[url], content=body, headers=headers)


def authenticate(device, **extra):
    message = {"MessageType": "Authenticate", "Topic": device.mdm["Topic"], "OSVersion": "17.6.1",
               "BuildVersion": "21G93", "ProductName": "iPhone14,5", **extra}  # fmt: skip
    return {key: value for key, value in message.items() if value is not None}


def enqueue(company, invitation, order):
    with company.portal.database.transaction() as session:
        device = session.query(Device).filter_by(request_id=invitation.request.id).one()
        return queue_command(session, company.portal, device.id, order)


# --- enrolling -----------------------------------------------------------------------------------------------


def test_after_enrollment_only_allowed_facts_are_asked(company, invitation, enrolled, session):
    commands = session.query(Command).order_by(Command.id).all()
    assert [command.request_type for command in commands] == [
        "DeviceInformation", "ProfileList", "DeclarativeManagement"]  # fmt: skip
    asked = plistlib.loads(commands[0].payload)["Command"]["Queries"]
    assert set(asked) <= allowed.QUERIES


def test_a_device_that_nobody_can_wake_is_told_of_once(company, invitation, prepared):
    prepared.authenticate()
    prepared.token_update()
    for _ in range(2):
        dispatch.hand_over_due(company.portal.database, company.portal.backend, lambda *_: None, lambda *_: None)
    assert [event for event in company.events(invitation) if event[0] == "device.waits"] == [
        ("device.waits", "no_push_certificate")
    ]
    assert prepared.connect() == ["DeviceInformation", "ProfileList", "DeclarativeManagement"]


@pytest.mark.parametrize("key", ["UDID", "SerialNumber", "IMEI", "MEID", "imei", "serialNumber"])
def test_an_authenticate_with_a_hardware_identifier_is_refused(company, invitation, prepared, key):
    answer = send(prepared, "CheckInURL", authenticate(prepared, EnrollmentID="E1", **{key: "C39XK0SECRET"}))
    assert answer.status_code == 401
    assert ("device.refused", "hardware_identifier") in company.events(invitation)
    assert company.status(invitation) == "refused"
    assert "C39XK0SECRET" not in json.dumps([event.detail for event in company.all_events()])
    with pytest.raises(Unenrolled):  # its certificate is dead
        prepared.authenticate()


def test_a_refused_device_gets_another_chance_with_a_new_download(app, browser, company, invitation):
    refused = phone(app)
    refused.obtain_identity(refused.open_profile(browser.walk_to("profile", invitation).download()))
    send(refused, "CheckInURL", authenticate(refused, UDID="x"))
    assert browser.get("/enroll/finish").heading == "Your device could not be added"
    phone(app, 1).install(browser.get("/enroll/profile").download())
    assert company.status(invitation) == "enrolled"


def test_an_authenticate_without_enrollment_id_is_refused(company, invitation, prepared):
    assert send(prepared, "CheckInURL", authenticate(prepared)).status_code == 401
    assert ("device.refused", "no_enrollment_id") in company.events(invitation)


def test_another_topic_is_refused(prepared, company, invitation):
    message = authenticate(prepared, EnrollmentID="E1") | {"Topic": "com.apple.mgmt.other"}
    assert send(prepared, "CheckInURL", message).status_code == 401
    assert company.device(invitation) is None


def test_check_ins_can_be_repeated(company, invitation, prepared):
    for _ in range(2):
        prepared.authenticate()
    for _ in range(2):
        prepared.token_update()
    prepared.authenticate()
    assert [kind for kind, _ in company.events(invitation)].count("device.enrolled") == 1
    assert company.status(invitation) == "enrolled"


def test_a_token_update_before_authenticate_changes_nothing(company, invitation, prepared):
    prepared.enrollment_id = "E1"
    with pytest.raises(InstallationFailed, match="403 not_authenticated_yet"):
        prepared.token_update()
    assert company.status(invitation) == "enrolling"


def test_one_certificate_speaks_for_one_enrollment_id(company, invitation, prepared):
    prepared.authenticate()
    prepared.enrollment_id = str(uuid.uuid4())
    with pytest.raises(Unenrolled, match="certificate_of_another_device"):
        prepared.authenticate()
    with pytest.raises(InstallationFailed, match="403"):
        prepared.token_update()
    assert company.status(invitation) == "enrolling"


def test_another_devices_certificate_never_speaks_for_it(app, company, enrolled):
    other_invitation = company.invite(company.person("max"))
    other = phone(app, 1)
    other.install(company.profile(other_invitation))
    for url, message in (
        ("CheckInURL", {"MessageType": "CheckOut", "Topic": enrolled.mdm["Topic"]}),
        ("ServerURL", {"Status": "Idle"}),
    ):
        answer = send(other, url, {**message, "EnrollmentID": enrolled.enrollment_id})
        assert (answer.status_code, answer.text) == (403, "certificate_of_another_device\n")
    message = authenticate(other, EnrollmentID=enrolled.enrollment_id)
    assert send(other, "CheckInURL", message).status_code == 401


# --- forged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["CheckInURL", "ServerURL"])
def test_unsigned_and_forged_messages_are_refused_and_never_unenroll(company, invitation, enrolled, url):
    message = {"EnrollmentID": enrolled.enrollment_id, "MessageType": "CheckOut", "Status": "Idle"}
    body = plistlib.dumps(message)
    ca = company.portal.authority.ca
    forged = IPhone(identity=Identity(ca.certificate, phone_key(2)))
    for signature in ("", "%%%", "AAAA", "A" * 100_000, enrolled.signature(b"another body"), forged.signature(body)):
        answer = send(enrolled, url, message, signature=signature)
        assert answer.status_code == 403, signature[:20]
    assert company.status(invitation) == "enrolled"
    assert enrolled.connect() == []


def test_a_certificate_from_another_ca_is_refused(company, invitation, enrolled):
    subject = enrolled.identity.certificate.subject
    liar = IPhone(identity=Identity(self_signed(subject, phone_key(2)), phone_key(2)), http=enrolled.http)
    liar.mdm, liar.enrollment_id = enrolled.mdm, enrolled.enrollment_id
    with pytest.raises(InstallationFailed, match="403 foreign_certificate"):
        liar.remove()
    assert company.status(invitation) == "enrolled"


def test_a_certificate_of_the_ca_that_was_never_issued_to_a_device_is_refused(company, enrolled, clock):
    authority = company.portal.authority
    certificate = authority.issue(phone_key(2).public_key(), "made-up", "Example", 30, clock())
    liar = IPhone(identity=Identity(certificate, phone_key(2)), http=enrolled.http, mdm=enrolled.mdm)
    with pytest.raises(InstallationFailed, match="403 unknown_certificate"):
        liar.connect()


def test_an_expired_certificate_is_refused_without_unenrolling(company, invitation, enrolled, clock):
    clock.forward(days=1826)
    with pytest.raises(InstallationFailed, match="403 certificate_out_of_date"):
        enrolled.connect()
    assert company.status(invitation) == "enrolled"


GARBAGE = [
    b"",
    b"not xml",
    b"\xff\xfe\x00\x01",
    b"<plist><array/></plist>",
    plistlib.dumps({"EnrollmentID": 5, "Status": "Idle"}),
    plistlib.dumps({"EnrollmentID": "E", "Status": "Idle"}, fmt=plistlib.FMT_BINARY),
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]><plist><dict><key>Status'
    b"</key><string>&b;</string></dict></plist>",
    b"<plist><dict><key>a</key>" + b"<array>" * 5000 + b"</array>" * 5000 + b"</dict></plist>",
    b"<plist><dict><key>a</key><integer>" + b"9" * 10_000 + b"</integer></dict></plist>",
    b"<plist><dict><key>a</key><array>" + b"<true/>" * 60_000 + b"</array></dict></plist>",
    b"<plist><dict><key>a</key><date>not a date</date></dict></plist>",
]


@pytest.mark.parametrize("url", ["CheckInURL", "ServerURL"])
def test_plist_bombs_and_garbage_get_a_plain_400(company, invitation, enrolled, url):
    for body in GARBAGE:
        answer = send(enrolled, url, None, body=body)
        assert answer.status_code in (400, 403), body[:40]
        assert "Traceback" not in answer.text
    assert company.status(invitation) == "enrolled"


@pytest.mark.each_database
def test_a_body_over_a_mebibyte_is_refused(enrolled):
    assert send(enrolled, "ServerURL", None, body=b"x" * (1024 * 1024 + 1)).status_code == 413


def test_messages_that_are_not_served_are_declined(enrolled):
    answer = send(enrolled, "CheckInURL", {"MessageType": "UserAuthenticate", "EnrollmentID": enrolled.enrollment_id})
    assert answer.status_code == 410  # Apple's word for: users are not managed here
    for kind in ("GetToken", "SetBootstrapToken", "Nonsense"):
        answer = send(enrolled, "CheckInURL", {"MessageType": kind, "EnrollmentID": enrolled.enrollment_id})
        assert (answer.status_code, answer.text) == (400, f"not offered: {kind}\n")
    assert enrolled.connect() == []


# --- commands ------------------------------------------------------------------------------------------------


def report(device, **values):
    return send(device, "ServerURL", {"EnrollmentID": device.enrollment_id, **values})


def test_an_empty_queue_is_answered_with_zero_bytes(enrolled):
    answer = report(enrolled, Status="Idle")
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_unanswered_command_comes_again(company, invitation, enrolled):
    command = enqueue(company, invitation, Order("ProfileList"))
    for _ in range(2):
        assert plistlib.loads(report(enrolled, Status="Idle").content)["CommandUUID"] == command.uuid


def test_not_now_keeps_a_command_for_the_next_connection(company, invitation, enrolled, session):
    later = enqueue(company, invitation, Order("SecurityInfo"))
    sooner = enqueue(company, invitation, Order("ProfileList"))
    assert plistlib.loads(report(enrolled, Status="Idle").content)["CommandUUID"] == later.uuid
    answer = report(enrolled, Status="NotNow", CommandUUID=later.uuid)
    assert plistlib.loads(answer.content)["CommandUUID"] == sooner.uuid
    answer = report(enrolled, Status="Acknowledged", CommandUUID=sooner.uuid, ProfileList=[])
    assert plistlib.loads(answer.content)["CommandUUID"] == later.uuid  # a device that only polls does not come again
    assert report(enrolled, Status="NotNow", CommandUUID=later.uuid).content == b""
    assert plistlib.loads(report(enrolled, Status="Idle").content)["CommandUUID"] == later.uuid


def test_what_was_put_off_comes_in_one_connection(company, invitation, enrolled):
    """Apple: a device polls by itself only if NotNow was the last thing it said."""
    wanted = [enqueue(company, invitation, Order("SecurityInfo")).uuid for _ in range(7)]
    report(enrolled, Status="Idle")
    for each in wanted:
        last = report(enrolled, Status="NotNow", CommandUUID=each)
    assert last.content == b""
    got, answer = [], report(enrolled, Status="Idle")
    while answer.content:
        got.append(plistlib.loads(answer.content)["CommandUUID"])
        answer = report(enrolled, Status="Acknowledged", CommandUUID=got[-1])
    assert got == wanted


@pytest.mark.parametrize("kind", ["DeviceInformation", "ProfileList", "ManagedApplicationList", "CertificateList"])
@pytest.mark.parametrize("answered", ["without result", "with another kind", "unreadable", "too large"])
def test_an_answer_of_no_use_fails_and_the_queue_goes_on(company, invitation, enrolled, session, kind, answered):
    keys = {"Queries": ["OSVersion"]} if kind == "DeviceInformation" else {}
    useless = enqueue(company, invitation, Order(kind, keys))
    behind = enqueue(company, invitation, Order("RemoveProfile", {"Identifier": "com.example"}))
    report(enrolled, Status="Idle")
    if answered == "too large":
        answer = send(enrolled, "ServerURL", None, body=b"x" * (1024 * 1024 + 1))
        assert answer.status_code == 413
        answer = report(enrolled, Status="Idle")
    elif answered == "unreadable":
        answer = send(enrolled, "ServerURL", None, body=b"<plist><dict>")
    else:
        values = {} if answered == "without result" else {"QueryResponses": "", kind: ""}
        answer = report(enrolled, Status="Acknowledged", CommandUUID=useless.uuid, **values)
    assert plistlib.loads(answer.content)["CommandUUID"] == behind.uuid
    assert session.query(Command).filter_by(uuid=useless.uuid).one().status == "failed"
    assert ("command.unusable", kind) in company.events(invitation)
    assert company.status(invitation) == "enrolled"


@pytest.mark.parametrize("values", [{"UDID": "x"}, {"Topic": "another"}, {"EnrollmentID": "another"}])
def test_a_managed_device_whose_authenticate_is_refused_has_left(company, invitation, enrolled, values):
    """It is told to unenroll and obeys; it would be kept as managed for ever."""
    message = {"MessageType": "Authenticate", "EnrollmentID": enrolled.enrollment_id, "Topic": enrolled.mdm["Topic"]}
    assert send(enrolled, "CheckInURL", message | values).status_code == 401
    assert company.device(invitation).ended_at is not None
    assert "device.left" in [kind for kind, _ in company.events(invitation)]


@pytest.mark.parametrize(("status", "kept"), [("Error", "error"), ("CommandFormatError", "format_error")])
def test_a_failed_command_is_kept_with_its_reason(company, invitation, enrolled, session, status, kept):
    command = enqueue(company, invitation, Order("ProfileList"))
    report(enrolled, Status="Idle")
    chain = [{"ErrorCode": 12, "ErrorDomain": "D", "USEnglishDescription": "why", "UDID": "x"}]
    assert report(enrolled, Status=status, CommandUUID=command.uuid, ErrorChain=chain).content == b""
    stored = session.query(Command).filter_by(uuid=command.uuid).one()
    assert (stored.status, stored.errors) == (
        kept,
        [{"ErrorCode": 12, "ErrorDomain": "D", "USEnglishDescription": "why"}],
    )


def test_a_report_twice_counts_once(company, invitation, enrolled, session):
    command = enqueue(company, invitation, Order("ProfileList"))
    for _ in range(2):
        report(enrolled, Status="Acknowledged", CommandUUID=command.uuid, ProfileList=[])
    report(enrolled, Status="Error", CommandUUID=command.uuid)
    assert session.query(Command).filter_by(uuid=command.uuid).one().status == "acknowledged"


def test_a_report_on_an_unknown_command_or_with_an_unknown_status_is_400(enrolled):
    assert report(enrolled, Status="Acknowledged", CommandUUID="nope").status_code == 400
    assert report(enrolled, Status="Perhaps").status_code == 400
    assert report(enrolled).status_code == 400


def test_identifiers_in_an_answer_are_dropped_before_storage(company, invitation, enrolled):
    order = Order("DeviceInformation", {"Queries": list(allowed.ASKED_QUERIES)})
    command = enqueue(company, invitation, order)
    answers = {
        "OSVersion": "17.7",
        "UDID": "u",
        "SerialNumber": "s",
        "IMEI": "i",
        "PhoneNumber": "p",
        "DeviceName": "n",
    }
    report(enrolled, Status="Acknowledged", CommandUUID=command.uuid, QueryResponses=answers)
    assert company.device(invitation).attributes == {"OSVersion": "17.7"}


ODD_NUMBERS = ("<real>nan</real>", "<real>-inf</real>", "<real>1e308</real>", f"<integer>{2**64 - 1}</integer>")


@pytest.mark.each_database
@pytest.mark.parametrize("number", [*ODD_NUMBERS, "<real>-1.5</real>", "<integer>64</integer>", "<true/>"])
def test_a_number_that_no_page_can_show_is_kept_as_text(app, company, invitation, enrolled, clock, number):
    command = enqueue(company, invitation, Order("DeviceInformation", {"Queries": list(allowed.ASKED_QUERIES)}))
    told = {"Status": "Acknowledged", "CommandUUID": command.uuid, "QueryResponses": {"DeviceCapacity": "here"}}
    body = plistlib.dumps({"EnrollmentID": enrolled.enrollment_id, **told}).decode()
    answer = send(enrolled, "ServerURL", {}, body=body.replace("<string>here</string>", number).encode())
    assert answer.status_code == 200
    kept = company.device(invitation).attributes["DeviceCapacity"]
    assert isinstance(kept, str) == (number in ODD_NUMBERS)
    company.person("ada", "admin")
    page = Browser(app).staff_sign_in("ada", clock()).get(f"/helpdesk/devices/{company.device(invitation).id}")
    assert page.status == 200


@pytest.mark.parametrize("number", [str(2**64), str(-(2**63) - 1), "0x" + "F" * 5000, "9" * 5000])
@pytest.mark.parametrize(
    "told",
    [
        {"Status": "Acknowledged", "QueryResponses": {"DeviceCapacity": 4242}},
        {"Status": "Error", "ErrorChain": [{"ErrorCode": 4242, "ErrorDomain": "x"}]},
    ],
)
def test_a_number_beyond_64_bits_fails_its_command_and_blocks_nothing(prepared, number, told):
    prepared.authenticate()
    prepared.token_update()
    order = plistlib.loads(report(prepared, Status="Idle").content)
    body = plistlib.dumps({"EnrollmentID": prepared.enrollment_id, "CommandUUID": order["CommandUUID"], **told})
    body = body.replace(b"<integer>4242</integer>", f"<integer>{number}</integer>".encode())
    answer = send(prepared, "ServerURL", {}, body=body)
    assert answer.status_code == 200
    assert plistlib.loads(answer.content)["CommandUUID"] != order["CommandUUID"]


@pytest.mark.parametrize("name", ["../../../var/lib/x", "E-1,E-2", "E-1?nopush=1", "%2e%2e/x", "..", ".", "-"])
def test_a_device_under_a_name_that_no_command_could_be_sent_to_is_refused(company, invitation, prepared, name):
    prepared.enrollment_id = name
    with pytest.raises(Unenrolled):
        prepared.authenticate()
    assert ("device.refused", "odd_enrollment_id") in company.events(invitation)


def test_a_device_that_is_refused_again_and_again_is_told_of_once_in_a_row(company, invitation, enrolled):
    enrolled.remove()
    for _ in range(5):
        with pytest.raises(Unenrolled):
            enrolled.authenticate()
    assert [kind for kind, _ in company.events(invitation)].count("device.refused") == 1


def test_a_command_that_is_put_off_all_the_time_is_told_of_once(company, invitation, prepared):
    prepared.authenticate()
    prepared.token_update()
    order = plistlib.loads(report(prepared, Status="Idle").content)
    for _ in range(5):
        report(prepared, Status="NotNow", CommandUUID=order["CommandUUID"])
        assert plistlib.loads(report(prepared, Status="Idle").content)["CommandUUID"] == order["CommandUUID"]
    assert [kind for kind, _ in company.events(invitation)].count("command.not_now") == 1


def test_the_phone_refuses_what_user_enrollment_forbids():
    for command in allowed.FORBIDDEN:
        assert IPhone().obey({"RequestType": command})["Status"] == "Error"


# --- leaving -------------------------------------------------------------------------------------------------


def test_a_device_that_left_is_told_to_unenroll_and_stays_gone(company, invitation, enrolled):
    enrolled.remove()
    for speak in (enrolled.connect, enrolled.token_update, enrolled.authenticate):
        with pytest.raises(Unenrolled):
            speak()
    assert company.status(invitation) == "removed"


def test_cancelling_stops_a_device_on_its_way(company, invitation, prepared, clock):
    prepared.authenticate()
    with company.portal.database.transaction() as session:
        ending.cancel(Cases(session, company.portal).lock(invitation.request.id), "helpdesk:test")
    with pytest.raises(Unenrolled):
        prepared.token_update()
    assert company.status(invitation) == "cancelled"


def test_no_error_answers_a_managed_device_401(app, company, invitation, enrolled, monkeypatch):
    """An outage, a bug, a full disk: the profile must stay on the phone."""
    for error in (OperationalError("x", {}, Exception()), RuntimeError("bug"), KeyError("bug")):

        def broken(*_args, error=error, **_kwargs):
            raise error

        monkeypatch.setattr(connect, "handle", broken)
        assert report(enrolled, Status="Idle").status_code in (500, 503)
    monkeypatch.undo()
    assert enrolled.connect() == []
