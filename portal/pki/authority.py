"""The portal's certificate authority: made at first start, it issues device identities and the profile signer.

Its root may travel to personal phones in the demo's profile, so it is constrained: it can never vouch for a
website or an address (critical name constraints), only for names of our own making.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy.orm import Session

from portal.models import PortalState
from portal.vault import Vault

KEY_BITS = 2048
"""RSA, since SCEP envelopes the request to the CA's key (RFC 8894 section 2.1.1)."""
CA_LIFETIME = timedelta(days=3650)
SIGNER_LIFETIME = timedelta(days=825)
RENEW_SIGNER_BEFORE = timedelta(days=365)
"""Long enough that some restart of the portal, which sets it up anew, falls into it."""
CLOCK_SKEW = timedelta(minutes=5)
"""How far clocks of phone and portal may differ without anything being rejected."""
_CA, _SIGNER = "ca", "profile_signer"


class AuthorityMissing(Exception):
    """There is no CA yet: run ``flask --app app setup``."""


class CertificateRejected(Exception):
    """A certificate is not ours or not valid now; the text is a code."""


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key, and what leads from it to its root."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    intermediates: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True)
class Authority:
    """The CA and the profile signer it issued."""

    ca: Identity
    signer: Identity

    def issue(
        self, public_key: rsa.RSAPublicKey, common_name: str, organization: str, days: int, now: datetime
    ) -> x509.Certificate:
        """A device identity: client authentication only; the subject is ours, never the CSR's.

        Valid ``days``, but no longer than the CA.
        """
        subject = _name(common_name, organization)
        until = min(now + timedelta(days=days), self.ca.certificate.not_valid_after_utc)
        made = builder(subject, self.ca.certificate.subject, public_key, now, until)
        made = (
            made.add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(key_usage(digital_signature=True, key_encipherment=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(authority_key_id(self.ca.certificate), critical=False)
        )
        return made.sign(self.ca.key, hashes.SHA256())

    def check(self, certificate: x509.Certificate, now: datetime) -> None:
        """Raises CertificateRejected unless this CA issued ``certificate`` and it is in date."""
        try:
            certificate.verify_directly_issued_by(self.ca.certificate)
        except (ValueError, TypeError, InvalidSignature):
            raise CertificateRejected("foreign_certificate") from None
        if now + CLOCK_SKEW < certificate.not_valid_before_utc or now > certificate.not_valid_after_utc + CLOCK_SKEW:
            raise CertificateRejected("certificate_out_of_date")


def create(session: Session, vault: Vault, organization: str, now: datetime) -> Authority:
    """Make and store the CA and the profile signer; both keys sealed."""
    ca = new_root("Enrollment Portal CA", organization, now, x509.NameConstraints(None, _EVERY_HOST))
    store_identity(session, vault, _CA, ca)
    return Authority(ca, _new_signer(session, vault, ca, organization, now))


def new_root(name: str, organization: str, now: datetime, bounds: x509.ExtensionType) -> Identity:
    """A self-signed authority; ``bounds`` keep it from vouching for a website or an address."""
    key = _new_key()
    ca_name = _name(name, organization)
    certificate = (
        builder(ca_name, ca_name, key.public_key(), now, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(
            key_usage(digital_signature=True, key_encipherment=True, key_cert_sign=True, crl_sign=True), critical=True
        )
        .add_extension(bounds, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Identity(certificate, key)


def renew_signer(session: Session, vault: Vault, held: Authority, organization: str, now: datetime) -> bool:
    """A new profile signer of the same CA, should the one there is run out within a year. True if it was made."""
    if held.signer.certificate.not_valid_after_utc - now > RENEW_SIGNER_BEFORE:
        return False
    _new_signer(session, vault, held.ca, organization, now)
    return True


def _new_signer(session: Session, vault: Vault, ca: Identity, organization: str, now: datetime) -> Identity:
    key, name = _new_key(), _name("Enrollment Profile Signer", organization)
    until = min(now + SIGNER_LIFETIME, ca.certificate.not_valid_after_utc)
    certificate = (
        builder(name, ca.certificate.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(authority_key_id(ca.certificate), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    signer = Identity(certificate, key)
    store_identity(session, vault, _SIGNER, signer)
    return signer


def store_identity(session: Session, vault: Vault, name: str, identity: Identity) -> None:
    """Keep it under that name, its key sealed."""
    pem = identity.certificate.public_bytes(Encoding.PEM).decode()
    der = identity.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    session.merge(PortalState(name=name, value=pem, sealed=vault.seal(der)))


def load(session: Session, vault: Vault) -> Authority:
    """The stored authority. Raises AuthorityMissing."""
    return Authority(load_identity(session, vault, _CA), load_identity(session, vault, _SIGNER))


def identity_from_pem(certificates: bytes, key: bytes) -> Identity:
    """A configured signer: certificate first, then its intermediates. Raises ValueError in words."""
    chain = x509.load_pem_x509_certificates(certificates)
    private = load_pem_private_key(key, None)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ValueError("the profile signing key must be RSA")
    if private.public_key() != chain[0].public_key():
        raise ValueError("the profile signing key does not belong to the first certificate")
    return Identity(chain[0], private, tuple(chain[1:]))


def load_identity(session: Session, vault: Vault, name: str) -> Identity:
    """What is kept under that name. Raises AuthorityMissing."""
    state = session.get(PortalState, name)
    if state is None or state.value is None or state.sealed is None:
        raise AuthorityMissing
    # The portal made this key and sealed it: that it is an RSA key need not be proven at every start.
    key = load_der_private_key(vault.open(state.sealed), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return Identity(x509.load_pem_x509_certificate(state.value.encode()), key)


_EVERY_HOST = [
    x509.DNSName(""),
    x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
    x509.IPAddress(ipaddress.ip_network("::/0")),
]


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, KEY_BITS)


def _name(common_name: str, organization: str) -> x509.Name:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization[:64]),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    return x509.Name(attributes)


def builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    """What every certificate begins with."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def authority_key_id(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Which key of ``ca`` signed."""
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def key_usage(**wanted: bool) -> x509.KeyUsage:
    """Just these usages."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names})
