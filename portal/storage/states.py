"""``journey.status`` and ``journey.current_step`` as SQL; a property test holds the two together."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, or_

from portal.enrollment.journey import DEVICE_PATIENCE, Status, Step
from portal.models import EnrollmentRequest, IssuedProfile


def status_expression(now: datetime) -> ColumnElement[str]:
    """``status`` as SQL over EnrollmentRequest outer-joined with its current IssuedProfile."""
    request, profile = EnrollmentRequest, IssuedProfile
    issued = profile.issued_at.is_not(None)
    return case(
        (request.end_reason == "cancelled", Status.CANCELLED.value),
        (request.ended_at.is_not(None), Status.REMOVED.value),
        (request.enrolled_at.is_not(None), Status.ENROLLED.value),
        (request.expires_at <= now, Status.EXPIRED.value),
        (profile.refused_at.is_not(None), Status.REFUSED.value),
        (profile.certificate_at.is_not(None), Status.ENROLLING.value),
        (and_(issued, profile.expires_at > now), Status.PROFILE_ISSUED.value),
        (issued, Status.PROFILE_EXPIRED.value),
        (request.ownership == "corporate", Status.CORPORATE.value),
        (request.signed_in_at.is_(None), Status.INVITED.value),
        else_=Status.IN_PROGRESS.value,
    )


def step_expression(now: datetime) -> ColumnElement[str]:
    """``current_step`` (of no browser in particular) as SQL, over the same join as ``status_expression``."""
    request, profile = EnrollmentRequest, IssuedProfile
    patience = now - DEVICE_PATIENCE
    over = or_(request.ended_at.is_not(None), and_(request.enrolled_at.is_(None), request.expires_at <= now))
    no_word = or_(
        and_(profile.authenticated_at.is_not(None), profile.authenticated_at <= patience),
        and_(profile.authenticated_at.is_(None), profile.certificate_at <= patience),
        and_(profile.authenticated_at.is_(None), profile.certificate_at.is_(None), profile.expires_at <= now),
    )
    download_needed = or_(profile.downloaded_at.is_(None), profile.refused_at.is_not(None), no_word)
    terms_open = or_(request.terms_accepted_at.is_(None), request.terms_version.is_distinct_from(request.terms_current))
    return case(
        (request.signed_in_at.is_(None), Step.SIGN_IN.value),
        (or_(request.enrolled_at.is_not(None), over), Step.FINISH.value),
        (request.ownership.is_distinct_from("employee"), Step.OWNERSHIP.value),
        (request.privacy_at.is_(None), Step.PRIVACY.value),
        (request.passcode_verified_at.is_(None), Step.PASSCODE.value),
        (request.overview_at.is_(None), Step.OVERVIEW.value),
        (and_(download_needed, terms_open), Step.TERMS.value),
        (download_needed, Step.PROFILE.value),
        else_=Step.FINISH.value,
    )
