"""Keeping and erasing, as an admin set it."""

from portal import audit, jobs
from portal.models import OutboxMessage
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
