"""An admin is left, whoever goes at the same time."""

import threading
import time

import pytest
from sqlalchemy import select

from portal import people
from portal.credentials import syncing
from portal.credentials.base import AccountProblem, Found
from portal.lifecycle import closing
from portal.models import Person
from portal.people import LastAdmin
from portal.storage.cases import Cases
from tests.factories import editing


@pytest.fixture
def two(portal, company):
    """Two admins; the second of a directory."""
    ada, bert = company.person("ada", "admin"), company.person("bert", "admin")
    with portal.database.transaction() as session:
        held = session.get_one(Person, bert.id)
        held.source, held.subject = "directory", "bert"
    return ada, bert


def go(portal, clock, person, way):
    with portal.database.transaction() as session:
        mine = session.get_one(Person, person.id)
        if way == "role":
            people.set_role(editing(portal, session, clock()), mine, "employee")
        elif way == "sync":
            syncing.sync(session, portal.settings, Found("directory", "bert", "bert", "Bert", mine.email), clock())
        else:
            getattr(closing, way)(Cases(session, portal), mine, "admin:test")


@pytest.mark.parametrize("first", ["role", "disable", "erase"])
@pytest.mark.parametrize("second", ["disable", "erase", "sync"])
def test_of_two_who_go_at_once_one_stays(portal, clock, two, monkeypatch, first, second):
    looked, problems = people.other_admins, []

    def slowly(session, person):
        found = looked(session, person)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(people, "other_admins", slowly)

    def run(person, way):
        try:
            go(portal, clock, person, way)
        except (LastAdmin, AccountProblem):
            pass
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run, args=each) for each in zip(two, (first, second), strict=True)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert problems == []
    with portal.database.session() as session:
        left = session.scalars(select(Person).where(Person.role == "admin", Person.disabled_at.is_(None))).all()
    assert len(left) == 1


@pytest.mark.parametrize("way", ["role", "disable", "erase"])
def test_the_same_person_twice_at_once_is_no_error(portal, clock, two, company, way):
    ada, problems = two[0], []

    def run():
        try:
            go(portal, clock, ada, way)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert problems == []


def test_nobody_who_is_disabled_gets_a_password_link(app, company, portal):
    erika = company.person()
    company.person("ada", "admin")
    with portal.database.transaction() as session:
        closing.disable(Cases(session, portal), session.get_one(Person, erika.id), "admin:test")
    done = app.test_cli_runner().invoke(args=["people", "password-link", "erika"])
    assert (done.exit_code, done.output) == (1, "erika is disabled.\n")
