"""The authority for identities that work needs on devices (Wi-Fi, VPN, mail): apart from that of the enrollment.

A RADIUS server trusts its certificate and reads its revocation list (RFC 5280): who leaves or loses the policy is on
it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy.orm import Session

from portal.database import lock_name
from portal.pki import authority
from portal.pki.authority import AuthorityMissing, Identity
from portal.vault import Vault

NAME = "work_ca"
LIST_LIFETIME = timedelta(days=1)
"""Until a revocation list has to be fetched anew."""


def load(session: Session, vault: Vault) -> Identity | None:
    """The authority, once it was made. Raises VaultError."""
    try:
        return authority.load_identity(session, vault, NAME)
    except AuthorityMissing:
        return None


def make(session: Session, vault: Vault, organization: str, now: datetime) -> Identity:
    """The authority; made if there is none. Repeating it changes nothing."""
    lock_name(session, NAME)
    held = load(session, vault)
    if held is None:
        held = authority.new_root("Work Identities CA", organization, now)
        authority.store_identity(session, vault, NAME, held)
    return held


def issue(
    ca: Identity, key: rsa.RSAPublicKey, subject: x509.Name, emails: list[str], list_url: str, days: int, now: datetime
) -> x509.Certificate:
    """A certificate for client authentication."""
    until = min(now + timedelta(days=days), ca.certificate.not_valid_after_utc)
    builder = authority.builder(subject, ca.certificate.subject, key, now, until)
    builder = (
        builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(authority.key_usage(digital_signature=True, key_encipherment=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(authority.authority_key_id(ca.certificate), critical=False)
        .add_extension(
            x509.CRLDistributionPoints(
                [x509.DistributionPoint([x509.UniformResourceIdentifier(list_url)], None, None, None)]
            ),
            critical=False,
        )
    )
    if emails:
        names = x509.SubjectAlternativeName([x509.RFC822Name(each) for each in emails])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(ca.key, hashes.SHA256())


def revocation_list(ca: Identity, revoked: Iterable[tuple[int, datetime]], number: int, now: datetime) -> bytes:
    """The list (DER) of revoked certificates: serial numbers with when."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
    builder = builder.last_update(now - authority.CLOCK_SKEW).next_update(now + LIST_LIFETIME)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    builder = builder.add_extension(authority.authority_key_id(ca.certificate), critical=False)
    for serial, at in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)
