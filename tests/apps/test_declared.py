"""Apps by declaration, where an admin chose that: iOS 17.2 and later, never both ways."""

import pytest
from sqlalchemy import func, select

from portal import jobs
from portal.apps import delivering
from portal.events import Event
from portal.models import AuditEvent, Command
from portal.storage import policy_rounds
from portal.storage.cases import Cases

ERIKA = "erika@work.example.com"


def trail(portal):
    with portal.database.session() as session:
        return session.scalar(select(func.count()).select_from(AuditEvent))


@pytest.fixture
def declared(held_apps, configure):
    configure(apps__declared=True)
    return held_apps


def commands(portal):
    with portal.database.session() as session:
        kinds = session.scalars(select(Command.request_type))
        return {each for each in kinds if "Application" in each and each != "ManagedApplicationList"}


def test_an_app_arrives_by_declaration_and_goes_before_its_license(declared, enrolled, portal):
    app, asset = declared.add("Mail")
    held, device = enrolled()
    declared.until_settled(held)
    assert declared.states(device) == {app: "Managed"}
    assert (commands(portal), declared.location.holders(asset)) == (set(), {ERIKA})
    (told,) = [each["told"] for each in held.apps.declared.values()]
    assert told["InstallBehavior"] == {"Install": "Required", "License": {"Assignment": "User"}}
    declared.audience(app)
    declared.work()
    assert declared.location.holders(asset) == {ERIKA}
    held.connect()
    assert held.apps.declared == {}
    declared.until_settled(held)
    assert (declared.location.given, declared.states(device), commands(portal)) == (set(), {}, set())


def test_while_a_device_does_not_come_its_license_stays(declared, enrolled):
    app, asset = declared.add("Mail")
    held, _ = enrolled()
    declared.until_settled(held)
    declared.audience(app)
    for _ in range(5):
        declared.work(600)
    assert declared.location.holders(asset) == {ERIKA}
    held.connect()
    declared.until_settled(held)
    assert declared.location.given == set()


@pytest.mark.parametrize("ios", ["16.7", "17.1"])
def test_an_older_ios_gets_it_by_command(ios, declared, enrolled, portal):
    app, _ = declared.add("Mail")
    held, device = enrolled(ios=ios)
    declared.until_settled(held)
    assert (declared.states(device), held.apps.declared) == ({app: "Managed"}, {})
    assert commands(portal) == {"InstallApplication"}


def test_an_app_with_a_configuration_comes_by_command(declared, enrolled, portal):
    app, asset = declared.add("Mail")
    declared.behave(app, configuration={"a": "b"})
    held, device = enrolled()
    declared.until_settled(held)
    assert (declared.states(device), held.apps.declared) == ({app: "Managed"}, {})
    assert held.apps.configurations[asset.bundle_id] == {"a": "b"}


def test_what_came_by_command_stays_so(held_apps, enrolled, configure, portal):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    configure(apps__declared=True)
    held_apps.behave(app, removable=False)
    held_apps.until_settled(held)
    assert (held_apps.states(device), held.apps.declared) == ({app: "Managed"}, {})
    assert held.apps.attributes[asset.bundle_id] == {"Removable": False}
    configure(apps__declared=False)
    held_apps.until_settled(held)
    assert held.apps.installed == [asset.bundle_id]


@pytest.mark.parametrize(
    ("owner", "state"), [("reject", "UserRejected"), ("later", "Prompting"), ("has it", "UserInstalledApp")]
)
def test_what_its_owner_says_counts(owner, state, declared, enrolled):
    app, asset = declared.add("Mail")
    held, device = enrolled()
    held.apps.owner[asset.bundle_id] = owner
    held.apps.personal |= {asset.bundle_id} if owner == "has it" else set()
    declared.until_settled(held)
    assert declared.states(device) == {app: state}
    assert bool(declared.location.given) == (owner == "later")


def test_sent_again_it_is_declared_anew(declared, enrolled, portal):
    app, asset = declared.add("Mail")
    held, device = enrolled()
    held.apps.owner[asset.bundle_id] = "reject"
    declared.until_settled(held)
    held.apps.owner[asset.bundle_id] = "accept"
    with portal.database.transaction() as session:
        delivering.send_again(Cases(session, portal).of_device(device), app, "helpdesk:test")
    declared.until_settled(held)
    assert (declared.states(device), declared.location.holders(asset)) == ({app: "Managed"}, {ERIKA})


@pytest.mark.each_database
def test_all_devices_compared_none_is_told_twice(declared, enrolled, portal, clock, company):
    declared.add("Mail")
    held, _ = enrolled()
    declared.until_settled(held)
    company.portal.live.refresh(0)
    with portal.database.transaction() as session:
        session.merge(policy_rounds.PortalState(name=policy_rounds.PLANNED, value="another"))
    assert policy_rounds.mark_devices(portal.database, portal.settings, clock()) == 0


def test_a_configuration_added_later_is_not_lost_silently(declared, enrolled):
    app, _ = declared.add("Mail")
    held, device = enrolled()
    declared.until_settled(held)
    declared.behave(app, configuration={"a": "b"})
    declared.until_settled(held)
    assert (declared.states(device), declared.reasons(device)) == ({app: "Managed"}, {app: "no_configuration"})


def test_what_failed_for_want_of_a_license_is_declared_anew_and_once_more_after_apple_was_asked(
    declared, enrolled, portal
):
    app, _ = declared.add("Mail")
    held, device = enrolled()
    held.apps.licensed = lambda adam_id: False
    declared.go_on(held, minutes=4)
    for _ in range(6):
        declared.work(3700)
        held.connect()
    assert (declared.states(device), declared.reasons(device)) == ({app: "Failed"}, {app: "Error.LicenseNotFound"})
    with portal.database.session() as session:
        events = list(session.scalars(select(AuditEvent.kind)))
    assert (events.count(Event.APP_ASKED), events.count(Event.APP_FAILED)) == (5, 1)


def test_a_list_of_what_came_by_command_says_nothing_of_declared_apps(declared, enrolled):
    app, asset = declared.add("Mail")
    by_command, other = declared.add("Notes")
    declared.behave(by_command, configuration={"a": "b"})
    held, device = enrolled()
    declared.until_settled(held)
    held.apps.states.pop(asset.bundle_id, None)
    held.apps.owner[other.bundle_id] = "reject"
    declared.until_settled(held)
    assert declared.states(device) == {app: "Managed", by_command: "Managed"}


def test_a_device_may_report_as_often_as_it_likes_without_keeping_the_worker_busy(declared, enrolled, monkeypatch):
    declared.add("Mail")
    held, _device = enrolled()
    declared.until_settled(held)
    nudged = []
    monkeypatch.setattr(jobs, "nudge", lambda _settings, what=jobs.MAIL: nudged.append(what))
    entry = held.apps.declared_list()[0]
    for state in ("installing", "prompting") * 3:
        held.declared.values["app.managed.list"] = [{**entry, "state": state}]
        held.declared.report()
    assert nudged == []


def test_a_device_that_changes_its_mind_about_declared_apps_fills_no_trail(declared, enrolled, portal):
    _, asset = declared.add("Mail")
    held, _ = enrolled()
    declared.until_settled(held)
    before = trail(portal)
    for turn in range(12):
        held.apps.owner[asset.bundle_id] = "reject" if turn % 2 else "accept"
        held.apps.ask_owner()
        held.declared.values["app.managed.list"] = held.apps.declared_list()
        held.declared.report()
        held.connect()
    assert trail(portal) - before <= 3
