"""SCEP messages (RFC 8894): reading and writing PKCSReq and CertRep, for the responder and for a client.

Who may have a certificate is not decided here. SHA-1, 3DES and DES are read only when ``accept_legacy`` says so.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AttributeOID

from portal.pki import cms as signed_messages
from portal.pki.authority import Identity
from portal.pki.cms import CmsError, parsing

CAPABILITIES = ("AES", "POSTPKIOperation", "SCEPStandard", "SHA-256")
SMALLEST_KEY_BITS = 2048
_AES_BLOCK, _DES_BLOCK = 128, 64


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


class ScepFailure(Exception):
    """The message was understood but is refused: to be answered with a CertRep of status FAILURE."""

    def __init__(self, fail_info: FailInfo, message: "Message", reason: str) -> None:
        super().__init__(reason)
        self.fail_info, self.message, self.reason = fail_info, message, reason


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
class CertificateRequest:
    """What a PKCSReq asks for."""

    message: Message
    public_key: rsa.RSAPublicKey
    subject: x509.Name
    challenge: str
    csr_der: bytes


def read(body: bytes) -> Message:
    """Parse and verify a pkiMessage. Raises CmsError if it is none."""
    signed = signed_messages.verify(body) if _has_content(body) else _verify_without_content(body)
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
    """Decrypt the PKCSReq in ``message`` and read its CSR. Raises ScepFailure."""
    if message.message_type != MessageType.PKCS_REQ:
        raise ScepFailure(FailInfo.BAD_REQUEST, message, "unsupported_message_type")
    if message.digest_algorithm == "sha1" and not accept_legacy:
        raise ScepFailure(FailInfo.BAD_ALG, message, "legacy_digest")
    try:
        csr_der = decrypt(message.content, ca, accept_legacy)
    except LegacyCipher:
        raise ScepFailure(FailInfo.BAD_ALG, message, "legacy_cipher") from None
    except CmsError:
        raise ScepFailure(FailInfo.BAD_MESSAGE_CHECK, message, "not_decryptable") from None
    try:
        with parsing("CSR"):
            return _read_csr(message, csr_der)
    except CmsError:
        raise ScepFailure(FailInfo.BAD_REQUEST, message, "malformed_csr") from None


def _read_csr(message: Message, csr_der: bytes) -> CertificateRequest:
    csr = x509.load_der_x509_csr(csr_der)
    key = csr.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < SMALLEST_KEY_BITS:
        raise ScepFailure(FailInfo.BAD_ALG, message, "weak_key")
    if not csr.is_signature_valid:
        raise ScepFailure(FailInfo.BAD_MESSAGE_CHECK, message, "csr_signature")
    try:
        challenge = csr.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value.decode()
    except x509.AttributeNotFound:
        raise ScepFailure(FailInfo.BAD_REQUEST, message, "no_challenge") from None
    return CertificateRequest(message, key, csr.subject, challenge, csr_der)


class LegacyCipher(CmsError):
    """DES or 3DES, where they are not accepted."""


def decrypt(enveloped: bytes, recipient: Identity, accept_legacy: bool = False) -> bytes:
    """The content of an EnvelopedData made for ``recipient`` (RSA key transport, AES-CBC; DES and 3DES if legacy).

    Raises CmsError, in the same words whatever fails after the structure was read.
    """
    with parsing("EnvelopedData"):
        info = cms.ContentInfo.load(enveloped, strict=True)
        if info["content_type"].native != "enveloped_data":
            raise CmsError("not an EnvelopedData")
        data = info["content"]
        encrypted = data["encrypted_content_info"]
        algorithm = encrypted["content_encryption_algorithm"]
        cipher = algorithm.encryption_cipher
        accepted = {"aes", "tripledes", "des"} if accept_legacy else {"aes"}
        if cipher not in accepted or algorithm.encryption_mode != "cbc":
            raise LegacyCipher(f"cipher {cipher} is not accepted")
        wrapped = _wrapped_key(data["recipient_infos"], recipient.certificate)
        key = recipient.key.decrypt(wrapped, padding.PKCS1v15())
        block = _AES_BLOCK if cipher == "aes" else _DES_BLOCK
        # Single DES is 3DES with one key three times.
        suite = algorithms.AES(key) if cipher == "aes" else TripleDES(key * 3 if cipher == "des" else key)
        decryptor = Cipher(suite, modes.CBC(algorithm.encryption_iv)).decryptor()
        padded = decryptor.update(encrypted["encrypted_content"].native) + decryptor.finalize()
        unpadder = PKCS7(block).unpadder()
        return unpadder.update(padded) + unpadder.finalize()


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
    """The CertRep that hands over ``certificate``, enveloped to whoever signed the request."""
    chain = pkcs7.serialize_certificates([certificate, ca.certificate], Encoding.DER)
    attributes = _reply_attributes(request_message, PkiStatus.SUCCESS)
    return _build(_encrypt(chain, request_message.signer), attributes, ca)


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


def _has_content(body: bytes) -> bool:
    with parsing("SignedData"):
        info = cms.ContentInfo.load(body, strict=True)
        if info["content_type"].native != "signed_data":
            raise CmsError("not a SignedData")
        return info["content"]["encap_content_info"]["content"].native is not None


def _verify_without_content(body: bytes) -> signed_messages.Signed:
    return signed_messages.verify_detached(body, b"")
