"""CMS SignedData (RFC 5652): signing profiles, verifying what devices sign.

Real devices send BER with indefinite lengths or DER, SHA-1 or SHA-256, with or without signed attributes, and
certificates without a subject. All of that is read; nothing of it is trusted before the signature holds.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from asn1crypto import cms, core
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from portal.pki import asn1

MOST_CERTIFICATES = 8
"""In one message; Apple's devices send three."""

_READ = {"content_type", "message_digest", "scep_message_type", "scep_pki_status", "scep_fail_info",
         "scep_sender_nonce", "scep_recipient_nonce", "scep_transaction_id"}  # fmt: skip
"""Signed attributes whose values anybody here asks for; what is in the others is not looked into."""
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
DIGESTS = frozenset({"sha1", "sha256", "sha384", "sha512"})
"""What devices sign with."""
EVERY_DIGEST = frozenset(_HASHES)
"""What can be judged at all: for whoever has to say why a message is refused."""


Extension = TypeVar("Extension", bound=x509.ExtensionType)


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


def verify(
    message: bytes,
    absent: bytes | None = None,
    digests: Collection[str] = DIGESTS,
    largest: int = asn1.LARGEST_MESSAGE,
) -> Signed:
    """Check an attached SignedData and return its content. Raises CmsError.

    ``absent`` is what was signed if the message carries no content; without it that is refused. ``largest`` in bytes.
    """
    with parsing("SignedData"):
        data, signer_info, certificates = _open(message, largest)
        embedded = _embedded(data)
    content = absent if embedded is None else embedded
    if not isinstance(content, bytes):
        raise CmsError("no content")
    return _signed(data, signer_info, certificates, content, digests)


def verify_detached(message: bytes, body: bytes) -> Signed:
    """Check a detached SignedData over exactly ``body``. Raises CmsError."""
    with parsing("SignedData"):
        data, signer_info, certificates = _open(message)
        embedded = _embedded(data)
    if embedded is not None and embedded != body:
        raise CmsError("the signature carries another content")
    return _signed(data, signer_info, certificates, body, DIGESTS)


def signer_of(message: bytes) -> x509.Certificate:
    """Whose detached SignedData this is, as far as that shows without the body. Raises CmsError.

    Signed attributes are checked; a signature without them covers the body alone, so it is not.
    """
    with parsing("SignedData"):
        data, signer_info, certificates = _open(message)
        signer = _find_signer(signer_info, certificates)
        _check_signature(signer_info, signer, data, None, DIGESTS)
    return signer


def verify_chain(certificates: Sequence[x509.Certificate], root: x509.Certificate) -> None:
    """Check that ``certificates`` (signer first) lead to ``root``, in any order after the first. Raises CmsError.

    Only a certificate authority vouches for another certificate, and for no longer a path than it says (RFC 5280
    section 6.1.4, k to n); ``root`` also speaks for itself. Dates are not judged.
    """
    if certificates[0] == root:
        return
    current, rest, below = certificates[0], list(certificates[1:]), 0
    while not _vouches(root, current, below):
        issuer = next((each for each in rest if _vouches(each, current, below)), None)
        if issuer is None:
            raise CmsError("the certificate chain does not lead to the trusted root")
        rest.remove(issuer)
        current, below = issuer, below + 1


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Turn whatever a parser trips over in foreign bytes into a CmsError.

    Parsers fail in more ways than they document (ValueError, but also x509.InvalidVersion, DuplicateExtension, ...), so
    inside there is nothing but parsing, and every exception is the sender's fault.
    """
    try:
        yield
    except CmsError:
        raise
    except Exception as error:
        raise CmsError(f"malformed {what}") from error


def content_info(message: bytes, content_type: str, largest: int = asn1.LARGEST_MESSAGE) -> Any:
    """The content of a ContentInfo of that type (asn1crypto's object). Raises CmsError."""
    with parsing(content_type):
        asn1.check(message, largest)
        info = cms.ContentInfo.load(message, strict=True)
        if info["content_type"].native != content_type:
            raise CmsError(f"no {content_type}")
        return info["content"]


def _signed(
    data: Any, signer_info: Any, certificates: list[x509.Certificate], content: bytes, digests: Collection[str]
) -> Signed:
    with parsing("SignedData"):
        signer = _find_signer(signer_info, certificates)
        attributes = _check_signature(signer_info, signer, data, content, digests)
        digest = signer_info["digest_algorithm"]["algorithm"].native
    others = tuple(certificate for certificate in certificates if certificate != signer)
    return Signed(content, signer, (signer, *others), attributes, digest)


def _open(message: bytes, largest: int = asn1.LARGEST_MESSAGE) -> tuple[Any, Any, list[x509.Certificate]]:
    """The SignedData, its one SignerInfo and its certificates."""
    data = content_info(message, "signed_data", largest)
    if len(data["signer_infos"]) != 1:
        raise CmsError("exactly one signer expected")
    return data, data["signer_infos"][0], _certificates(data)


def _embedded(data: Any) -> bytes | None:
    """The content, which is plain data: of anything else the parser would look into every part. Raises CmsError."""
    carried = data["encap_content_info"]
    if carried["content_type"].native != "data":
        raise CmsError("the content is no plain data")
    content = carried["content"]
    if isinstance(content, core.Void):
        return None
    if not isinstance(content, core.OctetString | core.ParsableOctetString):
        raise CmsError("the content is no plain data")
    return bytes(content)


def _certificates(data: Any) -> list[x509.Certificate]:
    if len(data["certificates"]) > MOST_CERTIFICATES:
        raise CmsError("too many certificates")
    choices = [choice for choice in data["certificates"] if choice.name == "certificate"]
    return [x509.load_der_x509_certificate(choice.chosen.dump()) for choice in choices]


def _find_signer(signer_info: Any, certificates: list[x509.Certificate]) -> x509.Certificate:
    sid = signer_info["sid"]
    for certificate in certificates:
        if sid.name == "issuer_and_serial_number":
            same_serial = certificate.serial_number == sid.chosen["serial_number"].native
            if same_serial and certificate.issuer.public_bytes() == sid.chosen["issuer"].dump():
                return certificate
            continue
        identifier = extension(certificate, x509.SubjectKeyIdentifier)
        if identifier is not None and identifier.digest == sid.chosen.native:
            return certificate
    raise CmsError("the signer's certificate is missing")


def extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """The value of the certificate's extension of that kind; None without one. Raises CmsError if unreadable."""
    with parsing("certificate"):
        try:
            return certificate.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None


def _check_signature(
    signer_info: Any, signer: x509.Certificate, data: Any, content: bytes | None, digests: Collection[str]
) -> dict[str, Any]:
    """Its signed attributes, if the signature holds; without the content only that of the attributes is judged."""
    algorithm = signer_info["digest_algorithm"]["algorithm"].native
    if algorithm not in digests:
        raise CmsError(f"digest {algorithm} is not accepted")
    attributes: dict[str, Any] = {}
    signed_bytes = content
    signed_attrs = signer_info["signed_attrs"]
    if len(signed_attrs) > 0:
        for attribute in signed_attrs:
            name = attribute["type"].native
            if name in attributes or len(attribute["values"]) != 1:
                raise CmsError("a signed attribute is not single-valued")
            attributes[name] = attribute["values"][0].native if name in _READ else None
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


def _vouches(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    """Whether ``issuer`` is an authority that signed ``certificate``, under which ``below`` authorities come."""
    constraints = extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return False
    if constraints.path_length is not None and constraints.path_length < below:
        return False
    usage = extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
