"""Who gets an identity certificate over SCEP: a challenge of ours, a fitting subject, once."""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from portal.enrollment import devices
from portal.enrollment.case import Case
from portal.models import Certificate
from portal.pki import scep
from portal.pki.authority import Authority


def issue(case: Case, authority: Authority, wanted: scep.CertificateRequest) -> x509.Certificate:
    """The certificate for a request whose challenge led to this case; the same again for the same request.

    Raises ChallengeRefused (recorded).
    """
    if wanted.problem is not None:
        devices.certificate_refused(case, wanted.problem.reason)
    assert wanted.public_key is not None  # without a problem it was read
    csr_sha256 = hashlib.sha256(wanted.csr_der).hexdigest()
    first = case.profile is not None and case.profile.csr_sha256 is None
    profile = devices.redeem_challenge(case, wanted.challenge, csr_sha256, wanted.common_names)
    issued = None if first else case.store.certificate_of(profile.id)
    if issued is not None:
        return x509.load_der_x509_certificate(issued.der)
    rules = case.settings
    days = rules.profile.certificate_days
    certificate = authority.issue(wanted.public_key, profile.id, rules.company.name, days, case.now)
    case.store.add(
        Certificate(
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            serial=f"{certificate.serial_number:x}",
            profile_id=profile.id,
            request_id=profile.request_id,
            der=certificate.public_bytes(Encoding.DER),
            issued_at=case.now,
            expires_at=certificate.not_valid_after_utc,
        )
    )
    return certificate
