"""What the worker does every minute, and that a nudge never fails a page."""

from datetime import timedelta

from sqlalchemy import func, select

from portal import jobs
from portal.models import IssuedProfile, OutboxMessage, SignInAttempt, WebSession
from portal.notifications.outbox import LEASE


def count(session, table):
    return session.scalar(select(func.count()).select_from(table))


def test_housekeeping_forgets_what_no_longer_counts_and_nothing_else(app, browser, company, session, clock):
    invitation = company.invite(company.person())
    browser.open_link(invitation).submit(username="erika", password="wrong")
    browser.walk_to("profile", invitation)
    browser.download()
    worker = jobs.Worker(company.portal.settings)
    worker.every_minute()
    assert (count(session, WebSession), count(session, SignInAttempt)) == (
        1,
        1,
    )  # the right try took itself back, not the wrong one
    assert session.scalars(select(IssuedProfile.content_sealed)).one() is not None
    session.rollback()
    browser.get("/enroll").submit(username="nobody", password="wrong")
    clock.forward(hours=2)
    worker.every_minute()
    assert (count(session, WebSession), count(session, SignInAttempt)) == (0, 0)
    assert session.scalars(select(IssuedProfile.content_sealed)).one() is None
    assert company.step(invitation) == "profile"
    worker.database.engine.dispose()


def test_the_worker_delivers_what_waits(company, clock, tmp_path):
    company.invite(company.person())
    worker = jobs.Worker(company.portal.settings)
    worker.deliver()
    with worker.database.session() as session:
        assert session.scalars(select(OutboxMessage.sent_at)).one() == clock()
    assert len(list((tmp_path / "outbox").glob("*.eml"))) == 1
    worker.database.engine.dispose()


def test_a_page_that_queues_mail_nudges_the_worker(browser, company, monkeypatch):
    nudged = []
    monkeypatch.setattr(jobs, "nudge", nudged.append)
    company.person()
    browser.get("/enroll").sign_in()
    assert nudged == [company.portal.settings]
    browser.submit(ownership="employee")
    assert len(nudged) == 1


def test_a_lease_is_longer_than_any_delivery_may_take(settings):
    assert timedelta(seconds=settings.mail.timeout_seconds * 5) <= LEASE
