"""The worker's rounds take what nobody is at, and never wait: who waits while holding others stops everybody."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from portal.backends import reconciling
from portal.enrollment import management
from portal.events import Event
from portal.models import AuditEvent, Command, Device, EnrollmentRequest, Person, PortalState
from portal.storage import brake, retention, rounds
from portal.storage.cases import Cases
from tests.factories import Company, phone


def disabled(session, now):
    session.execute(update(Person).values(disabled_at=now))


def released(session, now):
    session.execute(update(Device).values(leaving_held_at=now, leaving_reason="cancelled"))
    session.add(PortalState(name=brake.STATE, value=f'{{"released": "{now.isoformat()}"}}'))


def quiet(session, now):
    session.execute(update(Device).values(last_seen_at=now - timedelta(days=9)))
    session.execute(update(Command).values(created_at=now - timedelta(days=9)))


def not_further(session, now):
    session.execute(update(Device).values(enrolled_at=None, authenticated_at=now - timedelta(hours=1)))


def long_over(session, now):
    session.execute(update(EnrollmentRequest).values(ended_at=now - timedelta(days=2), end_reason="removed"))


ROUNDS = [
    (disabled, rounds.of_disabled_people),
    (released, rounds.go_on),
    (quiet, rounds.refresh_quiet),
    (not_further, reconciling.reconcile),
    (long_over, retention.forget_closed),
]


@pytest.fixture
def two(make_app, clock):
    """A portal that forgets after a day, with two managed devices."""
    app = make_app(retention={"closed_requests_days": 1})
    company = Company(app.extensions["portal"])
    for number in range(2):
        invitation = company.invite(company.person(f"person{number}"))
        phone(app, number).install(company.profile(invitation))
    clock.forward(hours=2)
    return company.portal


def test_what_fails_for_one_is_undone_and_keeps_nothing_from_the_others(two):
    def act(case):
        management.ask_how_it_is(case)
        case.record(Event.DEVICE_LEFT, "for a test")
        case.store.session.flush()
        if case.device.id == first:
            raise ValueError
        return True

    with two.database.transaction() as session:
        first = session.scalars(select(Device.id).order_by(Device.request_id)).first()
        before = session.scalars(select(Command.id)).all()
        cases = Cases(session, two)
        assert cases.each(cases.of_devices(select(Device.id)), act) == [False, True]
    with two.database.session() as session:
        new = session.scalars(select(Command).where(Command.id.not_in(before))).all()
        told = session.scalars(select(AuditEvent).where(AuditEvent.reason == "for a test")).all()
        assert len(new) >= 1
        assert first not in {each.device_id for each in new}
        assert len(told) == 1


@pytest.mark.parametrize(("prepare", "work"), ROUNDS, ids=[work.__name__ for _, work in ROUNDS])
def test_a_round_leaves_out_whom_somebody_is_at_and_takes_him_the_next_time(two, clock, prepare, work):
    database, now = two.database, clock()
    locks = database.engine.dialect.name == "postgresql"  # else there is one writer at a time
    with database.transaction() as session:
        prepare(session, now)
        last = session.scalars(select(EnrollmentRequest.id).order_by(EnrollmentRequest.id.desc())).first()

    def go():
        with database.transaction() as session:
            if locks:
                session.execute(text("set local lock_timeout = '2s'"))
            return work(Cases(session, two, now))

    with Session(database.engine) as staff:
        staff.execute(select(EnrollmentRequest.id).where(EnrollmentRequest.id == last).with_for_update())
        assert go() == (1 if locks else 2)
    assert go() == (1 if locks else 0)
    assert go() == 0


def test_who_never_answers_keeps_nobody_else_from_being_asked(two, clock, monkeypatch):
    """Phones in drawers were heard of longest ago, so they stand first; they are asked once."""
    monkeypatch.setattr(rounds, "MOST_QUIET", 1)

    def ask():
        with two.database.transaction() as session:
            return rounds.refresh_quiet(Cases(session, two))

    with two.database.transaction() as session:
        session.execute(delete(Command))
        drawer, used = session.scalars(select(Device).order_by(Device.id))
        drawer.last_seen_at = clock() - timedelta(days=30)
        used.last_seen_at = clock() - timedelta(days=2)
        answers = update(Command).where(Command.device_id == used.id).values(status="acknowledged")
    asked = []
    for _ in range(3):
        asked.append([ask(), ask(), ask()])
        with two.database.transaction() as session:
            session.execute(answers)
            session.execute(update(Device).where(Device.id == used.id).values(last_seen_at=clock()))
        clock.forward(days=2)
    assert asked == [[1, 1, 0], [1, 0, 0], [1, 0, 0]]
