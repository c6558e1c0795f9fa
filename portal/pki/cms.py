"""CMS SignedData (RFC 5652): signing profiles, verifying what devices sign.

Real devices send BER with indefinite lengths or DER, SHA-1 or SHA-256, with or without signed attributes, and
certificates without a subject. All of that is read; nothing of it is trusted before the signature holds.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

LARGEST_MESSAGE = 1024 * 1024
"""Bytes; no CMS message of this protocol comes near it."""

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_PARSER_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    UnsupportedAlgorithm,
)


class CmsError(Exception):
    """The message is not what it claims to be; the text is a plain reason for the log."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A SignedData whose one signature holds. Whether the signer is trusted is for the caller to say."""

    content: bytes
    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    attributes: dict[str, Any]
    digest_algorithm: str


def sign(
    content: bytes,
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
    intermediates: Sequence[x509.Certificate] = (),
) -> bytes:
    """``content`` in an attached CMS signature, DER, SHA-256, with the whole chain (a signed profile)."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(certificate, key, hashes.SHA256())
    for intermediate in intermediates:
        builder = builder.add_certificate(intermediate)
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def sign_detached(body: bytes, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> bytes:
    """A detached CMS signature over ``body``, DER, SHA-256, with signed attributes (an Mdm-Signature)."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(body).add_signer(certificate, key, hashes.SHA256())
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    return builder.sign(Encoding.DER, options)


def verify(message: bytes) -> Signed:
    """Check an attached SignedData and return its content. Raises CmsError."""
    return _verify(message, None)


def verify_detached(message: bytes, body: bytes) -> Signed:
    """Check a detached SignedData over exactly ``body``. Raises CmsError."""
    return _verify(message, body)


def signer_of(message: bytes) -> x509.Certificate:
    """Whose detached SignedData this is, as far as that shows without the body. Raises CmsError.

    Signed attributes are checked; a signature without them covers the body alone, so it is not.
    """
    if len(message) > LARGEST_MESSAGE:
        raise CmsError("message too large")
    with parsing("SignedData"):
        data, signer_info, certificates = _open(message)
        signer = _find_signer(signer_info, certificates)
        _check_signature(signer_info, signer, data, None)
    return signer


def verify_chain(certificates: Sequence[x509.Certificate], root: x509.Certificate) -> None:
    """Check that ``certificates`` (signer first) lead to ``root``, in any order after the first. Raises CmsError."""
    current, rest = certificates[0], list(certificates[1:])
    for _ in range(len(rest) + 1):
        if _issued_by(current, root):
            return
        issuer = next((c for c in rest if _issued_by(current, c)), None)
        if issuer is None:
            break
        rest.remove(issuer)
        current = issuer
    raise CmsError("the certificate chain does not lead to the trusted root")


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Turn whatever a parser trips over in foreign bytes into a CmsError."""
    try:
        yield
    except _PARSER_ERRORS as error:
        raise CmsError(f"malformed {what}") from error


def _verify(message: bytes, detached: bytes | None) -> Signed:
    if len(message) > LARGEST_MESSAGE:
        raise CmsError("message too large")
    with parsing("SignedData"):
        data, signer_info, certificates = _open(message)
        content = _content(data, detached)
        signer = _find_signer(signer_info, certificates)
        attributes = _check_signature(signer_info, signer, data, content)
        digest = signer_info["digest_algorithm"]["algorithm"].native
    others = tuple(certificate for certificate in certificates if certificate != signer)
    return Signed(content, signer, (signer, *others), attributes, digest)


def _open(message: bytes) -> tuple[Any, Any, list[x509.Certificate]]:
    """The SignedData, its one SignerInfo and its certificates."""
    info = cms.ContentInfo.load(message, strict=True)
    if info["content_type"].native != "signed_data":
        raise CmsError("not a SignedData")
    data = info["content"]
    if len(data["signer_infos"]) != 1:
        raise CmsError("exactly one signer expected")
    return data, data["signer_infos"][0], _certificates(data)


def _content(data: Any, detached: bytes | None) -> bytes:
    embedded = data["encap_content_info"]["content"].native
    if detached is None:
        if not isinstance(embedded, bytes):
            raise CmsError("no content")
        return embedded
    if embedded is not None and embedded != detached:
        raise CmsError("the signature carries another content")
    return detached


def _certificates(data: Any) -> list[x509.Certificate]:
    choices = [choice for choice in data["certificates"] if choice.name == "certificate"]
    return [x509.load_der_x509_certificate(choice.chosen.dump()) for choice in choices]


def _find_signer(signer_info: Any, certificates: list[x509.Certificate]) -> x509.Certificate:
    sid = signer_info["sid"]
    for certificate in certificates:
        if sid.name == "issuer_and_serial_number":
            same_serial = certificate.serial_number == sid.chosen["serial_number"].native
            if same_serial and certificate.issuer.public_bytes() == sid.chosen["issuer"].dump():
                return certificate
        else:
            identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
            if identifier.value.digest == sid.chosen.native:
                return certificate
    raise CmsError("the signer's certificate is missing")


def _check_signature(signer_info: Any, signer: x509.Certificate, data: Any, content: bytes | None) -> dict[str, Any]:
    """Its signed attributes, if the signature holds; without the content only that of the attributes is judged."""
    algorithm = signer_info["digest_algorithm"]["algorithm"].native
    if algorithm not in _HASHES:
        raise CmsError(f"digest {algorithm} is not accepted")
    attributes: dict[str, Any] = {}
    signed_bytes = content
    signed_attrs = signer_info["signed_attrs"]
    if len(signed_attrs) > 0:
        for attribute in signed_attrs:
            name = attribute["type"].native
            if name in attributes or len(attribute["values"]) != 1:
                raise CmsError("a signed attribute is not single-valued")
            attributes[name] = attribute["values"][0].native
        if content is not None:
            digest = hashlib.new(algorithm, content, usedforsecurity=False).digest()
            if not hmac.compare_digest(attributes.get("message_digest") or b"", digest):
                raise CmsError("the messageDigest does not fit the content")
        if attributes.get("content_type") != data["encap_content_info"]["content_type"].native:
            raise CmsError("the contentType attribute does not fit")
        signed_bytes = signed_attrs.untag().dump(force=True)  # signed as SET OF, RFC 5652 section 5.4
    if signed_bytes is not None:
        _check_value(signer, signer_info["signature"].native, signed_bytes, _HASHES[algorithm]())
    return attributes


def _check_value(signer: x509.Certificate, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm) -> None:
    key = signer.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
        else:
            raise CmsError("the signer's key is of an unknown kind")
    except InvalidSignature:
        raise CmsError("the signature does not hold") from None


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
