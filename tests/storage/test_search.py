"""Helpdesk's list: what is found, filtered, cut into pages, and pointed out."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.enrollment import invitations, journey, steps
from portal.lifecycle import closing
from portal.models import EnrollmentRequest, IssuedProfile, OutboxMessage, Person, SearchWord
from portal.storage import search
from portal.storage.cases import Cases
from portal.storage.search import Attention, Filters
from tests.conftest import START
from tests.enrollment.test_journey_properties import facts
from tests.factories import phone


@pytest.fixture
def find(portal, clock):
    """Usernames of the people whose requests are listed."""

    def run(words="", **filters):
        with portal.database.session() as session:
            page = search.page(session, portal.settings, Filters(words, **filters), clock())
            return [row.request.person.username for row in page.rows]

    return run


# --- search --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("jör", True), ("jor", True), ("JOR", True), ("müller", True), ("muller", True), ("jörg mül", True),
        ("mül jörg", True), ("jm.042", True), ("jm", True), ("042", True), ("joerg@example", True),
        ("@example.com", True),
        ("joerg@work", True), ("com", False), ("xjor", False), ("jörg meier", False), ("%", False), ("_", False),
        ("' OR 1=1 --", False), ("\U0010ffff", False), ("ﬁ", False),
    ],
)  # fmt: skip
def test_people_are_found_by_the_beginnings_of_their_words(company, find, typed, found):
    person = company.person(
        "jm.042", name="Jörg Müller", email="joerg@example.com", managed_apple_account="joerg@work.example.com"
    )
    company.invite(person)
    assert find(typed) == (["jm.042"] if found else [])


def test_a_request_is_found_by_its_id_and_by_the_code_at_the_foot_of_every_page(company, find, browser):
    invitation = company.invite(company.person())
    company.invite(company.person("max"))
    code = journey.short_code(invitation.request.id)
    assert find(code) == find(code.lower().replace("-", "")) == find(invitation.request.id) == ["erika"]
    browser.open_link(invitation)
    assert code in browser.soup.footer.text
    browser.sign_in()
    assert code in browser.soup.footer.text


def test_the_words_follow_the_person(company, find, portal, session):
    person = company.person(name="Erika Mustermann")
    company.invite(person)
    with portal.database.transaction() as writing:
        writing.get_one(Person, person.id).name = "Erika Beispiel"
    assert find("mustermann") == []
    assert find("beispiel") == ["erika"]

    with portal.database.transaction() as writing:
        closing.erase(Cases(writing, portal), writing.get_one(Person, person.id), "command")
    assert session.scalars(select(SearchWord).where(SearchWord.person_id == person.id)).all() == []


def test_many_people_found_are_still_narrowed_right(company, find, monkeypatch):
    monkeypatch.setattr(search, "FEW", 1)
    for name in ("anna one", "anna two", "berta one"):
        company.invite(company.person(name.replace(" ", "."), name=name))
    assert sorted(find("anna")) == ["anna.one", "anna.two"]
    assert find("anna two") == ["anna.two"]
    assert len(find("a")) == 2


# --- filters -------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    many=st.lists(facts, min_size=4, max_size=8),
    now=st.integers(-60, 60).map(lambda minutes: START + timedelta(minutes=minutes)),
)
def test_filters_find_a_request_exactly_under_its_own_status_and_step(portal, many, now):
    with Session(portal.database.engine) as session:  # rolled back: nothing is kept
        person = Person(username="x", name="x", email="x@example.com", role="employee", locale="en", created_at=START)
        session.add(person)
        session.flush()
        requests = {}
        for number, known in enumerate(many):
            request = _request_of(session, person, known, number)
            requests[request.id] = request
        session.expire_all()

        def found(**chosen):
            return {each.request.id for each in search.page(session, portal.settings, Filters(**chosen), now).rows}

        listed = search.page(session, portal.settings, Filters(), now).rows
        rows = {each.request.id: each for each in listed}
        assert rows.keys() == requests.keys()
        for key, row in rows.items():
            known = journey.of(requests[key])
            assert (row.status, row.step) == (journey.status(known, now), journey.current_step(known, now))
        for status in journey.Status:
            assert found(status=status.value) == {key for key, row in rows.items() if row.status is status}
        for step in journey.STEPS:
            there = {key for key, row in rows.items() if row.step is step}
            closed = {key for key, each in requests.items() if each.ended_at or each.enrolled_at}
            assert found(step=step.value) == (there if step is journey.Step.FINISH else there - closed), step
        for kind in Attention:
            assert found(attention=kind.value) == {key for key, row in rows.items() if kind in row.attention}
        assert found(attention="any") == {key for key, row in rows.items() if row.attention}


def _request_of(session, person, known, number):
    request = EnrollmentRequest(
        person_id=person.id, source="self", created_by="x", created_at=START, expires_at=known.expires_at,
        managed_apple_account="a@b", passcode_secret_sealed=b"", signed_in_at=known.signed_in_at,
        ownership=known.ownership, enrolled_at=known.enrolled_at, ended_at=known.ended_at,
        end_reason=(known.end_reason or "removed") if known.ended_at else None, privacy_at=known.privacy_at,
        passcode_verified_at=known.passcode_verified_at, overview_at=known.overview_at,
        terms_version=known.terms_version, terms_accepted_at=known.terms_accepted_at,
    )  # fmt: skip
    session.add(request)
    session.flush()
    if known.profile_issued_at and known.profile_expires_at:
        profile = IssuedProfile(
            request_id=request.id, ticket_hash=f"t{number}", challenge_hash=f"c{number}",
            issued_at=known.profile_issued_at, expires_at=known.profile_expires_at,
            certificate_at=known.certificate_at, refused_at=known.refused_at,
            downloaded_at=known.profile_downloaded_at, authenticated_at=known.authenticated_at,
        )  # fmt: skip
        session.add(profile)
        session.flush()
        request.profile_id = profile.id
        session.flush()
    return request


def test_age_source_and_hand_over_narrow_the_list(company, find, clock, portal):
    colleague = company.person("hilda", role="helpdesk")
    old = company.invite(company.person("old"), source="admin")
    clock.forward(days=8)
    company.invite(company.person("week"))
    clock.forward(days=2)
    company.invite(company.person("new"), source="self")
    assert (find(age="day"), find(age="week"), find(age="older")) == (["new"], ["new", "week"], ["old"])
    assert (find(source="admin"), find(source="self"), find(source="nonsense")) == (
        ["old"],
        ["new"],
        ["new", "week", "old"],
    )
    with portal.database.transaction() as session:
        invitations.hand_over(
            Cases(session, portal).lock(old.request.id), session.merge(colleague), "call back", "helpdesk:x"
        )
    assert find(handed_to=colleague.id) == ["old"]
    assert find(oldest_first=True) == ["old", "week", "new"]


def test_what_needs_attention_is_pointed_out_and_found(app, company, find, clock, portal, browser):
    locked, stuck, lost, idle = (company.invite(company.person(name)) for name in ("locked", "stuck", "lost", "idle"))
    browser.walk_to("passcode", locked)
    for _ in range(5):
        browser.submit(passcode="000000")
    with portal.database.transaction() as session:
        mail = session.scalar(select(OutboxMessage).where(OutboxMessage.request_id == stuck.request.id))
        mail.attempts, mail.last_error = 1, "mail server: timeout"
        steps.unfit_browser(Cases(session, portal).lock(lost.request.id), "computer")
    type(browser)(app).walk_to("privacy", idle)
    assert find(attention="locked") == ["locked"]
    assert find(attention="undelivered") == ["stuck"]
    assert find(attention="browser") == ["lost"]
    assert find(attention="idle") == []
    clock.forward(days=1, minutes=1)
    assert sorted(find(attention="idle")) == ["idle", "locked"]
    assert sorted(find(attention="any")) == ["idle", "locked", "lost", "stuck"]
    clock.forward(days=7)
    assert find(attention="any") == []  # all ran out


def test_an_enrolled_device_needs_no_attention(app, company, find, browser):
    phone(app).install(browser.walk_to("profile", company.invite(company.person())).download())
    assert find(attention="any") == []
    assert find(status="enrolled") == ["erika"]


# --- pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_go_on_and_back_and_stay_where_they_were_cut(company, portal, clock, monkeypatch, oldest_first):
    monkeypatch.setattr(search, "PAGE_SIZE", 3)
    person = company.person()
    for number in range(8):
        company.invite(person)
        clock.forward(seconds=number % 2)  # some at the very same time

    def page(place=""):
        with portal.database.session() as session:
            return search.page(session, portal.settings, Filters(oldest_first=oldest_first), clock(), place)

    first = page()
    second, third = page(first.after), page(page(first.after).after)
    ids = [row.request.id for part in (first, second, third) for row in part.rows]
    assert len(ids) == len(set(ids)) == 8
    assert (first.before, third.after) == (None, None)
    company.invite(person)  # somebody is invited meanwhile
    again = page(second.before)
    assert [row.request.id for row in again.rows] == ids[:3]
    assert [row.request.id for row in page(first.after).rows] == ids[3:6]


@pytest.mark.parametrize("place", ["nonsense", "after:", "after:x:y", "before:1e400:z", "after:-1:" + "z" * 4000, "::"])
def test_a_mangled_place_is_the_first_page(company, portal, clock, place):
    company.invite(company.person())
    with portal.database.session() as session:
        assert len(search.page(session, portal.settings, Filters(), clock(), place).rows) in (0, 1)
