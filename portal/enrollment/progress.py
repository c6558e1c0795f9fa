"""One function for each thing that can happen to a request, whoever tells of it: a page or a backend.

Each locks the request, looks at the facts again, records one fact and one event. Repeating any of them is safe.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, people, tallies
from portal.enrollment import journey, passcode, requests, terms
from portal.enrollment.errors import (
    ChallengeRefused,
    DeviceRefused,
    LinkUnusable,
    PasscodeExpired,
    PasscodeLocked,
    PasscodeWrong,
    RequestEnded,
    StepOutOfOrder,
    TermsChanged,
    WrongAccount,
    WrongPerson,
)
from portal.enrollment.journey import Step, Walk
from portal.events import Event
from portal.models import Certificate, Device, EnrollmentRequest, IssuedProfile, Person
from portal.people import accounts
from portal.settings import Passcode, Settings
from portal.vault import Vault, token_hash

TOLD_ONCE = {"throttled", "source_unavailable"}


# --- what the employee does -------------------------------------------------------------------------------


def sign_in(session: Session, request_id: str, person: Person, now: datetime) -> EnrollmentRequest:
    """``person`` signed in on the link of a request. Raises LinkUnusable, or WrongPerson (recorded)."""
    request = requests.lock(session, request_id)
    if request.enrolled_at is not None or journey.of(request).over(now):
        raise LinkUnusable
    if request.person_id != person.id:
        _record(session, request, Event.SIGN_IN_REFUSED, now, "wrong_person", {"person": person.id})
        raise WrongPerson
    return signed_in(session, request, now)


def sign_in_from_settings(
    session: Session, vault: Vault, settings: Settings, person: Person, identifier: str, now: datetime
) -> EnrollmentRequest:
    """``person`` signed in to the web view of Settings, which knows ``identifier``: their open request or a new one.

    Raises WrongAccount if ``identifier`` is not their Managed Apple Account, NoManagedAppleAccount, SelfEnrollmentOff.
    """
    account = accounts.of(session, person, settings)
    if account and identifier and people.fold_username(identifier) != people.fold_username(account):
        request = requests.open_request_of(session, person, now)
        if request is not None:
            _record(session, requests.lock(session, request.id), Event.SIGN_IN_REFUSED, now, "another_account")
        raise WrongAccount(account)
    request = requests.for_self_enrollment(session, vault, settings, person, now)
    return signed_in(session, request, now, "in_settings")


def sign_in_by_device(
    session: Session, settings: Settings, person: Person, walk: Walk, now: datetime
) -> EnrollmentRequest | None:
    """A device shows that ``person`` signed in at the identity provider (apple-oauth2).

    Their open request if everything before the profile was answered in Safari, else None (recorded).
    """
    found = requests.open_request_of(session, person, now)
    if found is None:
        return None
    request = signed_in(session, requests.lock(session, found.id), now, "in_settings")
    if journey.current_step(journey.of(request, walk), now) in (Step.PROFILE, Step.FINISH):
        return request
    _record(session, request, Event.PROFILE_REFUSED, now, "not_answered")
    return None


def signed_in(
    session: Session, request: EnrollmentRequest, now: datetime, where: str | None = None
) -> EnrollmentRequest:
    """The right person signed in on a locked request, in Safari or ``where``."""
    request.signed_in_at = request.signed_in_at or now
    _record(session, request, Event.SIGN_IN_ACCEPTED, now, where)
    return request


def seen_with(session: Session, request_id: str | None, browser: str, language: str) -> None:
    """What the person who signed in reads the pages with, for helpdesk: ``safari 17.4``, ``settings``, ...; ``de``."""
    request = session.get(EnrollmentRequest, request_id) if request_id else None
    if request is not None:
        request.browser, request.language, request.unfit_browser = browser, language, None


def unfit_browser(session: Session, request_id: str, verdict: str, now: datetime) -> None:
    """Somebody looks at the link in a browser that cannot go on; told once until somebody signs in."""
    request = requests.lock(session, request_id)
    if request.unfit_browser is None and request.signed_in_at is None and not journey.of(request).over(now):
        request.unfit_browser = verdict
        _record(session, request, Event.BROWSER_UNFIT, now, verdict)


def sign_in_failed(session: Session, request_id: str, reason: str, now: datetime, why: str = "") -> None:
    """A try to sign in on this request failed (``reason``: wrong_credentials, throttled, source_unavailable, ...).

    ``why`` is the source's own code for it.

    Being throttled, and an outage, is told once in a row, so that nobody and no retry can fill the trail.
    """
    request = requests.lock(session, request_id)
    newest = audit.newest(session, audit.request_chain(request_id))
    if reason in TOLD_ONCE and newest is not None and newest.reason == reason:
        return
    _record(session, request, Event.SIGN_IN_REFUSED, now, reason, {"why": why} if why else None)


def sign_in_failed_without_link(session: Session, reason: str, now: datetime, detail: dict[str, str]) -> None:
    """The same for somebody who opened no link: on the chain of what concerns no request yet."""
    newest = audit.newest(session, people.PEOPLE_CHAIN)
    if reason in TOLD_ONCE and newest is not None and (newest.kind, newest.reason) == (Event.SIGN_IN_REFUSED, reason):
        return
    told = {key: value for key, value in detail.items() if value}
    audit.record(session, people.PEOPLE_CHAIN, Event.SIGN_IN_REFUSED, now, reason=reason, detail=told)


def choose_ownership(session: Session, request_id: str, walk: Walk, ownership: str, now: datetime) -> None:
    """Employee goes on; Corporate ends here, marked for helpdesk, but can be corrected."""
    request = _at(session, request_id, walk, Step.OWNERSHIP, now)
    if request.ownership == ownership:
        return
    request.ownership, request.ownership_at = ownership, now
    _record(session, request, Event.OWNERSHIP_CHOSEN, now, ownership)


def acknowledge_privacy(session: Session, request_id: str, walk: Walk, now: datetime) -> None:
    """The privacy notice was acknowledged."""
    request = _at(session, request_id, walk, Step.PRIVACY, now)
    request.privacy_at = now
    _record(session, request, Event.PRIVACY_ACKNOWLEDGED, now)


def enter_passcode(
    session: Session, vault: Vault, rules: Passcode, request_id: str, walk: Walk, entered: str, now: datetime
) -> None:
    """The second step. From now on only this browser may walk the rest. Raises PasscodeWrong, PasscodeLocked,
    PasscodeExpired.
    """
    request = _at(session, request_id, walk, Step.PASSCODE, now)
    try:
        passcode.verify(request, entered, rules, vault, now)
    except PasscodeWrong as refusal:
        _record(session, request, Event.PASSCODE_REJECTED, now, "wrong", {"tries_left": refusal.tries_left})
        raise
    except (PasscodeLocked, PasscodeExpired) as refusal:
        reason = "locked" if isinstance(refusal, PasscodeLocked) else "passcode_expired"
        _record(session, request, Event.PASSCODE_REJECTED, now, reason)
        raise
    request.passcode_verified_at, request.passcode_visit_id = now, walk.visit_id
    _record(session, request, Event.PASSCODE_VERIFIED, now)


def see_overview(session: Session, request_id: str, walk: Walk, now: datetime) -> None:
    """The overview was read."""
    request = _at(session, request_id, walk, Step.OVERVIEW, now)
    request.overview_at = now
    _record(session, request, Event.OVERVIEW_SEEN, now)


def accept_terms(
    session: Session, request_id: str, walk: Walk, version: str, sha256: str, locale: str, now: datetime
) -> None:
    """The terms shown were accepted. Raises TermsChanged when they are not the current ones, word for word."""
    request = _at(session, request_id, walk, Step.TERMS, now)
    current = terms.current_version(session)
    if version != current or sha256 != terms.sha256(terms.text_of(session, current, locale).text):
        raise TermsChanged
    request.terms_version, request.terms_sha256, request.terms_accepted_at = version, sha256, now
    _record(session, request, Event.TERMS_ACCEPTED, now, detail={"version": version, "sha256": sha256})


# --- what the device does ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What an Authenticate message of a user-enrolled device says."""

    enrollment_id: str
    os_version: str | None
    build_version: str | None
    product_name: str | None


def profile_downloaded(session: Session, profile_id: str, now: datetime) -> None:
    """The profile's file was fetched (browsers may fetch it twice)."""
    profile = session.get(IssuedProfile, profile_id)
    if profile is None or profile.downloaded_at is not None:
        return
    request = requests.lock(session, profile.request_id)
    profile.downloaded_at = now
    _record(session, request, Event.PROFILE_DOWNLOADED, now)


def redeem_challenge(
    session: Session, challenge: str, csr_sha256: str, common_names: tuple[str, ...], now: datetime
) -> IssuedProfile:
    """A device asks for its certificate. The challenge works once, in its lifetime, for the latest download only.

    The same CSR again (an answer got lost) is the same request. Its common name must be the one the profile gave.
    Raises ChallengeRefused; it is recorded with the request it concerns, if any.
    """
    profile = session.scalar(select(IssuedProfile).where(IssuedProfile.challenge_hash == token_hash(challenge)))
    if profile is None:
        certificate_refused(session, challenge, common_names, "unknown_challenge", now)
    request = requests.lock(session, profile.request_id)
    session.refresh(profile)
    reason = _challenge_problem(profile, request, csr_sha256, common_names, now)
    if reason:
        _record(session, request, Event.CERTIFICATE_REFUSED, now, reason)
        raise ChallengeRefused(reason)
    if profile.csr_sha256 is None:
        profile.csr_sha256, profile.certificate_at = csr_sha256, now
        _record(session, request, Event.CERTIFICATE_ISSUED, now)
    return profile


def certificate_refused(
    session: Session, challenge: str, common_names: tuple[str, ...], reason: str, now: datetime
) -> NoReturn:
    """A request for a certificate cannot be granted, whatever its challenge is worth.

    It is told with the request to which challenge or common name lead, once in a row; else it is counted. Raises
    ChallengeRefused.
    """
    profile = session.scalar(select(IssuedProfile).where(IssuedProfile.challenge_hash == token_hash(challenge)))
    if profile is None and common_names and common_names[0].isalnum():
        profile = session.get(IssuedProfile, common_names[0])
    if profile is None:
        tallies.add(session, tallies.SCEP_REFUSED + reason, now)
        raise ChallengeRefused(reason)
    request = requests.lock(session, profile.request_id)
    newest = audit.newest(session, audit.request_chain(request.id))
    if newest is None or (newest.kind, newest.reason) != (Event.CERTIFICATE_REFUSED, reason):
        _record(session, request, Event.CERTIFICATE_REFUSED, now, reason)
    raise ChallengeRefused(reason)


def _challenge_problem(
    profile: IssuedProfile, request: EnrollmentRequest, csr_sha256: str, common_names: tuple[str, ...], now: datetime
) -> str | None:
    if request.ended_at is not None:
        return "request_ended"
    if profile.superseded_at is not None:
        return "superseded"
    if profile.csr_sha256 is not None and profile.csr_sha256 != csr_sha256:
        return "challenge_used"
    if now >= profile.expires_at:
        return "challenge_expired"
    return None if common_names == (profile.id,) else "subject_mismatch"


def device_authenticated(session: Session, profile_id: str, report: DeviceReport, now: datetime) -> Device:
    """The device introduced itself under its EnrollmentID. Raises DeviceRefused (recorded)."""
    profile, request = _profile_and_request(session, profile_id)
    certificate = session.scalars(select(Certificate).where(Certificate.profile_id == profile_id)).one_or_none()
    known = session.scalar(select(Device).where(Device.enrollment_id == report.enrollment_id))
    bound = session.scalar(select(Device).where(Device.profile_id == profile_id))
    reason = None
    if certificate is None or certificate.revoked_at is not None:
        reason = "certificate_revoked"
    elif request.ended_at is not None:
        reason = "request_ended"
    elif known is not None and known.profile_id != profile_id:
        reason = "enrollment_id_of_another_device"
    elif bound is not None and bound.enrollment_id != report.enrollment_id:
        reason = "certificate_of_another_device"
    if certificate is None or reason is not None:
        _record(session, request, Event.DEVICE_REFUSED, now, reason)
        if reason == "enrollment_id_of_another_device" and request.profile_id == profile_id:
            # Whoever claims another's name has no honest use for this certificate.
            requests.retire_profile(session, request, now, reason)
        raise DeviceRefused(reason or "certificate_revoked")
    if bound is not None:
        bound.last_seen_at = now
        return bound
    device = Device(
        enrollment_id=report.enrollment_id,
        request_id=request.id,
        profile_id=profile_id,
        certificate_fingerprint=certificate.fingerprint,
        way=profile.way,
        product_name=report.product_name,
        os_version=report.os_version,
        build_version=report.build_version,
        attributes={},
        profiles=[],
        authenticated_at=now,
        last_seen_at=now,
    )
    session.add(device)
    profile.authenticated_at = now
    _record(session, request, Event.DEVICE_AUTHENTICATED, now, detail={"os_version": report.os_version})
    return device


def device_refused(session: Session, profile_id: str, reason: str, now: datetime) -> None:
    """A device with this profile may not enroll; a new download is needed."""
    profile, request = _profile_and_request(session, profile_id)
    if request.enrolled_at is None and profile.refused_at is None:
        profile.refused_at, profile.refused_reason = now, reason
        requests.retire_profile(session, request, now, "refused")
    _record(session, request, Event.DEVICE_REFUSED, now, reason)


def device_enrolled(session: Session, device: Device, now: datetime) -> bool:
    """The device can be managed now. True the first time."""
    request = requests.lock(session, device.request_id)
    session.refresh(device)
    device.last_seen_at = now
    if device.enrolled_at is not None or device.ended_at is not None:
        return False
    if request.ended_at is not None:
        raise DeviceRefused("request_ended")
    device.enrolled_at = request.enrolled_at = now
    profile = session.get(IssuedProfile, device.profile_id)
    if profile is not None:
        profile.content_sealed = None
    _record(session, request, Event.DEVICE_ENROLLED, now)
    return True


def reread_account(session: Session, request_id: str | None, settings: Settings) -> None:
    """At each sign-in: an open request names the Managed Apple Account that its person has now, if any."""
    request = session.get(EnrollmentRequest, request_id) if request_id else None
    if request is None or request.enrolled_at is not None or request.ended_at is not None:
        return
    request.managed_apple_account = accounts.of(session, request.person, settings) or request.managed_apple_account


def managed_apple_account(session: Session, request: EnrollmentRequest, settings: Settings) -> str | None:
    """The account to put into the profile, read again from the person."""
    return accounts.of(session, request.person, settings)


# --- common ------------------------------------------------------------------------------------------------


def _profile_and_request(session: Session, profile_id: str) -> tuple[IssuedProfile, EnrollmentRequest]:
    profile = session.get(IssuedProfile, profile_id)
    if profile is None:
        raise DeviceRefused("unknown_profile")
    request = requests.lock(session, profile.request_id)
    session.refresh(profile)
    return profile, request


def _at(session: Session, request_id: str, walk: Walk, step: Step, now: datetime) -> EnrollmentRequest:
    request = requests.lock(session, request_id)
    facts = journey.of(request, walk)
    if facts.over(now):
        raise RequestEnded
    if journey.current_step(facts, now) is not step:
        raise StepOutOfOrder
    return request


def _record(
    session: Session,
    request: EnrollmentRequest,
    event: Event,
    now: datetime,
    reason: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    audit.record(session, audit.request_chain(request.id), event, now, reason=reason, detail=detail)
