"""Certificates with their keys as admins have them: PKCS#12 or PEM, with or without a passphrase."""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from portal.pki import opening

LARGEST_BYTES = 64 * 1024
TOPIC_PREFIX = "com.apple.mgmt."


class IdentityRefused(Exception):
    """The file cannot be used; ``code``: large, unreadable, passphrase, key, other_key, rsa, expired; for push
    certificates no_topic, other_topic.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read(content: bytes, passphrase: str, now: datetime) -> str:
    """``content`` as PEM: the signer, its intermediates, the private key. Raises IdentityRefused."""
    if len(content) > LARGEST_BYTES:
        raise IdentityRefused("large")
    try:
        key_pem, chain_pem = opening.opened(content, passphrase)
    except opening.NotOpened as refusal:
        raise IdentityRefused(refusal.code) from None
    key, certificates = load_pem_private_key(key_pem, None), x509.load_pem_x509_certificates(chain_pem)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise IdentityRefused("rsa")
    signer = next((each for each in certificates if each.public_key() == key.public_key()), None)
    if signer is None:
        raise IdentityRefused("other_key")
    if not signer.not_valid_before_utc <= now < signer.not_valid_after_utc:
        raise IdentityRefused("expired")
    chain = [signer, *(each for each in certificates if each is not signer)]
    written = [each.public_bytes(Encoding.PEM) for each in chain]
    written.append(key_pem)
    return b"".join(written).decode()


def read_push(content: bytes, passphrase: str, now: datetime) -> str:
    """Apple's MDM push certificate and its key as PEM. Raises IdentityRefused."""
    identity = read(content, passphrase, now)
    if topic_of(identity) is None:
        raise IdentityRefused("no_topic")
    return identity


def topic_of(identity: str) -> str | None:
    """The push topic of an MDM push certificate: the UID of its subject, ``com.apple.mgmt...``."""
    certificate = x509.load_pem_x509_certificates(identity.encode())[0]
    found = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.USER_ID)]
    return found[0] if found and found[0].startswith(TOPIC_PREFIX) else None


def valid_until(identity: str) -> datetime:
    """When the certificate of ``identity`` (PEM) expires."""
    return x509.load_pem_x509_certificates(identity.encode())[0].not_valid_after_utc
