"""Who speaks: the ``Mdm-Signature`` of a message, its certificate, and the request and device it is tied to."""

import base64
import binascii
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Certificate, Device
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


def certificate_of(session: Session, fingerprint: str) -> Certificate:
    """The issued certificate, revoked or not. Raises NotIdentified."""
    certificate = session.get(Certificate, fingerprint)
    if certificate is None:
        raise NotIdentified("unknown_certificate")
    return certificate


def device_of(session: Session, certificate: Certificate, enrollment_id: str | None, unnamed: bool = False) -> Device:
    """The device this certificate speaks for; it must call itself by its own EnrollmentID. Raises NotIdentified.

    ``unnamed``: nobody could read how it calls itself, and nothing of what it says is believed.
    """
    device = session.scalar(
        select(Device)
        .where(Device.certificate_fingerprint == certificate.fingerprint)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if device is None:
        raise NotIdentified("not_authenticated_yet")
    if not unnamed and device.enrollment_id != enrollment_id:
        raise NotIdentified("certificate_of_another_device")
    return device
