"""SCEP messages (RFC 8894): reading and writing PKCSReq and CertRep, for the responder and for a client.

Who may have a certificate is not decided here. SHA-1, 3DES and DES are accepted only when ``accept_legacy`` says so;
they are read all the same, so that helpdesk can be told whose device uses them.

Whatever is wrong with what was encrypted is answered in the same words (failInfo badRequest), so that nobody can use
the CA as an oracle for what they cannot read.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AttributeOID, NameOID

from portal.pki import asn1
from portal.pki import cms as signed_messages
from portal.pki.asn1 import (
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    NULL,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    PRINTABLE_STRING,
    SEQUENCE,
    SET,
    Element,
    object_identifier,
    tlv,
)
from portal.pki.authority import Identity
from portal.pki.cms import CmsError, issuer_and_serial_number, parsing

CAPABILITIES = ("AES", "POSTPKIOperation", "SCEPStandard", "SHA-256")
SMALLEST_KEY_BITS = 2048
"""Of the key in a request; devices are asked for one of that size."""
SIGN_AND_ENCRYPT = 5
ENVELOPED_DATA = object_identifier("1.2.840.113549.1.7.3")
_AUTH_ENVELOPED = tlv(OBJECT_IDENTIFIER, object_identifier("1.2.840.113549.1.9.16.1.23"))
"""The type of content that is encrypted with AES-GCM (RFC 5083)."""
_AES_BLOCK, _DES_BLOCK = 128, 64
_CIPHERS = {
    object_identifier("2.16.840.1.101.3.4.1.2"): ("aes", 16),
    object_identifier("2.16.840.1.101.3.4.1.22"): ("aes", 24),
    object_identifier("2.16.840.1.101.3.4.1.42"): ("aes", 32),
    object_identifier("1.2.840.113549.3.7"): ("tripledes", 24),
    object_identifier("1.3.14.3.2.7"): ("des", 8),
}
"""All in CBC mode, with the octets of a key."""
_DIGESTS = frozenset({"sha256", "sha384", "sha512"})
_SHA256 = tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, signed_messages.SHA256))
_RSA = tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, object_identifier("1.2.840.113549.1.1.1")), tlv(NULL))
_ATTRIBUTES = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    object_identifier(_ATTRIBUTES + number) for number in "234567"
)
"""SCEP's signed attributes (RFC 8894 section 3.2.1)."""
_TYPES = dict.fromkeys((MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, TRANSACTION_ID), PRINTABLE_STRING) | dict.fromkeys(
    (SENDER_NONCE, RECIPIENT_NONCE, signed_messages.MESSAGE_DIGEST), OCTET_STRING
)
"""What kind of value each has."""
_TAGGED_0 = CONTEXT | CONSTRUCTED | 0


class MessageType(StrEnum):
    CERT_REP = "3"
    RENEWAL_REQ = "17"
    PKCS_REQ = "19"


class PkiStatus(StrEnum):
    SUCCESS = "0"
    FAILURE = "2"
    PENDING = "3"


class FailInfo(StrEnum):
    BAD_ALG = "0"
    BAD_MESSAGE_CHECK = "1"
    BAD_REQUEST = "2"
    BAD_TIME = "3"
    BAD_CERT_ID = "4"


@dataclass(frozen=True, slots=True)
class Message:
    """A pkiMessage whose signature holds."""

    message_type: str
    transaction_id: str
    sender_nonce: bytes
    recipient_nonce: bytes | None
    pki_status: str | None
    fail_info: str | None
    content: bytes
    signer: x509.Certificate
    digest_algorithm: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request is refused: what the client is told, and a code for log and helpdesk."""

    fail_info: FailInfo
    reason: str


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What a PKCSReq asks for, as far as it could be read; ``problem`` says why it cannot be granted."""

    problem: Problem | None = None
    public_key: rsa.RSAPublicKey | None = None
    common_names: tuple[str, ...] = ()
    challenge: str = ""
    csr_der: bytes = b""


def client_settings(url: str, challenge: str, ca_fingerprint: bytes) -> dict[str, object]:
    """What a device is told that is to ask a responder of ours for a certificate (Apple, payload "SCEP").

    ``ca_fingerprint``: see ``fingerprint_of``.
    """
    return {
        "URL": url,
        "Challenge": challenge,
        "Keysize": SMALLEST_KEY_BITS,
        "Key Type": "RSA",
        "Key Usage": SIGN_AND_ENCRYPT,
        "CAFingerprint": ca_fingerprint,
    }


def fingerprint_of(ca: x509.Certificate) -> bytes:
    """By which a device knows the responder's certificate.

    Apple's schema calls it just "the fingerprint" [?]; 20 bytes, SHA-1, is what iOS has always read.
    """
    return ca.fingerprint(hashes.SHA1())  # noqa: S303


def read(body: bytes) -> Message:
    """Parse and verify a pkiMessage. Raises CmsError if it is none."""
    signed = signed_messages.verify(body, absent=b"", digests=signed_messages.EVERY_DIGEST)
    with parsing("SCEP message"):
        found = {name: value.of(_TYPES[name]).contents for name, value in signed.attributes.items() if name in _TYPES}
        texts = {name: value.decode("ascii") for name, value in found.items() if _TYPES[name] == PRINTABLE_STRING}
    if TRANSACTION_ID not in found or SENDER_NONCE not in found:
        raise CmsError("not a SCEP message")
    return Message(
        message_type=texts.get(MESSAGE_TYPE, ""),
        transaction_id=texts[TRANSACTION_ID],
        sender_nonce=found[SENDER_NONCE],
        recipient_nonce=found.get(RECIPIENT_NONCE),
        pki_status=texts.get(PKI_STATUS),
        fail_info=texts.get(FAIL_INFO),
        content=signed.content,
        signer=signed.signer,
        digest_algorithm=signed.digest_algorithm,
    )


def open_request(message: Message, ca: Identity, accept_legacy: bool = False) -> CertificateRequest:
    """The PKCSReq in ``message``: decrypted and read as far as possible, with the first problem that it has.

    What the answer needs (a signer to whom it can be encrypted) is looked at here, before anything is granted.
    """
    if message.message_type != MessageType.PKCS_REQ:
        return CertificateRequest(Problem(FailInfo.BAD_REQUEST, "unsupported_message_type"))
    problem = _algorithm_problem(message, accept_legacy)
    try:
        envelope = _envelope(message.content)
        if envelope.cipher != "aes" and not accept_legacy:  # told before anything is decrypted, whatever comes of that
            problem = problem or Problem(FailInfo.BAD_ALG, "legacy_cipher")
        csr_der = _decrypt(envelope, ca)
    except UnknownCipher:
        return CertificateRequest(problem or Problem(FailInfo.BAD_ALG, "unknown_cipher"))
    except CmsError:
        return CertificateRequest(problem or Problem(FailInfo.BAD_REQUEST, "not_decryptable"))
    try:
        return _read_csr(csr_der, accept_legacy, problem)
    except CmsError:
        return CertificateRequest(problem or Problem(FailInfo.BAD_REQUEST, "malformed_csr"))


def _algorithm_problem(message: Message, accept_legacy: bool) -> Problem | None:
    """What everybody can see of the message, without decrypting it."""
    accepted = _DIGESTS | ({"sha1"} if accept_legacy else set())
    if message.digest_algorithm not in accepted:
        reason = "legacy_digest" if message.digest_algorithm == "sha1" else "unknown_digest"
        return Problem(FailInfo.BAD_ALG, reason)
    with parsing("certificate"):
        key = message.signer.public_key()
    return None if isinstance(key, rsa.RSAPublicKey) else Problem(FailInfo.BAD_ALG, "signer_key")


def _read_csr(csr_der: bytes, accept_legacy: bool, problem: Problem | None) -> CertificateRequest:
    with parsing("CSR"):
        asn1.read(csr_der)
        csr = x509.load_der_x509_csr(csr_der)
        key = csr.public_key()
        common_names = tuple(str(each.value) for each in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
        holds = _csr_holds(csr, accept_legacy)
        try:
            challenge = csr.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value.decode()
        except x509.AttributeNotFound:
            challenge = ""
    rsa_key = key if isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_KEY_BITS else None
    if problem is None:
        reason = (
            "weak_key" if rsa_key is None else "csr_signature" if not holds else "" if challenge else "no_challenge"
        )
        problem = Problem(FailInfo.BAD_REQUEST, reason) if reason else None
    return CertificateRequest(problem, rsa_key, common_names, challenge, csr_der)


def _csr_holds(csr: x509.CertificateSigningRequest, accept_legacy: bool) -> bool:
    key = csr.public_key()
    if accept_legacy and isinstance(csr.signature_hash_algorithm, hashes.SHA1) and isinstance(key, rsa.RSAPublicKey):
        try:  # cryptography's own check refuses SHA-1, whatever the signature is worth
            key.verify(csr.signature, csr.tbs_certrequest_bytes, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
        except InvalidSignature:
            return False
        return True
    return csr.is_signature_valid


class UnknownCipher(CmsError):
    """Neither AES, 3DES nor DES in CBC mode."""


def decrypt(enveloped: bytes, recipient: Identity) -> bytes:
    """The content of an EnvelopedData made for ``recipient`` (RSA key transport; AES, 3DES or DES in CBC mode).

    Raises CmsError, in the same words whatever fails after the structure was read.
    """
    return _decrypt(_envelope(enveloped), recipient)


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What everybody can see of an EnvelopedData; ``cipher``: aes, tripledes, des; ``size`` of its key in octets."""

    recipients: Element
    cipher: str
    size: int
    start: bytes
    encrypted: bytes


def _envelope(enveloped: bytes) -> _Envelope:
    """Raises UnknownCipher, CmsError."""
    if _AUTH_ENVELOPED in enveloped[:32]:
        raise UnknownCipher("AuthEnvelopedData")
    data = signed_messages.content_of(enveloped, ENVELOPED_DATA)
    with parsing("EnvelopedData"):
        recipients, encrypted = (each for each in data.of(SEQUENCE).parts if each.tag in (SET, SEQUENCE))
        _type, algorithm, *content = encrypted.parts
        name, *parameters = algorithm.of(SEQUENCE).parts
        cipher, size = _CIPHERS.get(name.of(OBJECT_IDENTIFIER).contents, ("", 0))
    if not cipher:
        raise UnknownCipher("unknown cipher")
    with parsing("EnvelopedData"):
        start = parameters[0].of(OCTET_STRING).contents
        return _Envelope(recipients.of(SET), cipher, size, start, content[0].octets)


def _decrypt(envelope: _Envelope, recipient: Identity) -> bytes:
    """Its content. Raises CmsError."""
    with parsing("EnvelopedData"):
        key = recipient.key.decrypt(_wrapped_key(envelope.recipients, recipient.certificate), padding.PKCS1v15())
        if len(key) != envelope.size:
            raise CmsError("malformed EnvelopedData")
        aes = envelope.cipher == "aes"
        # Single DES is 3DES with one key three times.
        suite = algorithms.AES(key) if aes else TripleDES(key * 3 if envelope.cipher == "des" else key)
        decryptor = Cipher(suite, modes.CBC(envelope.start)).decryptor()
        padded = decryptor.update(envelope.encrypted) + decryptor.finalize()
        unpadder = PKCS7(_AES_BLOCK if aes else _DES_BLOCK).unpadder()
        return unpadder.update(padded) + unpadder.finalize()


def _wrapped_key(recipients: Element, certificate: x509.Certificate) -> bytes:
    own = issuer_and_serial_number(asn1.read(certificate.public_bytes(Encoding.DER)))
    identifier = signed_messages.extension(certificate, x509.SubjectKeyIdentifier)
    for each in recipients.parts:
        if each.tag != SEQUENCE:  # not by RSA key transport (RFC 5652 section 6.2)
            continue
        _version, meant, _algorithm, wrapped = each.parts
        if meant.tag != SEQUENCE:
            ours = identifier is None or identifier.digest == meant.contents
        else:
            ours = meant.parts[1].of(INTEGER).encoded == own[1]
        if ours:
            return wrapped.of(OCTET_STRING).contents
    raise CmsError("not for this recipient")


def request(csr_der: bytes, ca: x509.Certificate, identity: Identity, transaction_id: str) -> tuple[bytes, bytes]:
    """A PKCSReq for ``ca``, signed with the client's self-signed ``identity``; returns (message, sender nonce)."""
    nonce = secrets.token_bytes(16)
    attributes = {
        MESSAGE_TYPE: MessageType.PKCS_REQ.encode(),
        TRANSACTION_ID: transaction_id.encode(),
        SENDER_NONCE: nonce,
    }
    return _build(_encrypt(csr_der, ca), attributes, identity), nonce


def success(request_message: Message, certificate: x509.Certificate, ca: Identity) -> bytes:
    """The CertRep that hands over ``certificate``, enveloped to whoever signed the request.

    It carries nothing else (RFC 8894 section 3.3.2 asks for no more): a set of certificates is sorted by DER, and
    clients, Apple's among them, take the first one as theirs.
    """
    alone = pkcs7.serialize_certificates([certificate], Encoding.DER)
    attributes = _reply_attributes(request_message, PkiStatus.SUCCESS)
    return _build(_encrypt(alone, request_message.signer), attributes, ca)


def failure(request_message: Message, fail_info: FailInfo, ca: Identity) -> bytes:
    """The CertRep that refuses."""
    attributes = _reply_attributes(request_message, PkiStatus.FAILURE)
    return _build(None, {**attributes, FAIL_INFO: fail_info.encode()}, ca)


def issued_certificate(reply: Message, identity: Identity) -> x509.Certificate:
    """The certificate in a successful CertRep. Raises CmsError."""
    with parsing("CertRep"):
        certificates = pkcs7.load_der_pkcs7_certificates(decrypt(reply.content, identity))
    for certificate in certificates:
        if certificate.public_key() == identity.key.public_key():
            return certificate
    raise CmsError("the CertRep has no certificate for this key")


def _reply_attributes(message: Message, status: PkiStatus) -> dict[bytes, bytes]:
    return {
        MESSAGE_TYPE: MessageType.CERT_REP.encode(),
        PKI_STATUS: status.encode(),
        TRANSACTION_ID: message.transaction_id.encode(),
        RECIPIENT_NONCE: message.sender_nonce,
        SENDER_NONCE: secrets.token_bytes(16),
    }


def _encrypt(content: bytes, recipient: x509.Certificate) -> bytes:
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content).add_recipient(recipient)
    builder = builder.set_content_encryption_algorithm(algorithms.AES128)
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _build(content: bytes | None, attributes: dict[bytes, bytes], signer: Identity) -> bytes:
    """A SignedData with SCEP's attributes; a failure has no content (RFC 8894 section 3.2.2)."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(content or b"")
    plain = tlv(OBJECT_IDENTIFIER, signed_messages.DATA)
    told = {**attributes, signed_messages.MESSAGE_DIGEST: digest.finalize()}
    values = {name: tlv(_TYPES[name], value) for name, value in told.items()} | {signed_messages.CONTENT_TYPE: plain}
    signed = b"".join(
        sorted(tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, name), tlv(SET, value)) for name, value in values.items())
    )
    certificate = signer.certificate.public_bytes(Encoding.DER)
    version = tlv(INTEGER, b"\x01")
    signer_info = tlv(
        SEQUENCE,
        version,
        tlv(SEQUENCE, *issuer_and_serial_number(asn1.read(certificate))),
        _SHA256,
        tlv(_TAGGED_0, signed),
        _RSA,
        tlv(OCTET_STRING, signer.key.sign(tlv(SET, signed), padding.PKCS1v15(), hashes.SHA256())),
    )
    carried = () if content is None else (tlv(_TAGGED_0, tlv(OCTET_STRING, content)),)
    data = tlv(
        SEQUENCE,
        version,
        tlv(SET, _SHA256),
        tlv(SEQUENCE, plain, *carried),
        tlv(_TAGGED_0, certificate),
        tlv(SET, signer_info),
    )
    return tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, signed_messages.SIGNED_DATA), tlv(_TAGGED_0, data))
