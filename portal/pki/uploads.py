"""Certificates with their keys as admins have them: PKCS#12 or PEM, with or without a passphrase."""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

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
    secret = passphrase.encode() or None
    key, certificates = _pem(content, secret) if b"-----BEGIN" in content else _pkcs12(content, secret)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise IdentityRefused("rsa")
    signer = next((each for each in certificates if each.public_key() == key.public_key()), None)
    if signer is None:
        raise IdentityRefused("other_key")
    if not signer.not_valid_before_utc <= now < signer.not_valid_after_utc:
        raise IdentityRefused("expired")
    chain = [signer, *(each for each in certificates if each is not signer)]
    written = [each.public_bytes(Encoding.PEM) for each in chain]
    written.append(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
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


def _pkcs12(content: bytes, secret: bytes | None) -> tuple[object, list[x509.Certificate]]:
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(content, secret)
    except ValueError as error:
        raise IdentityRefused("passphrase" if "password" in str(error).casefold() else "unreadable") from None
    if key is None or certificate is None:
        raise IdentityRefused("key")
    return key, [certificate, *others]


def _pem(content: bytes, secret: bytes | None) -> tuple[object, list[x509.Certificate]]:
    if b"PRIVATE KEY-----" not in content:
        raise IdentityRefused("key")
    try:
        certificates = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise IdentityRefused("unreadable") from None
    begin = content.index(b"-----BEGIN", max(0, content.index(b"PRIVATE KEY-----") - 40))
    key_pem = content[begin:]
    try:
        return load_pem_private_key(key_pem, secret if b"ENCRYPTED" in key_pem[:2000] else None), certificates
    except TypeError:
        raise IdentityRefused("passphrase") from None
    except ValueError as error:
        raise IdentityRefused("passphrase" if secret and "ENCRYPTED" in str(key_pem[:200]) else "unreadable") from error
