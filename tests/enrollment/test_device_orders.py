"""What can be ordered of a device, and what is refused with the reason, whoever asks: page, program, command line."""

import base64
import json
import plistlib
import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.backends import topic_in_use
from portal.credentials import api_tokens
from portal.credentials.base import DIRECTORY, AccountStatus, SourceUnavailable
from portal.enrollment import allowed, commands, management
from portal.lifecycle import leavers
from portal.models import Command, Person
from portal.people import audiences
from tests.factories import BASE, editing, phone, push_identity
from tests.orders import answer, fetch_one
from tests.pages import Browser

WIFI = {"PayloadType": "com.apple.wifi.managed", "SSID_STR": "Work"}


def profile(*payloads, identifier="com.example.wifi"):
    return plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": identifier, "PayloadVersion": 1,
                           "PayloadUUID": "X", "PayloadContent": list(payloads)})  # fmt: skip


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture
def held(app, company, invitation):
    made = phone(app)
    made.install(company.profile(invitation))
    return made


@pytest.fixture
def device(held, company, invitation):
    return company.device(invitation)


@pytest.fixture
def admin(app, company, clock, device):
    company.person("ada", "admin")
    return Browser(app).staff_sign_in("ada", clock()).get(f"/helpdesk/devices/{device.id}")


@pytest.fixture
def call(app, portal, clock):
    """Ask the API with a token for devices."""
    with portal.database.transaction() as session:
        token = api_tokens.make(editing(portal, session, clock()), "test", ["devices", "requests"])

    def ask(path, body=None, scope_token=token, raw=None):
        headers = {"Authorization": f"Bearer {scope_token}"}
        client = app.test_client()
        if raw is not None:
            return client.post(path, data=raw, content_type="application/json", headers=headers, base_url=BASE)
        if body is None:
            return client.get(path, headers=headers, base_url=BASE)
        return client.post(path, json=body, headers=headers, base_url=BASE)

    return ask


def waiting(portal):
    with portal.database.session() as session:
        return [each.request_type for each in session.scalars(select(Command).where(Command.status == "queued"))]


# --- programs and the command line -----------------------------------------------------------------------------------


def test_a_program_is_told_why_each_of_the_25_is_refused(call, device, portal):
    for command, reason in allowed.FORBIDDEN.items():
        answer = call(f"/api/devices/{device.id}/commands", {"command": command})
        assert (answer.status_code, answer.json["reason"]) == (403, reason)
    assert len(allowed.FORBIDDEN) == 25
    assert waiting(portal) == []


def test_the_command_line_is_told_why_each_of_the_25_is_refused(app, device, portal):
    for command, reason in allowed.FORBIDDEN.items():
        done = app.test_cli_runner().invoke(args=["device", "command", device.id, command])
        assert (done.exit_code, reason in done.output) == (1, True)
    assert waiting(portal) == []


def test_what_a_program_was_told_is_queued_is_queued_and_the_same_again_once(call, device, portal):
    path = f"/api/devices/{device.id}/commands"
    for store_id in (1, 2, 2, 3):
        keys = {"iTunesStoreID": store_id, "Options": {"PurchaseMethod": 1}}
        assert call(path, {"command": "InstallApplication", "keys": keys}).status_code == 202
    with portal.database.session() as session:
        queued = session.scalars(select(Command).where(Command.status == "queued").order_by(Command.id)).all()
        assert [commands.keys_of(each)["iTunesStoreID"] for each in queued] == [1, 2, 3]


@pytest.mark.parametrize("key", ["RequestType", "requesttype", "CommandUUID", "Command"])
def test_a_forbidden_command_hidden_in_keys_is_refused_and_nothing_is_queued(app, call, device, portal, company, key):
    """By program and by command line; the trail never names another command than the one that is sent."""
    path = f"/api/devices/{device.id}/commands"
    before = len(company.all_events())
    for name in allowed.FORBIDDEN:
        for value in (name, [name]):
            answer = call(path, {"command": "DeviceLock", "keys": {key: value}})
            assert (answer.status_code, answer.json["reason"]) == (403, "hidden_command")
    keys = json.dumps({key: "EraseDevice"})
    done = app.test_cli_runner().invoke(args=["device", "command", device.id, "SecurityInfo", "--keys", keys])
    assert (done.exit_code, "hidden_command" in done.output) == (1, True)
    payload = {key: "InstallProfile", "Payload": base64.b64encode(profile(WIFI)).decode()}
    assert call(path, {"command": "SecurityInfo", "keys": payload}).status_code == 403
    assert waiting(portal) == []
    assert len(company.all_events()) == before


@pytest.mark.parametrize("depth", [40, 900, 5000])
def test_a_body_that_is_nested_too_deep_is_a_400(app, call, device, depth):
    body = '{"command": "DeviceLock", "keys": {"x": ' + "[" * depth + "]" * depth + "}}"
    for path in (f"/api/devices/{device.id}/commands", "/api/requests"):
        answer = call(path, raw=body)
        assert (answer.status_code, answer.json["error"]) == (400, "bad_request")


def test_a_program_orders_what_is_allowed(call, held, device, portal):
    path = f"/api/devices/{device.id}/commands"
    assert call(path, {"command": "DeviceLock"}).status_code == 202
    assert call(path, {"command": "DeviceLock"}).status_code == 202  # once is enough
    payload = base64.b64encode(profile(WIFI)).decode()
    assert call(path, {"command": "InstallProfile", "keys": {"Payload": payload}}).status_code == 202
    assert held.connect() == ["DeviceLock", "InstallProfile", "ProfileList"]
    assert call(path, {"command": "RemoveProfile", "keys": {"Identifier": "com.example.wifi"}}).status_code == 202
    assert held.connect() == ["RemoveProfile"]
    assert call(f"/api/devices/{device.id}").json["enrollment_id"] == held.enrollment_id


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"command": 5}, 400),
        ({"command": "DeviceLock", "keys": []}, 400),
        ({"command": "DeviceLock", "keys": {"x": None}}, 400),
        ({"command": "InstallProfile", "keys": {"Payload": "%%%"}}, 400),
        ({"command": "InstallProfile", "keys": {"Payload": "AAAA"}}, 403),
        ({"command": "InstallProfile"}, 403),
        ({"command": "RemoveProfile", "keys": {"Identifier": "com.example.enrollment"}}, 409),
        ({"command": "RemoveProfile", "keys": {"Identifier": "unknown"}}, 409),
        ({"command": "RemoveProfile"}, 409),
        ({"command": "DeviceInformation", "keys": {"Queries": ["UDID"]}}, 403),
        ({"command": "Settings", "keys": {"Settings": [{"Item": "Bluetooth"}]}}, 403),
    ],
)
def test_a_program_s_mistake_is_named_and_changes_nothing(call, device, portal, body, status):
    assert call(f"/api/devices/{device.id}/commands", body).status_code == status
    assert waiting(portal) == []


def test_no_token_no_scope_no_device(app, call, device, portal, clock):
    with portal.database.transaction() as session:
        other = api_tokens.make(editing(portal, session, clock()), "other", ["requests"])
    path = f"/api/devices/{device.id}/commands"
    assert call(path, {"command": "DeviceLock"}, "ept_wrong").status_code == 401
    assert call(path, {"command": "DeviceLock"}, other).status_code == 403
    assert call("/api/devices/nothing/commands", {"command": "DeviceLock"}).status_code == 409
    assert call("/api/devices/nothing").status_code == 404


def test_the_command_line_orders_and_shows(app, held, device):
    run = lambda *arguments: app.test_cli_runner().invoke(args=["device", *arguments])  # noqa: E731
    assert run("command", device.id, "SecurityInfo").exit_code == 0
    assert held.connect() == ["SecurityInfo"]
    assert json.loads(run("show", device.id).output)["enrollment_id"] == held.enrollment_id
    assert run("show", "nothing").exit_code == 1
    assert run("command", "nothing", "DeviceLock").exit_code == 1
    assert run("command", device.id, "DeviceLock", "--keys", "[").exit_code == 1
    assert run("command", device.id, "RemoveProfile", "--keys", '{"Identifier": "x"}').exit_code == 1


# --- pages ------------------------------------------------------------------------------------------------------------


def upload(admin, device, content):
    from io import BytesIO

    path = f"/admin/devices/{device.id}/install-profile"
    data = {**admin.hidden(path), "profile": (BytesIO(content), "work.mobileconfig")}
    answer = admin.client.post(path, data=data, base_url=BASE, headers=admin.headers)
    admin.get(f"/helpdesk/devices/{device.id}")
    return answer.status_code


def test_an_admin_installs_and_removes_a_profile(admin, held, device):
    assert upload(admin, device, profile(WIFI)) == 303
    assert "installed when the device connects next" in admin.text
    assert held.connect() == ["InstallProfile", "ProfileList"]
    admin.get(f"/helpdesk/devices/{device.id}")
    assert "com.example.wifi" in admin.text
    admin.submit(f"/admin/devices/{device.id}/remove-profile")
    assert held.connect() == ["RemoveProfile"]
    assert "com.example.wifi" not in admin.get(f"/helpdesk/devices/{device.id}").text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "That is no configuration profile."),
        (b"x" * 530_000, "A profile has at most 512 KB."),
        (profile({"PayloadType": "com.apple.vpn.managed"}), "(com.apple.vpn.managed)"),
        (profile({"PayloadType": "com.apple.applicationaccess", "allowCamera": False}), "(allowCamera)"),
        (profile(WIFI, identifier="com.example.enrollment"), "the identifier of the enrollment itself"),
    ],
)
def test_a_profile_that_cannot_be_is_refused_in_words(admin, held, device, portal, content, says):
    upload(admin, device, content)
    assert "Not possible, nothing was changed." in admin.text
    assert says in admin.text
    assert waiting(portal) == []


def test_helpdesk_installs_nothing(app, company, clock, held, device, portal):
    company.person("helen", "helpdesk")
    page = Browser(app).staff_sign_in("helen", clock()).get(f"/helpdesk/devices/{device.id}")
    assert page.soup.find("input", type="file") is None
    token = page.soup.find("input", attrs={"name": "csrf_token"})["value"]
    assert page.post(f"/admin/devices/{device.id}/install-profile", {"csrf_token": token}).status == 403
    assert waiting(portal) == []


def test_everything_is_read_again_and_shown(admin, held, device):
    held.apps.states = {"com.example.mail": "Managed", "com.example.files": "Installing"}
    admin.submit(f"/helpdesk/devices/{device.id}/read")
    assert "The device is asked when it connects next." in admin.text
    held.connect()
    shown = admin.get(f"/helpdesk/devices/{device.id}").text
    for said in ("com.example.mail", "com.example.files (Installing)"):
        assert said in shown
    assert re.search(r"Identity certificate \(until \w+ \d+, 2031\)", shown)


def test_sizes_and_dates_are_written_as_the_reader_writes_them(admin, held, device):
    admin.submit(f"/helpdesk/devices/{device.id}/read")
    held.connect()
    admin.headers["Accept-Language"] = "de"
    shown = admin.get(f"/helpdesk/devices/{device.id}").text
    assert re.search(r"Freier Speicher \(GB\)\s*74,5\s", shown)
    assert re.search(r"Speicher \(GB\)\s*128\s", shown)
    assert re.search(r"\(bis \d\d\.\d\d\.2031\)", shown)


def test_the_end_of_a_device_s_certificate_is_told_in_time(app, company, held, device, clock):
    clock.forward(days=1825 - 61)
    held.connect()
    company.person("henry", role="helpdesk")
    staff = Browser(app).staff_sign_in("henry", clock())
    assert "expires" not in staff.get(f"/helpdesk/devices/{device.id}").text
    clock.forward(days=2)
    staff.staff_sign_in("henry", clock())
    assert "Its certificate expires on" in staff.get(f"/helpdesk/devices/{device.id}").text


def test_a_personal_app_or_an_identifier_in_an_answer_is_not_kept(admin, held, device, company, invitation):
    held.obey = lambda command: {"Status": "Acknowledged", "ManagedApplicationList": {"a": {"Status": "Managed",
                                 "SerialNumber": "C39"}}, "UDID": "u", "ProfileList": [{"UDID": "u"}],
                                 "QueryResponses": {"IMEI": "i"}, "CertificateList": [{"Data": b"x"}]}  # fmt: skip
    admin.submit(f"/helpdesk/devices/{device.id}/read")
    held.connect()
    kept = company.device(invitation)
    assert (kept.apps, kept.attributes, kept.profiles) == ([{"Identifier": "a", "Status": "Managed"}], {}, [{}])
    assert kept.certificates == [{"CommonName": "", "IsIdentity": False}]


# --- Apple's push certificate ----------------------------------------------------------------------------------------


def certificate(clock, days=365, **values):
    """An MDM push certificate that was valid yesterday, as a file's content."""
    return push_identity(clock() - timedelta(days=1), clock() + timedelta(days=days), **values).encode()


def send_certificate(admin, content):
    from io import BytesIO

    page = admin.get("/admin/settings/backend")
    form = {field["name"]: field.get("value", "") for field in page.soup.select("form input[name]")
            if field.get("type") not in ("checkbox", "file", "submit")}  # fmt: skip
    data = {**form, "mdm.push_identity": (BytesIO(content), "push.pem")}
    answer = admin.client.post("/admin/settings/backend", data=data, base_url=BASE, headers=admin.headers)
    return answer.status_code, answer.get_data(as_text=True)


def test_the_push_certificate_s_topic_is_used_from_then_on(admin, portal, clock):
    assert send_certificate(admin, certificate(clock))[0] == 303
    assert topic_in_use(portal.settings, portal.database) == "com.apple.mgmt.External.one"
    page = admin.get("/admin/device-management").text
    assert "com.apple.mgmt.External.one" in page
    assert "PRIVATE KEY" not in admin.response.get_data(as_text=True)
    assert "At Apple on its way" in " ".join(page.split())


def test_renewed_with_the_same_topic_is_taken_with_another_is_not(admin, portal, clock):
    send_certificate(admin, certificate(clock))
    assert send_certificate(admin, certificate(clock, key=1))[0] == 303
    status, page = send_certificate(admin, certificate(clock, topic="com.apple.mgmt.External.two"))
    assert (status, "every managed device would have to enroll again" in page) == (422, True)
    assert topic_in_use(portal.settings, portal.database) == "com.apple.mgmt.External.one"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"nothing", "That is neither PKCS#12 nor PEM."),
        ({"topic": "com.apple.other"}, "it names no topic"),
        ({"days": 0}, "has expired"),
    ],
)
def test_what_is_no_push_certificate_is_refused(admin, clock, content, says):
    made = certificate(clock, **content) if isinstance(content, dict) else content
    status, page = send_certificate(admin, made)
    assert (status, says in page) == (422, True)


def test_its_end_is_told_in_time(admin, clock):
    send_certificate(admin, certificate(clock, days=20))
    assert "push certificate expires in 20 days" in admin.get("/admin").text
    assert "expires in 20 days" in admin.get("/admin/device-management").text


# --- closed accounts --------------------------------------------------------------------------------------------------


class Source:
    """A directory that knows one thing."""

    def __init__(self, status):
        self.told, self.asked = status, []

    def account_status(self, username):
        self.asked.append(username)
        if isinstance(self.told, Exception):
            raise self.told
        return self.told if isinstance(self.told, AccountStatus) else AccountStatus(self.told, "1")


@pytest.fixture
def of_the_directory(portal, device):
    with portal.database.transaction() as session:
        person = session.scalar(select(Person).where(Person.username == "erika"))
        person.source, person.subject = DIRECTORY, "1"


def is_disabled(portal):
    with portal.database.session() as session:
        return session.scalar(select(Person.disabled_at).where(Person.username == "erika")) is not None


@pytest.mark.parametrize(
    ("status", "closed"),
    [("disabled", True), ("expired", True), ("", False), ("not_found", False), ("must_change_password", False),
     (SourceUnavailable(), False)],
)  # fmt: skip
def test_only_a_closed_account_is_taken_as_closed(portal, of_the_directory, clock, status, closed):
    assert leavers.check_accounts(portal.database, portal, Source(status), clock()) == closed
    assert is_disabled(portal) == closed


def test_groups_of_the_directory_are_followed_if_it_is_still_the_same_account(
    portal, of_the_directory, configure, clock
):
    configure(policies__enabled=True)
    with portal.database.session() as session:
        subject = session.scalar(select(Person.subject).where(Person.username == "erika"))

    def groups_after(subject, *groups):
        clock.forward(minutes=61)
        leavers.check_accounts(portal.database, portal, Source(AccountStatus("", subject, frozenset(groups))), clock())
        with portal.database.session() as session:
            return [name for name, _ in audiences.groups(session)]

    assert groups_after(subject, "cn=vpn") == ["directory:cn=vpn"]
    assert groups_after("somebody else", "cn=admins") == ["directory:cn=vpn"]
    assert groups_after(subject) == []


def test_nobody_is_asked_about_more_than_once_an_hour(portal, of_the_directory, clock):
    source = Source("")
    for _ in range(3):
        leavers.check_accounts(portal.database, portal, source, clock())
    clock.forward(minutes=61)
    leavers.check_accounts(portal.database, portal, source, clock())
    assert source.asked == ["erika"] * 2


def test_local_people_and_people_without_a_device_are_nobody_s_question(portal, company, device, clock):
    company.person("max", source=DIRECTORY, subject="2")
    source = Source("disabled")
    leavers.check_accounts(portal.database, portal, source, clock())
    assert source.asked == []


def test_no_number_of_the_phone_is_kept_wherever_a_message_hides_it(app, portal, company):
    invitation = company.invite(company.person("erika"))
    held = phone(app)
    held.install(company.profile(invitation))
    company.act_on(company.device(invitation).id, management.lock_screen, "admin:a")
    order = fetch_one(lambda: None, held, "DeviceLock")
    hidden = [
        {"ErrorCode": 1, "ErrorDomain": {"SerialNumber": "C02XK0AAJG5J"}, "LocalizedDescription": ["C02XK0AAJG5J"]}
    ]
    answer(held, order, Status="Error", ErrorChain=hidden)
    with portal.database.session() as session:
        kept = session.scalar(select(Command.errors).where(Command.request_type == "DeviceLock"))
    assert kept == [{"ErrorCode": 1}]


@pytest.mark.parametrize("name", [" iPhone", "x" * 129, "a\u00a0\u2028b\tc", "\u200b", ""])
def test_whatever_a_phone_calls_itself_it_can_be_given_up(app, company, clock, name):
    """Who gives it up types its name; a phone could choose one that nobody can type."""
    company.person("hilda", "helpdesk")
    invitation = company.invite(company.person("erika"))
    held = phone(app)
    held.install(company.profile(invitation))
    device = company.device(invitation)
    company.act_on(device.id, management.read, "helpdesk:h")
    order = fetch_one(lambda: None, held, "DeviceInformation")
    answer(held, order, Status="Acknowledged", QueryResponses={"ModelName": name, "OSVersion": "17.6"})
    hilda = Browser(app).staff_sign_in("hilda", clock()).get(f"/helpdesk/devices/{device.id}")
    typed = hilda.hidden(f"/helpdesk/devices/{device.id}/lock") | {"confirm": company.device(invitation).called}
    hilda.post(f"/helpdesk/devices/{device.id}/give-up", typed)
    assert company.device(invitation).ended_at is not None
