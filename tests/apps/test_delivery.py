"""An app that an admin gave reaches the phones of those who get it, with a license, once; and goes with it again."""

import contextlib
import plistlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from portal import clock, jobs
from portal.apps import deciding, delivering
from portal.apps.states import State
from portal.enrollment import management
from portal.lifecycle import closing
from portal.models import AuditEvent, Command, DeclarativeState, Device, DeviceApp, Membership, Person
from portal.people import audiences
from portal.people.audiences import Line
from portal.simulator.iphone import Unenrolled
from portal.storage import app_rounds, apps, rounds
from portal.storage.cases import Cases
from tests.apps.conftest import OFFERED

ERIKA = "erika@work.example.com"


def test_a_licensed_app_reaches_a_phone(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    assert held_apps.states(device) == {app: "license"}
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "Managed"}
    assert held_apps.location.holders(asset) == {ERIKA}
    assert held.apps.installed == [asset.bundle_id]
    assert (held_apps.seats(), held_apps.open_requests()) == ({"held": 1}, 0)


@pytest.mark.each_database
def test_the_command_waits_until_apple_has_given_the_license(held_apps, enrolled):
    held_apps.location.polls = 3
    _app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    while not held_apps.location.holders(asset):
        assert held.connect() == []
        held_apps.work()
    held_apps.work(20)
    assert held.connect() == ["InstallApplication"]


def test_the_worker_is_told_when_to_ask_a_device_how_far_an_app_is(held_apps, enrolled, monkeypatch):
    held_apps.add("Mail")
    held, _device = enrolled()
    for _ in range(3):
        held_apps.work(60)
    nudged = []
    monkeypatch.setattr(jobs, "nudge", lambda _settings, what=jobs.MAIL: nudged.append(what))
    assert held.connect() == ["InstallApplication"]
    assert jobs.POLICIES in nudged
    with held_apps.portal.database.session() as session:
        assert app_rounds.next_due(session) == clock.now() + deciding.LOOK_SOON


def test_it_is_asked_for_as_user_enrollment_wants_it(held_apps, enrolled, company):
    _app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    sent = []
    install = held.apps.install
    held.apps.install = lambda command: sent.append(command) or install(command)
    held_apps.until_settled(held)
    assert [
        {
            "RequestType": "InstallApplication",
            "iTunesStoreID": int(asset.adam_id),
            "Options": {"PurchaseMethod": 1},
            "ManagementFlags": 5,
        }
    ] == sent


def test_two_phones_of_somebody_use_one_license(held_apps, enrolled, company):
    _app, asset = held_apps.add("Mail", total=1)
    erika = company.person("erika")
    phones = [enrolled("erika", number, person=erika) for number in (0, 1)]
    held_apps.until_settled(*(held for held, _ in phones))
    assert [list(held_apps.states(device).values()) for _, device in phones] == [["Managed"], ["Managed"]]
    assert (len(held_apps.location.given), held_apps.location.twice) == (1, [])
    phones[0][0].remove()
    held_apps.until_settled(phones[1][0])
    assert held_apps.location.holders(asset) == {ERIKA}
    phones[1][0].remove()
    held_apps.until_settled()
    assert held_apps.location.given == set()


def test_without_a_free_license_it_waits_for_one(held_apps, enrolled):
    app, asset = held_apps.add("Mail", total=1)
    first, second = enrolled(), enrolled("max", 1)
    held_apps.until_settled(first[0], second[0])
    assert sorted(held_apps.states(device)[app] for _, device in (first, second)) == ["Managed", "no_license"]
    asset.total = 2
    held_apps.work(3700)
    held_apps.until_settled(first[0], second[0])
    assert [held_apps.states(device)[app] for _, device in (first, second)] == ["Managed", "Managed"]


def test_who_leaves_makes_room_for_the_next(held_apps, enrolled):
    app, asset = held_apps.add("Mail", total=1)
    (first, _), (second, waiting) = enrolled(), enrolled("max", 1)
    held_apps.until_settled(first, second)
    first.remove()
    held_apps.until_settled(second)
    held_apps.work(3700)
    held_apps.until_settled(second)
    assert held_apps.states(waiting) == {app: "Managed"}
    assert (held_apps.location.holders(asset), held_apps.location.twice) == ({"max@work.example.com"}, [])


def _wipe(portal, cases, case, held):
    management.remove_work_data(case, case.device.called, "helpdesk:test")


def _give_up(portal, cases, case, held):
    management.remove_work_data(case, case.device.called, "helpdesk:test")
    management.give_up(case, case.device.called, "helpdesk:test")


def _disable(portal, cases, case, held):
    closing.disable(cases, case.request.person, "admin:test")
    cases.session.flush()
    rounds.of_disabled_people(cases)


WAYS_OUT = {"wiped": _wipe, "given up": _give_up, "disabled": _disable}


@pytest.mark.each_database
@pytest.mark.parametrize("way", WAYS_OUT)
def test_every_way_out_gives_the_licenses_back(way, held_apps, enrolled, portal):
    held_apps.add("Mail")
    held_apps.add("Files")
    held, device = enrolled()
    held_apps.until_settled(held)
    assert len(held_apps.location.given) == 2
    with portal.database.transaction() as session:
        cases = Cases(session, portal)
        WAYS_OUT[way](portal, cases, cases.of_device(device), held)
    with contextlib.suppress(Unenrolled):
        held.connect()
    held_apps.until_settled()
    assert (held_apps.location.given, held_apps.seats()) == (set(), {})


def test_who_is_erased_is_unknown_to_apple_afterwards(held_apps, enrolled, portal):
    held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    held.remove()
    held_apps.erase("erika")
    held_apps.until_settled()
    held_apps.work(3700)
    held_apps.until_settled()
    assert [each["status"] for each in held_apps.location.users] == ["Retired"]
    with portal.database.session() as session:
        assert session.scalar(select(DeviceApp.device_id)) is None


def test_an_app_is_removed_from_the_phone_before_its_license_goes(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    held_apps.audience(app)
    held_apps.work()
    held_apps.work(60)
    assert held_apps.location.holders(asset) == {ERIKA}
    assert (held.connect(), held.apps.states) == (["RemoveApplication"], {})
    held_apps.until_settled(held)
    assert (held_apps.location.given, held_apps.states(device)) == (set(), {})


def test_taken_out_and_given_again_it_comes_again(held_apps, enrolled):
    app, _asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    held_apps.audience(app)
    held_apps.work()
    held_apps.audience(app, Line("in", "everybody"))
    held_apps.work()  # the removal was not fetched yet: it is not wanted any more
    held_apps.until_settled(held)
    assert (held_apps.states(device), list(held.apps.states.values())) == ({app: "Managed"}, ["Managed"])


def test_who_leaves_a_group_keeps_its_apps_for_a_day(held_apps, enrolled, portal, company, clock):
    erika = company.person("erika")
    with portal.database.transaction() as session:
        audiences.set_groups(session, erika.id, "ldap", ["Sales"])
    app, _asset = held_apps.add("Mail", audience=[Line("in", "group", "ldap:Sales")])
    held, device = enrolled(person=erika)
    held_apps.until_settled(held)
    clock.forward(days=1)
    with portal.database.transaction() as session:
        session.query(Membership).delete()
        audiences.mark(session, erika.id, clock())
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "Managed"}
    clock.forward(days=1)
    held_apps.until_settled(held)
    assert (held_apps.states(device), held.apps.states) == ({}, {})


def test_closing_the_room_takes_everything_back(held_apps, enrolled, configure):
    held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    configure(apps__enabled=False)
    held_apps.until_settled(held)
    assert (held.apps.states, held_apps.states(device), held_apps.location.given) == ({}, {}, set())


# --- its owner ---------------------------------------------------------------------------------------------------


def test_what_its_owner_says_is_the_end(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held.apps.owner[asset.bundle_id] = "reject"
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "UserRejected"}
    assert held.apps.installed == [asset.bundle_id]
    assert held_apps.location.given == set()  # the license is for somebody who wants it


def test_its_owner_may_let_it_wait_for_days(held_apps, enrolled, clock):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held.apps.owner[asset.bundle_id] = "later"
    for _ in range(6):
        held_apps.go_on(held, minutes=2)
        clock.forward(hours=9)
    assert held_apps.states(device) == {app: "Prompting"}
    held.apps.owner[asset.bundle_id] = "accept"
    held.connect()
    held_apps.until_settled(held)
    assert (held_apps.states(device), held.apps.installed) == ({app: "Managed"}, [asset.bundle_id])


def test_what_its_owner_installed_stays_theirs(held_apps, enrolled, company, portal):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held.apps.personal.add(asset.bundle_id)
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "UserInstalledApp"}
    assert (held.apps.states, held_apps.location.given) == ({}, set())
    with portal.database.session() as session:
        sent = session.scalars(select(Command.payload).where(Command.request_type == "InstallApplication")).all()
    assert len(sent) == 1
    assert b"ChangeManagementState" not in b"".join(sent)


def test_helpdesk_can_send_it_again(held_apps, enrolled, portal):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held.apps.owner[asset.bundle_id] = "reject"
    held_apps.until_settled(held)
    held.apps.owner[asset.bundle_id] = "accept"
    with portal.database.transaction() as session:
        delivering.send_again(Cases(session, portal).of_device(device), app, "helpdesk:test")
    held_apps.until_settled(held)
    assert (held_apps.states(device), held_apps.location.holders(asset)) == ({app: "Managed"}, {ERIKA})


def test_who_deletes_it_has_said_enough(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    held.apps.delete(asset.bundle_id)
    held.connect()
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "ManagedButUninstalled"}


def test_offered_apps_come_when_they_are_taken(held_apps, enrolled, portal, clock):
    app, _asset = held_apps.add("Mail", audience=OFFERED)
    held, device = enrolled()
    held_apps.until_settled(held)
    assert held_apps.states(device) == {}
    with portal.database.transaction() as session:
        erika = session.scalar(select(Person.id).where(Person.username == "erika"))
        assert apps.choose(session, erika, app, True, clock())
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "Managed"}
    with portal.database.transaction() as session:
        assert apps.choose(session, erika, app, False, clock())
    held_apps.until_settled(held)
    assert (held.apps.states, held_apps.location.given) == ({}, set())


def test_nobody_takes_what_they_are_not_offered(held_apps, enrolled, portal, clock):
    mail, _ = held_apps.add("Mail", audience=[Line("offered", "group", "ldap:Sales")])
    must, _ = held_apps.add("Files")
    enrolled()
    with portal.database.transaction() as session:
        erika = session.scalar(select(Person.id).where(Person.username == "erika"))
        for each in (mail, must, "nothing"):
            with pytest.raises(apps.NotOffered):
                apps.choose(session, erika, each, True, clock())


# --- the device ----------------------------------------------------------------------------------------------------


def test_a_license_that_is_not_there_yet_is_tried_again(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    answers = [False, False]
    held.apps.licensed = lambda adam_id: answers.pop() if answers else True
    held_apps.go_on(held, minutes=4)
    assert held_apps.states(device) == {app: "Failed"}
    for _ in range(3):
        held_apps.work(700)
        held_apps.go_on(held, minutes=3)
    assert (held_apps.states(device), held.apps.installed) == ({app: "Managed"}, [asset.bundle_id])


def test_what_always_fails_is_given_up_and_told(held_apps, enrolled, portal):
    app, _asset = held_apps.add("Mail")
    held, device = enrolled()
    held.apps.licensed = lambda adam_id: False
    for _ in range(12):
        held_apps.work(4000)
        held.connect()
    assert held_apps.reasons(device) == {app: "MCMDMErrorDomain 9610"}
    with portal.database.session() as session:
        kinds = list(session.scalars(select(AuditEvent.kind).where(AuditEvent.kind.like("app.%"))))
        sent = session.scalars(select(Command).where(Command.request_type == "InstallApplication")).all()
    assert kinds.count("app.failed") == 1
    assert len(sent) == 5  # once more after Apple was asked whether there is a license


def test_an_app_for_a_newer_ios_waits_for_it(held_apps, enrolled, portal):
    app, _asset = held_apps.add("Mail", minimum_ios="18.0")
    held, device = enrolled(ios="17.4")
    held_apps.until_settled(held)
    assert (held_apps.states(device), held_apps.reasons(device)) == ({app: "too_old"}, {app: "18.0"})
    assert held_apps.location.given == set()
    with portal.database.transaction() as session:
        session.get_one(Device, device).os_version = "18.1"
        audiences.mark_devices(session, [device], held_apps.ticks())
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "Managed"}


def test_an_app_of_the_companys_own_needs_no_license(held_apps, enrolled):
    address = "https://apps.example.com/tool.plist"
    app = held_apps.add_own("Tool", address)
    held, device = enrolled()
    held_apps.until_settled(held)
    assert (held_apps.states(device), held_apps.seats()) == ({app: "Managed"}, {})


def test_its_configuration_is_the_persons_and_never_waits_in_the_queue(held_apps, enrolled, portal):
    wanted = {"server": "mail.example.com", "user": "{email}", "secret": "hunter22"}
    vpn = "0A1B2C3D-0000-0000-0000-000000000001"
    behaviour = {"configuration": wanted, "removable": False, "vpn": vpn, "domains": ("applinks:example.com",)}
    app, asset = held_apps.add("Mail")
    held_apps.behave(app, **behaviour)
    held, _device = enrolled()
    held_apps.work()
    held_apps.work(10)
    held_apps.work(10)
    with portal.database.session() as session:
        waiting = session.scalars(select(Command).where(Command.app_id == app)).one()
        assert plistlib.loads(waiting.payload)["Command"] == {"RequestType": "InstallApplication"}
    held_apps.until_settled(held)
    assert held.apps.configurations[asset.bundle_id] == wanted | {"user": "erika@example.com"}
    attributes = {"Removable": False, "VPNUUID": vpn, "AssociatedDomains": ["applinks:example.com"]}
    assert held.apps.attributes[asset.bundle_id] == attributes


def test_a_changed_configuration_reaches_the_app_and_what_is_taken_out_goes(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held_apps.behave(app, configuration={"server": "old"}, removable=False)
    held, _device = enrolled()
    held_apps.until_settled(held)
    held_apps.behave(app, configuration={"server": "new"})
    held_apps.work()
    assert held.connect() == ["Settings"]
    assert held.apps.configurations[asset.bundle_id] == {"server": "new"}
    assert held.apps.attributes[asset.bundle_id] == {}
    assert held.apps.installed == [asset.bundle_id]


def test_a_phone_that_begins_anew_gets_them_anew(held_apps, enrolled, clock):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    clock.forward(hours=1)
    held.apps.forget()
    held.authenticate()
    held.token_update()
    held_apps.until_settled(held)
    assert (held_apps.states(device), held.apps.states) == ({app: "Managed"}, {asset.bundle_id: "Managed"})
    assert held_apps.location.twice == []


def test_what_a_phone_says_by_itself_is_looked_at_now(held_apps, enrolled, clock):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held.apps.owner[asset.bundle_id] = "later"
    for _ in range(4):
        held_apps.go_on(held, minutes=2)
        clock.forward(hours=9)
    held.connect()
    held.apps.owner[asset.bundle_id] = "accept"
    held.connect()  # its report says that the app is there now
    held_apps.work(5)
    held.connect()
    assert held_apps.states(device) == {app: "Managed"}


NAMES = st.text("abc.-é\x00", min_size=1, max_size=12) | st.just("com.example.mail")
STATUSES = st.sampled_from([*(each.value for each in State), "", "Other"]) | st.integers(-5, 5) | st.none()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, st.fixed_dictionaries({"Status": STATUSES}) | st.integers(0, 5), max_size=6), NAMES)
def test_nothing_of_what_is_personal_is_ever_kept(held_apps, one_phone, portal, entries, personal):
    held, device = one_phone
    known = "com.example.mail"
    plain = {name: each for name, each in entries.items() if "\x00" not in name}
    held.apps.listed = lambda command: {
        "Status": "Acknowledged",
        "ManagedApplicationList": {name: _writable(each) for name, each in plain.items()},
    }
    with portal.database.transaction() as session:
        management.read(Cases(session, portal).of_device(device), "helpdesk:test")
    held.declared.values["mdm.app"] = [{"identifier": name, "state": "managed"} for name in (*plain, "com.my.diary")]
    held.connect()
    held.declared.report(full=True)
    with portal.database.session() as session:
        kept = session.get_one(Device, device).apps
        lists = session.get_one(DeclarativeState, device).known["lists"].get("mdm.app", {})
    assert {each["Identifier"] for each in kept} | lists.keys() <= {known}


def _writable(entry):
    return {key: "" if value is None else value for key, value in entry.items()} if isinstance(entry, dict) else entry


@pytest.fixture
def one_phone(held_apps, enrolled):
    held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    return held, device
