"""Who speaks: the ``Mdm-Signature`` of a message, its certificate, and the request and device it is tied to."""

import base64
import binascii
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from portal.enrollment import allowed
from portal.enrollment.case import Case
from portal.enrollment.errors import DeviceRefused
from portal.models import Device
from portal.pki import cms
from portal.pki.authority import Authority, CertificateRejected

LONGEST_SIGNATURE = 64 * 1024
"""Characters of base64; real ones have about 3,000."""


class NotIdentified(Exception):
    """The message is not from a device of ours; ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def signer_fingerprint(authority: Authority, body: bytes, header: str | None, now: datetime) -> str:
    """The SHA-256 fingerprint of the certificate that signed ``body``; issued by our CA and in date.

    Identity is the certificate itself, never its subject. Raises NotIdentified.
    """
    try:
        signed = cms.verify_detached(_signature(header), body)
    except cms.CmsError:
        raise NotIdentified("bad_signature") from None
    return _fingerprint(authority, signed.signer, now)


def claimed_fingerprint(authority: Authority, header: str | None, now: datetime) -> str:
    """The fingerprint of the certificate in a signature whose body is not at hand; issued by our CA and in date.

    Whether it signed anything, somebody else has to verify. Raises NotIdentified.
    """
    try:
        signer = cms.signer_of(_signature(header))
    except cms.CmsError:
        raise NotIdentified("bad_signature") from None
    return _fingerprint(authority, signer, now)


def _signature(header: str | None) -> bytes:
    if not header:
        raise NotIdentified("no_signature")
    if len(header) > LONGEST_SIGNATURE:
        raise NotIdentified("malformed_signature")
    try:
        return base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        raise NotIdentified("malformed_signature") from None


def _fingerprint(authority: Authority, signer: x509.Certificate, now: datetime) -> str:
    try:
        authority.check(signer, now)
    except CertificateRejected as rejection:
        raise NotIdentified(str(rejection)) from None
    return signer.fingerprint(hashes.SHA256()).hex()


OTHER_NAMES = allowed.HARDWARE | {"userid", "enrollmentuserid", "usershortname", "userlongname"}
"""Folded keys by which somebody else may take a message for another device's, or a user's."""


def names_no_other(message: dict[str, Any]) -> None:
    """A user-enrolled device calls itself by its EnrollmentID alone. Raises NotIdentified."""
    if any(key.casefold() in OTHER_NAMES for key in message):
        raise NotIdentified("another_name")


def device_of(case: Case, enrollment_id: str | None, unnamed: bool = False) -> Device:
    """The device that the case's certificate speaks for; it must call itself by its own name. Raises NotIdentified.

    ``unnamed``: nobody could read how it calls itself, and nothing of what it says is believed.
    """
    if case.device is None:
        raise NotIdentified("not_authenticated_yet")
    if not unnamed and case.device.enrollment_id != enrollment_id:
        raise NotIdentified("certificate_of_another_device")
    return case.device


def is_over(case: Case) -> bool:
    """Whether the enrollment ended, or its certificate was revoked."""
    assert case.certificate is not None
    return case.certificate.revoked_at is not None or (case.device is not None and case.device.ended_at is not None)


def must_go_on(case: Case) -> None:
    """Raises DeviceRefused if the enrollment is over."""
    if is_over(case):
        raise DeviceRefused("enrollment_ended")
