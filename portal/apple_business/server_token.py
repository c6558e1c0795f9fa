"""The server token of Apple Business: a key pair made here, and the file that Apple encrypts for it.

An admin uploads the certificate as the "public key" of a device management service in Apple Business and downloads the
server token: S/MIME (RFC 8551) whose content is JSON between two marks. Facts: Apple, "Authenticating with a Device
Enrollment Program (DEP) server" and "Device Assignment"; the token's life is one year.
"""

import email
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from portal.pki import scep
from portal.pki.authority import Identity, identity_from_pem
from portal.pki.cms import CmsError

LARGEST = 64 * 1024
"""Bytes of an uploaded token."""
LIFETIME = timedelta(days=10 * 365)
"""Of the certificate: Apple takes only its key."""
BEGIN, END = "-----BEGIN MESSAGE-----", "-----END MESSAGE-----"
LONGEST = 500
"""Characters of one value."""


class TokenRefused(Exception):
    """The file cannot be used; ``code``: large, unreadable, other_key, incomplete, expired."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class ServerToken:
    """What signs requests to Apple (OAuth 1.0, RFC 5849); ``expires_at`` in ISO 8601."""

    consumer_key: str
    consumer_secret: str
    access_token: str
    access_secret: str
    expires_at: str

    def as_json(self) -> bytes:
        """To be sealed; ``ServerToken(**json.loads(...))`` is the way back."""
        return json.dumps(asdict(self)).encode()

    @property
    def expires(self) -> datetime:
        """When it ends."""
        return datetime.fromisoformat(self.expires_at)


def make_key(organization: str, now: datetime) -> bytes:
    """A key pair as PEM: the certificate that Apple takes the key from, and the private key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization[:64] or "Enrollment portal"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Enrollment portal, Apple Business"),
        ]
    )
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
    certificate = builder.not_valid_after(now + LIFETIME).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + private


def identity(pem: bytes) -> Identity:
    """The way back from ``make_key``."""
    return identity_from_pem(pem, pem)


def read(content: bytes, held: Identity, now: datetime) -> ServerToken:
    """The token in a downloaded file (.p7m). Raises TokenRefused."""
    if len(content) > LARGEST:
        raise TokenRefused("large")
    try:
        enveloped = email.message_from_bytes(content).get_payload(decode=True)
    except RecursionError:
        raise TokenRefused("unreadable") from None
    if not isinstance(enveloped, bytes):
        raise TokenRefused("unreadable")
    try:
        plain = scep.decrypt(enveloped, held)
    except CmsError as error:
        raise TokenRefused("other_key" if "recipient" in str(error) else "unreadable") from None
    told = _json(plain.decode("utf-8", "replace"))
    token = _token(told)
    if token.expires <= now:
        raise TokenRefused("expired")
    return token


def _json(text: str) -> dict[str, object]:
    _, begun, rest = text.partition(BEGIN)
    inside, ended, _ = rest.partition(END)
    try:
        told = json.loads(inside) if begun and ended else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise TokenRefused("unreadable")
    return told


def _token(told: dict[str, object]) -> ServerToken:
    names = ("consumer_key", "consumer_secret", "access_token", "access_secret", "access_token_expiry")
    values = [told.get(name) for name in names]
    texts = [each for each in values if isinstance(each, str) and 0 < len(each) <= LONGEST and each.isprintable()]
    if len(texts) < len(names):
        raise TokenRefused("incomplete")
    try:
        expires = datetime.fromisoformat(texts[4])
    except ValueError:
        raise TokenRefused("incomplete") from None
    try:
        expires = (expires if expires.tzinfo else expires.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise TokenRefused("incomplete") from None
    return ServerToken(texts[0], texts[1], texts[2], texts[3], expires.isoformat())
