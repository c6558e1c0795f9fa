"""Who gets an identity certificate over SCEP: a challenge of ours, a fitting subject, once."""

import hashlib
import logging
import time
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from portal.database import Database
from portal.enrollment import progress
from portal.enrollment.errors import ChallengeRefused
from portal.models import Certificate
from portal.pki import scep
from portal.pki.authority import Authority
from portal.settings import Settings

log = logging.getLogger("portal.scep")


FAILURE_SECONDS = 0.03
"""No refusal is given sooner, so that its time does not tell how far the message was understood."""


def answer(database: Database, authority: Authority, settings: Settings, body: bytes, now: datetime) -> bytes:
    """The CertRep for a PKIOperation, success or failure. Raises CmsError for what is no SCEP message."""
    began = time.monotonic()
    message = scep.read(body)
    request = scep.open_request(message, authority.ca, settings.scep.accept_legacy)
    try:
        if request.problem is not None:
            with database.transaction() as session:
                progress.certificate_refused(
                    session, request.challenge, request.common_names, request.problem.reason, now
                )
        certificate = _certificate(database, authority, settings, request, now)
    except ChallengeRefused as refusal:
        log.warning("scep.refused reason=%s", refusal.reason)
        fail_info = request.problem.fail_info if request.problem else scep.FailInfo.BAD_REQUEST
        time.sleep(max(0.0, began + FAILURE_SECONDS - time.monotonic()))
        return scep.failure(message, fail_info, authority.ca)
    return scep.success(message, certificate, authority.ca)


def _certificate(
    database: Database, authority: Authority, settings: Settings, request: scep.CertificateRequest, now: datetime
) -> x509.Certificate:
    csr_sha256 = hashlib.sha256(request.csr_der).hexdigest()
    assert request.public_key is not None  # without a problem it was read
    with database.transaction() as session:
        profile = progress.redeem_challenge(session, request.challenge, csr_sha256, request.common_names, now)
        issued = session.scalar(select(Certificate).where(Certificate.profile_id == profile.id))
        if issued is not None:
            return x509.load_der_x509_certificate(issued.der)
        certificate = authority.issue(
            request.public_key, profile.id, settings.company.name, settings.profile.certificate_days, now
        )
        row = Certificate(
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            serial=f"{certificate.serial_number:x}",
            profile_id=profile.id,
            request_id=profile.request_id,
            der=certificate.public_bytes(Encoding.DER),
            issued_at=now,
            expires_at=certificate.not_valid_after_utc,
        )
        session.add(row)
        return certificate
