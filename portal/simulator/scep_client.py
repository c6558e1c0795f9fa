"""How a simulated iPhone gets its identity certificate over SCEP (RFC 8894), checking what a real one checks."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from portal.pki import scep
from portal.pki.authority import Identity

_OIDS = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME}


class InstallationFailed(Exception):
    """The iPhone refuses the profile, or the server refused the iPhone."""


def obtain(http: httpx.Client, settings: dict[str, Any], key: rsa.RSAPrivateKey) -> Identity:
    """The certificate for ``key`` from the server of a SCEP payload's ``settings``. Raises InstallationFailed."""
    ca = fetch_ca(http, settings)
    try:
        subject = x509.Name([x509.NameAttribute(_OIDS[kind], value) for [[kind, value]] in settings["Subject"]])
    except (KeyError, ValueError) as error:
        raise InstallationFailed("a subject that no certificate can have") from error
    temporary = Identity(self_signed(subject, key), key)
    csr = certificate_request(subject, key, settings["Challenge"])
    message, nonce = scep.request(csr, ca, temporary, secrets.token_hex(16))
    answer = http.post(settings["URL"], params={"operation": "PKIOperation"}, content=message)
    expect(answer, "SCEP")
    reply = scep.read(answer.content)
    if reply.recipient_nonce != nonce or reply.signer != ca:
        raise InstallationFailed("the SCEP answer is not for this request")
    if reply.pki_status != scep.PkiStatus.SUCCESS:
        raise InstallationFailed(f"SCEP refused, failInfo {reply.fail_info}")
    return Identity(scep.issued_certificate(reply, temporary), key)


def fetch_ca(http: httpx.Client, settings: dict[str, Any]) -> x509.Certificate:
    """The SCEP server's CA, if it can do what is needed and is the one of the profile. Raises InstallationFailed."""
    capabilities = http.get(settings["URL"], params={"operation": "GetCACaps"})
    expect(capabilities, "GetCACaps")
    if not {"AES", "SHA-256", "POSTPKIOperation"} <= set(capabilities.text.split()):
        raise InstallationFailed("the SCEP server lacks what is needed")
    answer = http.get(settings["URL"], params={"operation": "GetCACert", "message": settings.get("Name", "")})
    expect(answer, "GetCACert")
    if answer.headers["content-type"] != "application/x-x509-ca-cert":
        raise InstallationFailed("GetCACert answered something else than a certificate")
    ca = x509.load_der_x509_certificate(answer.content)
    if ca.fingerprint(hashes.SHA1()) != settings["CAFingerprint"]:  # noqa: S303
        raise InstallationFailed("the CA is not the one of the profile")
    return ca


def expect(answer: httpx.Response, what: str) -> None:
    """Raises InstallationFailed unless the server said 200."""
    if answer.status_code != 200:
        raise InstallationFailed(f"{what}: the server answered {answer.status_code} {answer.text.strip()[:200]}")


def certificate_request(subject: x509.Name, key: rsa.RSAPrivateKey, challenge: str) -> bytes:
    """A CSR with a challenge password, DER (RFC 2985 section 5.4.1)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def self_signed(subject: x509.Name, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """The temporary certificate that signs a first SCEP request (RFC 8894 section 2.3)."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
