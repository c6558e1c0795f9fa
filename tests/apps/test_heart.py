"""The rules about work apps that need nothing but values: what comes next, which requests are made, what is read."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.apps import behaviour, deciding, seat_outcomes, seats, states
from portal.apps.behaviour import Behaviour, NotUsable
from portal.apps.deciding import Facts, Step
from portal.apps.seat_outcomes import Outcome, UserOutcome
from portal.apps.seats import Batch, Kind
from portal.apps.states import State
from portal.apps_and_books import answers, content_token
from portal.apps_and_books.answers import Limits
from portal.apps_and_books.content_token import ContentTokenRefused

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
FACTS = st.builds(
    Facts,
    state=st.sampled_from(State),
    wanted=st.booleans(),
    asked=st.booleans(),
    licensed=st.booleans(),
    hopeless=st.booleans(),
    fits=st.booleans(),
    current=st.booleans(),
    due=st.booleans(),
    tries=st.integers(0, 6),
)


@given(FACTS)
def test_nothing_is_installed_without_a_license_a_wish_and_a_fitting_ios(facts):
    if deciding.next_step(facts) is Step.INSTALL:
        assert facts.wanted
        assert facts.licensed
        assert facts.fits
        assert not facts.asked


@given(FACTS)
def test_what_its_owner_decided_is_never_asked_again_by_itself(facts):
    if facts.state in states.ENDS - {State.TOO_OLD}:
        assert deciding.next_step(facts) is not Step.INSTALL


@given(FACTS)
def test_only_what_is_unwanted_is_removed_and_what_may_be_there_is_never_forgotten_unasked(facts):
    step = deciding.next_step(facts)
    if step in (Step.REMOVE, Step.FORGET):
        assert not facts.wanted
    if step is Step.FORGET:
        assert facts.state in states.NEVER_THERE or facts.tries > len(deciding.RETRIES)


@given(FACTS)
def test_a_device_is_asked_one_thing_at_a_time(facts):
    if facts.asked:
        assert deciding.next_step(facts) is Step.REST


def test_a_device_is_asked_ever_more_rarely():
    waits = [deciding.look_at(NOW - timedelta(seconds=gone), NOW) - NOW for gone in (0, 60, 3600, 10**6)]
    assert waits == [timedelta(seconds=15), timedelta(seconds=60), timedelta(hours=1), timedelta(days=1)]


USERS, ASSETS = st.text("abcdefgh", min_size=1, max_size=3), st.tuples(st.sampled_from("12345678"), st.just("STDQ"))


@given(
    st.dictionaries(USERS, st.lists(ASSETS, min_size=1, max_size=8), max_size=30),
    st.builds(Limits, assets=st.integers(1, 9), client_user_ids=st.integers(1, 9)),
)
def test_requests_give_everybody_exactly_what_they_lack_once_and_within_the_limits(lacking, limits):
    given_ = [
        (user, asset) for batch in seats.batches(lacking, limits) for user in batch.users for asset in batch.assets
    ]
    assert sorted(given_) == sorted((user, asset) for user, assets in lacking.items() for asset in set(assets))
    for batch in seats.batches(lacking, limits):
        assert len(batch.assets) <= limits.assets
        assert len(batch.users) <= limits.client_user_ids


def test_five_thousand_people_and_fifty_apps_are_ten_requests():
    assets = [(str(number), "STDQ") for number in range(50)]
    assert len(seats.batches({f"user {number}": assets for number in range(5000)}, Limits())) == 10


@given(st.integers(1, 5), st.integers(1, 5))
def test_a_refused_request_is_halved_until_one_license_is_left(users, assets):
    open_, single = [Batch(tuple((str(each), "") for each in range(assets)), tuple(map(str, range(users))))], 0
    while open_:
        batch = open_.pop()
        smaller = seats.halves(batch)
        single += not smaller
        open_ += smaller
    assert single == users * assets


# --- what is typed and uploaded --------------------------------------------------------------------------------------


def test_a_configuration_is_read_and_shown_as_it_was_typed():
    typed = "<key>server</key>\n<string>mail.example.com</string>\n<key>port</key>\n<integer>993</integer>"
    found = behaviour.configuration_in(typed)
    assert found == {"server": "mail.example.com", "port": 993}
    assert behaviour.configuration_in(behaviour.shown(found)) == found
    whole = f'<?xml version="1.0"?><plist version="1.0"><dict>{typed}</dict></plist>'
    assert behaviour.configuration_in(whole) == found


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("no xml at all", "configuration"),
        ("<key>a</key>", "configuration"),
        ("<key>a</key><string>1</string><key>a</key><string>2</string>", "configuration"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><plist><dict><key>a</key><string>&a;</string></dict></plist>', "configuration"),
        ("<key>a</key><string>{password}</string>", "variable"),
        ("<key>a</key><string>" + "x" * 70_000 + "</string>", "large"),
        ("<key>a</key>" + "<array>" * 60 + "</array>" * 60, "configuration"),
    ],
)
def test_what_is_no_configuration_is_refused(typed, code):
    with pytest.raises(NotUsable) as refused:
        behaviour.configuration_in(typed)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "line", ["example.com", "applinks:", "applinks:exa mple.com", "x:example.com", "applinks:a" * 60]
)
def test_what_is_no_associated_domain_is_refused(line):
    with pytest.raises(NotUsable):
        behaviour.entered(True, "", "", line)


def test_a_behaviour_survives_being_sealed():
    held = Behaviour(False, {"a": [1, b"bytes", True, NOW.replace(tzinfo=None)]}, "x", ("applinks:example.com",))
    assert behaviour.read(held.written()) == held


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "unreadable"),
        (b"\xff\xfe", "unreadable"),
        (b"bm8ganNvbg==", "unreadable"),
        (b"W10=", "unreadable"),
        (b"e30=", "incomplete"),
        (b"eyJ0b2tlbiI6ICJ4IiwgImV4cERhdGUiOiAic29vbiJ9", "incomplete"),
        (b"eyJ0b2tlbiI6ICJ4IiwgImV4cERhdGUiOiAiMjAyMC0wMS0wMVQwMDowMDowMCswMDAwIn0=", "expired"),
        (b"A" * 20_000, "large"),
    ],
)
def test_what_is_no_content_token_is_refused(content, code):
    with pytest.raises(ContentTokenRefused) as refused:
        content_token.read(content, NOW)
    assert refused.value.code == code


# --- what becomes of licenses ---------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([-1, 0, answers.USER_UNKNOWN, answers.NOT_ENOUGH, answers.USER_EXISTS])


@pytest.mark.parametrize(
    ("kind", "number", "complete", "tries", "outcome"),
    [
        (Kind.ASSOCIATE, 0, True, 0, Outcome.HELD),
        (Kind.ASSOCIATE, 0, False, 0, Outcome.OPEN),
        (Kind.ASSOCIATE, answers.NOT_ENOUGH, False, 0, Outcome.FAILED),
        (Kind.ASSOCIATE, answers.USER_UNKNOWN, False, 0, Outcome.WANTED_AGAIN),
        (Kind.ASSOCIATE, answers.USER_UNKNOWN, False, seat_outcomes.MOST_UNKNOWN, Outcome.FAILED),
        (Kind.DISASSOCIATE, 0, True, 0, Outcome.RETURNED),
        (Kind.DISASSOCIATE, 0, False, 0, Outcome.OPEN),
        (Kind.DISASSOCIATE, answers.USER_UNKNOWN, False, 0, Outcome.RETURNED),
        (Kind.DISASSOCIATE, -1, False, 9, Outcome.NOT_RETURNED),
    ],
)
def test_what_an_event_says_of_a_license(kind, number, complete, tries, outcome):
    assert seat_outcomes.of_seat(kind, number, tries, complete=complete) is outcome


@given(st.sampled_from([Kind.ASSOCIATE, Kind.DISASSOCIATE]), NUMBERS, st.booleans())
def test_what_apple_lists_is_so_whatever_the_event_said(kind, number, is_there):
    outcome = seat_outcomes.of_listed_seat(kind, number, is_there=is_there)
    assert is_there == (outcome in (Outcome.HELD, Outcome.NOT_RETURNED))
    assert outcome is not Outcome.OPEN
    assert (outcome is Outcome.FAILED) == (kind is Kind.ASSOCIATE and not is_there and number != 0)


@given(st.sampled_from([Kind.CREATE, Kind.RETIRE]), NUMBERS, st.booleans())
def test_nobody_is_forgotten_whom_apple_may_still_know(kind, number, complete):
    outcome = seat_outcomes.of_user(kind, number, complete=complete)
    if outcome is UserOutcome.FORGOTTEN:
        assert kind is Kind.RETIRE
        assert complete or number == answers.USER_UNKNOWN
    assert seat_outcomes.of_listed_user(kind, is_known=True) in (UserOutcome.KNOWN, UserOutcome.NOT_RETIRED)


def test_what_apple_refuses_is_asked_ever_more_rarely_and_what_got_lost_at_once():
    hours = [(seat_outcomes.again_at(tries, NOW) - NOW) / timedelta(hours=1) for tries in range(5)]
    assert hours == [1, 4, 24, 24, 24]
    assert [(seat_outcomes.soon_at(tries, NOW) - NOW) / timedelta(hours=1) for tries in range(5)] == [0, 1, 4, 24, 24]
