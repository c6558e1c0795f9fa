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
from portal.pki.names import Names
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
        # Only for clients; name constraints would make OpenSSL refuse a common name like first.last.
        only = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        held = authority.new_root("Work Identities CA", organization, now, only)
        authority.store_identity(session, vault, NAME, held)
    return held


def issue(
    ca: Identity, key: rsa.RSAPublicKey, names: Names, list_url: str, days: int, now: datetime
) -> x509.Certificate:
    """A certificate for client authentication. Raises ValueError for names that it cannot hold."""
    until = min(now + timedelta(days=days), ca.certificate.not_valid_after_utc)
    builder = authority.builder(names.subject, ca.certificate.subject, key, now, until)
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
    if names.emails:
        beside = x509.SubjectAlternativeName([x509.RFC822Name(each) for each in names.emails])
        builder = builder.add_extension(beside, critical=False)
    return builder.sign(ca.key, hashes.SHA256())


def revocation_list(ca: Identity, revoked: Iterable[tuple[int, datetime]], number: int, now: datetime) -> bytes:
    """The list (DER) of revoked certificates: serial numbers with when."""
    entries = [x509.RevokedCertificateBuilder(serial, at).build() for serial, at in revoked]
    builder = x509.CertificateRevocationListBuilder(
        ca.certificate.subject, now - authority.CLOCK_SKEW, now + LIST_LIFETIME, [], entries
    )  # all at once: adding them one by one copies the list each time
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    builder = builder.add_extension(authority.authority_key_id(ca.certificate), critical=False)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)
