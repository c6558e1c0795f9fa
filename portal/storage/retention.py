"""Forgetting what is personal about requests that ended long ago; times, kinds of events and the chains stay."""

from datetime import datetime, timedelta

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from portal.enrollment import commands, ending
from portal.models import Command, EnrollmentRequest, OutboxMessage
from portal.people import erasure
from portal.settings.schema import Retention
from portal.storage.cases import Cases

BATCH_SIZE = 200
"""Requests emptied in one go, so that nobody waits long for the database."""
COMMANDS_BATCH = 2000
"""Commands forgotten in one go: in a minute more than 100,000 devices have in an hour."""


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


def forget_commands(session: Session, rules: Retention, now: datetime) -> None:
    """Forget commands that were queued ``commands_days`` ago and are over, the oldest first."""
    before = now - timedelta(days=rules.commands_days)
    # They are numbered as they come, so the first young one is where the old ones end: nothing is read beyond it.
    young = session.scalar(select(Command.id).where(Command.created_at >= before).order_by(Command.id).limit(1))
    over = select(Command.id).where(Command.status.not_in(commands.OPEN)).order_by(Command.id).limit(COMMANDS_BATCH)
    if young is not None:
        over = over.where(Command.id < young)
    gone = delete(Command).where(Command.id.in_(over))
    session.execute(gone, execution_options={"synchronize_session": False})
