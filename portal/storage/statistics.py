"""Counting, nobody's name: how many were invited, started and enrolled, where they stop, and why."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from portal.enrollment.journey import STEPS, Step
from portal.events import Event
from portal.models import AuditEvent, Device, EnrollmentRequest, IssuedProfile
from portal.storage import states

WINDOW_DAYS = 30
REFUSALS = (
    Event.SIGN_IN_REFUSED,
    Event.PASSCODE_REJECTED,
    Event.PROFILE_REFUSED,
    Event.CERTIFICATE_REFUSED,
    Event.DEVICE_REFUSED,
    Event.BROWSER_UNFIT,
    Event.REQUEST_REFUSED,
)
MOST_REASONS = 12


@dataclass(frozen=True)
class Span:
    """What happened in one stretch of time; ``median_minutes`` from signing in to enrolled, None if nobody did."""

    invited: int
    started: int
    enrolled: int
    median_minutes: float | None


@dataclass(frozen=True)
class Statistics:
    """The dashboard's numbers. ``funnel`` and ``stopped`` are about requests created in the window."""

    today: Span
    window: Span
    days: list[tuple[date, int, int]]
    funnel: list[tuple[Step, int]]
    stopped: list[tuple[str, int]]
    reasons: list[tuple[str, str, int]]
    ios: list[tuple[str, int]]
    languages: list[tuple[str, int]]


def gather(session: Session, now: datetime) -> Statistics:
    """Count. Days are UTC's."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - timedelta(days=WINDOW_DAYS - 1)
    return Statistics(
        today=_span(session, midnight),
        window=_span(session, since),
        days=_days(session, since),
        funnel=_funnel(session, since),
        stopped=_stopped(session, since, now),
        reasons=_reasons(session, since),
        ios=_ios(session, since),
        languages=_languages(session, since),
    )


def _span(session: Session, since: datetime) -> Span:
    request = EnrollmentRequest

    def count(at: ColumnElement[datetime]) -> int:
        return session.scalar(select(func.count()).select_from(request).where(at >= since)) or 0

    pairs = select(request.signed_in_at, request.enrolled_at).where(request.enrolled_at >= since)
    took = [(ended - began).total_seconds() / 60 for began, ended in session.execute(pairs) if began and ended]
    return Span(
        count(request.created_at),  # type: ignore[arg-type]
        count(request.signed_in_at),  # type: ignore[arg-type]
        count(request.enrolled_at),  # type: ignore[arg-type]
        round(median(took), 1) if took else None,
    )


def _days(session: Session, since: datetime) -> list[tuple[date, int, int]]:
    """(day, invited, enrolled) for each day of the window."""
    request = EnrollmentRequest
    created = select(request.created_at).where(request.created_at >= since)
    invited = Counter(at.date() for at in session.scalars(created))
    enrolled = Counter(
        at.date() for at in session.scalars(select(request.enrolled_at).where(request.enrolled_at >= since)) if at
    )
    days = (since.date() + timedelta(days=number) for number in range(WINDOW_DAYS))
    return [(day, invited[day], enrolled[day]) for day in days]


def _funnel(session: Session, since: datetime) -> list[tuple[Step, int]]:
    """How many came past each step."""
    request, profile = EnrollmentRequest, IssuedProfile
    past = (
        request.signed_in_at,
        case((request.ownership == "employee", request.ownership_at)),
        request.privacy_at,
        request.passcode_verified_at,
        request.overview_at,
        request.terms_accepted_at,
        profile.downloaded_at,
        request.enrolled_at,
    )
    query = (
        select(*(func.count(fact) for fact in past))
        .select_from(request)
        .outerjoin(profile, profile.id == request.profile_id)
        .where(request.created_at >= since)
    )
    return list(zip(STEPS, session.execute(query).one(), strict=True))


RAN_OUT = "ran_out"


def _stopped(session: Session, since: datetime, now: datetime) -> list[tuple[str, int]]:
    """At which step the requests are that did not come to an end, or that their time ran out (RAN_OUT), most first."""
    request = EnrollmentRequest
    unfinished = (
        select(case((request.expires_at <= now, RAN_OUT), else_=states.step_expression(now)).label("step"))
        .select_from(request)
        .outerjoin(IssuedProfile, IssuedProfile.id == request.profile_id)
        .where(request.created_at >= since, request.is_unfinished)
        .subquery()
    )
    query = select(unfinished.c.step, func.count()).group_by(unfinished.c.step)
    return sorted(((str(row[0]), int(row[1])) for row in session.execute(query)), key=lambda each: -each[1])


def _reasons(session: Session, since: datetime) -> list[tuple[str, str, int]]:
    """(kind, reason, count) of refusals, most first."""
    count = func.count()
    query = (
        select(AuditEvent.kind, AuditEvent.reason, count)
        .where(AuditEvent.at >= since, AuditEvent.kind.in_(REFUSALS))
        .group_by(AuditEvent.kind, AuditEvent.reason)
        .order_by(count.desc())
        .limit(MOST_REASONS)
    )
    return [(kind, reason or "", number) for kind, reason, number in session.execute(query)]


def _ios(session: Session, since: datetime) -> list[tuple[str, int]]:
    query = select(Device.os_version, func.count()).where(Device.enrolled_at >= since).group_by(Device.os_version)
    majors: Counter[str] = Counter()
    for version, number in session.execute(query):
        majors[(version or "").partition(".")[0] or "–"] += number
    return sorted(majors.items(), key=lambda each: (len(each[0]), each[0]))


def _languages(session: Session, since: datetime) -> list[tuple[str, int]]:
    request = EnrollmentRequest
    query = select(request.language, func.count()).where(request.signed_in_at >= since).group_by(request.language)
    return sorted(((name or "–", number) for name, number in session.execute(query)), key=lambda each: -each[1])
