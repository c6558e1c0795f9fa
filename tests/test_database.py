"""How reading and writing behave, alike on both databases."""

from contextlib import suppress

import pytest
from sqlalchemy import func, insert, select

from portal import audit
from portal.audit import checking
from portal.events import Event
from portal.models import PortalState

pytestmark = pytest.mark.each_database
COUNT = select(func.count()).select_from(PortalState)


def write(portal, name):
    with portal.database.transaction() as session:
        session.add(PortalState(name=name, value=""))


def holds_a_transaction(session):
    raw = session.connection().connection.dbapi_connection
    return raw.in_transaction if hasattr(raw, "in_transaction") else raw.info.transaction_status != 0


def test_a_read_holds_nothing_and_sees_what_was_committed_since(portal):
    with portal.database.session() as session:
        before = session.scalar(COUNT)
        assert not holds_a_transaction(session)
        write(portal, "one")
        assert session.scalar(COUNT) == before + 1


def test_a_snapshot_is_of_one_moment_and_hinders_nobody(portal):
    with portal.database.snapshot() as session:
        before = session.scalar(COUNT)
        assert holds_a_transaction(session)
        write(portal, "one")
        assert session.scalar(COUNT) == before
    with portal.database.session() as session:
        assert session.scalar(COUNT) == before + 1


def test_what_was_read_before_a_transaction_is_no_part_of_it(portal):
    with portal.database.session() as session:
        before = session.scalar(COUNT)
        with suppress(ZeroDivisionError), portal.database.transaction(session):
            session.execute(insert(PortalState).values(name="one", value=""))
            assert holds_a_transaction(session)
            raise ZeroDivisionError
        assert session.scalar(COUNT) == before
        assert not holds_a_transaction(session)
        with portal.database.transaction(session):
            session.execute(insert(PortalState).values(name="two", value=""))
        assert session.scalar(COUNT) == before + 1
        assert not holds_a_transaction(session)


def test_a_connection_that_wrote_reads_as_the_others_do_afterwards(portal):
    """Connections are used again; nothing of how one was used sticks to it."""
    for name in ("one", "two", "three"):
        write(portal, name)
        with portal.database.session() as session:
            session.scalar(COUNT)
            assert not holds_a_transaction(session)
        with portal.database.snapshot() as session:
            session.scalar(COUNT)
            assert holds_a_transaction(session)


def test_what_happens_while_the_trail_is_checked_is_no_broken_link(portal, company, clock, monkeypatch):
    invitation = company.invite(company.person())
    chain, heads = audit.request_chain(invitation.request.id), checking.heads

    def meanwhile(session):
        found = heads(session)
        with portal.database.transaction() as writing:
            audit.record(writing, chain, Event.REQUEST_EXTENDED, clock())
        return found

    monkeypatch.setattr(checking, "heads", meanwhile)
    assert audit.broken_links(portal.database) == []
    monkeypatch.undo()
    assert audit.broken_links(portal.database) == []


def test_the_worker_checks_the_trail_without_stopping_anybody(portal, company, clock, monkeypatch):
    company.invite(company.person())
    with portal.database.transaction() as session:
        audit.ask_for_check(session, clock())
    heads = checking.heads

    def meanwhile(session):
        write(portal, "somebody writes")
        return heads(session)

    monkeypatch.setattr(checking, "heads", meanwhile)
    audit.check_if_asked(portal.database, clock())
    with portal.database.session() as session:
        assert audit.last_check(session) == {"at": clock(), "broken": []}
