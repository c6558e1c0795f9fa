"""What was recorded is found by whoever reads the trail in the same transaction, and lost by nobody's savepoint."""

from contextlib import suppress

import pytest
from sqlalchemy import delete, func, select, text, update

from portal import audit
from portal.events import Event
from portal.models import AuditEvent, AuditHead, Person
from portal.storage.cases import Cases

CHAIN = "people"


class TakenBack(Exception):
    """A savepoint is rolled back."""


def record(session, clock, reason, **detail):
    audit.record(session, CHAIN, Event.SIGN_IN_REFUSED, clock(), reason=reason, detail=detail or None)


def reasons(portal):
    assert audit.broken_links(portal.database) == []
    with portal.database.session() as session:
        return list(session.scalars(select(AuditEvent.reason).where(AuditEvent.chain == CHAIN).order_by(AuditEvent.id)))


READS = {
    "entity": select(AuditEvent),
    "column": select(AuditEvent.id),
    "function": select(func.max(AuditEvent.id)),
    "select_from": select(func.count()).select_from(AuditEvent),
    "subquery": select(func.count()).select_from(select(AuditEvent).subquery()),
    "exists": select(Person.id).where(select(AuditEvent.id).exists()),
    "joined": select(Person).outerjoin(AuditEvent, AuditEvent.actor == Person.id),
    "core": select(AuditEvent.__table__),
    "update": update(AuditEvent).where(AuditEvent.chain == "none").values(detail=None),
    "delete": delete(AuditEvent).where(AuditEvent.chain == "none"),
}


@pytest.mark.parametrize("statement", READS.values(), ids=READS)
def test_it_is_written_before_the_trail_is_read(portal, clock, statement):
    with portal.database.transaction() as session:
        record(session, clock, "wrong_password")
        session.execute(statement)
        assert audit.pending(session) == []
    assert reasons(portal) == ["wrong_password"]


@pytest.mark.parametrize("statement", [select(Person), select(AuditHead), text("select 1")], ids=str)
def test_what_does_not_concern_the_trail_leaves_it_for_the_end(portal, clock, statement):
    with portal.database.transaction() as session:
        record(session, clock, "wrong_password")
        session.execute(statement)
        assert len(audit.pending(session)) == 1


def test_erasing_finds_what_was_recorded_a_moment_ago(portal, clock):
    with portal.database.transaction() as session:
        record(session, clock, "wrong_password", username="pat")
        audit.erase_details(session, CHAIN)
    with portal.database.session() as session:
        assert audit.newest(session, CHAIN).detail is None


def test_a_savepoint_takes_back_what_was_recorded_in_it_and_nothing_else(portal, clock):
    with portal.database.transaction() as session:
        record(session, clock, "before")
        with suppress(TakenBack), session.begin_nested():
            record(session, clock, "taken_back")
            raise TakenBack
        record(session, clock, "between")
        with suppress(TakenBack), session.begin_nested():
            record(session, clock, "written_and_taken_back")
            assert audit.newest(session, CHAIN).reason == "written_and_taken_back"
            raise TakenBack
        with session.begin_nested():
            record(session, clock, "kept")
            with suppress(TakenBack), session.begin_nested():
                raise TakenBack
        record(session, clock, "after")
    assert reasons(portal) == ["before", "between", "kept", "after"]


def test_a_savepoint_within_what_decides_on_a_request_keeps_its_chain_whole(portal, company, clock):
    invitation = company.invite(company.person())
    with portal.database.transaction() as session:
        case = Cases(session, portal).lock(invitation.request.id)
        case.record(Event.PASSCODE_SENT)
        with suppress(TakenBack), session.begin_nested():
            case.record(Event.PASSCODE_REJECTED)
            audit.newest(session, case.chain)
            raise TakenBack
        case.record(Event.OVERVIEW_SEEN)
    assert audit.broken_links(portal.database) == []
    assert [kind for kind, _ in company.events(invitation)][-2:] == ["passcode.sent", "overview.seen"]
