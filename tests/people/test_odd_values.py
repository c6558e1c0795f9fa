"""One person's odd value keeps nothing from anybody else: names, usernames, languages, entries of a directory."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal import audit, jobs, people
from portal.credentials import sign_in
from portal.credentials.directory import Directory
from portal.credentials.ldap_connections import Connections, Entry
from portal.enrollment.invitations import Asker
from portal.events import Event
from portal.models import CampaignEntry, OutboxMessage, Person
from portal.storage import campaigns
from portal.storage.campaigns import Plan
from portal.storage.cases import Cases
from tests.factories import Company, editing, phone

LDAP = {
    "servers": ("ldap://127.0.0.1:1",),
    "base_dn": "dc=example",
    "user_filter": "(uid={username})",
    "username_attribute": "uid",
}


@given(entered=st.text(max_size=12) | st.text(alphabet="\u1f83\u0306\u0345\u03b9ﬁİß \u00a0", max_size=6))
def test_a_username_that_is_folded_stays_so(entered):
    assert people.fold_username(people.fold_username(entered)) == people.fold_username(entered)


def test_a_person_without_a_letter_can_be_kept_and_found(portal, session):
    with portal.database.transaction() as writing:
        people.add(editing(portal, writing), Person(username="\u0301", name="\u0301", email="", role="employee"))
    assert people.by_username(session, "\u0301") is not None


@pytest.mark.parametrize("locale", ["zz", "not_a_locale", "../x", "", "x" * 16])
def test_a_language_that_there_is_not_keeps_no_alert_from_the_others(app, company, portal, session, clock, locale):
    worker = jobs.Worker(portal.live.base)
    company.person("ada", "admin")
    odd = company.person("odd", "admin")
    with portal.database.transaction() as writing:
        writing.get_one(Person, odd.id).locale = locale
    worker.every_minute()
    clock.forward(minutes=1)
    with portal.database.transaction() as writing:
        audit.record(writing, audit.SETTINGS, Event.SECOND_FACTOR_LOCKED, clock(), detail={"person": odd.id})
    clock.forward(minutes=1)
    worker.every_minute()
    assert (
        len(session.scalars(select(OutboxMessage).where(OutboxMessage.kind == "alert")).all()) == 3
    )  # both admins, and the person
    worker.database.engine.dispose()


def test_the_command_takes_no_language_that_there_is_not(app, session):
    run = app.test_cli_runner().invoke
    known = ["people", "add", "new", "--name", "New", "--email", "new@example.com", "--password", "seven quiet lamps"]
    assert "is not offered" in run(args=[*known, "--locale", "zz"]).output
    assert people.by_username(session, "new") is None


@pytest.mark.parametrize("username", ["", " ", "a\x07b", "\u202ea", "x" * 256])
def test_the_command_takes_no_username_that_is_none(app, session, username):
    known = ["--name", "New", "--email", "new@example.com", "--password", "seven quiet lamps"]
    refused = app.test_cli_runner().invoke(args=["people", "add", *known, "--", username])
    assert (refused.exit_code, session.scalars(select(Person)).all()) == (1, [])
    assert refused.output.startswith("The username is")


ODD = {
    "without a username": {"mail": [b"odd@example.com"], "cn": [b"Odd"]},
    "that the database refuses": {"uid": [b"odd"], "mail": [b"odd@example.com"], "cn": [b"Odd"]},
}


def refuse(*_):
    raise IntegrityError("INSERT", {}, ValueError())


@pytest.mark.parametrize("odd", ODD)
def test_one_line_of_a_list_stops_neither_the_others_nor_other_lists(make_app, clock, monkeypatch, odd):
    portal = make_app(ldap=LDAP).extensions["portal"]
    company, worker = Company(portal), jobs.Worker(portal.live.base)
    for name in ("anna", "berta"):
        company.person(name)
    if odd == "that the database refuses":
        monkeypatch.setattr(sign_in, "store_person", refuse)
    entry = Entry("cn=odd,dc=example", ODD[odd])
    monkeypatch.setattr(Connections, "service", lambda self: nullcontext(object()))
    monkeypatch.setattr(Directory, "_search_person", lambda self, _, name: entry if name == "odd" else None)
    lists = []
    for names in (["odd", "anna"], ["berta"]):
        with portal.database.transaction() as session:
            lines = list(enumerate(names, 1))
            made = campaigns.check(Cases(session, portal, clock()), "List", lines, Asker("helpdesk:x", "H"))
            campaigns.start(Cases(session, portal, clock()), made.id, Plan("", None, 100, 0), "helpdesk:x")
            lists.append(made.id)
    worker.invite_many()
    with portal.database.session() as session:
        rows = session.scalars(select(CampaignEntry).order_by(CampaignEntry.username)).all()
        told = {each.username: (each.state, each.reason) for each in rows}
    assert told == {"anna": ("invited", None), "berta": ("invited", None), "odd": ("refused", "not_taken")}
    worker.database.engine.dispose()


def test_who_has_enough_devices_is_told_of_when_a_list_is_checked(app, company, portal, clock, configure):
    configure(enrollment__devices_per_person=1)
    erika = company.person()
    phone(app).install(company.profile(company.invite(erika)))
    with portal.database.transaction() as session:
        cases = Cases(session, portal, clock())
        campaigns.check(cases, "List", [(1, "erika")], Asker("helpdesk:x", "H"))
        entry = session.scalars(select(CampaignEntry)).one()
        assert (entry.state, entry.reason) == ("refused", "too_many_devices")
