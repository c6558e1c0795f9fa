"""What every backend has to do. A new one is a fleet in ``fleets.py`` and a line in its ``FLEETS``."""

import plistlib

import httpx
import pytest
from sqlalchemy import select

from portal import clock
from portal.backends.base import OutgoingCommand
from portal.enrollment import access, ending, management
from portal.enrollment.commands import Order
from portal.models import AccessToken, Certificate, Command, Device, OutboxMessage
from portal.simulator.iphone import SignInAgain, Unenrolled
from portal.simulator.scep_client import InstallationFailed
from portal.storage.cases import Cases
from tests.account_driven.steps import walking
from tests.backends import fleets
from tests.factories import phone_key, queue_command
from tests.pages import Browser
from tests.tools import needs_nanomdm

OUT_OF_REACH = (httpx.ConnectError, InstallationFailed)


@pytest.fixture(params=["embedded", *(pytest.param(name, marks=needs_nanomdm) for name in ("nanomdm", "passed on"))])
def fleet(request, make_app, tmp_path):
    with fleets.FLEETS[request.param](make_app, tmp_path) as made:
        yield made


def order(fleet, invitation, wanted):
    with fleet.portal.database.transaction() as session:
        device = session.get_one(Device, fleet.device(invitation).id)
        return queue_command(session, fleet.portal, device.id, wanted)


def count(fleet, invitation, kind):
    return [event[0] for event in fleet.company.events(invitation)].count(kind)


def state(fleet, command):
    with fleet.portal.database.session() as session:
        return session.scalar(select(Command.status).where(Command.uuid == command.uuid))


def living(fleet, invitation):
    """Certificates and tokens that still open something."""
    with fleet.portal.database.session() as session:
        return [
            len(session.scalars(select(table).where(table.request_id == invitation.request.id,
                                                    table.revoked_at.is_(None))).all())
            for table in (Certificate, AccessToken)
        ]  # fmt: skip


def mails(fleet, kind):
    with fleet.portal.database.session() as session:
        return len(session.scalars(select(OutboxMessage).where(OutboxMessage.kind == kind)).all())


@pytest.mark.each_database
def test_an_iphone_enrolls_with_a_profile(fleet):
    invitation = fleet.invite()
    fleet.enrolled(invitation)
    device = fleet.device(invitation)
    assert (device.os_version, device.product_name) == ("17.6.1", "iPhone14,5")
    assert device.attributes["ModelName"] == "iPhone"
    assert device.profiles[0]["PayloadIdentifier"] == "com.example.enrollment"
    assert (
        count(fleet, invitation, "device.authenticated"),
        count(fleet, invitation, "device.enrolled"),
    ) == (1, 1)


@pytest.mark.each_database
def test_an_iphone_enrolls_from_settings(fleet):
    invitation = fleet.invite()
    phone = fleet.from_settings(invitation).phone
    assert fleet.device(invitation).way == "account"
    assert living(fleet, invitation) == [1, 1]
    order(fleet, invitation, Order("DeviceLock"))
    assert fleet.connect(phone) == ["DeviceLock"]


def test_the_owner_of_an_iphone_signs_in_again(fleet):
    invitation = fleet.invite()
    settings_app = fleet.from_settings(invitation)
    with fleet.portal.database.transaction() as session:
        assert access.ask_to_sign_in_again(Cases(session, fleet.portal).lock(invitation.request.id), "helpdesk:test")
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    settings_app.sign_in_again(asked.value, walking(fleet.app, invitation))
    order(fleet, invitation, Order("DeviceLock"))
    assert fleet.connect(settings_app.phone) == ["DeviceLock"]


def test_an_iphone_enrolls_again_after_it_left(fleet):
    first, person = fleet.invite(), None
    old = fleet.enrolled(first)
    old.remove()
    fleet.until(lambda: fleet.company.status(first) == "removed")
    with fleet.portal.database.session() as session:
        person = fleet.company.request(first).person
        session.expunge_all()
    second = fleet.company.invite(person)
    new = fleet.enrolled(second, 1)
    assert new.enrollment_id != old.enrollment_id
    assert fleet.company.status(first) == "removed"
    with pytest.raises(Unenrolled):
        old.connect()
    assert fleet.connect(new) == []


@pytest.mark.each_database
def test_check_out_ends_the_enrollment_once(fleet):
    invitation = fleet.invite()
    phone = fleet.from_settings(invitation).phone
    phone.remove()
    fleet.until(lambda: fleet.company.status(invitation) == "removed")
    fleet.work()
    assert ("device.left", "removed_on_device") in fleet.company.events(invitation)
    assert (count(fleet, invitation, "device.left"), mails(fleet, "left")) == (1, 1)
    assert living(fleet, invitation) == [0, 0]
    with pytest.raises(Unenrolled):
        phone.connect()


@pytest.mark.parametrize(
    ("mood", "kept"), [(None, "acknowledged"), ("Error", "error"), ("CommandFormatError", "format_error")]
)
def test_what_a_device_answers_is_kept_with_its_reason(fleet, mood, kept):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    phone.mood = {"DeviceLock": mood} if mood else {}
    command = order(fleet, invitation, Order("DeviceLock"))
    assert fleet.connect(phone) == ["DeviceLock"]
    assert state(fleet, command) == kept
    (stored,) = [each for each in fleet.commands(kept) if each.uuid == command.uuid]
    assert (stored.errors or [{}])[0].get("USEnglishDescription") == ("DeviceLock did not work." if mood else None)


@pytest.mark.each_database
def test_not_now_means_later(fleet):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    phone.mood = {"SecurityInfo": "NotNow"}
    later, sooner = (
        order(fleet, invitation, Order("SecurityInfo")),
        order(fleet, invitation, Order("DeviceLock")),
    )
    assert fleet.connect(phone)[:2] == ["SecurityInfo", "DeviceLock"]  # it may be asked once more, in vain
    assert (state(fleet, later), state(fleet, sooner)) == ("not_now", "acknowledged")
    phone.mood = {}

    def asked_again() -> bool:
        fleet.heal()  # NanoMDM's filekv forgets it, see reconciling.py
        phone.connect()
        return "SecurityInfo" in {each.request_type for each in fleet.commands("acknowledged")}

    fleet.until(asked_again)


@pytest.mark.each_database
def test_work_data_is_removed_and_the_enrollment_is_over(fleet):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    phone.apps.states = {"com.example.mail": "Managed"}
    with fleet.portal.database.transaction() as session:
        staff = "helpdesk:test"
        management.remove_work_data(
            Cases(session, fleet.portal).of_device(fleet.device(invitation).id), "iPhone", staff
        )
    assert fleet.connect(phone) == ["RemoveProfile"]
    assert phone.apps.states == {}
    assert fleet.company.status(invitation) == "removed"
    assert ("device.left", "selective_wipe") in fleet.company.events(invitation)
    assert (count(fleet, invitation, "device.left"), mails(fleet, "left")) == (1, 1)
    assert living(fleet, invitation)[0] == 0
    with pytest.raises(Unenrolled):
        phone.connect()
    assert count(fleet, invitation, "device.left") == 1


def test_a_cancelled_request_keeps_the_device_out(fleet):
    invitation = fleet.invite()
    phone = fleet.prepared(invitation)
    phone.authenticate()
    fleet.until(lambda: fleet.device(invitation) is not None)
    with fleet.portal.database.transaction() as session:
        ending.cancel(Cases(session, fleet.portal).lock(invitation.request.id), "helpdesk:test")
    with pytest.raises(Unenrolled):
        phone.token_update()
    fleet.work()
    assert fleet.company.status(invitation) == "cancelled"
    assert fleet.device(invitation).ended_at is not None
    assert mails(fleet, "left") == 0


def test_a_device_that_nobody_knows_gets_nothing_and_is_not_told_to_unenroll(fleet):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    authority = fleet.portal.authority
    stranger = fleet.phone(1)
    certificate = authority.issue(phone_key(1).public_key(), "made-up", "Example", 30, clock.now())
    stranger.identity = type(phone.identity)(certificate, phone_key(1))
    stranger.mdm, stranger.enrollment_id = phone.mdm, phone.enrollment_id
    for speak in (stranger.connect, stranger.authenticate, stranger.remove):
        with pytest.raises(InstallationFailed, match="403"):
            speak()
    fleet.work()
    assert fleet.company.status(invitation) == "enrolled"


def test_another_device_never_speaks_for_this_one(fleet):
    invitation, other_invitation = fleet.invite(), fleet.invite("max")
    phone, other = fleet.enrolled(invitation), fleet.enrolled(other_invitation, 1)
    own = other.enrollment_id
    other.enrollment_id, other.mdm = phone.enrollment_id, phone.mdm  # its own certificate, another's id and addresses
    for speak in (other.remove, other.connect):
        with pytest.raises((InstallationFailed, Unenrolled)):
            speak()
    fleet.work()
    assert fleet.company.status(invitation) == "enrolled"
    other.enrollment_id = own
    assert fleet.connect(phone) == []


def test_who_claims_anothers_name_gets_neither_its_commands_nor_its_place(fleet):
    """With a certificate of their own that never spoke before. Nothing changes hands, and the certificate is dead."""
    invitation, other_invitation = fleet.invite(), fleet.invite("max")
    phone = fleet.enrolled(invitation)
    sealed = fleet.device(invitation).push_sealed
    wanted = order(fleet, invitation, Order("SecurityInfo"))
    fleet.until(lambda: state(fleet, wanted) == "sent" or fleet.name == "embedded")
    thief = fleet.prepared(other_invitation, 1)
    thief.enrollment_id, thief.mdm = phone.enrollment_id, phone.mdm
    for speak in (thief.authenticate, thief.token_update, thief.connect, thief.remove):
        with pytest.raises((InstallationFailed, Unenrolled)):
            speak()
    fleet.work()
    assert living(fleet, other_invitation)[0] == 0
    assert ("device.refused", "enrollment_id_of_another_device") in fleet.company.events(other_invitation)
    assert fleet.device(invitation).push_sealed == sealed
    assert fleet.company.status(invitation) == "enrolled"
    assert fleet.connect(phone) == ["SecurityInfo"]


def test_messages_that_come_twice_count_once(fleet):
    invitation = fleet.invite()
    phone = fleet.prepared(invitation)
    for speak in (phone.authenticate, phone.authenticate, phone.token_update, phone.token_update):
        speak()
    fleet.until(lambda: fleet.company.status(invitation) == "enrolled" and fleet.pending() == 0)
    assert fleet.connect(phone) == fleets.FIRST
    assert (
        count(fleet, invitation, "device.authenticated"),
        count(fleet, invitation, "device.enrolled"),
    ) == (1, 1)
    assert len(fleet.commands()) == len(fleets.FIRST)


def test_the_same_command_is_taken_once(fleet):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    command = order(fleet, invitation, Order("DeviceLock"))
    outgoing = OutgoingCommand(phone.enrollment_id, command.uuid, command.payload)
    for _ in range(3):
        fleet.portal.backend.hand_over(outgoing)
    assert fleet.connect(phone) == ["DeviceLock"]


@pytest.mark.each_database
def test_an_outage_loses_no_command_and_unenrolls_nobody(fleet):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    fleet.cut_off()
    command = order(fleet, invitation, Order("DeviceLock"))
    fleet.work()
    with pytest.raises(OUT_OF_REACH):
        phone.connect()
    assert state(fleet, command) == "queued"
    fleet.bring_back()
    assert fleet.connect(phone) == ["DeviceLock"]
    assert state(fleet, command) == "acknowledged"
    assert fleet.company.status(invitation) == "enrolled"


def test_an_outage_at_the_profile_says_so_and_goes_on_afterwards(fleet):
    if fleet.name == "embedded":
        pytest.fail("unreachable") if fleet.portal.backend.health().reason else None
        return  # it lives in the portal: when it is out, so are the pages
    invitation = fleet.invite()
    browser = Browser(fleet.app).walk_to("profile", invitation)
    fleet.cut_off()
    fleet.until(lambda: not fleet.portal.backend.health().ready)
    assert browser.get("/enroll/profile").status == 503
    told = browser.client.get("/readyz").json
    assert (told["status"], told["problems"]["backend"]) == ("degraded", "unreachable")
    fleet.bring_back()
    fleet.until(lambda: fleet.portal.backend.health().ready)
    phone = fleet.phone()
    phone.install(browser.get("/enroll/profile").download())
    fleet.until(lambda: fleet.company.status(invitation) == "enrolled")


def test_profiles_are_installed_listed_and_removed(fleet):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    content = plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "com.example.wifi",
                              "PayloadVersion": 1, "PayloadUUID": "X", "PayloadDisplayName": "Wi-Fi",
                              "PayloadContent": [{"PayloadType": "com.apple.wifi.managed"}]})  # fmt: skip
    staff = "admin:test"
    with fleet.portal.database.transaction() as session:
        management.install_profile(Cases(session, fleet.portal).of_device(fleet.device(invitation).id), content, staff)
    assert fleet.connect(phone) == ["InstallProfile", "ProfileList"]
    assert [each["PayloadIdentifier"] for each in fleet.device(invitation).profiles][1:] == ["com.example.wifi"]
    with fleet.portal.database.transaction() as session:
        management.remove_profile(
            Cases(session, fleet.portal).of_device(fleet.device(invitation).id), "com.example.wifi", staff
        )
    assert fleet.connect(phone) == ["RemoveProfile"]
    assert phone.profiles == {}
    assert len(fleet.device(invitation).profiles) == 1
    assert fleet.company.status(invitation) == "enrolled"


def test_apps_and_certificates_are_read(fleet):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    phone.apps.states = {"com.example.mail": "Managed"}
    with fleet.portal.database.transaction() as session:
        management.read(Cases(session, fleet.portal).of_device(fleet.device(invitation).id), "helpdesk:test")
    fleet.connect(phone)
    device = fleet.device(invitation)
    assert device.apps == [{"Identifier": "com.example.mail", "Status": "Managed"}]
    (certificate,) = device.certificates
    assert (certificate["IsIdentity"], certificate["NotValidAfter"] > clock.now().isoformat()) == (True, True)
