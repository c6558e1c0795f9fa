"""How an enrollment ends: once, with everything that goes with it, a mail to its owner, and a reason for helpdesk."""

import contextlib
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal import jobs
from portal.enrollment import ending, management
from portal.lifecycle import closing
from portal.models import AccessToken, Certificate, Command, Device, OutboxMessage, Person
from portal.simulator.iphone import Unenrolled
from portal.storage import rounds
from portal.storage.cases import Cases
from tests.account_driven.steps import enroll
from tests.factories import phone
from tests.pages import Browser


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture(params=["profile", "account"])
def held(request, app, company, invitation):
    """An enrolled iPhone, by both ways."""
    if request.param == "account":
        return enroll(app, invitation).phone
    made = phone(app)
    made.install(company.profile(invitation))
    return made


@pytest.fixture
def worker(company):
    made = jobs.Worker(company.portal.live.base)
    yield made
    made.database.engine.dispose()


@pytest.fixture
def staff(app, company, clock):
    company.person("helen", "helpdesk")
    return Browser(app).staff_sign_in("helen", clock())


def checked_out(portal, held, device, invitation, clock):
    held.remove()


def wiped(portal, held, device, invitation, clock):
    with portal.database.transaction() as session:
        management.remove_work_data(Cases(session, portal).of_device(device.id), "iPhone", "helpdesk:x")
    assert held.connect() == ["RemoveProfile"]


def cancelled(portal, held, device, invitation, clock):
    with portal.database.transaction() as session:
        ending.cancel(Cases(session, portal).lock(invitation.request.id), "helpdesk:x")
    assert held.connect() == ["RemoveProfile"]


def disabled(portal, held, device, invitation, clock):
    with portal.database.transaction() as session:
        person = session.scalar(select(Person).where(Person.username == "erika"))
        closing.disable(Cases(session, portal), person, "admin:x")
        rounds.of_disabled_people(Cases(session, portal))
    assert held.connect() == ["RemoveProfile"]


def given_up(portal, held, device, invitation, clock):
    with portal.database.transaction() as session:
        staff = "helpdesk:x"
        management.give_up(Cases(session, portal).of_device(device.id), "iPhone", staff)


WAYS = {
    "removed_on_device": (checked_out, "removed the work account or its profile"),
    "selective_wipe": (wiped, "Your helpdesk removed everything of work"),
    "cancelled": (cancelled, "Your helpdesk ended the enrollment"),
    "person_disabled": (disabled, "was closed"),
    "given_up": (given_up, "was not heard of for a long time"),
}


@pytest.mark.parametrize("reason", WAYS)
def test_each_way_ends_the_enrollment_once(portal, company, session, held, invitation, worker, clock, tmp_path, reason):
    way, words = WAYS[reason]
    way(portal, held, company.device(invitation), invitation, clock)
    for again in (held.remove, held.connect):  # whatever it still says
        with contextlib.suppress(Unenrolled):
            again()
    device = company.device(invitation)
    assert (device.end_reason, company.status(invitation)) == (reason, "removed")
    events = company.events(invitation)
    assert [why for kind, why in events if kind == "device.left"] == [reason]
    for table in (Certificate, AccessToken):
        living = select(table).where(table.request_id == invitation.request.id, table.revoked_at.is_(None))
        assert session.scalars(living).all() == []
    assert session.scalars(select(Command).where(Command.status.in_(("queued", "sent", "not_now")))).all() == []
    assert device.push_sealed is None
    worker.deliver()
    (mail,) = [each.read_text() for each in (tmp_path / "outbox").glob("*.eml") if "removed" in each.read_text()
               or "no longer managed" in each.read_text()]  # fmt: skip
    text = plain(mail)
    assert words in text
    assert "Not touched: your photos, messages, personal apps" in text
    assert ("Removed: work apps" in text) == (reason != "given_up")
    with pytest.raises(Unenrolled):
        held.connect()


def plain(mail):
    from email import message_from_string, policy

    return " ".join(message_from_string(mail, policy=policy.default).get_body(("plain",)).get_content().split())


def test_helpdesk_reads_why_it_ended(app, company, portal, held, invitation, clock, staff):
    wiped(portal, held, company.device(invitation), invitation, clock)
    page = staff.get(f"/helpdesk/requests/{invitation.request.id}")
    assert "work data removed by staff" in page.text
    assert "invite again" in page.text


def test_a_german_reads_german(portal, company, held, invitation, worker, clock, tmp_path):
    with portal.database.transaction() as session:
        session.scalar(select(Person).where(Person.username == "erika")).locale = "de"
    held.remove()
    worker.deliver()
    mails = [each.read_text() for each in (tmp_path / "outbox").glob("*.eml")]
    assert any("Die IT hat sie nie gesehen" in plain(each) for each in mails)


def test_a_device_that_refuses_to_go_is_told_of_and_can_be_given_up(portal, company, held, invitation, clock, staff):
    held.mood = {"RemoveProfile": "Error"}
    device = company.device(invitation)
    with portal.database.transaction() as session:
        management.remove_work_data(Cases(session, portal).of_device(device.id), "iPhone", "helpdesk:x")
    held.connect()
    assert company.status(invitation) == "enrolled"
    page = staff.get(f"/helpdesk/requests/{invitation.request.id}")
    assert "to remove everything of work (work data removed by staff)" in page.text
    assert "Work data not removed yet" in staff.get("/helpdesk?attention=leaving").text
    staff.get(f"/helpdesk/devices/{device.id}")
    assert "RemoveProfile did not work." in staff.text
    hidden = staff.hidden(f"/helpdesk/devices/{device.id}/remove-work-data")
    give_up = f"/helpdesk/devices/{device.id}/give-up"
    assert staff.post(give_up, {**hidden, "confirm": "ipad"}).status == 422
    staff.post(give_up, {**hidden, "confirm": "iPhone"})
    assert company.status(invitation) == "removed"
    with pytest.raises(Unenrolled):
        held.connect()


def test_of_a_disabled_person_the_worker_takes_care_by_itself(portal, company, held, invitation, worker, clock):
    with portal.database.transaction() as session:
        closing.disable(
            Cases(session, portal), session.scalar(select(Person).where(Person.username == "erika")), "admin:x"
        )
    for _ in range(2):
        worker.every_minute()
    assert held.connect() == ["RemoveProfile"]
    assert [each for each in company.events(invitation) if each[0] == "device.asked_to_leave"] == [
        ("device.asked_to_leave", "person_disabled")
    ]


def test_a_device_silent_for_days_is_flagged(app, portal, company, held, invitation, clock, staff, configure):
    clock.forward(days=29, hours=23)
    fresh = Browser(app).staff_sign_in("helen", clock())
    assert "Erika" not in fresh.get("/helpdesk?attention=silent").text
    clock.forward(hours=2)
    fresh = Browser(app).staff_sign_in("helen", clock())
    assert "Erika" in fresh.get("/helpdesk?attention=silent").text
    assert "Erika" in fresh.get("/helpdesk?attention=any").text
    assert "has not been heard of for a long time" in fresh.get(f"/helpdesk/requests/{invitation.request.id}").text
    device = company.device(invitation)
    assert "Give the device up" in fresh.get(f"/helpdesk/devices/{device.id}").text
    configure(enrollment__silent_days=0)
    assert "Erika" not in fresh.get("/helpdesk?attention=silent").text
    configure(enrollment__silent_days=30)
    held.connect()
    assert "Erika" not in fresh.get("/helpdesk?attention=silent").text


def test_a_device_that_nobody_could_ask_is_not_asked_again_and_again(portal, company, held, invitation, worker, clock):
    clock.forward(hours=25)
    for _ in range(5):
        worker.every_minute()
        clock.forward(minutes=1)
    with portal.database.session() as session:
        waiting = session.scalars(select(Command).where(Command.status == "queued")).all()
    assert sorted(each.request_type for each in waiting) == [
        "CertificateList", "DeviceInformation", "ManagedApplicationList", "ProfileList",
    ]  # fmt: skip
    assert sorted(held.connect()) == sorted(each.request_type for each in waiting)


def test_nothing_is_mailed_of_a_device_that_was_never_enrolled(app, portal, company, invitation, clock):
    device = phone(app)
    device.obtain_identity(device.open_profile(company.profile(invitation)))
    device.authenticate()
    with portal.database.transaction() as session:
        ending.cancel(Cases(session, portal).lock(invitation.request.id), "helpdesk:x")
    with portal.database.session() as session:
        assert session.scalars(select(OutboxMessage).where(OutboxMessage.kind == "left")).all() == []
        assert session.scalars(select(Device.end_reason)).one() == "cancelled"
    with pytest.raises(Unenrolled):
        device.token_update()


def test_silence_is_told_from_the_last_word_not_from_the_enrollment(portal, company, held, invitation, clock):
    clock.forward(days=20)
    held.connect()
    clock.forward(days=20)
    device = company.device(invitation)
    assert not ending.silent(device, portal.settings, clock())
    assert ending.silent(device, portal.settings, clock() + timedelta(days=11))
