"""Nothing removes the work data of many at once without a second person."""

import contextlib

import pytest
from sqlalchemy import select

from portal import audit, jobs, people
from portal import clock as portal_clock
from portal.credentials import api_tokens
from portal.credentials.base import AccountStatus
from portal.enrollment import ending, management
from portal.enrollment.errors import RemovalsHeld
from portal.events import Event
from portal.lifecycle import closing, leavers
from portal.models import Command, Device, Person
from portal.storage import brake, rounds
from portal.storage.brake import AT_LEAST
from portal.storage.cases import Cases
from tests.conftest import START, portals
from tests.factories import Company, editing, phone
from tests.pages import Browser

FLEET = 9


@pytest.fixture(scope="module")
def enrolled(template, tmp_path_factory):
    """A portal with people who have a managed device each, and their invitations by username; made once."""
    portal_clock.use(lambda: START)
    made = template.further(tmp_path_factory.mktemp("fleet"), enroll_all)
    portal_clock.use(None)
    yield made
    made[0].close()


def enroll_all(app):
    company, held = Company(app.extensions["portal"]), {}
    for number in range(FLEET):
        invitation = company.invite(company.person(f"person{number}"))
        phone(app, number % 4).install(company.profile(invitation))
        held[f"person{number}"] = invitation
    return held


@pytest.fixture
def make_app(enrolled, tmp_path, clock):
    yield from portals(enrolled[0], tmp_path)


@pytest.fixture
def fleet(enrolled):
    """People with a managed device each; their devices by username."""
    return enrolled[1]


@pytest.fixture
def admins(app, company, clock):
    company.person("ada", "admin")
    company.person("bob", "admin")
    return [Browser(app).staff_sign_in(name, clock()) for name in ("ada", "bob")]


@pytest.fixture
def worker(portal):
    made = jobs.Worker(portal.live.base)
    yield made
    made.database.engine.dispose()


def asked(portal):
    """How many devices were given the command that removes their work data."""
    with portal.database.session() as session:
        return len(session.scalars(select(Command.id).where(Command.request_type == "RemoveProfile")).all())


def kinds(company):
    return [each.kind for each in company.all_events()]


class Closing:
    """A directory that calls everybody disabled."""

    def account_status(self, username):
        return AccountStatus("disabled", username)


def all_from_the_directory(portal):
    with portal.database.transaction() as session:
        for person in session.scalars(select(Person).where(Person.role == "employee")):
            person.source, person.subject = "directory", person.username


def test_a_directory_that_calls_everybody_disabled_takes_few_and_stops(
    app, portal, company, fleet, admins, worker, clock
):
    all_from_the_directory(portal)
    leavers.check_accounts(portal.database, portal, Closing(), clock())
    clock.forward(minutes=1)
    for _ in range(3):
        worker.every_minute()
        clock.forward(minutes=1)
    assert asked(portal) == AT_LEAST
    assert kinds(company).count("removals.held") == 1
    assert kinds(company).count("device.removal_held") == FLEET - AT_LEAST
    page = admins[0].get("/admin")
    assert f"Removals are held: {FLEET - AT_LEAST} devices wait" in page.text
    clock.forward(hours=3)  # time alone releases nothing
    worker.every_minute()
    assert asked(portal) == AT_LEAST


def test_every_admin_is_told_by_mail(app, portal, company, fleet, admins, worker, clock, tmp_path):
    worker.every_minute()
    all_from_the_directory(portal)
    leavers.check_accounts(portal.database, portal, Closing(), clock())
    for _ in range(3):
        clock.forward(minutes=1)
        worker.every_minute()
    mails = [each.read_text() for each in (tmp_path / "outbox").glob("*.eml")]
    told = [each for each in mails if "removals are held" in each]
    assert sorted(to for each in told for to in ("ada@", "bob@") if f"To: {to}" in each) == ["ada@", "bob@"]


def hold(portal, fleet, company, clock, worker):
    all_from_the_directory(portal)
    leavers.check_accounts(portal.database, portal, Closing(), clock())
    worker.every_minute()
    assert asked(portal) == AT_LEAST


def test_two_admins_release_what_is_held(app, portal, company, fleet, admins, worker, clock):
    hold(portal, fleet, company, clock, worker)
    ada, bob = admins
    seen = ada.get("/admin").hidden("/admin/removals/approve")
    ada.submit("/admin/removals/approve")
    assert "You count as one of the two" in ada.text
    ada.post("/admin/removals/approve", seen)  # the same admin again
    worker.every_minute()
    assert asked(portal) == AT_LEAST
    bob.get("/admin").submit("/admin/removals/approve")
    assert "It goes on" in bob.text
    worker.every_minute()
    assert asked(portal) == FLEET
    assert kinds(company).count("removals.approved") == 1
    assert kinds(company).count("removals.released") == 1
    assert "Removals are held" not in bob.get("/admin").text
    worker.every_minute()
    assert asked(portal) == FLEET


def test_an_admin_who_asked_for_the_one_too_many_counts_as_one_of_the_two(app, portal, company, fleet, admins, clock):
    ada, bob = admins
    for invitation in fleet.values():
        device = company.device(invitation)
        ada.get(f"/helpdesk/devices/{device.id}")
        ada.submit(f"/helpdesk/devices/{device.id}/remove-work-data", confirm="iPhone")
    assert asked(portal) == AT_LEAST
    assert "is held" in ada.text
    assert "You count as one of the two" in ada.get("/admin").text
    bob.get("/admin").submit("/admin/removals/approve")
    with portal.database.transaction() as session:
        rounds.go_on(Cases(session, portal))
    assert asked(portal) == FLEET


def test_staff_who_end_one_too_many_are_told_that_nothing_is_removed_yet(app, portal, company, fleet, admins):
    ada, told = admins[0], []
    for invitation in fleet.values():
        ada.get(f"/helpdesk/requests/{invitation.request.id}")
        ada.submit(f"/helpdesk/requests/{invitation.request.id}/cancel")
        told.append(("then the enrollment is over" in ada.text, "its removal is held" in ada.text))
    assert told == [(True, False)] * AT_LEAST + [(False, True)] * (FLEET - AT_LEAST)
    assert "The removal of its work data is held" in ada.get(ada.path).text
    ada.get("/helpdesk?attention=held")
    assert len(ada.soup.select("a[href^='/helpdesk/requests/']")) == FLEET - AT_LEAST
    assert asked(portal) == AT_LEAST


NEW_WAYS_IN = {
    "added": ("person.added", "admin", {}),
    "promoted": ("person.role_changed", "admin", {}),
    "made one at the source": ("person.synced", "directory", {"changed": ["role"]}),
    "another mailbox at the source": ("person.synced", "directory", {"changed": ["email"]}),
    "another mailbox by hand": ("person.changed", None, {"changed": ["email", "name"]}),
    "second factor reset": ("second_factor.forgotten", None, {}),
    "password link": ("password.link_made", None, {}),
    "enabled again": ("person.enabled", None, {}),
    "mail goes elsewhere": ("settings.changed", "mail", {"changes": {"mail.host": ["a", "b"]}}),
    "another directory": ("settings.changed", "directory", {"changes": {"ldap.servers": [["a"], ["b"]]}}),
    "another provider": ("settings.changed", "import", {"changes": {"oidc.providers": [[], []]}}),
}
HARMLESS = {
    "an employee": ("person.added", "employee", {}),
    "no admin any more": ("person.role_changed", "helpdesk", {}),
    "another name by hand": ("person.changed", None, {"changed": ["name"]}),
    "another name at the source": ("person.synced", "directory", {"changed": ["name"]}),
    "a setting": ("settings.changed", "company", {"changes": {"company.name": ["a", "b"]}}),
}


@pytest.mark.parametrize("made", [*NEW_WAYS_IN, *HARMLESS])
def test_whoever_may_be_the_first_in_anothers_name_is_no_second_person(portal, company, fleet, worker, clock, made):
    """One admin's account could make the other it needs, or take over one that is there."""
    eve = company.person("eve", "admin")
    kind, reason, detail = (NEW_WAYS_IN | HARMLESS)[made]
    with portal.database.transaction() as session:
        audit.record(session, audit.SETTINGS, Event(kind), clock(), reason=reason, detail={"person": eve.id, **detail})
    clock.forward(hours=1)
    hold(portal, fleet, company, clock, worker)
    with portal.database.transaction() as session:
        if made in HARMLESS:
            assert brake.approve(session, f"admin:{eve.id}", brake.waiting(session), clock()).missing == 1
            return
        with pytest.raises(brake.NotTheSecond):
            brake.approve(session, f"admin:{eve.id}", brake.waiting(session), clock())
        assert brake.held(session).agreed == ()


def disable(portal, names, actor):
    with portal.database.transaction() as session:
        for name in names:
            closing.disable(Cases(session, portal), people.by_username(session, name), actor)


def test_who_agreed_to_one_device_did_not_agree_to_those_that_came_later(
    app, portal, company, fleet, admins, worker, clock
):
    """Otherwise one admin has everybody held, and uses another's word for a leaver of this morning."""
    names = list(fleet)
    disable(portal, names[: AT_LEAST + 1], "directory")
    worker.every_minute()
    ada, bob = admins
    assert "1 device" in ada.get("/admin").text
    ada.submit("/admin/removals/approve")
    assert "You count as one of the two" in ada.text
    seen_by_bob = bob.get("/admin").hidden("/admin/removals/approve")
    clock.forward(minutes=61)
    disable(portal, names[AT_LEAST + 1 :], "admin:bob")
    worker.every_minute()
    bob.staff_sign_in("bob", clock()).get("/admin")
    bob.post("/admin/removals/approve", bob.hidden("/admin/removals/approve") | {"shown": seen_by_bob["shown"]})
    assert "Meanwhile more removals are held" in bob.text
    for forged in ("²", "", "9", "9 2026-03-02T10:00:00", "9 x", "9 2026-03-02T10:00:00+00:00 "):
        bob.post("/admin/removals/approve", bob.hidden("/admin/removals/approve") | {"shown": forged})
        assert (bob.status, "Meanwhile more removals are held" in bob.text) == (200, True), forged
    bob.submit("/admin/removals/approve")
    assert "You count as one of the two" in bob.text
    worker.every_minute()
    assert asked(portal) == AT_LEAST
    ada.staff_sign_in("ada", clock()).get("/admin").submit("/admin/removals/approve")
    worker.every_minute()
    assert asked(portal) == FLEET


def approve(portal, actor, clock):
    with portal.database.transaction() as session:
        return brake.approve(session, actor, brake.waiting(session), clock())


def test_who_said_it_was_a_mistake_agrees_no_more(portal, company, fleet, worker, clock):
    hold(portal, fleet, company, clock, worker)
    approve(portal, "admin:ada", clock)
    with portal.database.transaction() as session:
        brake.keep(session, "admin:ada", clock())
    assert approve(portal, "admin:bob", clock).missing == 1


def test_who_is_enabled_again_keeps_their_work_data(portal, company, fleet, worker, clock):
    hold(portal, fleet, company, clock, worker)
    with portal.database.transaction() as session:
        held = session.scalars(select(Device).where(Device.is_held)).first()
        people.enable(editing(portal, session, clock()), session.get_one(Person, held.request.person_id))
    for name in ("admin:ada", "admin:bob"):
        approve(portal, name, clock)
    worker.every_minute()
    with portal.database.session() as session:
        assert session.get_one(Device, held.id).leaving_at is None
    assert asked(portal) == FLEET - 1


def test_nothing_is_held_any_more_once_all_are_enabled_again(portal, company, fleet, worker, clock):
    hold(portal, fleet, company, clock, worker)
    with portal.database.transaction() as session:
        for person in session.scalars(select(Person).where(Person.disabled_at.is_not(None))):
            people.enable(editing(portal, session, clock()), person)
    worker.every_minute()
    with portal.database.session() as session:
        assert brake.held(session) is None


def test_a_page_says_who_may_agree_instead(app, portal, company, fleet, worker, clock):
    eve = company.person("eve", "admin")
    with portal.database.transaction() as session:
        audit.record(session, audit.SETTINGS, Event.PERSON_ADDED, clock(), reason="admin", detail={"person": eve.id})
    hold(portal, fleet, company, clock, worker)
    browser = Browser(app).staff_sign_in("eve", clock())
    browser.get("/admin").submit("/admin/removals/approve")
    assert "removals release" in browser.text


def test_an_admin_made_just_now_does_not_count_as_the_asker_either(portal, company, fleet, clock):
    eve = company.person("eve", "admin")
    with portal.database.transaction() as session:
        audit.record(session, audit.SETTINGS, Event.PERSON_ADDED, clock(), reason="admin", detail={"person": eve.id})
    for invitation in fleet.values():
        with portal.database.transaction() as session:
            device = session.get_one(Device, company.device(invitation).id)
            ending.ask(Cases(session, portal).of_device(device.id), "selective_wipe", f"admin:{eve.id}")
    with portal.database.transaction() as session:
        assert brake.held(session).agreed == ()
        assert brake.approve(session, "admin:ada", brake.waiting(session), clock()).missing == 1


def test_saying_it_was_a_mistake_does_not_begin_the_hour_anew(portal, company, fleet, clock):
    """Otherwise one admin removes five, says so, and removes the next five."""
    done = 0
    for invitation in fleet.values():
        with portal.database.transaction() as session:
            brake.keep(session, "admin:ada", clock())
            device = session.get_one(Device, company.device(invitation).id)
            done += ending.ask(Cases(session, portal).of_device(device.id), "selective_wipe", "token:t")
    assert done == AT_LEAST
    with portal.database.transaction() as session:
        assert brake.keep(session, "admin:ada", clock()) == 1
        device = session.get_one(Device, company.device(list(fleet.values())[-1]).id)
        assert not ending.ask(Cases(session, portal).of_device(device.id), "selective_wipe", "token:t")


def removed_by(portal, company, fleet, clock, actor_of):
    """How many of the fleet's devices are asked to leave when the n-th is removed by actor_of(n)."""
    done = 0
    for number, invitation in enumerate(fleet.values()):
        with portal.database.transaction() as session:
            device = session.get_one(Device, company.device(invitation).id)
            done += ending.ask(Cases(session, portal).of_device(device.id), "selective_wipe", actor_of(number))
    return done


def test_many_hands_remove_no_more_than_a_few_while_it_is_held(portal, company, fleet, clock):
    """Who can make accounts has many; so few go through by hand, whoever's hand it is."""
    with portal.database.transaction() as session:
        brake._write(session, {"since": clock().isoformat(), "agreed": {}, "event": 0})
    assert removed_by(portal, company, fleet, clock, lambda number: f"helpdesk:made-up-{number}") == AT_LEAST


def test_another_role_is_no_other_hand(portal, company, fleet, clock):
    hand = lambda number: f"{'helpdesk' if number % 2 else 'admin'}:same"  # noqa: E731
    assert removed_by(portal, company, fleet, clock, hand) == AT_LEAST


def test_it_was_a_mistake_and_everybody_keeps_their_work_data(app, portal, company, fleet, admins, worker, clock):
    hold(portal, fleet, company, clock, worker)
    with portal.database.transaction() as session:
        for person in session.scalars(select(Person).where(Person.role == "employee")):
            people.enable(editing(portal, session, clock()), person)
    admins[0].get("/admin").submit("/admin/removals/keep")
    assert "Work data stays on the devices" in admins[0].text
    worker.every_minute()
    assert asked(portal) == AT_LEAST
    with portal.database.session() as session:
        assert brake.held(session) is None
        assert session.scalars(select(Device).where(Device.leaving_held_at.is_not(None))).all() == []


def test_whoever_is_still_disabled_stays_held(portal, company, fleet, worker, clock):
    hold(portal, fleet, company, clock, worker)
    with portal.database.transaction() as session:
        assert brake.keep(session, "admin:x", clock()) == 0
        assert brake.held(session) is not None


def test_helpdesk_still_ends_single_enrollments_by_hand(app, portal, company, fleet, worker, clock):
    """The directory set the brake; one lost phone must not wait. Five of them are enough in an hour, though."""
    for name in list(fleet)[5:]:
        with portal.database.transaction() as session:
            person = session.scalar(select(Person).where(Person.username == name))
            person.source = "nowhere"  # the directory does not speak for these
    with portal.database.transaction() as session:
        for name in list(fleet)[:5]:
            closing.disable(Cases(session, portal), people.by_username(session, name), "directory")
    worker.every_minute()
    assert asked(portal) == AT_LEAST
    with portal.database.transaction() as session:
        device = session.get_one(Device, company.device(fleet["person5"]).id)
        assert not ending.ask(Cases(session, portal).of_device(device.id), "person_disabled", "system")
        assert brake.held(session) is not None
        device = session.get_one(Device, company.device(fleet["person6"]).id)
        staff = "helpdesk:hilda"
        management.remove_work_data(Cases(session, portal).of_device(device.id), "iPhone", staff)
    assert asked(portal) == AT_LEAST + 1


@pytest.mark.parametrize("way", ["page", "api", "give up"])
def test_whoever_asks_and_however_the_limit_is_the_same(app, portal, company, fleet, clock, way):
    done = 0
    for invitation in fleet.values():
        with portal.database.transaction() as session:
            device = session.get_one(Device, company.device(invitation).id)
            actor = {"page": "admin:ada", "api": "token:t", "give up": "admin:ada"}[way]
            if way == "give up":
                with contextlib.suppress(RemovalsHeld):
                    staff = actor
                    management.give_up(Cases(session, portal).of_device(device.id), "iPhone", staff)
                    done += 1
            else:
                done += ending.ask(Cases(session, portal).of_device(device.id), "selective_wipe", actor)
    assert done == AT_LEAST


def test_an_hour_later_the_same_number_goes_through_again(portal, company, fleet, clock):
    devices = [company.device(each).id for each in fleet.values()]

    def ask(device_id):
        with portal.database.transaction() as session:
            device = session.get_one(Device, device_id)
            return ending.ask(Cases(session, portal).of_device(device.id), "selective_wipe", "system")

    assert all(ask(each) for each in devices[: AT_LEAST - 1])
    clock.forward(minutes=61)
    assert all(ask(each) for each in devices[AT_LEAST - 1 :])


def test_while_removals_are_held_nobody_more_is_disabled_by_the_directory(portal, company, fleet, worker, clock):
    hold(portal, fleet, company, clock, worker)
    with portal.database.transaction() as session:
        for person in session.scalars(select(Person)):
            person.disabled_at, person.synced_at = None, None
    assert leavers.check_accounts(portal.database, portal, Closing(), clock()) == 0


def test_the_server_releases_where_there_is_one_admin(app, portal, company, fleet, worker, clock):
    hold(portal, fleet, company, clock, worker)
    done = app.test_cli_runner().invoke(args=["removals", "release"])
    assert (done.exit_code, str(FLEET - AT_LEAST) in done.output) == (0, True)
    worker.every_minute()
    assert asked(portal) == FLEET


def test_monitoring_counts_what_is_held(app, portal, company, fleet, worker, clock):
    hold(portal, fleet, company, clock, worker)
    with portal.database.transaction() as session:
        token = api_tokens.make(editing(portal, session, clock()), "x", ["metrics"])
    text = app.test_client().get("/metrics", headers={"Authorization": f"Bearer {token}"}).get_data(as_text=True)
    assert f"\nportal_removals_held {FLEET - AT_LEAST}\n" in text
