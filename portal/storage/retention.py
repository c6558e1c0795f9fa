"""Forgetting what is personal about requests that ended long ago; times, kinds of events and the chains stay."""

from datetime import datetime, timedelta

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from portal.enrollment import ending
from portal.models import EnrollmentRequest, OutboxMessage
from portal.people import erasure
from portal.settings.schema import Retention
from portal.storage.cases import Cases

BATCH_SIZE = 200
"""Requests emptied in one go, so that nobody waits long for the database."""


def forget_closed(cases: Cases) -> int:
    """Empty requests that were over ``closed_requests_days`` ago; how many. Nothing if that is 0.

    Of those that only ran out, whatever a device could still show stops working.
    """
    rules, now, session = cases.services.settings.retention, cases.now, cases.session
    if not rules.closed_requests_days:
        return 0
    before = now - timedelta(days=rules.closed_requests_days)
    request = EnrollmentRequest
    ran_out = and_(request.is_unfinished, request.expires_at < before)
    over = or_(request.ended_at < before, ran_out)
    wanted = select(request.id).where(request.managed_apple_account != "", over).limit(BATCH_SIZE)
    ids = []
    for case in cases.of_requests(wanted):
        ending.end(case, ending.Reason.FORGOTTEN)
        ids.append(case.request.id)
    erasure.of_requests(session, select(request.id).where(request.id.in_(ids)))
    return len(ids)


def forget_mail(session: Session, rules: Retention, now: datetime) -> None:
    """Forget that mail was sent, or given up, after ``mail_days``."""
    before = now - timedelta(days=rules.mail_days)
    done = or_(OutboxMessage.sent_at < before, OutboxMessage.failed_at < before)
    session.execute(delete(OutboxMessage).where(done))
