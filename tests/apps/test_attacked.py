"""What an attacker of work apps tried, and mere bad luck: each way was open once."""

import gzip
import json
import threading

import httpx
import pytest
from sqlalchemy import delete, func, select, update

from portal import jobs
from portal.apps import behaviour, delivering
from portal.apps.behaviour import NotUsable
from portal.apps_and_books import store
from portal.apps_and_books.client import Client, Unavailable
from portal.backends import messages, sending
from portal.declarations import speaking
from portal.enrollment import management
from portal.enrollment.errors import DeviceGone
from portal.events import Event
from portal.models import AppLicense, AuditEvent, Command, DeclarativeState, DeviceApp, Membership, Person
from portal.people import audiences
from portal.people.audiences import Line
from portal.simulator import apps_and_books
from portal.storage import apple_content
from portal.storage.cases import Cases
from portal.storage.licenses import exchanging
from portal.storage.licenses.turn import TakenOver, Turn
from tests.apps.conftest import EVERYBODY, OFFERED
from tests.factories import PASSWORD, editing
from tests.orders import answer, fetch
from tests.pages import Browser

ERIKA = "erika@work.example.com"


@pytest.fixture
def declared(held_apps, configure):
    configure(apps__declared=True)
    return held_apps


def again(portal, device, app):
    with portal.database.transaction() as session:
        delivering.send_again(Cases(session, portal).of_device(device), app, "helpdesk:test")


def taken_away(declared, enrolled):
    """An app that a phone had by declaration, and that it was not told yet to give up."""
    app, asset = declared.add("Mail")
    held, device = enrolled()
    declared.until_settled(held)
    declared.audience(app)
    declared.work()
    return app, asset, held, device


def reports(portal, device, items, **more):
    with portal.database.transaction() as session:
        data = json.dumps({"StatusItems": items, **more}).encode()
        speaking.answer(Cases(session, portal).of_device(device), {"Endpoint": "status", "Data": data})


def count(portal, kind):
    with portal.database.session() as session:
        return session.scalar(select(func.count()).select_from(AuditEvent).where(AuditEvent.kind == kind))


def days_pass(held_apps, *phones, days=3):
    for _ in range(days):
        held_apps.work(90_000)
        held_apps.go_on(*phones, minutes=8)


# --- what cannot be sent stops nothing else ------------------------------------------------------------------------


def test_an_associated_domain_is_what_can_be_printed():
    with pytest.raises(NotUsable) as refusal:
        behaviour.entered(True, "", "", "applinks:example.com?mode=\x01developer")
    assert refusal.value.code == "domains"


@pytest.mark.each_database
def test_a_configuration_that_cannot_be_sent_to_somebody_stops_no_other_command(held_apps, enrolled, portal):
    app, _ = held_apps.add("Mail")
    held_apps.behave(app, configuration={"a": "{name}"})
    held, device = enrolled()
    with portal.database.transaction() as session:
        session.execute(update(Person).where(Person.username == "erika").values(name="Erika\x01"))
    held_apps.until_settled(held)
    assert (held_apps.states(device), held_apps.reasons(device)) == ({app: "Failed"}, {app: "cannot_be_made"})
    with portal.database.transaction() as session:
        case = Cases(session, portal).of_device(device)
        management.remove_work_data(case, case.device.called, "helpdesk:test")
    assert "RemoveProfile" in held.connect()


@pytest.mark.each_database
def test_nor_of_a_backend_with_a_queue_of_its_own(held_apps, enrolled, portal):
    app, _ = held_apps.add("Mail")
    held_apps.behave(app, configuration={"a": "{name}"})
    _, device = enrolled()
    for _ in range(4):
        held_apps.work(10)
    with portal.database.transaction() as session:
        session.execute(update(Person).where(Person.username == "erika").values(name="Erika\x01"))
    with portal.database.transaction() as session:
        command = session.scalars(select(Command).where(Command.app_id == app)).one()
        assert sending.handed_over(Cases(session, portal), command.id, device) is None
        assert command.status == "dropped"


def test_typed_again_as_it_is_shown_a_configuration_is_the_same():
    typed = behaviour.configuration_in("<key>a</key><string>x\n\ty\u2028z</string><key>b</key><array><true/></array>")
    assert behaviour.configuration_in(behaviour.shown(typed)) == typed
    assert behaviour.shown({"b": [True]}).startswith("<key>b</key>\n<array>\n\t<true/>")


def fails(*_):
    raise ZeroDivisionError


# --- odd answers ---------------------------------------------------------------------------------------------------


@pytest.mark.each_database
def test_licenses_that_are_told_twice_count_once(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    row = held_apps.location._asset(asset)
    held_apps.location.mood["/assets"] = lambda: (200, {"assets": [row, row]})
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "Managed"}


@pytest.mark.parametrize("number", ["9" * 5000, 10**20, [], {"a": 1}, -3, "nine"])
def test_an_error_number_that_is_none_is_one_all_the_same(number, held_apps, enrolled):
    held_apps.add("Mail")
    held, _ = enrolled()
    held_apps.location.mood["/assets"] = lambda: (200, {"errorNumber": number})
    held_apps.until_settled(held)
    assert held_apps.known().trouble == "-3" if number == -3 else held_apps.known().trouble == "-1"


def test_an_address_of_a_picture_that_is_none():
    artwork = {"bundleId": "a.b", "name": "x", "artwork": {"url": "https://[/"}}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"results": {"1": artwork}}))
    assert store.look_up("https://apple.example/look", "t", "DE", "1", transport=transport).icon == b""


def test_an_answer_that_is_too_large_is_no_answer():
    bomb = httpx.ByteStream(gzip.compress(b"[" + b" " * 20_000_000 + b"]", 9))
    answer = httpx.Response(200, stream=bomb, headers={"content-encoding": "gzip"})
    transport = httpx.MockTransport(lambda request: answer)
    with pytest.raises(Unavailable):
        Client("https://apple.example", "t", "o", transport=transport, sleep=lambda seconds: None).read_limits()


def test_what_nobody_expected_of_apple_is_trouble_and_stops_nothing_else(held_apps, enrolled, portal, monkeypatch):
    held_apps.add("Mail")
    enrolled()
    monkeypatch.setattr(Client, "assets", fails)
    held_apps.work(3600)
    assert held_apps.known().trouble == "unexpected"


def test_a_step_of_the_worker_that_fails_keeps_no_other_from_being_done(portal, monkeypatch):
    worker, done = jobs.Worker(portal.live.base), []
    monkeypatch.setattr(worker, "give_apps", fails)
    monkeypatch.setattr(worker, "manage", lambda: done.append("manage"))
    with pytest.raises(ExceptionGroup) as problems:
        worker.every_minute()
    assert (done, [type(each) for each in problems.value.exceptions]) == (["manage"], [ZeroDivisionError])


# --- helpdesk sends again what is to go ----------------------------------------------------------------------------


def test_sent_again_on_its_way_out_it_goes_all_the_same(held_apps, enrolled, portal, clock):
    app, _ = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    held_apps.audience(app)
    held_apps.work()
    remove, held.apps.remove = held.apps.remove, lambda command: {"Status": "Error", "ErrorChain": []}
    held.connect()
    held.apps.remove = remove
    again(portal, device, app)
    held_apps.until_settled(held)
    assert (held.apps.states, held_apps.states(device), held_apps.location.given) == ({}, {}, set())


def test_in_its_days_of_grace_it_is_not_sent_again(held_apps, enrolled, portal, company, clock):
    erika = company.person("erika")
    with portal.database.transaction() as session:
        audiences.set_groups(session, erika.id, "ldap", ["Sales"])
    app, _ = held_apps.add("Mail", audience=[Line("in", "group", "ldap:Sales")])
    held, device = enrolled(person=erika)
    held_apps.until_settled(held)
    clock.forward(days=1)
    with portal.database.transaction() as session:
        session.execute(delete(Membership))
        audiences.mark(session, erika.id, clock())
        session.execute(update(DeviceApp).values(state="Updating"))
    held_apps.work()
    with pytest.raises(DeviceGone):
        again(portal, device, app)
    days_pass(held_apps, held)
    assert (held.apps.states, held_apps.location.given) == ({}, set())


def test_withdrawn_and_sent_again_it_goes(declared, enrolled, portal):
    app, _, held, device = taken_away(declared, enrolled)
    held.connect()
    again(portal, device, app)
    declared.until_settled(held)
    assert (declared.states(device), declared.location.given) == ({}, set())


# --- never both ways, never without a license ----------------------------------------------------------------------


def test_what_came_by_command_and_was_wanted_again_at_once_stays_so(held_apps, enrolled, configure):
    app, _ = held_apps.add("Mail")
    held, _ = enrolled()
    held_apps.until_settled(held)
    held_apps.audience(app)
    held_apps.work()
    configure(apps__declared=True)
    held_apps.audience(app, *EVERYBODY)
    held_apps.until_settled(held)
    assert (list(held.apps.states.values()), held.apps.declared) == (["Managed"], {})


def test_what_came_by_command_is_sent_again_by_command(held_apps, enrolled, portal, configure):
    app, _ = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    with portal.database.transaction() as session:
        session.execute(update(DeviceApp).values(state="UpdateRejected"))
    configure(apps__declared=True)
    again(portal, device, app)
    held_apps.until_settled(held)
    assert (list(held.apps.states.values()), held.apps.declared) == (["Managed"], {})


def test_a_device_that_refuses_to_look_keeps_its_license_until_it_knows(declared, enrolled, portal):
    _, asset, held, device = taken_away(declared, enrolled)
    with portal.database.transaction() as session:
        case = Cases(session, portal).of_device(device)
        looks = [each for each in case.store.open_commands(case.device) if each.request_type == "DeclarativeManagement"]
        looks[0].status = "sent"
        messages.report(case, {"Status": "Error", "CommandUUID": looks[0].uuid, "ErrorChain": []})
    for _ in range(10):
        declared.work(130)
    assert declared.location.holders(asset) == {ERIKA}
    declared.work(3600)
    held.connect()
    assert held.apps.declared == {}
    declared.until_settled(held)
    assert declared.location.given == set()


def test_a_full_report_without_declarations_gives_no_license_back(declared, enrolled, portal):
    _, asset, _, device = taken_away(declared, enrolled)
    reports(portal, device, {}, FullReport=True)
    for _ in range(4):
        declared.work(130)
    assert declared.location.holders(asset) == {ERIKA}


# --- licenses and Apple's lists ------------------------------------------------------------------------------------


def test_whom_apple_forgot_gets_everything_anew(held_apps, enrolled):
    _, mail = held_apps.add("Mail")
    held, _ = enrolled()
    held_apps.until_settled(held)
    held_apps.location.users.clear()
    held_apps.location.given.clear()
    _, files = held_apps.add("Files")
    held_apps.until_settled(held)
    days_pass(held_apps, held)
    assert (held_apps.location.holders(mail), held_apps.location.holders(files)) == ({ERIKA}, {ERIKA})


@pytest.mark.each_database
def test_a_token_of_another_location_after_all_begins_anew(held_apps, enrolled, portal, clock):
    app, asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.until_settled(held)
    with portal.database.transaction() as session:
        apple_content.forget(editing(portal, session, clock()))
    location = held_apps.location
    location.uid = "77"
    for each in (location.users, location.given, location.config):
        each.clear()
    held_apps.upload()
    held_apps.until_settled(held)
    assert (location.holders(asset), held_apps.states(device)) == ({ERIKA}, {app: "Managed"})


@pytest.mark.parametrize("answer", [(200, {"errorNumber": 9600}), (400, {"errorNumber": 9602})])
def test_whom_apple_does_not_retire_is_retired_later(answer, held_apps, enrolled, portal):
    held_apps.add("Mail")
    held, _ = enrolled()
    held_apps.until_settled(held)
    held.remove()
    held_apps.location.mood["/users/retire"] = lambda: answer
    held_apps.erase("erika")
    held_apps.until_settled()
    held_apps.location.mood.clear()
    days_pass(held_apps)
    assert [each["status"] for each in held_apps.location.users] == ["Retired"]


@pytest.mark.each_database
def test_whoever_comes_back_after_being_erased_takes_over_what_apple_still_has(held_apps, enrolled, portal):
    _, mail = held_apps.add("Mail")
    app, files = held_apps.add("Files")
    held, _ = enrolled()
    held_apps.until_settled(held)
    held_apps.audience(app)
    held_apps.location.mood["/assets/disassociate"] = lambda: (200, {"errorNumber": 9600})
    held.remove()
    held_apps.until_settled()
    held_apps.location.mood.clear()
    held_apps.erase("erika")
    held, _ = enrolled(number=1)
    held_apps.until_settled(held)
    days_pass(held_apps, held)
    assert (held_apps.location.holders(mail), held_apps.location.holders(files)) == ({ERIKA}, set())


def test_an_event_that_fails_for_ids_in_other_letters_gave_nothing(held_apps, enrolled, monkeypatch):
    failure = apps_and_books._failure
    monkeypatch.setattr(
        apps_and_books, "_failure", lambda number, clients, adam="": failure(number, [each.upper() for each in clients])
    )
    app, _ = held_apps.add("Mail", refuses=9707)
    held, device = enrolled()
    held_apps.until_settled(held)
    assert (held_apps.states(device), held_apps.reasons(device)) == ({app: "no_license"}, {app: "9707"})


@pytest.mark.each_database
def test_one_worker_asks_at_a_time(held_apps, enrolled, monkeypatch, clock):
    held_apps.add("Mail")
    held_apps.add("Files")
    phones = [enrolled(name, number)[0] for number, name in enumerate(("erika", "max", "otto"))]
    held_apps.until_settled(*phones)
    users = held_apps.location.users
    erika = next(each for each in users if each["managedAppleId"] == ERIKA)
    users.remove(erika)  # so that Apple refuses, and it is halved
    held_apps.location.given = {each for each in held_apps.location.given if each[1] != erika["clientUserId"]}
    held_apps.add("Notes")
    associate, asked = Client.associate, []

    def slow(self, assets, ids):
        asked.append(ids)
        if len(asked) == 2:
            clock.forward(seconds=130)
            held_apps.work(0)  # the other worker
            held_apps.location.settle()
            held_apps.work(5)
            held_apps.location.settle()
        return associate(self, assets, ids)

    monkeypatch.setattr(Client, "associate", slow)
    held_apps.work()
    held_apps.work(30)
    held_apps.location.settle()
    held_apps.until_settled(*phones)
    assert (held_apps.location.twice, held_apps.open_requests()) == ([], 0)


@pytest.mark.each_database
def test_workers_at_once_neither_block_each_other_nor_give_twice(held_apps, enrolled, portal, clock):
    apps = [held_apps.add(f"App {number}")[0] for number in range(4)]
    phones = [enrolled(name, number)[0] for number, name in enumerate(("erika", "max", "otto"))]
    problems = []

    def work():
        try:
            held_apps.work(0)
        except Exception as problem:
            problems.append(problem)

    for turn in range(8):
        clock.forward(seconds=5)
        if turn in (3, 5):
            for each in apps[:2]:
                held_apps.audience(each, *(EVERYBODY if turn == 5 else ()))
        workers = [threading.Thread(target=work) for _ in range(3)]
        for each in workers:
            each.start()
        for each in workers:
            each.join(60)
        for each in phones:
            each.connect()
    held_apps.until_settled(*phones)
    assert (problems, held_apps.location.twice, len(held_apps.location.given)) == ([], [], 12)


@pytest.mark.each_database
def test_the_turn_of_a_worker_that_died_ends(portal, clock):
    def take():
        with portal.database.transaction() as session:
            return Turn(session, portal.database, clock())

    first = take()
    with pytest.raises(TakenOver):
        take()
    clock.forward(minutes=2)
    first.hold()
    clock.forward(minutes=2)
    with pytest.raises(TakenOver):
        take()
    clock.forward(minutes=1)
    second = take()
    with pytest.raises(TakenOver):
        first.hold()
    first.give_back()  # which is not its own any more
    clock.forward(minutes=1)
    second.hold()
    second.give_back()
    take()


@pytest.mark.each_database
def test_counting_by_hand_says_who_claims_the_location_meanwhile(app, held_apps, company, clock, monkeypatch):
    monkeypatch.setattr(exchanging, "open_client", held_apps.client)
    company.person("admin", role="admin")
    browser = Browser(app)
    browser.staff_sign_in("admin", clock())
    browser.get("/admin/apps/licenses")
    claim = {"id": "other", "name": "Another server", "metadata": ""}
    held_apps.location.mood["/assets"] = lambda: (200, {"assets": [], "mdmInfo": claim})  # just after it was not there
    look = "/admin/apps/licenses/look"
    browser.post(look, browser.hidden(look))
    assert "Another device management server uses this location." in browser.text
    assert held_apps.known().problem == ""


# --- patience ------------------------------------------------------------------------------------------------------


def test_an_owner_that_changes_their_mind_all_the_time_costs_apple_little(declared, enrolled):
    _, asset = declared.add("Mail")
    held, _ = enrolled()
    declared.until_settled(held)
    before = len(declared.location.calls)
    for turn in range(100):  # ten minutes
        held.apps.owner[asset.bundle_id] = "reject" if turn % 2 else "accept"
        held.apps.ask_owner()
        held.declared.values["app.managed.list"] = held.apps.declared_list()
        held.declared.report()
        declared.work(6)
    assert len(declared.location.calls) - before < 20


def test_after_an_exchange_licenses_are_counted_again_within_two_minutes(held_apps, enrolled, portal):
    _, asset = held_apps.add("Mail", total=5)
    held, _ = enrolled()
    held_apps.go_on(held, minutes=1)
    for _ in range(12):
        held_apps.work(10)
    with portal.database.session() as session:
        row = session.scalars(select(AppLicense).where(AppLicense.adam_id == asset.adam_id)).one()
    assert (row.assigned, row.available, held_apps.location.holders(asset)) == (1, 4, {ERIKA})


@pytest.mark.each_database
def test_taking_and_giving_back_all_the_time_costs_little(app, held_apps, enrolled, portal):
    mail, _ = held_apps.add("Mail", audience=OFFERED)
    enrolled()
    held_apps.work()
    before = len(held_apps.location.calls)
    browser = Browser(app).get("/my")
    browser.submit(username="erika", password=PASSWORD)
    take, give_back = (f"/my/apps/{mail}/{wish}" for wish in ("take", "give-back"))
    hidden = browser.hidden(take)
    for _ in range(30):  # three minutes
        for address in (take, take, give_back, give_back):
            browser.post(address, hidden, follow=False)
        held_apps.work(6)
    assert browser.get("/my").status == 200
    assert len(held_apps.location.calls) - before < 20
    assert count(portal, Event.APP_CHOSEN) <= 4


@pytest.mark.each_database
def test_what_somebody_without_a_phone_takes_is_in_the_trail_too(app, held_apps, company, portal, clock):
    mail, _ = held_apps.add("Mail", audience=OFFERED)
    erika = company.person()
    browser = Browser(app).get("/my")
    browser.submit(username="erika", password=PASSWORD)
    hidden = browser.get("/account/password").hidden()  # the page offers nothing without a phone
    for wish in ("take", "give-back"):
        browser.post(f"/my/apps/{mail}/{wish}", hidden)
        clock.forward(minutes=3)
    told = [each for each in company.all_events() if each.kind == Event.APP_CHOSEN]
    assert [(each.chain, each.reason, each.detail["person"]) for each in told] == [
        ("people", None, erika.id),
        ("people", "given_back", erika.id),
    ]


# --- nothing personal ----------------------------------------------------------------------------------------------


@pytest.mark.each_database
def test_nothing_that_a_device_says_in_words_is_kept(declared, enrolled, portal):
    app, asset = declared.add("Mail")
    held, device = enrolled()
    declared.until_settled(held)
    words = "com.my.diary is private " * 8
    mine = {"identifier": asset.bundle_id, "declaration-identifier": f"app.{app}", "state": "failed", "reason": words}
    reasons = [{"code": "Error.DownloadFailed", "description": words}]
    other = {"identifier": "com.my.diary", "declaration-identifier": "somebody-elses", "state": "managed"}
    reports(portal, device, {"app": {"managed": {"list": [mine, other]}}})
    assert declared.reasons(device) == {app: None}
    reports(portal, device, {"app": {"managed": {"list": [{**mine, "reasons": reasons}, other]}}})
    assert declared.reasons(device) == {app: "Error.DownloadFailed"}
    with portal.database.session() as session:
        assert "diary" not in json.dumps(session.get_one(DeclarativeState, device).known)
        assert "diary" not in json.dumps([each.detail for each in session.scalars(select(AuditEvent))])
        assert not [each for each in session.scalars(select(Command)) if b"diary" in (each.payload or b"")]


def test_a_phone_that_introduces_itself_again_and_again_fills_no_trail(held_apps, enrolled, company):
    held_apps.add_own("Notes", "https://example.com/notes.plist")
    held, _ = enrolled()
    held_apps.until_settled(held)
    before = len(company.all_events())
    for number in range(12):
        held.authenticate()
        held.token_update()
        told = {"mdm": {"app": [{"identifier": "com.example.notes", "state": f"s{number}"}]}}
        held._ask_declared("status", json.dumps({"StatusItems": told}).encode())
        order = fetch(held)
        while order:
            answer(held, order, Status="Error", ErrorChain=[{"ErrorCode": 1, "ErrorDomain": "x"}])
            order = fetch(held)
    assert len(company.all_events()) - before < 12
