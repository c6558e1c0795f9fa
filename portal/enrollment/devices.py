"""What a device does on its way to being managed, and what that means; whoever received the message.

Each takes the case that the device's profile leads to, and records what was refused, too.
"""

from dataclasses import dataclass
from hmac import compare_digest
from typing import NoReturn

from portal.enrollment import commands, ending
from portal.enrollment.case import Case
from portal.enrollment.errors import ChallengeRefused, DeviceRefused
from portal.events import Event
from portal.models import Device, IssuedProfile, new_id
from portal.vault import token_hash


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What an Authenticate message of a user-enrolled device says."""

    enrollment_id: str
    os_version: str | None = None
    build_version: str | None = None
    product_name: str | None = None


def redeem_challenge(case: Case, challenge: str, csr_sha256: str, common_names: tuple[str, ...]) -> IssuedProfile:
    """A device asks for its certificate. The challenge works once, in its lifetime, for the latest download only.

    The same CSR again (an answer got lost) is the same request. Its common name must be the one the profile gave.
    Raises ChallengeRefused (recorded).
    """
    profile = _profile(case)
    if not compare_digest(profile.challenge_hash, token_hash(challenge)):
        certificate_refused(case, "unknown_challenge")  # only its common name led here
    reason = challenge_problem(case, csr_sha256, common_names)
    if reason:
        certificate_refused(case, reason)
    if profile.csr_sha256 is None:
        profile.csr_sha256, profile.certificate_at = csr_sha256, case.now
        case.record(Event.CERTIFICATE_ISSUED)
    return profile


def certificate_refused(case: Case, reason: str) -> NoReturn:
    """A request for a certificate cannot be granted, whatever its challenge is worth; told once in a row."""
    case.record_once(Event.CERTIFICATE_REFUSED, reason)
    raise ChallengeRefused(reason)


def challenge_problem(case: Case, csr_sha256: str, common_names: tuple[str, ...]) -> str | None:
    """Why no certificate is issued to this request for one; None if it is."""
    profile = _profile(case)
    if case.request.ended_at is not None:
        return "request_ended"
    if profile.superseded_at is not None:
        return "superseded"
    if profile.csr_sha256 is not None and profile.csr_sha256 != csr_sha256:
        return "challenge_used"
    if case.now >= profile.expires_at:
        return "challenge_expired"
    return None if common_names == (profile.id,) else "subject_mismatch"


def authenticated(case: Case, report: DeviceReport) -> Device:
    """The device introduced itself under its EnrollmentID. Raises DeviceRefused (recorded)."""
    profile, request = _profile(case), case.request
    certificate = case.certificate or case.store.certificate_of(profile.id)
    bound = case.device
    reason = _problem(case, report)
    if certificate is None or reason is not None:
        reason = reason or "certificate_revoked"
        case.record_once(Event.DEVICE_REFUSED, reason)
        if reason == "enrollment_id_of_another_device" and request.profile_id == profile.id:
            # Whoever claims another's name has no honest use for this certificate.
            case.retire_profile(reason)
        raise DeviceRefused(reason)
    if bound is not None:
        bound.last_seen_at = case.now
        return bound
    device = Device(
        id=new_id(),
        enrollment_id=report.enrollment_id,
        request_id=request.id,
        profile_id=profile.id,
        certificate_fingerprint=certificate.fingerprint,
        way=profile.way,
        product_name=report.product_name,
        os_version=report.os_version,
        build_version=report.build_version,
        attributes={},
        profiles=[],
        authenticated_at=case.now,
        last_seen_at=case.now,
    )
    case.store.add(device)
    case.device = device
    profile.authenticated_at = case.now
    case.record(Event.DEVICE_AUTHENTICATED, detail={"os_version": report.os_version})
    return device


def _problem(case: Case, report: DeviceReport) -> str | None:
    certificate = case.certificate or case.store.certificate_of(_profile(case).id)
    if certificate is None or certificate.revoked_at is not None:
        return "certificate_revoked"
    if case.request.ended_at is not None:
        return "request_ended"
    if case.device is not None:
        same = case.device.enrollment_id == report.enrollment_id
        taken = not same and case.store.device_named(report.enrollment_id) is not None
        return "enrollment_id_of_another_device" if taken else None if same else "certificate_of_another_device"
    taken = case.store.device_named(report.enrollment_id) is not None
    return "enrollment_id_of_another_device" if taken else None


def refused(case: Case, reason: str) -> NoReturn:
    """A device with this profile may not enroll: a new download is needed. If it was managed, that is over.

    Raises DeviceRefused (recorded).
    """
    profile = _profile(case)
    if case.request.enrolled_at is None and profile.refused_at is None:
        profile.refused_at, profile.refused_reason = case.now, reason
        case.retire_profile("refused")
    case.record_once(Event.DEVICE_REFUSED, reason)
    raise DeviceRefused(reason)


def ended_by_refusal(case: Case, reason: str) -> None:
    """A device that is refused removes its enrollment: one that was managed is not any more."""
    device = case.device
    if device is not None and device.is_managed:
        ending.end(case, reason)


def enrolled(case: Case) -> bool:
    """The device can be managed now, and is asked what it is. True the first time. Raises DeviceRefused."""
    device = case.device
    assert device is not None
    device.last_seen_at = case.now
    if device.enrolled_at is not None or device.ended_at is not None:
        return False
    if case.request.ended_at is not None:
        raise DeviceRefused("request_ended")
    device.enrolled_at = case.request.enrolled_at = case.now
    _profile(case).content_sealed = None
    case.record(Event.DEVICE_ENROLLED)
    commands.ask_first(case, device)
    return True


def _profile(case: Case) -> IssuedProfile:
    assert case.profile is not None
    return case.profile
