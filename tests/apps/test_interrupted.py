"""What was under way when something else came: nothing stays half done, nothing is given or taken twice."""

import threading

import pytest
from sqlalchemy import delete, select, update

from portal import people
from portal.apps import deciding, delivering, listening, progress, states
from portal.apps.origin import Origin
from portal.apps.states import State
from portal.backends import sending
from portal.enrollment import management
from portal.lifecycle import closing
from portal.models import AuditEvent, Command, Device, DeviceApp, LicenseSeat, LicenseUser, Membership
from portal.people import audiences
from portal.people.audiences import Line
from portal.storage import brake, rounds
from portal.storage.cases import Cases
from portal.storage.licenses import needs
from portal.versions import version_of
from tests.apps.conftest import EVERYBODY
from tests.factories import editing
from tests.orders import answer, fetch_one
from tests.pages import Browser

DAY = 90_000
"""Seconds, and some hours more."""
ANOTHER_SERVER = {"id": "other", "name": "Other MDM", "metadata": ""}


def later(held_apps, *phones, days=5):
    """Days go by."""
    for _ in range(days):
        held_apps.work(DAY)
        for held in phones:
            held.connect()


def rows(held_apps):
    with held_apps.portal.database.session() as session:
        return [(each.state, each.wanted) for each in session.scalars(select(DeviceApp))]


def as_staff(app, company, clock, path):
    company.person("admin", role="admin")
    return Browser(app).staff_sign_in("admin", clock()).get(path)


# --- the device ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declarative", [True, False])
def test_an_app_taken_away_while_it_is_being_installed_goes_all_the_same(held_apps, enrolled, configure, declarative):
    configure(mdm__declarative=declarative)
    app, _asset = held_apps.add("Mail")
    held, _device = enrolled()
    order = fetch_one(held_apps.work, held, "InstallApplication")
    held_apps.audience(app)
    held_apps.work(2)
    answer(held, order)
    later(held_apps, held)
    assert (rows(held_apps), held.apps.states, held_apps.location.given) == ([], {}, set())


def test_an_app_taken_away_while_it_is_being_configured_goes_all_the_same(held_apps, enrolled):
    app, _asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    held_apps.behave(app, configuration={"a": "b"})
    order = fetch_one(held_apps.work, held, "Settings")
    held_apps.audience(app)
    held_apps.work(2)
    answer(held, order)
    later(held_apps, held)
    assert (rows(held_apps), held.apps.states, held_apps.location.given) == ([], {}, set())


@pytest.mark.parametrize("how", ["lost", "unreadable", "refused"])
def test_an_installation_that_came_to_nothing_is_sent_again(held_apps, enrolled, portal, how):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.go_on(minutes=3)  # it is queued; the phone is off
    if how != "refused":
        fetch_one(held_apps.work, held, "InstallApplication")
    if how == "unreadable":
        body = b"<plist><dict>"
        headers = {"Mdm-Signature": held.signature(body)}
        assert held.http.put(held.mdm["ServerURL"], content=body, headers=headers).status_code == 200
    with portal.database.transaction() as session:
        case = Cases(session, portal).of_device(device)
        command = session.scalars(select(Command).where(Command.app_id == app)).first()
        if how == "lost":
            command.status = "answer_lost"
            listening.lost(case, command)
        elif how == "refused":
            sending.refused(Cases(session, portal), command.id, device, "no such device")
            assert command.status == "failed"
        assert not held.apps.installed
    held_apps.until_settled(held)
    assert held.apps.installed == [asset.bundle_id]
    assert rows(held_apps) == [("Managed", True)]


@pytest.mark.parametrize("how", ["error", "item", "lost"])
def test_how_an_app_is_to_behave_is_told_again_if_it_was_not_taken(held_apps, enrolled, portal, how):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    held_apps.behave(app, configuration={"server": "new"})
    order = fetch_one(held_apps.work, held, "Settings")
    if how == "lost":
        with portal.database.transaction() as session:
            case = Cases(session, portal).of_device(device)
            command = session.scalars(select(Command).where(Command.uuid == order["CommandUUID"])).one()
            command.status = "answer_lost"
            listening.lost(case, command)
    elif how == "error":
        answer(held, order, Status="Error", ErrorChain=[{"ErrorCode": 12011, "ErrorDomain": "MCMDMErrorDomain"}])
    else:
        answer(held, order, Status="Acknowledged", Settings=[{"Item": "ApplicationConfiguration", "Status": "Error"}])
    assert held.apps.configurations == {asset.bundle_id: {}}
    held_apps.go_on(held, minutes=4)
    assert held.apps.configurations == {asset.bundle_id: {"server": "new"}}


def test_a_device_that_never_takes_it_is_not_told_for_ever(held_apps, enrolled):
    app, _asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    asked = []
    held.apps.settings = lambda items: asked.append(items) or {"Status": "Error", "ErrorChain": []}
    held_apps.behave(app, configuration={"server": "new"})
    held_apps.until_settled(held)
    later(held_apps, held)
    assert len(asked) == 4
    held_apps.behave(app, configuration={"server": "newer"})
    held_apps.go_on(held, minutes=2)
    assert len(asked) == 6  # and as often again


@pytest.fixture
def in_grace(held_apps, enrolled, portal, company, clock):
    """A phone whose owner just left the group that the app is for; the phone, and what ends the test's day."""
    erika = company.person("erika")
    with portal.database.transaction() as session:
        audiences.set_groups(session, erika.id, "ldap", ["Sales"])
    app, _asset = held_apps.add("Mail", audience=[Line("in", "group", "ldap:Sales")])
    held, _device = enrolled(person=erika)
    held_apps.until_settled(held)
    clock.forward(days=1)

    def leave():
        with portal.database.transaction() as session:
            session.execute(delete(Membership))
            audiences.mark(session, erika.id, clock())
        held_apps.go_on(held, minutes=1)
        assert rows(held_apps) == [("Managed", False)]

    return held, app, leave


def test_an_update_within_the_day_of_grace_does_not_end_it(held_apps, in_grace):
    held, _app, leave = in_grace
    leave()
    reported = held.apps.reported
    held.apps.reported = lambda: [{**each, "short-version": "2.0"} for each in reported()]
    held_apps.go_on(held, minutes=4)
    assert rows(held_apps) == [("Managed", False)]
    later(held_apps, held, days=2)
    assert (rows(held_apps), held.apps.states) == ([], {})


def test_a_command_dropped_within_the_day_of_grace_does_not_end_it(held_apps, in_grace):
    held, app, leave = in_grace
    held_apps.behave(app, configuration={"a": "b"})
    held_apps.work(5)  # it is queued; the phone is off for an hour
    held_apps.work(3600)
    leave()
    held_apps.go_on(held, minutes=4)
    assert rows(held_apps) == [("Managed", False)]
    assert list(held.apps.configurations.values()) == [{}]


def test_a_phone_that_begins_anew_gets_what_its_owner_declined_before(held_apps, enrolled):
    _app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    held.apps.owner[asset.bundle_id] = "reject"
    held_apps.until_settled(held)
    assert rows(held_apps) == [("UserRejected", True)]
    held.apps.forget()
    held.apps.owner.clear()
    held.authenticate()
    held.token_update()
    held_apps.until_settled(held)
    assert rows(held_apps) == [("Managed", True)]
    assert held_apps.seats() == {"held": 1}


def test_what_fails_after_it_was_there_is_tried_again(held_apps, enrolled, portal, configure):
    configure(mdm__declarative=False)
    _app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    held.apps.states[asset.bundle_id] = "Failed"
    with portal.database.transaction() as session:
        management.read(Cases(session, portal).of_device(device), "helpdesk:test")
    held_apps.go_on(held, minutes=5)
    assert held.apps.installed == [asset.bundle_id] * 2
    assert rows(held_apps) == [("Managed", True)]


def test_helpdesk_reads_that_it_is_tried_again_only_while_it_is(app, held_apps, enrolled, company, clock):
    held_apps.add("Mail")
    held, device = enrolled()
    held.apps.licensed = lambda adam_id: False
    held_apps.go_on(held, minutes=3)
    page = as_staff(app, company, clock, f"/helpdesk/devices/{device}")
    assert "no license for it. (MCMDMErrorDomain 9610) It is tried again by itself." in page.text
    later(held_apps, held)
    page.staff_sign_in("admin", clock()).get(f"/helpdesk/devices/{device}")
    assert "no license for it. (MCMDMErrorDomain 9610)" in page.text
    assert "tried again by itself" not in page.text


def test_one_question_is_asked_about_all_apps_that_wait_for_their_owner(held_apps, enrolled, portal):
    names = [held_apps.add(f"App {number}")[1].bundle_id for number in range(10)]
    held, _device = enrolled()
    held.apps.owner = dict.fromkeys(names, "later")
    held_apps.until_settled(held)
    with portal.database.session() as session:
        kinds = list(session.scalars(select(Command.request_type)))
    assert kinds.count("InstallApplication") == 10
    assert 0 < kinds.count("ManagedApplicationList") < 8


def test_an_app_ended_and_added_again_stays_on_the_phone(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    held_apps.end(app)
    held_apps.work(2)
    removal = held.apps.remove
    held.apps.remove = lambda name: {"Status": "Error", "ErrorChain": []}
    held.connect()
    held.apps.remove = removal
    again = held_apps._add(Origin(adam_id=asset.adam_id), asset.bundle_id, "Mail", asset.minimum_ios, EVERYBODY, None)
    held_apps.until_settled(held)
    later(held_apps, held)
    assert held.apps.states == {asset.bundle_id: "Managed"}
    assert list(held_apps.states(_device)) == [again]


@pytest.mark.parametrize(("told", "needed"), [("18.0", "18.0.0"), ("18", "18.0"), ("18.1", "18.0.9")])
def test_an_ios_is_as_new_however_it_is_written(told, needed):
    assert version_of(told) >= version_of(needed)
    assert version_of("17.9") < version_of(needed)


# --- Apple -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["expired", "revoked"])
@pytest.mark.parametrize("asks", ["/users/create", "/assets/associate", "/assets/disassociate"])
def test_a_token_that_ends_between_two_looks_stops_the_round_at_once(held_apps, enrolled, asks, state):
    held_apps.add("Mail")
    files, _asset = held_apps.add("Files", audience=())
    held, _device = enrolled()
    held_apps.until_settled(held)
    if asks == "/users/create":
        enrolled("max", 1)
    elif asks == "/assets/associate":
        held_apps.audience(files, *EVERYBODY)
    else:
        held.remove()
        held_apps.work(3)
    location = held_apps.location
    location.tokens = dict.fromkeys(location.tokens, state)
    before = len(location.calls)
    for _ in range(7):
        held_apps.work(60)
    assert held_apps.known().problem == "token"
    assert len(location.calls) - before == 1
    held_apps.upload()
    for _ in range(8):
        held_apps.work(60)
    assert held_apps.open_requests() == 0
    assert set(held_apps.seats()) <= {"held"}


@pytest.mark.parametrize("needed", [True, False])
def test_what_apple_did_while_another_server_claims_the_location_is_not_forgotten(held_apps, enrolled, needed):
    location = held_apps.location
    held_apps.add("Mail")
    app, asset = held_apps.add("Files", audience=())
    held, _device = enrolled()
    held_apps.until_settled(held)
    own = dict(location.config["mdmInfo"])
    location.config["mdmInfo"] = ANOTHER_SERVER
    held_apps.audience(app, *EVERYBODY)
    held_apps.work(3)
    held_apps.work(3)
    location.settle()
    assert (held_apps.known().problem, location.holders(asset)) == ("claimed", {"erika@work.example.com"})
    if not needed:
        held_apps.audience(app)
    location.config["mdmInfo"] = own
    held_apps.upload()
    held_apps.until_settled(held)
    later(held_apps, held)
    assert location.twice == []
    assert location.holders(asset) == ({"erika@work.example.com"} if needed else set())


def test_a_request_of_which_nothing_can_be_read_stops_no_other(held_apps, enrolled):
    held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    location, answered = held_apps.location, held_apps.location._answered
    held_apps.add("Files")
    location.loses.add("/assets/associate")
    held_apps.work(3)
    held_apps.work(3)

    def refuses_to_tell(method, path, query, body, environ):
        if path.endswith("/assignments"):
            return 400, {"errorNumber": 9602, "errorMessage": "not that"}
        return answered(method, path, query, body, environ)

    location._answered = refuses_to_tell
    other, _device = enrolled("max", 1)
    for _ in range(5):
        held_apps.work(3600)
        other.connect()
    assert all("max@work.example.com" in location.holders(each) for each in location.assets.values())
    location._answered = answered
    held_apps.until_settled(held, other)
    assert held_apps.seats() == {"held": 4}


def test_a_token_that_ended_does_not_stop_the_one_that_was_saved_meanwhile(held_apps, enrolled):
    held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    held_apps.add("Files")
    location = held_apps.location
    old = next(iter(location.tokens))

    def ends_and_is_replaced():
        del location.mood["/assets"]
        location.tokens[old] = "expired"
        held_apps.upload()
        return 200, {"errorNumber": 9621, "errorMessage": "expired"}

    location.mood["/assets"] = ends_and_is_replaced
    held_apps.work(3700)
    assert list(location.tokens.values()) == ["expired", "good"]
    assert held_apps.known().problem == ""
    held_apps.until_settled(held)
    assert held_apps.seats() == {"held": 2}


def test_nobody_is_taken_for_somebody_else_at_apple(held_apps, enrolled):
    """Apple names one user, whatever account it is asked about."""
    location = held_apps.location
    _app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    users = location._users
    location._users = lambda query: users({key: value for key, value in query.items() if key != "managedAppleId"})
    location._create = lambda user: [
        {"errorNumber": 9602, "errorMessage": "no", "errorInfo": {"clientUserIds": [user["clientUserId"]]}}
    ]
    other, _device = enrolled("max", 1)
    held_apps.until_settled(held, other)
    other.remove()
    held_apps.until_settled(held)
    later(held_apps, held)
    assert location.holders(asset) == {"erika@work.example.com"}
    assert held_apps.seats() == {"held": 1}


def test_everybody_is_looked_at_once_a_day_and_not_at_each_count(held_apps, enrolled, clock, monkeypatch):
    held_apps.add("Mail")
    phones = [enrolled(name, number)[0] for number, name in enumerate(("erika", "max", "otto"))]
    held_apps.until_settled(*phones)
    clock.forward(days=2)
    held_apps.work(1)
    held_apps.work(1)
    looked_at, decide = [], needs.decide
    monkeypatch.setattr(needs, "decide", lambda session, now: looked_at.append(decide(session, now)) or looked_at[-1])
    for _ in range(22):
        held_apps.work(3600)
    assert sum(looked_at) == 0
    for _ in range(4):
        held_apps.work(3600)
    assert sum(looked_at) == 3


def test_a_license_that_apple_is_taking_back_from_somebody_who_comes_back_is_given_again(held_apps, enrolled, portal):
    _app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    location = held_apps.location
    held.remove()
    location.polls = 10**6  # Apple takes its time
    for _ in range(8):
        held_apps.work(60)
    assert held_apps.seats() == {"returning": 1}
    held_apps.erase("erika")
    location.polls = 1
    held, _device = enrolled(number=1)
    for _ in range(4):
        held_apps.work(60)
    location.settle()
    held_apps.until_settled(held)
    assert location.holders(asset) == {"erika@work.example.com"}
    assert rows(held_apps) == [("Managed", True)]


@pytest.mark.each_database
def test_who_comes_back_while_apple_is_giving_them_up_waits_until_it_did(held_apps, enrolled, portal):
    """Otherwise their license is given to an id that Apple gives up a moment later."""
    _app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    location = held_apps.location
    held.remove()
    for _ in range(8):
        held_apps.work(60)
    assert held_apps.seats() == {}
    held_apps.erase("erika")
    location.polls = 10**6  # Apple takes its time
    held_apps.work(3600)
    [retiring] = [each for each in location.events.values() if not each.over]
    assert retiring.kind == "RETIRE"
    location.polls = 1
    held, _device = enrolled(number=1)
    held_apps.until_settled(held)
    assert location.holders(asset) == set()
    location.settle()
    later(held_apps, held)
    assert location.holders(asset) == {"erika@work.example.com"}
    assert rows(held_apps) == [("Managed", True)]


def test_of_two_kinds_of_licenses_the_one_that_is_to_be_had_is_given(held_apps, enrolled):
    _app, asset = held_apps.add("Mail", total=5)
    location, told = held_apps.location, held_apps.location._asset

    def two_kinds():
        used_up = {"pricingParam": "PLUS", "totalCount": 5, "availableCount": 0, "assignedCount": 5}
        return 200, {"assets": [told(asset), told(asset) | used_up]}

    location.mood["/assets"] = two_kinds
    held, _device = enrolled()
    held_apps.until_settled(held)
    assert rows(held_apps) == [("Managed", True)]


# --- two at a time ---------------------------------------------------------------------------------------------------


def at_the_same_time(portal, devices, meeting):
    """Have each device get what its owner is to have; they meet before they commit. What went wrong."""
    problems = []

    def tell(device):
        try:
            with portal.database.transaction() as session:
                delivering.settle(Cases(session, portal).of_device(device))
                session.flush()
                meeting()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=tell, args=(device,)) for device in devices]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    return problems


@pytest.mark.each_database
@pytest.mark.parametrize("known", [True, False])
def test_two_phones_of_one_person_told_at_the_same_time_wait_in_no_ring(held_apps, enrolled, company, portal, known):
    erika = company.person("erika")
    devices = [enrolled(number=number, person=erika)[1] for number in (0, 1)]
    if known:
        held_apps.add("Mail")
        held_apps.until_settled()
        with portal.database.transaction() as session:
            session.execute(update(DeviceApp).values(license_user_id=None))
    held_apps.add("Files")
    barrier = threading.Barrier(2, timeout=5)
    together = known and portal.database.engine.dialect.name == "postgresql"  # SQLite has one writer at a time
    assert at_the_same_time(portal, devices, barrier.wait if together else lambda: None) == []
    with portal.database.session() as session:
        assert len(session.scalars(select(LicenseUser)).all()) == 1


@pytest.mark.each_database
def test_what_failed_for_some_is_believed_of_nobody_else(held_apps, enrolled):
    """Apple names whom it failed for; whether it was done for the others is read."""
    held_apps.location.all_or_nothing = True
    held, _device = enrolled()
    held_apps.until_settled(held)
    _mail, asset = held_apps.add("Mail")
    held_apps.add("Notes", refuses=9707)
    for _ in range(4):
        held_apps.work(60)
        held.connect()
    assert held_apps.location.holders(asset) == {"erika@work.example.com"}
    assert held_apps.seats() == {"held": 1, "failed": 1}
    assert held_apps.location.twice == []


def test_who_is_made_known_beside_somebody_who_fails_is_not_believed_to_be(held_apps, enrolled):
    held_apps.location.all_or_nothing = True
    _mail, asset = held_apps.add("Mail")
    for client in ("one", "two"):  # an account that Apple knows twice is nobody's to adopt
        held_apps.location.users.append(
            {"clientUserId": client, "managedAppleId": "max@work.example.com", "status": "Associated"}
        )
    phones = [enrolled()[0], enrolled("max", 1)[0]]
    for _ in range(4):
        held_apps.work(60)
        for held in phones:
            held.connect()
    assert held_apps.location.holders(asset) == {"erika@work.example.com"}


@pytest.mark.each_database
def test_somebody_forgotten_of_whom_apple_never_heard_is_not_due(held_apps, company, portal, clock):
    """Else the worker came back for them every second."""
    erika = company.person()
    held_apps.add("Mail")
    with portal.database.transaction() as session:
        user = LicenseUser(
            person_id=erika.id,
            account=None,
            state="new",
            client_id_sealed=portal.vault.seal(b"x"),
            next_at=clock(),
            tries=0,
        )
        session.add(user)
        session.flush()
        session.add(LicenseSeat(user_id=user.id, adam_id="1", pricing="STDQ", state="held", at=clock(), tries=0))
    with portal.database.session() as session:
        due = needs.next_due(session)
    assert due is None or due > clock()


# --- what a device says of its own failing, and people who were disabled by mistake ----------------------------------


def test_an_app_that_begins_and_fails_is_tried_no_more_often_because_that_is_reported(held_apps, enrolled, portal):
    """From iOS 16 on each attempt changes the list of apps, and each change is reported."""
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held.apps.owner[asset.bundle_id] = "later"

    def fail():
        held.apps.states = {name: "Failed" if was == "Prompting" else was for name, was in held.apps.states.items()}

    held.apps.ask_owner = fail
    for _ in range(90):
        held_apps.work(60)
        held.connect()
    assert held_apps.states(device) == {app: "Failed"}
    assert len(held.apps.installed) == len(deciding.RETRIES) + 1
    with portal.database.session() as session:
        told = session.scalars(select(AuditEvent.kind).where(AuditEvent.kind.startswith("app."))).all()
    assert told.count("app.failed") == 1


@pytest.fixture
def sales(held_apps, portal, company):
    """More people than the brake lets through, of a group that gets an app; the app and its licenses."""
    persons = [company.person(f"person{number}") for number in range(brake.AT_LEAST + 3)]
    with portal.database.transaction() as session:
        for each in persons:
            audiences.set_groups(session, each.id, "ldap", ["Sales"])
    return persons, *held_apps.add("Mail", audience=[Line("in", "group", "ldap:Sales")])


def disable_by_mistake(held_apps, persons, meanwhile=lambda: None):
    """All are disabled; two days later they are enabled again, and what the brake held is kept: the devices."""
    portal = held_apps.portal
    with portal.database.transaction() as session:
        for each in persons:
            closing.disable(Cases(session, portal), session.merge(each), "directory")
    with portal.database.transaction() as session:
        rounds.of_disabled_people(Cases(session, portal))
    meanwhile()
    later(held_apps, days=2)
    with portal.database.transaction() as session:
        for each in persons:
            people.enable(editing(portal, session), session.merge(each))
        brake.keep(session, "admin:x", held_apps.ticks())
        kept = session.scalars(select(Device.id).where(Device.is_served)).all()
    assert len(kept) == 3
    return kept


@pytest.mark.each_database
def test_who_was_disabled_by_mistake_loses_in_time_what_they_are_not_to_have(held_apps, enrolled, portal, sales):
    persons, app, _asset = sales
    phones = [enrolled(each.username, number, person=each) for number, each in enumerate(persons)]
    held_apps.go_on(*(held for held, _ in phones), minutes=6)
    held_apps.ticks.forward(days=1)
    with portal.database.transaction() as session:
        session.execute(delete(Membership))
        for each in persons:
            audiences.mark(session, each.id, held_apps.ticks())
    held_apps.work(5)
    kept = disable_by_mistake(held_apps, persons)
    assert [held_apps.states(device) for device in kept] == [{app: "Managed"}] * 3
    later(held_apps, *(held for held, device in phones if device in kept), days=3)
    assert [held_apps.states(device) for device in kept] == [{}] * 3


def test_who_was_disabled_by_mistake_is_asked_about_what_was_under_way(held_apps, enrolled, sales):
    persons, app, asset = sales
    phones = [enrolled(each.username, number, person=each, ios="15.4") for number, each in enumerate(persons)]
    for held, _ in phones:
        held.apps.owner[asset.bundle_id] = "later"
    held_apps.go_on(*(held for held, _ in phones), minutes=6)
    kept = disable_by_mistake(held_apps, persons)
    for held, _ in phones:
        held.apps.owner.clear()
    later(held_apps, *(held for held, device in phones if device in kept), days=3)
    assert [held_apps.states(device) for device in kept] == [{app: "Managed"}] * 3


@pytest.mark.each_database
def test_nothing_reaches_who_was_disabled_by_mistake_while_it_was_on_its_way(held_apps, enrolled, portal, sales):
    persons, app, _asset = sales
    phones = [enrolled(each.username, number, person=each) for number, each in enumerate(persons)]
    for _ in range(4):
        held_apps.work(60)
    with portal.database.session() as session:
        waiting = session.scalars(select(Command).where(Command.request_type == "InstallApplication")).all()
    assert len(waiting) == len(phones)
    came = {}

    def connect():
        came.update({device: (held.connect(), list(held.apps.installed)) for held, device in phones})

    kept = disable_by_mistake(held_apps, persons, connect)
    assert [came[device] for device in kept] == [([], [])] * 3
    later(held_apps, *(held for held, device in phones if device in kept), days=3)
    assert [held_apps.states(device) for device in kept] == [{app: "Managed"}] * 3


@pytest.mark.each_database
def test_a_license_that_was_taken_at_apple_is_asked_for_again_when_a_phone_lacks_it(held_apps, enrolled, company):
    app, asset = held_apps.add("Mail", 10)
    erika = company.person("erika")
    held, _device = enrolled(person=erika)
    held_apps.until_settled(held)
    held_apps.location.given.clear()  # somebody took it back by hand
    second, other = enrolled(number=1, person=erika)
    held_apps.go_on(second, minutes=6)
    later(held_apps, held, second)
    assert held_apps.states(other) == {app: "Managed"}
    assert held_apps.location.holders(asset) == {"erika@work.example.com"}
    assert held_apps.location.twice == []


def test_a_phone_that_finds_no_license_which_is_there_is_tried_once_more_only(held_apps, enrolled, portal):
    app, _asset = held_apps.add("Mail", 10)
    held, device = enrolled()
    held.apps.licensed = lambda adam_id: False
    held_apps.go_on(held, minutes=6)
    later(held_apps, held, days=8)
    assert held_apps.states(device) == {app: "Failed"}
    assert len(held.apps.installed) <= len(deciding.RETRIES) + 2
    with portal.database.session() as session:
        asked = session.scalars(select(Command).where(Command.request_type == "InstallApplication")).all()
        told = session.scalars(select(AuditEvent.kind).where(AuditEvent.kind == "app.failed")).all()
    assert (len(asked), len(told)) == (len(deciding.RETRIES) + 2, 1)


def fail_without_saying_why(location, kind):
    """Events of this kind end as failed, without failures, although they may have been done."""
    status = location._status

    def lying(query):
        code, told = status(query)
        if isinstance(told, dict) and told.get("eventType") == kind and told.get("eventStatus") == "COMPLETE":
            told["eventStatus"] = "FAILED"
        return code, told

    location._status = lying


def test_an_event_that_failed_without_saying_for_whom_is_read(held_apps, enrolled):
    app, _asset = held_apps.add("Mail", 10)
    held, device = enrolled()
    location = held_apps.location
    fail_without_saying_why(location, "ASSOCIATE")
    held_apps.go_on(held, minutes=4)
    assert held_apps.states(device) == {app: "Managed"}
    held_apps.audience(app)
    later(held_apps, held)
    assert location.given == set()


@pytest.mark.each_database
def test_an_event_whose_name_cannot_be_kept_is_read_in_apples_lists(held_apps, enrolled):
    app, asset = held_apps.add("Mail", 10)
    location, begin = held_apps.location, held_apps.location._begin

    def named_at_length(kind, asked):
        status, told = begin(kind, asked)
        location.settle()
        return status, {name: value * 4 if name == "eventId" else value for name, value in told.items()}

    location._begin = named_at_length
    held, device = enrolled()
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "Managed"}
    assert (location.given, location.twice) == ({(asset.adam_id, next(iter(location.given))[1])}, [])
    assert "GET /status" not in location.calls
    assert held_apps.known().trouble == ""


def test_not_enough_licenses_after_all_is_not_asked_each_minute(held_apps, enrolled):
    _app, asset = held_apps.add("Mail", 10)
    asset.refuses = 9709  # Apple counts ten free ones, and gives none
    enrolled()
    for _ in range(120):
        held_apps.work(30)
    assert held_apps.location.calls.count("POST /assets/associate") <= 2


def test_what_apple_forgets_again_and_again_is_asked_ever_more_rarely(held_apps, enrolled):
    held_apps.add("Mail", 10)
    held_apps.location.mood["/status"] = lambda: (400, {"errorNumber": 9708})
    enrolled()
    for _ in range(120):
        held_apps.work(30)
        held_apps.location.events.clear()
    assert held_apps.location.calls.count("POST /users/create") <= 3


def test_a_state_that_nobody_knows_and_then_nothing_is_no_own_app(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    install, first = held.apps.install, []

    def odd(command):
        first.append(command)
        if len(first) == 1:
            return {"Status": "Acknowledged", "Identifier": asset.bundle_id, "State": "Unknown"}
        return install(command)

    held.apps.install = odd
    held_apps.until_settled(held)
    later(held_apps, held)
    assert held_apps.states(device) == {app: "Managed"}


def test_an_app_that_could_not_be_removed_is_not_said_to_be_removed(held_apps, enrolled, portal):
    app, _asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    held.apps.remove = lambda identifier: {"Status": "Error", "ErrorChain": [{"ErrorCode": 12078, "ErrorDomain": "M"}]}
    held_apps.audience(app)
    held_apps.until_settled(held)
    later(held_apps, held)
    with portal.database.session() as session:
        kinds = list(session.scalars(select(AuditEvent.kind).where(AuditEvent.kind.like("app.%"))))
    assert ("app.removed" in kinds, kinds.count("app.not_removed")) == (False, 1)


LACKS = {"MCMDMErrorDomain 9610": True, "X 506": True, "X 12506": False, "Error.LicenseNotFound": True, "": False}


@pytest.mark.parametrize(("reason", "lacks"), LACKS.items())
def test_only_its_own_codes_mean_that_there_is_no_license(reason, lacks):
    assert states.lacks_license(reason) is lacks


def test_a_return_that_apple_fails_without_saying_why_is_asked_again_ever_more_rarely(held_apps, enrolled):
    app, _asset = held_apps.add("Mail", 10)
    held, _device = enrolled()
    held_apps.until_settled(held)
    location = held_apps.location
    status, take = location._status, location._take
    fail_without_saying_why(location, "DISASSOCIATE")
    location._take = lambda adam_id, clients: []
    held_apps.audience(app)
    held_apps.until_settled(held)
    for _ in range(60):
        held_apps.work(60)
    assert location.calls.count("POST /assets/disassociate") <= 3
    location._take, location._status = take, status
    later(held_apps, held, days=3)
    assert location.given == set()


def test_what_changes_while_somebody_is_disabled_by_mistake_is_caught_up(held_apps, enrolled, sales):
    persons, app, _asset = sales
    phones = [enrolled(each.username, number, person=each) for number, each in enumerate(persons)]
    held_apps.go_on(*(held for held, _ in phones), minutes=6)
    added = []
    kept = disable_by_mistake(held_apps, persons, lambda: added.append(held_apps.add("Chat")[0]))
    held_apps.go_on(*(held for held, device in phones if device in kept), minutes=8)
    assert [held_apps.states(device) for device in kept] == [{app: "Managed", added[0]: "Managed"}] * 3


def test_a_failure_that_is_only_said_again_keeps_its_code(held_apps, enrolled):
    app, _asset = held_apps.add("Mail")
    held, device = enrolled()
    held.apps.licensed = lambda adam_id: False
    held_apps.go_on(held, minutes=3)
    with held_apps.portal.database.transaction() as session:
        case = Cases(session, held_apps.portal).of_device(device)
        (row,) = case.store.device_apps(case.device)
        progress.take(case, row, case.store.apps({app})[app], State.FAILED)
    assert held_apps.reasons(device) == {app: "MCMDMErrorDomain 9610"}


@pytest.mark.each_database
def test_a_device_for_which_something_fails_keeps_the_worker_from_nothing(held_apps, enrolled, portal, monkeypatch):
    app, _asset = held_apps.add("Mail")
    held, device = enrolled()
    other, second = enrolled("max", 1)
    settle, tries = delivering.settle, []

    def settle_all_but_one(case):
        if case.device.id == device:
            tries.append(case.now)
            raise ValueError
        settle(case)

    monkeypatch.setattr(delivering, "settle", settle_all_but_one)
    for _ in range(30):
        held_apps.work(10)
        other.connect()
    assert held_apps.states(second) == {app: "Managed"}
    assert len(tries) <= 3
    monkeypatch.setattr(delivering, "settle", settle)
    later(held_apps, held, days=1)
    held_apps.go_on(held, minutes=4)
    assert held_apps.states(device) == {app: "Managed"}
