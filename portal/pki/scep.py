"""SCEP messages (RFC 8894): reading and writing PKCSReq and CertRep, for the responder and for a client.

Who may have a certificate is not decided here. SHA-1, 3DES and DES are accepted only when ``accept_legacy`` says so;
they are read all the same, so that helpdesk can be told whose device uses them.

Whatever is wrong with what was encrypted is answered in the same words (failInfo badRequest), so that nobody can use
the CA as an oracle for what they cannot read.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1_x509
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
from portal.pki.authority import Identity
from portal.pki.cms import CmsError, parsing

CAPABILITIES = ("AES", "POSTPKIOperation", "SCEPStandard", "SHA-256")
SMALLEST_KEY_BITS = 2048
_AES_BLOCK, _DES_BLOCK = 128, 64
_AUTH_ENVELOPED = core.ObjectIdentifier("1.2.840.113549.1.9.16.1.23").dump()
"""The type of content that is encrypted with AES-GCM (RFC 5083)."""
_DIGESTS = frozenset({"sha256", "sha384", "sha512"})


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


class _PrintableStrings(core.SetOf):  # type: ignore[misc]
    _child_spec = core.PrintableString


class _OctetStrings(core.SetOf):  # type: ignore[misc]
    _child_spec = core.OctetString


_ATTRIBUTES = {  # RFC 8894 section 3.2.1
    "scep_message_type": ("2.16.840.1.113733.1.9.2", _PrintableStrings),
    "scep_pki_status": ("2.16.840.1.113733.1.9.3", _PrintableStrings),
    "scep_fail_info": ("2.16.840.1.113733.1.9.4", _PrintableStrings),
    "scep_sender_nonce": ("2.16.840.1.113733.1.9.5", _OctetStrings),
    "scep_recipient_nonce": ("2.16.840.1.113733.1.9.6", _OctetStrings),
    "scep_transaction_id": ("2.16.840.1.113733.1.9.7", _PrintableStrings),
}
for _name, (_oid, _spec) in _ATTRIBUTES.items():
    cms.CMSAttributeType._map[_oid] = _name
    cms.CMSAttribute._oid_specs[_name] = _spec
cms.CMSAttributeType._reverse_map = None


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


def read(body: bytes) -> Message:
    """Parse and verify a pkiMessage. Raises CmsError if it is none."""
    signed = signed_messages.verify(body, absent=b"", digests=signed_messages.EVERY_DIGEST)
    attributes = signed.attributes
    transaction_id, nonce = attributes.get("scep_transaction_id"), attributes.get("scep_sender_nonce")
    if not isinstance(transaction_id, str) or not isinstance(nonce, bytes):
        raise CmsError("not a SCEP message")
    return Message(
        message_type=str(attributes.get("scep_message_type")),
        transaction_id=transaction_id,
        sender_nonce=nonce,
        recipient_nonce=attributes.get("scep_recipient_nonce"),
        pki_status=attributes.get("scep_pki_status"),
        fail_info=attributes.get("scep_fail_info"),
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
        csr_der, cipher = _decrypt(message.content, ca)
    except UnknownCipher:
        return CertificateRequest(problem or Problem(FailInfo.BAD_ALG, "unknown_cipher"))
    except CmsError:
        return CertificateRequest(problem or Problem(FailInfo.BAD_REQUEST, "not_decryptable"))
    if cipher != "aes" and not accept_legacy:
        problem = problem or Problem(FailInfo.BAD_ALG, "legacy_cipher")
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
        asn1.check(csr_der)
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
    return _decrypt(enveloped, recipient)[0]


def _decrypt(enveloped: bytes, recipient: Identity) -> tuple[bytes, str]:
    """The content and the name of the cipher: aes, tripledes, des."""
    if _AUTH_ENVELOPED in enveloped[:32]:
        raise UnknownCipher("AuthEnvelopedData")
    data = signed_messages.content_info(enveloped, "enveloped_data")
    encrypted = data["encrypted_content_info"]
    try:
        algorithm = encrypted["content_encryption_algorithm"]
        cipher, mode = algorithm.encryption_cipher, algorithm.encryption_mode
    except Exception:  # asn1crypto knows neither AES-GCM nor Camellia, and says so in several ways
        raise UnknownCipher("unknown cipher") from None
    if cipher not in ("aes", "tripledes", "des") or mode != "cbc":
        raise UnknownCipher("unknown cipher")
    with parsing("EnvelopedData"):
        wrapped = _wrapped_key(data["recipient_infos"], recipient.certificate)
        key = recipient.key.decrypt(wrapped, padding.PKCS1v15())
        block = _AES_BLOCK if cipher == "aes" else _DES_BLOCK
        # Single DES is 3DES with one key three times.
        suite = algorithms.AES(key) if cipher == "aes" else TripleDES(key * 3 if cipher == "des" else key)
        decryptor = Cipher(suite, modes.CBC(algorithm.encryption_iv)).decryptor()
        padded = decryptor.update(encrypted["encrypted_content"].native) + decryptor.finalize()
        unpadder = PKCS7(block).unpadder()
        return unpadder.update(padded) + unpadder.finalize(), cipher


def _wrapped_key(infos: Any, certificate: x509.Certificate) -> bytes:
    for info in infos:
        if info.name != "ktri":
            continue
        rid = info.chosen["rid"]
        ours = rid.name != "issuer_and_serial_number" or (
            rid.chosen["serial_number"].native == certificate.serial_number
        )
        if ours:
            return bytes(info.chosen["encrypted_key"].native)
    raise CmsError("not for this recipient")


def request(csr_der: bytes, ca: x509.Certificate, identity: Identity, transaction_id: str) -> tuple[bytes, bytes]:
    """A PKCSReq for ``ca``, signed with the client's self-signed ``identity``; returns (message, sender nonce)."""
    nonce = secrets.token_bytes(16)
    attributes = {
        "scep_message_type": MessageType.PKCS_REQ,
        "scep_transaction_id": transaction_id,
        "scep_sender_nonce": nonce,
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
    return _build(None, {**attributes, "scep_fail_info": fail_info}, ca)


def issued_certificate(reply: Message, identity: Identity) -> x509.Certificate:
    """The certificate in a successful CertRep. Raises CmsError."""
    with parsing("CertRep"):
        certificates = pkcs7.load_der_pkcs7_certificates(decrypt(reply.content, identity))
    for certificate in certificates:
        if certificate.public_key() == identity.key.public_key():
            return certificate
    raise CmsError("the CertRep has no certificate for this key")


def _reply_attributes(message: Message, status: PkiStatus) -> dict[str, Any]:
    return {
        "scep_message_type": MessageType.CERT_REP,
        "scep_pki_status": status,
        "scep_transaction_id": message.transaction_id,
        "scep_recipient_nonce": message.sender_nonce,
        "scep_sender_nonce": secrets.token_bytes(16),
    }


def _encrypt(content: bytes, recipient: x509.Certificate) -> bytes:
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content).add_recipient(recipient)
    builder = builder.set_content_encryption_algorithm(algorithms.AES128)
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _build(content: bytes | None, attributes: dict[str, Any], signer: Identity) -> bytes:
    """A SignedData with SCEP's attributes; a failure has no content (RFC 8894 section 3.2.2)."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(content or b"")
    signed = {"content_type": "data", "message_digest": digest.finalize(), **attributes}
    signed_attrs = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": name, "values": [str(v) if isinstance(v, StrEnum) else v]})
            for name, v in signed.items()
        ]
    )
    signature = signer.key.sign(signed_attrs.dump(), padding.PKCS1v15(), hashes.SHA256())
    certificate = asn1_x509.Certificate.load(signer.certificate.public_bytes(Encoding.DER))
    sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
    signer_info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": {
                "issuer_and_serial_number": {
                    "issuer": certificate.issuer,
                    "serial_number": certificate.serial_number,
                }
            },
            "digest_algorithm": sha256,
            "signed_attrs": signed_attrs,
            "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"},
            "signature": signature,
        }
    )
    encapsulated = {"content_type": "data"} | ({"content": content} if content is not None else {})
    data = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [sha256],
            "encap_content_info": encapsulated,
            "certificates": [certificate],
            "signer_infos": [signer_info],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": data}).dump())
