"""The steps of the journey, their order, and what each one needs: pure functions over recorded facts.

``current_step``, ``may_visit``, ``status`` and ``waiting`` are the only functions that turn facts into an answer.
Pages, helpdesk and mails all ask them.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from portal.models import EnrollmentRequest

DEVICE_PATIENCE = timedelta(minutes=10)
"""How long the finish page waits for the next word of a device that has its certificate."""
CARRIED_OVER = timedelta(hours=1)
"""What was done in Safari this long before signing in to the web view of Settings is not asked again there."""


CODE_LENGTH = 6
"""Characters of a request's id in its short code."""
SOURCES = ("helpdesk", "admin", "self", "command", "import")
"""Who makes requests."""


class Way(StrEnum):
    """How a device enrolls: with a downloaded profile, or from Settings with the Managed Apple Account."""

    PROFILE = "profile"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class SignedInBrowser:
    """One signed-in browser on its way through a request.

    In Safari the passcode counts only for the browser that entered it: a second phone proves itself again. The web
    view of Settings may not share Safari's cookies, so what counts there is what was done on the request at or after
    ``since``: the privacy notice, the passcode and the terms of the hour before, and all that is done there.
    """

    session_id: str
    since: datetime | None = None

    def passcode_counts(self, request: EnrollmentRequest) -> bool:
        """Whether this browser may rely on the passcode entered for ``request``."""
        return request.passcode_session_id == self.session_id if self.since is None else True

    def counts(self, at: datetime | None) -> datetime | None:
        """``at``, unless it is too long ago for this browser."""
        return at if at is None or self.since is None or at >= self.since else None


class Step(StrEnum):
    SIGN_IN = "sign-in"
    OWNERSHIP = "ownership"
    PRIVACY = "privacy"
    PASSCODE = "passcode"
    OVERVIEW = "overview"
    TERMS = "terms"
    PROFILE = "profile"
    FINISH = "finish"


STEPS = tuple(Step)


class Status(StrEnum):
    INVITED = "invited"
    IN_PROGRESS = "in_progress"
    CORPORATE = "corporate"
    PROFILE_ISSUED = "profile_issued"
    PROFILE_EXPIRED = "profile_expired"
    ENROLLING = "enrolling"
    REFUSED = "refused"
    ENROLLED = "enrolled"
    REMOVED = "removed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Waiting(StrEnum):
    """What the finish page waits for, or how the waiting ended."""

    DOWNLOAD = "download"
    INSTALL = "install"
    DEVICE = "device"
    ACCOUNT = "account"
    ENROLLED = "enrolled"
    EXPIRED = "expired"
    REFUSED = "refused"
    SILENT = "silent"
    ENDED = "ended"


class Attention(StrEnum):
    """Why somebody should look at a request."""

    LOCKED = "locked"
    UNDELIVERED = "undelivered"
    PROFILE_EXPIRED = "profile_expired"
    BROWSER = "browser"
    REFUSED = "refused"
    CORPORATE = "corporate"
    IDLE = "idle"
    LEAVING = "leaving"
    HELD = "held"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one request: when things happened (None: not yet), and a few codes of what they were."""

    expires_at: datetime
    terms_current: str | None
    signed_in_at: datetime | None = None
    ownership: str | None = None
    privacy_at: datetime | None = None
    passcode_verified_at: datetime | None = None
    overview_at: datetime | None = None
    terms_version: str | None = None
    terms_accepted_at: datetime | None = None
    profile_issued_at: datetime | None = None
    profile_expires_at: datetime | None = None
    profile_downloaded_at: datetime | None = None
    certificate_at: datetime | None = None
    authenticated_at: datetime | None = None
    refused_at: datetime | None = None
    enrolled_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    way: str | None = None
    server: str | None = None
    """Who enrolls the device by itself; None if the portal gives it a profile."""

    def over(self, now: datetime) -> bool:
        """Whether the request ended or its time ran out before a device enrolled."""
        return self.ended_at is not None or (self.enrolled_at is None and now >= self.expires_at)

    def minutes_left(self, now: datetime) -> int:
        """Whole minutes for which the profile can still be installed, a begun one counted; 0 without one."""
        if self.profile_expires_at is None:
            return 0
        return max(0, math.ceil((self.profile_expires_at - now).total_seconds() / 60))


def of(request: EnrollmentRequest, browser: SignedInBrowser | None = None) -> Facts:
    """The facts of ``request``; with ``browser``, as they count for that browser."""
    profile = request.profile
    counts = browser.counts if browser else _all_count
    passcode_counts = browser is None or browser.passcode_counts(request)
    terms_accepted_at = counts(request.terms_accepted_at)
    return Facts(
        expires_at=request.expires_at,
        terms_current=request.terms_current,
        signed_in_at=request.signed_in_at,
        ownership=request.ownership,
        privacy_at=counts(request.privacy_at),
        passcode_verified_at=counts(request.passcode_verified_at) if passcode_counts else None,
        overview_at=request.overview_at,
        terms_version=request.terms_version if terms_accepted_at else None,
        terms_accepted_at=terms_accepted_at,
        profile_issued_at=profile.issued_at if profile else None,
        profile_expires_at=profile.expires_at if profile else None,
        profile_downloaded_at=profile.downloaded_at if profile else None,
        certificate_at=profile.certificate_at if profile else None,
        authenticated_at=profile.authenticated_at if profile else None,
        refused_at=profile.refused_at if profile else None,
        enrolled_at=request.enrolled_at,
        ended_at=request.ended_at,
        end_reason=request.end_reason,
        way=profile.way if profile else None,
        server=profile.server if profile else None,
    )


def _all_count(at: datetime | None) -> datetime | None:
    return at


def current_step(facts: Facts, now: datetime) -> Step:
    """The one step a person is at."""
    if facts.signed_in_at is None:
        return Step.SIGN_IN
    if facts.enrolled_at or facts.over(now):
        return Step.FINISH
    if facts.ownership != "employee":
        return Step.OWNERSHIP
    if facts.privacy_at is None:
        return Step.PRIVACY
    if facts.passcode_verified_at is None:
        return Step.PASSCODE
    if facts.overview_at is None:
        return Step.OVERVIEW
    download_needed = facts.profile_downloaded_at is None or waiting(facts, now) in _NEW_DOWNLOAD_NEEDED
    # Terms published after the download do not stop a device that is on its way.
    if download_needed and (facts.terms_accepted_at is None or facts.terms_version != facts.terms_current):
        return Step.TERMS
    if download_needed:
        return Step.PROFILE
    return Step.FINISH


def may_visit(step: Step, facts: Facts, now: datetime) -> bool:
    """Whether the page of ``step`` may be shown: the current one; profile and finish belong together."""
    current = current_step(facts, now)
    if step is Step.PROFILE and current is Step.FINISH:
        return not facts.over(now) and facts.enrolled_at is None
    if step is Step.FINISH and current is Step.PROFILE:
        return facts.profile_issued_at is not None
    return step is current


def waiting(facts: Facts, now: datetime) -> Waiting:
    """How far the device is, for the finish page."""
    if facts.ended_at is not None:
        return Waiting.ENDED
    if facts.enrolled_at:
        return Waiting.ENROLLED
    if facts.over(now):
        return Waiting.ENDED
    if facts.profile_issued_at is None or facts.profile_expires_at is None:
        return Waiting.DOWNLOAD
    if facts.refused_at:
        return Waiting.REFUSED
    if facts.authenticated_at:
        return Waiting.ACCOUNT if now < facts.authenticated_at + DEVICE_PATIENCE else Waiting.SILENT
    if facts.certificate_at:
        return Waiting.DEVICE if now < facts.certificate_at + DEVICE_PATIENCE else Waiting.SILENT
    if now >= facts.profile_expires_at:
        return Waiting.EXPIRED
    return Waiting.INSTALL if facts.profile_downloaded_at else Waiting.DOWNLOAD


_NEW_DOWNLOAD_NEEDED = {Waiting.EXPIRED, Waiting.REFUSED, Waiting.SILENT}


def status(facts: Facts, now: datetime) -> Status:
    """What helpdesk sees. ``storage.states`` says the same in SQL."""
    if facts.end_reason == "cancelled":
        return Status.CANCELLED
    if facts.ended_at is not None:
        return Status.REMOVED
    if facts.enrolled_at is not None:
        return Status.ENROLLED
    if now >= facts.expires_at:
        return Status.EXPIRED
    if facts.refused_at is not None:
        return Status.REFUSED
    if facts.certificate_at is not None:
        return Status.ENROLLING
    if facts.profile_issued_at is not None and facts.profile_expires_at is not None:
        return Status.PROFILE_ISSUED if now < facts.profile_expires_at else Status.PROFILE_EXPIRED
    if facts.ownership == "corporate":
        return Status.CORPORATE
    return Status.INVITED if facts.signed_in_at is None else Status.IN_PROGRESS


def short_code(request_id: str) -> str:
    """What an employee reads out from the foot of a page, like ``K7QX-2D``: the beginning of the request's id."""
    return f"{request_id[:4]}-{request_id[4:CODE_LENGTH]}".upper()
