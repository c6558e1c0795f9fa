"""Forgetting what is personal about requests that ended long ago; times, kinds of events and the chains stay."""

from datetime import datetime, timedelta

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session

from portal.enrollment import commands, ending
from portal.enrollment.case import Case
from portal.models import Command, EnrollmentRequest, IssuedProfile, OutboxMessage
from portal.people import erasure
from portal.settings.schema import Retention
from portal.storage.cases import Cases

KEEP_EXPIRED_PROFILES = timedelta(hours=1)
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
    ids: list[str] = []

    def forget(case: Case) -> bool:
        ending.end(case, ending.Reason.FORGOTTEN)
        session.flush()  # what cannot be written is not erased either
        ids.append(case.request.id)
        return True

    cases.each(cases.of_requests(wanted), forget)
    erasure.of_requests(session, select(request.id).where(request.id.in_(ids)))
    return len(ids)


def forget_mail(session: Session, rules: Retention, now: datetime) -> None:
    """Forget that mail was sent, or given up, after ``mail_days``."""
    before = now - timedelta(days=rules.mail_days)
    done = or_(OutboxMessage.sent_at < before, OutboxMessage.failed_at < before)
    session.execute(delete(OutboxMessage).where(done))


def forget_expired_profiles(session: Session, now: datetime) -> None:
    """Forget the content of profiles that nobody can fetch any more."""
    over = (IssuedProfile.content_sealed.is_not(None), IssuedProfile.server.is_(None))
    before = now - KEEP_EXPIRED_PROFILES
    session.execute(update(IssuedProfile).where(*over, IssuedProfile.expires_at < before).values(content_sealed=None))


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
