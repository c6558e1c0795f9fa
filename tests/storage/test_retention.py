"""Keeping and erasing, as an admin set it."""

from datetime import timedelta

from sqlalchemy import delete, event, func, insert, select

from portal import audit, jobs
from portal.enrollment import commands, ending
from portal.models import Command, CommandState, Device, IssuedProfile, OutboxMessage
from portal.storage import retention
from tests.factories import phone


def run(portal, **changes):
    rules = portal.live.base.retention.model_copy(update=changes)
    jobs.Worker(portal.live.base.model_copy(update={"retention": rules})).every_minute()


def test_a_closed_request_is_emptied_after_its_days_and_the_chain_holds(app, browser, company, clock, portal, session):
    gone, kept = company.invite(company.person()), company.invite(company.person("max"))
    device = phone(app)
    device.install(browser.walk_to("profile", gone).download())
    device.remove()
    clock.forward(days=29)
    run(portal, closed_requests_days=30)
    assert company.request(gone).managed_apple_account
    clock.forward(days=2)
    run(portal, closed_requests_days=30)
    assert company.request(gone).managed_apple_account == ""
    assert company.device(gone).os_version is None
    assert all(event.detail is None for event in audit.timeline(session, gone.request.id))
    assert ("device.left", "removed_on_device") in company.events(gone)
    assert audit.broken_links(portal.database) == []
    assert company.request(kept).managed_apple_account  # it ran out 24 days ago only
    clock.forward(days=7)
    run(portal, closed_requests_days=30)
    assert company.request(kept).managed_apple_account == ""


def test_without_a_number_of_days_everything_is_kept(company, clock, portal):
    invitation = company.invite(company.person())
    clock.forward(days=4000)
    run(portal)
    assert company.request(invitation).managed_apple_account


def test_sent_mail_is_forgotten_after_its_days_and_waiting_mail_never(company, clock, portal, session):
    company.invite(company.person())
    run(portal)
    assert session.query(OutboxMessage).one().sent_at is not None
    session.rollback()
    company.invite(company.person("max"))
    clock.forward(days=31)
    with portal.database.transaction() as writing:
        retention.forget_mail(writing, portal.settings.retention, clock())
    session.expire_all()
    assert session.query(OutboxMessage).one().sent_at is None


def test_commands_that_are_over_are_forgotten_after_their_days_and_no_others(
    app, browser, company, clock, portal, session
):
    device = phone(app)
    device.install(browser.walk_to("profile", company.invite(company.person())).download())
    known = session.query(Device).one()

    def queued(name, status, days_ago):
        made = Command(uuid=name, device_id=known.id, request_type="DeviceLock", payload=b"", status=status)
        made.created_at = clock() - timedelta(days=days_ago)
        session.add(made)
        session.flush()

    session.execute(delete(Command))
    for status in CommandState:
        queued(f"old {status}", status, 91)
    for status in CommandState:
        queued(f"young {status}", status, 89)
    queued("late", CommandState.ACKNOWLEDGED, 91)  # a clock was wrong: it goes with those around it
    session.commit()
    run(portal)
    left = set(session.scalars(select(Command.uuid)))
    assert left == {f"old {status}" for status in commands.OPEN} | {f"young {status}" for status in CommandState} | {
        "late"
    }
    clock.forward(days=2)
    run(portal)
    left = set(session.scalars(select(Command.uuid).where(Command.request_type == "DeviceLock")))
    assert left == {f"{age} {status}" for status in commands.OPEN for age in ("old", "young")}


def test_a_great_many_commands_are_forgotten_in_portions(app, browser, company, clock, portal, session, monkeypatch):
    monkeypatch.setattr(retention, "COMMANDS_BATCH", 3)
    device = phone(app)
    device.install(browser.walk_to("profile", company.invite(company.person())).download())
    known = session.query(Device).one()
    session.execute(delete(Command))
    row = {"device_id": known.id, "request_type": "DeviceLock", "payload": b"", "created_at": clock()}
    session.execute(insert(Command), [row | {"uuid": str(n), "status": "acknowledged"} for n in range(7)])
    session.commit()
    rules = portal.settings.retention.model_copy(update={"commands_days": 40})
    clock.forward(days=41)
    counts = []
    for _ in range(4):
        with portal.database.transaction() as writing:
            retention.forget_commands(writing, rules, clock())
        counts.append(session.scalar(select(func.count(Command.id))))
        session.rollback()
    assert counts == [4, 1, 0, 0]


def test_one_that_cannot_be_forgotten_keeps_nothing_else_from_it(company, clock, portal, monkeypatch):
    odd, other = company.invite(company.person()), company.invite(company.person("max"))
    clock.forward(days=60)
    end = ending.end

    def fails(case, reason, *more):
        if case.request.id == odd.request.id:
            raise ValueError("for a test")
        return end(case, reason, *more)

    monkeypatch.setattr(ending, "end", fails)
    run(portal, closed_requests_days=30)
    assert company.request(odd).managed_apple_account
    assert company.request(other).managed_apple_account == ""


def test_profiles_that_were_emptied_are_not_written_again(browser, company, clock, portal, session):
    company.profile(company.invite(company.person()))
    clock.forward(hours=3)
    with portal.database.transaction() as writing:
        retention.forget_expired_profiles(writing, clock())
    assert session.scalars(select(IssuedProfile.content_sealed)).all() == [None]
    session.rollback()
    written = []
    listen = event.listens_for(portal.database.engine, "after_cursor_execute")
    listen(lambda _c, cursor, *_more: written.append(cursor.rowcount))
    with portal.database.transaction() as writing:
        retention.forget_expired_profiles(writing, clock())
    assert max(written) <= 0
