"""What every backend has to do. A new one is a house in ``houses.py`` and a line in its ``HOUSES``."""

import plistlib

import httpx
import pytest
from sqlalchemy import select

from portal import clock
from portal.backends.base import Parcel
from portal.enrollment import access, ending, management
from portal.enrollment.commands import Order
from portal.models import AccessToken, Certificate, Command, Device, OutboxMessage
from portal.simulator.iphone import SignInAgain, Unenrolled
from portal.simulator.scep_client import InstallationFailed
from portal.storage.cases import Cases
from tests.account_driven.steps import walking
from tests.backends import houses
from tests.factories import phone_key, queue_command
from tests.pages import Browser
from tests.tools import needs_nanomdm

OUT_OF_REACH = (httpx.ConnectError, InstallationFailed)


@pytest.fixture(params=["embedded", *(pytest.param(name, marks=needs_nanomdm) for name in ("nanomdm", "passed on"))])
def house(request, make_app, tmp_path):
    with houses.HOUSES[request.param](make_app, tmp_path) as made:
        yield made


def order(house, invitation, wanted):
    with house.portal.database.transaction() as session:
        device = session.get_one(Device, house.device(invitation).id)
        return queue_command(session, house.portal, device.id, wanted)


def count(house, invitation, kind):
    return [event[0] for event in house.company.events(invitation)].count(kind)


def state(house, command):
    with house.portal.database.session() as session:
        return session.scalar(select(Command.status).where(Command.uuid == command.uuid))


def living(house, invitation):
    """Certificates and tokens that still open something."""
    with house.portal.database.session() as session:
        return [
            len(session.scalars(select(table).where(table.request_id == invitation.request.id,
                                                    table.revoked_at.is_(None))).all())
            for table in (Certificate, AccessToken)
        ]  # fmt: skip


def mails(house, kind):
    with house.portal.database.session() as session:
        return len(session.scalars(select(OutboxMessage).where(OutboxMessage.kind == kind)).all())


def test_an_iphone_enrolls_with_a_profile(house):
    invitation = house.invite()
    house.enrolled(invitation)
    device = house.device(invitation)
    assert (device.os_version, device.product_name) == ("17.6.1", "iPhone14,5")
    assert device.attributes["ModelName"] == "iPhone"
    assert device.profiles[0]["PayloadIdentifier"] == "com.example.enrollment"
    assert (count(house, invitation, "device.authenticated"), count(house, invitation, "device.enrolled")) == (1, 1)


def test_an_iphone_enrolls_from_settings(house):
    invitation = house.invite()
    phone = house.from_settings(invitation).phone
    assert house.device(invitation).way == "account"
    assert living(house, invitation) == [1, 1]
    order(house, invitation, Order("DeviceLock"))
    assert house.connect(phone) == ["DeviceLock"]


def test_the_owner_of_an_iphone_signs_in_again(house):
    invitation = house.invite()
    settings_app = house.from_settings(invitation)
    with house.portal.database.transaction() as session:
        assert access.ask_to_sign_in_again(Cases(session, house.portal).lock(invitation.request.id), "helpdesk:test")
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    settings_app.sign_in_again(asked.value, walking(house.app, invitation))
    order(house, invitation, Order("DeviceLock"))
    assert house.connect(settings_app.phone) == ["DeviceLock"]


def test_an_iphone_enrolls_again_after_it_left(house):
    first, person = house.invite(), None
    old = house.enrolled(first)
    old.remove()
    house.until(lambda: house.company.status(first) == "removed")
    with house.portal.database.session() as session:
        person = house.company.request(first).person
        session.expunge_all()
    second = house.company.invite(person)
    new = house.enrolled(second, 1)
    assert new.enrollment_id != old.enrollment_id
    assert house.company.status(first) == "removed"
    with pytest.raises(Unenrolled):
        old.connect()
    assert house.connect(new) == []


def test_check_out_ends_the_enrollment_once(house):
    invitation = house.invite()
    phone = house.from_settings(invitation).phone
    phone.remove()
    house.until(lambda: house.company.status(invitation) == "removed")
    house.work()
    assert ("device.left", "removed_on_device") in house.company.events(invitation)
    assert (count(house, invitation, "device.left"), mails(house, "left")) == (1, 1)
    assert living(house, invitation) == [0, 0]
    with pytest.raises(Unenrolled):
        phone.connect()


@pytest.mark.parametrize(
    ("mood", "kept"), [(None, "acknowledged"), ("Error", "error"), ("CommandFormatError", "format_error")]
)
def test_what_a_device_answers_is_kept_with_its_reason(house, mood, kept):
    invitation = house.invite()
    phone = house.enrolled(invitation)
    phone.mood = {"DeviceLock": mood} if mood else {}
    command = order(house, invitation, Order("DeviceLock"))
    assert house.connect(phone) == ["DeviceLock"]
    assert state(house, command) == kept
    (stored,) = [each for each in house.commands(kept) if each.uuid == command.uuid]
    assert (stored.errors or [{}])[0].get("USEnglishDescription") == ("DeviceLock did not work." if mood else None)


def test_not_now_means_later(house):
    invitation = house.invite()
    phone = house.enrolled(invitation)
    phone.mood = {"SecurityInfo": "NotNow"}
    later, sooner = order(house, invitation, Order("SecurityInfo")), order(house, invitation, Order("DeviceLock"))
    assert house.connect(phone)[:2] == ["SecurityInfo", "DeviceLock"]  # it may be asked once more, in vain
    assert (state(house, later), state(house, sooner)) == ("not_now", "acknowledged")
    phone.mood = {}

    def asked_again() -> bool:
        house.heal()  # NanoMDM's filekv forgets it, see upkeep.py
        phone.connect()
        return "SecurityInfo" in {each.request_type for each in house.commands("acknowledged")}

    house.until(asked_again)


def test_work_data_is_removed_and_the_enrollment_is_over(house):
    invitation = house.invite()
    phone = house.enrolled(invitation)
    phone.apps.states = {"com.example.mail": "Managed"}
    with house.portal.database.transaction() as session:
        staff = "helpdesk:test"
        management.remove_work_data(
            Cases(session, house.portal).of_device(house.device(invitation).id), "iPhone", staff
        )
    assert house.connect(phone) == ["RemoveProfile"]
    assert phone.apps.states == {}
    assert house.company.status(invitation) == "removed"
    assert ("device.left", "selective_wipe") in house.company.events(invitation)
    assert (count(house, invitation, "device.left"), mails(house, "left")) == (1, 1)
    assert living(house, invitation)[0] == 0
    with pytest.raises(Unenrolled):
        phone.connect()
    assert count(house, invitation, "device.left") == 1


def test_a_cancelled_request_keeps_the_device_out(house):
    invitation = house.invite()
    phone = house.prepared(invitation)
    phone.authenticate()
    house.until(lambda: house.device(invitation) is not None)
    with house.portal.database.transaction() as session:
        ending.cancel(Cases(session, house.portal).lock(invitation.request.id), "helpdesk:test")
    with pytest.raises(Unenrolled):
        phone.token_update()
    house.work()
    assert house.company.status(invitation) == "cancelled"
    assert house.device(invitation).ended_at is not None
    assert mails(house, "left") == 0


def test_a_device_that_nobody_knows_gets_nothing_and_is_not_told_to_unenroll(house):
    invitation = house.invite()
    phone = house.enrolled(invitation)
    authority = house.portal.authority
    stranger = house.phone(1)
    certificate = authority.issue(phone_key(1).public_key(), "made-up", "Example", 30, clock.now())
    stranger.identity = type(phone.identity)(certificate, phone_key(1))
    stranger.mdm, stranger.enrollment_id = phone.mdm, phone.enrollment_id
    for speak in (stranger.connect, stranger.authenticate, stranger.remove):
        with pytest.raises(InstallationFailed, match="403"):
            speak()
    house.work()
    assert house.company.status(invitation) == "enrolled"


def test_another_device_never_speaks_for_this_one(house):
    invitation, other_invitation = house.invite(), house.invite("max")
    phone, other = house.enrolled(invitation), house.enrolled(other_invitation, 1)
    own = other.enrollment_id
    other.enrollment_id, other.mdm = phone.enrollment_id, phone.mdm  # its own certificate, another's id and addresses
    for speak in (other.remove, other.connect):
        with pytest.raises((InstallationFailed, Unenrolled)):
            speak()
    house.work()
    assert house.company.status(invitation) == "enrolled"
    other.enrollment_id = own
    assert house.connect(phone) == []


def test_who_claims_anothers_name_gets_neither_its_commands_nor_its_place(house):
    """With a certificate of their own that never spoke before. Nothing changes hands, and the certificate is dead."""
    invitation, other_invitation = house.invite(), house.invite("max")
    phone = house.enrolled(invitation)
    sealed = house.device(invitation).push_sealed
    wanted = order(house, invitation, Order("SecurityInfo"))
    house.until(lambda: state(house, wanted) == "sent" or house.name == "embedded")
    thief = house.prepared(other_invitation, 1)
    thief.enrollment_id, thief.mdm = phone.enrollment_id, phone.mdm
    for speak in (thief.authenticate, thief.token_update, thief.connect, thief.remove):
        with pytest.raises((InstallationFailed, Unenrolled)):
            speak()
    house.work()
    assert living(house, other_invitation)[0] == 0
    assert ("device.refused", "enrollment_id_of_another_device") in house.company.events(other_invitation)
    assert house.device(invitation).push_sealed == sealed
    assert house.company.status(invitation) == "enrolled"
    assert house.connect(phone) == ["SecurityInfo"]


def test_messages_that_come_twice_count_once(house):
    invitation = house.invite()
    phone = house.prepared(invitation)
    for speak in (phone.authenticate, phone.authenticate, phone.token_update, phone.token_update):
        speak()
    house.until(lambda: house.company.status(invitation) == "enrolled" and house.pending() == 0)
    assert house.connect(phone) == houses.FIRST
    assert (count(house, invitation, "device.authenticated"), count(house, invitation, "device.enrolled")) == (1, 1)
    assert len(house.commands()) == len(houses.FIRST)


def test_the_same_command_is_taken_once(house):
    invitation = house.invite()
    phone = house.enrolled(invitation)
    command = order(house, invitation, Order("DeviceLock"))
    parcel = Parcel(phone.enrollment_id, command.uuid, command.payload)
    for _ in range(3):
        house.portal.backend.hand_over(parcel)
    assert house.connect(phone) == ["DeviceLock"]


def test_an_outage_loses_no_command_and_unenrolls_nobody(house):
    invitation = house.invite()
    phone = house.enrolled(invitation)
    house.cut_off()
    command = order(house, invitation, Order("DeviceLock"))
    house.work()
    with pytest.raises(OUT_OF_REACH):
        phone.connect()
    assert state(house, command) == "queued"
    house.bring_back()
    assert house.connect(phone) == ["DeviceLock"]
    assert state(house, command) == "acknowledged"
    assert house.company.status(invitation) == "enrolled"


def test_an_outage_at_the_profile_says_so_and_goes_on_afterwards(house):
    if house.name == "embedded":
        pytest.fail("unreachable") if house.portal.backend.health().reason else None
        return  # it lives in the portal: when it is out, so are the pages
    invitation = house.invite()
    browser = Browser(house.app).walk_to("profile", invitation)
    house.cut_off()
    house.until(lambda: not house.portal.backend.health().ready)
    assert browser.get("/enroll/profile").status == 503
    told = browser.client.get("/readyz").json
    assert (told["status"], told["problems"]["backend"]) == ("degraded", "unreachable")
    house.bring_back()
    house.until(lambda: house.portal.backend.health().ready)
    phone = house.phone()
    phone.install(browser.get("/enroll/profile").download())
    house.until(lambda: house.company.status(invitation) == "enrolled")


def test_profiles_are_installed_listed_and_removed(house):
    invitation = house.invite()
    phone = house.enrolled(invitation)
    content = plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "com.example.wifi",
                              "PayloadVersion": 1, "PayloadUUID": "X", "PayloadDisplayName": "Wi-Fi",
                              "PayloadContent": [{"PayloadType": "com.apple.wifi.managed"}]})  # fmt: skip
    staff = "admin:test"
    with house.portal.database.transaction() as session:
        management.install_profile(Cases(session, house.portal).of_device(house.device(invitation).id), content, staff)
    assert house.connect(phone) == ["InstallProfile", "ProfileList"]
    assert [each["PayloadIdentifier"] for each in house.device(invitation).profiles][1:] == ["com.example.wifi"]
    with house.portal.database.transaction() as session:
        management.remove_profile(
            Cases(session, house.portal).of_device(house.device(invitation).id), "com.example.wifi", staff
        )
    assert house.connect(phone) == ["RemoveProfile"]
    assert phone.profiles == {}
    assert len(house.device(invitation).profiles) == 1
    assert house.company.status(invitation) == "enrolled"


def test_apps_and_certificates_are_read(house):
    invitation = house.invite()
    phone = house.enrolled(invitation)
    phone.apps.states = {"com.example.mail": "Managed"}
    with house.portal.database.transaction() as session:
        management.read(Cases(session, house.portal).of_device(house.device(invitation).id), "helpdesk:test")
    house.connect(phone)
    device = house.device(invitation)
    assert device.apps == [{"Identifier": "com.example.mail", "Status": "Managed"}]
    (certificate,) = device.certificates
    assert (certificate["IsIdentity"], certificate["NotValidAfter"] > clock.now().isoformat()) == (True, True)
