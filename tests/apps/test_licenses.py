"""Licenses: asked for once, given back once, whatever happens between the portal and Apple."""

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal.apps_and_books.answers import Asset, Location
from portal.apps_and_books.client import Client, OtherLocation, Unavailable
from portal.models import LicenseSeat, LicenseUser
from portal.storage import app_intake, apple_content
from portal.storage.licenses import counts, exchanging, marking, needs
from tests.pages import Browser

ERIKA, MAX = "erika@work.example.com", "max@work.example.com"


@pytest.mark.each_database
def test_while_apple_is_away_nothing_is_lost_and_nothing_given_twice(held_apps, enrolled, clock):
    apps = [held_apps.add(name)[0] for name in ("Mail", "Files")]
    held, _device = enrolled()
    held_apps.work()
    held_apps.apple.away = True
    later, other = enrolled("max", 1)
    for _ in range(12):
        held_apps.work(300)
        held.connect()
    assert held_apps.known().trouble == "unreachable"
    held.remove()
    held_apps.work(300)
    held_apps.apple.away = False
    held_apps.work(1900)
    held_apps.until_settled(later)
    assert held_apps.states(other) == dict.fromkeys(apps, "Managed")
    assert {
        account for asset in held_apps.location.assets.values() for account in held_apps.location.holders(asset)
    } == {MAX}
    assert (held_apps.location.twice, held_apps.open_requests(), held_apps.known().trouble) == ([], 0, "")


def test_apple_is_left_in_peace_ever_longer(held_apps, enrolled, clock):
    held_apps.add("Mail")
    enrolled()
    held_apps.apple.away = True
    waits = []
    for _ in range(5):
        held_apps.work(4000)
        waits.append((held_apps.known().failures, held_apps.known().rests_until > clock().isoformat()))
    assert waits == [(count, True) for count in range(1, 6)]
    asked = len(held_apps.location.calls)
    held_apps.apple.away = False
    held_apps.work(5)
    assert len(held_apps.location.calls) == asked


@pytest.mark.each_database
@pytest.mark.parametrize("path", ["/users/create", "/assets/associate", "/assets/disassociate"])
def test_an_answer_that_got_lost_is_looked_up_before_anything_is_asked_again(path, held_apps, enrolled):
    _app, asset = held_apps.add("Mail", total=1)
    held, _device = enrolled()
    if path == "/assets/disassociate":
        held_apps.until_settled(held)
        held.remove()
    held_apps.location.loses.add(path)
    for _ in range(4):
        held_apps.work(200)
        held_apps.location.settle()
    assert held_apps.location.loses == set()
    held_apps.until_settled(*([held] if path != "/assets/disassociate" else []))
    calls = [each for each in held_apps.location.calls if each == f"POST {path}"]
    assert (len(calls), held_apps.location.twice, held_apps.open_requests()) == (1, [], 0)
    holders = set() if path == "/assets/disassociate" else {ERIKA}
    assert held_apps.location.holders(asset) == holders


@pytest.mark.each_database
@pytest.mark.parametrize("name", ["create_users", "associate", "disassociate", "event"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_dies_while_asking_leaves_nothing_undone(name, when, held_apps, enrolled, monkeypatch):
    class Killed(BaseException):
        pass

    _app, asset = held_apps.add("Mail", total=1)
    held, _device = enrolled()
    if name == "disassociate":
        held_apps.until_settled(held)
        held.remove()
    ask, dies = getattr(Client, name), [True]

    def dying(self, *arguments):
        if not dies:
            return ask(self, *arguments)
        dies.clear()
        if when == "after":
            ask(self, *arguments)
        raise Killed

    monkeypatch.setattr(Client, name, dying)
    for _ in range(6):
        try:
            held_apps.work(70)
        except Killed:
            held_apps.location.settle()
    assert dies == []
    held_apps.until_settled(*([held] if name != "disassociate" else []))
    assert (held_apps.location.twice, held_apps.open_requests()) == ([], 0)
    assert held_apps.location.holders(asset) == (set() if name == "disassociate" else {ERIKA})


@pytest.mark.each_database
def test_an_account_that_apple_knows_already_is_adopted(held_apps, enrolled):
    app, _asset = held_apps.add("Mail")
    known = {"clientUserId": "of another server", "managedAppleId": ERIKA, "status": "Associated"}
    held_apps.location.users.append(known)
    held, device = enrolled()
    held_apps.until_settled(held)
    assert held_apps.states(device) == {app: "Managed"}
    assert [each["clientUserId"] for each in held_apps.location.users] == ["of another server"]


@pytest.mark.each_database
def test_who_comes_back_after_being_erased_is_not_given_up(held_apps, enrolled, portal, company):
    app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)
    held.remove()
    held_apps.until_settled()
    held_apps.erase("erika")
    held, device = enrolled(number=1)
    held_apps.until_settled(held)
    held_apps.work(3700)
    held_apps.until_settled(held)
    assert (held_apps.states(device), held_apps.location.holders(asset)) == ({app: "Managed"}, {ERIKA})


def test_a_user_that_apple_forgot_is_made_known_anew(held_apps, enrolled):
    _app, _asset = held_apps.add("Mail")
    held, _ = enrolled()
    held_apps.until_settled(held)
    held_apps.location.users.clear()
    held_apps.location.given.clear()
    _other, files = held_apps.add("Files")
    held_apps.until_settled(held)
    assert held_apps.location.holders(files) == {ERIKA}


@pytest.mark.each_database
def test_one_who_cannot_be_given_a_license_does_not_keep_the_others_from_theirs(held_apps, enrolled):
    held_apps.add("Mail")
    phones = [enrolled(name, number)[0] for number, name in enumerate(("erika", "max", "otto"))]
    held_apps.until_settled(*phones)
    users = held_apps.location.users
    users[:] = [each for each in users if each["managedAppleId"] != MAX]
    _app, files = held_apps.add("Files")
    held_apps.until_settled(*phones)
    assert held_apps.location.holders(files) == {ERIKA, MAX, "otto@work.example.com"}


def test_what_apple_refuses_is_said_with_its_number(held_apps, enrolled):
    app, _asset = held_apps.add("Mail", refuses=9707)
    held, device = enrolled()
    held_apps.until_settled(held)
    assert (held_apps.states(device), held_apps.reasons(device)) == ({app: "no_license"}, {app: "9707"})


@pytest.mark.parametrize("changes", [{"productType": "Book"}, {"supportedPlatforms": ["macOS"]}, {"revocable": False}])
def test_what_is_no_license_for_an_iphone_is_not_even_asked_for(changes, held_apps, enrolled):
    app, _asset = held_apps.add("Mail", changes=changes)
    held, device = enrolled()
    held_apps.until_settled(held)
    assert held_apps.reasons(device) == {app: "not_usable"}
    assert "POST /assets/associate" not in held_apps.location.calls


def test_without_any_license_for_it_an_app_waits(held_apps, enrolled):
    app, asset = held_apps.add("Mail")
    del held_apps.location.assets[asset.adam_id]
    held, device = enrolled()
    held_apps.until_settled(held)
    assert held_apps.reasons(device) == {app: "no_licenses"}


def test_another_servers_claim_stops_everything_and_stays(held_apps, enrolled):
    _app, _asset = held_apps.add("Mail")
    held, _device = enrolled()
    other = {"id": "another", "name": "Other MDM", "metadata": ""}
    held_apps.location.config["mdmInfo"] = other
    held_apps.until_settled(held)
    assert held_apps.known().problem == "claimed"
    assert (held_apps.location.config["mdmInfo"], held_apps.location.given) == (other, set())
    asked = len(held_apps.location.calls)
    held_apps.work(4000)
    assert len(held_apps.location.calls) == asked


def test_a_token_of_another_location_is_noticed(held_apps, enrolled):
    held_apps.add("Mail")
    enrolled()
    held_apps.location.uid = "1"
    held_apps.until_settled()
    assert (held_apps.known().problem, held_apps.location.given) == ("other_location", set())


def test_a_new_token_is_taken_unless_it_says_that_it_is_for_another_location(held_apps, portal, clock, monkeypatch):
    monkeypatch.setattr(exchanging, "open_client", held_apps.client)
    known, location = held_apps.known(), held_apps.location

    def take(uid):
        location.uid = uid
        app_intake.take_token(portal.database, portal, location.token(now=clock()), "admin:test")

    with pytest.raises(OtherLocation):
        take("1")
    take("")
    assert held_apps.known().uid == known.uid != ""


def test_counting_by_hand_keeps_nothing_once_the_token_is_another(held_apps, portal, monkeypatch):
    monkeypatch.setattr(exchanging, "open_client", held_apps.client)
    location = held_apps.location
    old = {"uId": location.uid, "locationName": "Old name", "countryISO2ACode": "DE"}

    def replaced():
        location.mood.clear()
        held_apps.upload()
        return 200, old

    location.mood["/client/config"] = replaced
    assert exchanging.look(portal.database, portal) == ""
    assert held_apps.known().location == location.name
    location.mood["/client/config"] = lambda: (200, old)
    assert exchanging.look(portal.database, portal) == ""
    assert held_apps.known().location == "Old name"


def test_counting_by_hand_does_not_take_back_that_another_server_uses_the_location(held_apps, portal, monkeypatch):
    monkeypatch.setattr(exchanging, "open_client", held_apps.client)
    held_apps.location.config["mdmInfo"] = {"id": "other", "name": "Another server", "metadata": ""}
    held_apps.work(4000)
    assert held_apps.known().problem == "claimed"
    held_apps.location.config["mdmInfo"]["name"] = "Renamed"
    assert exchanging.look(portal.database, portal) == "claimed"
    assert (held_apps.known().problem, held_apps.known().claim_name) == ("claimed", "Renamed")


@pytest.mark.parametrize("state", ["expired", "revoked", "unknown"])
def test_a_token_that_is_not_taken_any_more_is_noticed_in_an_answer_with_status_200(state, held_apps, enrolled):
    held_apps.add("Mail")
    enrolled()
    held_apps.location.tokens = dict.fromkeys(held_apps.location.tokens, state)
    held_apps.work()
    assert held_apps.known().problem == "token"


def test_a_token_never_goes_to_an_address_that_was_changed(held_apps, enrolled, configure):
    held_apps.add("Mail")
    enrolled()
    asked = len(held_apps.location.calls)
    configure(apps__service="https://elsewhere.example.com/mdm/v2")
    held_apps.work()
    assert (held_apps.known().problem, len(held_apps.location.calls)) == ("address", asked)


@pytest.mark.each_database
def test_too_many_requests_are_answered_with_patience(held_apps, enrolled, clock):
    _app, asset = held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.location.mood["/users/create"] = lambda: (429, ({"errorNumber": 9646}, {"Retry-After": "240"}))
    held_apps.work()
    assert held_apps.known().rests_until >= (clock() + timedelta(seconds=240)).isoformat()
    held_apps.location.mood.clear()
    held_apps.work(250)
    held_apps.until_settled(held)
    assert held_apps.location.holders(asset) == {ERIKA}


@pytest.mark.parametrize(
    "answer", [(200, b"<html>"), (200, []), (200, {}), (200, b"[" * 100_000), (500, {}), (200, {"eventId": None})]
)
def test_whatever_apple_answers_is_no_license(answer, held_apps, enrolled):
    app, _asset = held_apps.add("Mail")
    held, device = enrolled()
    held_apps.location.mood["/assets/associate"] = lambda: answer
    held_apps.work()
    held_apps.work()
    held_apps.work()
    assert held_apps.states(device) == {app: "license"}
    held_apps.location.mood.clear()
    held_apps.work(4000)
    held_apps.until_settled(held)
    assert (held_apps.states(device), held_apps.location.twice) == ({app: "Managed"}, [])


def test_requests_stay_within_what_apple_says(held_apps, enrolled):
    held_apps.location.limits |= {"maxAssets": 2, "maxClientUserIds": 2, "maxUsers": 1}
    apps = [held_apps.add(f"App {number}")[0] for number in range(5)]
    phones = [enrolled(name, number) for number, name in enumerate(("erika", "max", "otto"))]
    held_apps.go_on(*(held for held, _ in phones), minutes=20)
    assert [held_apps.states(device) for _, device in phones] == [dict.fromkeys(apps, "Managed")] * 3
    calls = held_apps.location.calls
    assert (calls.count("POST /users/create"), held_apps.location.twice) == (3, [])


@pytest.mark.each_database
def test_ids_and_tokens_are_sealed(held_apps, enrolled, portal):
    held_apps.add("Mail")
    held, _ = enrolled()
    held_apps.until_settled(held)
    client_id = held_apps.location.users[0]["clientUserId"]
    with portal.database.session() as session:
        user = session.scalars(select(LicenseUser)).one()
        assert client_id.encode() not in user.client_id_sealed
        assert portal.vault.open(user.client_id_sealed).decode() == client_id
    assert "erika" not in client_id


def test_the_client_keeps_apples_pace():
    slept = []
    client = Client(
        "https://apple.example/mdm/v2",
        "token",
        "own",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, json={"limits": {"maxRequestPerSecond": 2}})),
        sleep=slept.append,
    )
    for _ in range(4):
        client.read_limits()
    assert all(0.3 < each <= 0.5 for each in slept[-2:])


@pytest.mark.parametrize("pages", [{"nextPageIndex": 0}, {"nextPageIndex": -1}])
def test_pages_that_never_end_do(pages):
    answer = httpx.MockTransport(lambda request: httpx.Response(200, json={"assets": [], **pages}))
    client = Client("https://apple.example", "token", "own", transport=answer, sleep=lambda seconds: None)
    with pytest.raises(Unavailable):
        client.assets()


def test_pages_that_change_while_they_are_read_are_read_anew():
    def answer(request):
        index = int(request.url.params["pageIndex"])
        return httpx.Response(200, json={"users": [], "versionId": str(index), "nextPageIndex": index + 1})

    client = Client(
        "https://apple.example", "token", "own", transport=httpx.MockTransport(answer), sleep=lambda seconds: None
    )
    with pytest.raises(Unavailable):
        client.users_of(ERIKA)


def test_what_nobody_needs_is_found_within_a_day_whatever_was_missed(held_apps, enrolled, portal):
    held_apps.add("Mail")
    held, _ = enrolled()
    held_apps.until_settled(held)
    held.remove()
    with portal.database.transaction() as session:
        for user in session.scalars(select(LicenseUser)):
            user.due_at = None  # as if the mark had been lost
    held_apps.work(90_000)
    held_apps.until_settled()
    assert held_apps.location.given == set()


def test_nothing_is_asked_when_nothing_is_due(held_apps, enrolled, portal):
    held_apps.add("Mail")
    held, _ = enrolled()
    held_apps.until_settled(held)
    asked = len(held_apps.location.calls)
    held_apps.work(60)
    assert len(held_apps.location.calls) == asked
    with portal.database.session() as session:
        assert needs.next_due(session) is None


@pytest.mark.each_database
def test_what_was_rolled_back_marks_nobody_and_no_later_mark_is_lost(held_apps, enrolled, portal):
    held_apps.add("Mail")
    held, _device = enrolled()
    held_apps.until_settled(held)

    def marked():
        with portal.database.session() as fresh:
            return fresh.scalars(select(LicenseUser.due_at)).one() is not None

    def mark(session, user_id, *, problem=None, row=None):
        with portal.database.transaction(session):
            marking.look_at_commit(session, user_id)
            if row is not None:
                session.add(row)
            if problem is not None:
                raise problem

    with portal.database.session() as session:
        user_id = session.scalars(select(LicenseUser.id)).one()
        with pytest.raises(ZeroDivisionError):
            mark(session, user_id, problem=ZeroDivisionError())
        with portal.database.transaction(session):
            pass
        assert not marked()
        with pytest.raises(IntegrityError):
            mark(session, user_id, row=LicenseSeat(user_id="nobody", adam_id="1"))
        assert not marked()
        mark(session, user_id)
        assert marked()
        held_apps.work()
        assert not marked()
        mark(session, user_id)  # and again in the same session
        assert marked()


@pytest.mark.each_database
@pytest.mark.parametrize("more", ["STDQ", "PLUS"])
def test_of_two_qualities_the_page_shows_what_the_worker_asks_for(
    more, app, held_apps, enrolled, portal, company, clock
):
    app_id, asset = held_apps.add("Mail", total=0)
    enrolled()
    held_apps.work()
    left = {"STDQ": 0, "PLUS": 0, more: 7}
    with portal.database.transaction() as session:
        of_each = (
            Asset(asset.adam_id, pricing, 9, count, 9 - count, True, True, True) for pricing, count in left.items()
        )
        counts.keep_assets(session, of_each, clock())
    company.person("ada", "admin")
    assert "7 free" in Browser(app).staff_sign_in("ada", clock()).get(f"/admin/apps/{app_id}").text
    with portal.database.transaction() as session:
        due = list(session.scalars(select(LicenseSeat)))
        assert [each.pricing for each in counts.while_there_are_any(session, due, clock())] == [more]


@pytest.mark.each_database
def test_a_location_that_does_not_say_which_it_is_is_no_other(portal):
    """Otherwise a token that is renewed would have every license asked for anew."""
    with portal.database.transaction() as session:
        seen = [apple_content.is_another(session, Location(uid, "Main", "DE", None)) for uid in ("1", "", "1", "2")]
    assert seen == [False, False, False, True]
