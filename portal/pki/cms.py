"""CMS SignedData (RFC 5652): signing profiles, verifying what devices sign.

Real devices send BER with indefinite lengths or DER, SHA-1 or SHA-256, with or without signed attributes, and
certificates without a subject. All of that is read; nothing of it is trusted before the signature holds.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from portal.pki import asn1
from portal.pki.asn1 import (
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Element,
    object_identifier,
    tlv,
)

MOST_CERTIFICATES = 8
"""In one message; Apple's devices send three."""

DATA = object_identifier("1.2.840.113549.1.7.1")
SIGNED_DATA = object_identifier("1.2.840.113549.1.7.2")
CONTENT_TYPE = object_identifier("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = object_identifier("1.2.840.113549.1.9.4")
SHA256 = object_identifier("2.16.840.1.101.3.4.2.1")
"""Contents of object identifiers: kinds of content, signed attributes (RFC 5652 section 11), a digest."""
_DIGESTS: dict[bytes, tuple[str, type[hashes.HashAlgorithm]]] = {
    object_identifier("1.2.840.113549.2.5"): ("md5", hashes.MD5),
    object_identifier("1.3.14.3.2.26"): ("sha1", hashes.SHA1),
    object_identifier("2.16.840.1.101.3.4.2.4"): ("sha224", hashes.SHA224),
    SHA256: ("sha256", hashes.SHA256),
    object_identifier("2.16.840.1.101.3.4.2.2"): ("sha384", hashes.SHA384),
    object_identifier("2.16.840.1.101.3.4.2.3"): ("sha512", hashes.SHA512),
}
DIGESTS = frozenset({"sha1", "sha256", "sha384", "sha512"})
"""What devices sign with."""
EVERY_DIGEST = frozenset(name for name, _ in _DIGESTS.values())
"""What can be judged at all: for whoever has to say why a message is refused."""
_TAGGED_0, _TAGGED_1, _KEY_IDENTIFIER = CONTEXT | CONSTRUCTED | 0, CONTEXT | CONSTRUCTED | 1, CONTEXT | 0


Extension = TypeVar("Extension", bound=x509.ExtensionType)


class CmsError(Exception):
    """The message is not what it claims to be; the text is a plain reason for the log."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A SignedData whose one signature holds. Whether the signer is trusted is for the caller to say.

    ``attributes``: what was signed beside the content, by the contents of its object identifier.
    """

    content: bytes
    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    attributes: dict[bytes, Element]
    digest_algorithm: str


@dataclass(frozen=True, slots=True)
class _SignedData:
    """The parts of a SignedData with one SignerInfo (RFC 5652 sections 5.1 and 5.3)."""

    content_type: bytes
    content: bytes | None
    certificates: list[Element]
    signer_id: Element
    digest_algorithm: bytes
    signed_attributes: Element | None
    signature: bytes


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
    data = _open(message, largest)
    content = absent if data.content is None else data.content
    if content is None:
        raise CmsError("no content")
    return _signed(data, content, digests)


def verify_detached(message: bytes, body: bytes) -> Signed:
    """Check a detached SignedData over exactly ``body``. Raises CmsError."""
    data = _open(message)
    if data.content is not None and data.content != body:
        raise CmsError("the signature carries another content")
    return _signed(data, body, DIGESTS)


def signer_of(message: bytes) -> x509.Certificate:
    """Whose detached SignedData this is, as far as that shows without the body. Raises CmsError.

    Signed attributes are checked; a signature without them covers the body alone, so it is not.
    """
    data = _open(message)
    with parsing("SignedData"):
        signer = _certificates(data)[0]
        _check_signature(data, signer, None, DIGESTS)
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


def content_of(message: bytes, content_type: bytes, largest: int = asn1.LARGEST_MESSAGE) -> Element:
    """The content of a ContentInfo of that type. Raises CmsError."""
    with parsing("ContentInfo"):
        kind, content = asn1.read(message, largest).of(SEQUENCE).parts
        if kind.of(OBJECT_IDENTIFIER).contents != content_type:
            raise CmsError("another type of content than expected")
        (inner,) = content.of(_TAGGED_0).parts
        return inner


def _signed(data: _SignedData, content: bytes, digests: Collection[str]) -> Signed:
    with parsing("SignedData"):
        certificates = _certificates(data)
        attributes, digest = _check_signature(data, certificates[0], content, digests)
    return Signed(content, certificates[0], certificates, attributes, digest)


def _open(message: bytes, largest: int = asn1.LARGEST_MESSAGE) -> _SignedData:
    """Its parts. Only plain data is carried: other content has a form of its own, which nobody here reads."""
    data = content_of(message, SIGNED_DATA, largest)
    with parsing("SignedData"):
        _version, _digests, carried, *optional, signer_infos = data.of(SEQUENCE).parts
        content_type, *rest = carried.of(SEQUENCE).parts
        if [each.tag for each in optional] not in ([], [_TAGGED_0], [_TAGGED_1], [_TAGGED_0, _TAGGED_1]) or rest[1:]:
            raise CmsError("parts that do not belong there")
        if content_type.of(OBJECT_IDENTIFIER).contents != DATA:
            raise CmsError("the content is no plain data")
        held = [each for part in optional if part.tag == _TAGGED_0 for each in part.parts if each.tag == SEQUENCE]
        if len(held) > MOST_CERTIFICATES:
            raise CmsError("too many certificates")
        if len(signer_infos.of(SET).parts) != 1:
            raise CmsError("exactly one signer expected")
        _version, signer_id, digest, *signed = signer_infos.parts[0].of(SEQUENCE).parts
        attributes = signed.pop(0) if signed[0].tag == _TAGGED_0 else None
        _algorithm, signature, *unsigned = signed
        if [each.tag for each in unsigned] not in ([], [_TAGGED_1]):
            raise CmsError("parts that do not belong there")
        content = None
        if rest:
            (inner,) = rest[0].of(_TAGGED_0).parts
            content = _octet_string(inner)
        return _SignedData(
            content_type.contents,
            content,
            held,
            signer_id,
            digest.of(SEQUENCE).parts[0].of(OBJECT_IDENTIFIER).contents,
            attributes,
            _octet_string(signature),
        )


def _octet_string(element: Element) -> bytes:
    if element.tag & ~CONSTRUCTED != OCTET_STRING:
        raise CmsError("no octets where they should be")
    return element.octets


def _certificates(data: _SignedData) -> tuple[x509.Certificate, ...]:
    """The signer's, then the others. Raises CmsError."""
    found = [(each, x509.load_der_x509_certificate(each.encoded)) for each in data.certificates]
    signer = next((certificate for each, certificate in found if _is_meant(data.signer_id, each, certificate)), None)
    if signer is None:
        raise CmsError("the signer's certificate is missing")
    return signer, *(certificate for _, certificate in found if certificate != signer)


def _is_meant(signer_id: Element, held: Element, certificate: x509.Certificate) -> bool:
    """Whether a SignerIdentifier names this certificate: by its issuer and serial number, or by its key."""
    if signer_id.tag == _KEY_IDENTIFIER:
        identifier = extension(certificate, x509.SubjectKeyIdentifier)
        return identifier is not None and identifier.digest == signer_id.contents
    issuer, serial_number = signer_id.of(SEQUENCE).parts
    return issuer_and_serial_number(held) == (issuer.encoded, serial_number.of(INTEGER).encoded)


def issuer_and_serial_number(certificate: Element) -> tuple[bytes, bytes]:
    """Both of a certificate, in DER (RFC 5280 section 4.1)."""
    fields = certificate.parts[0].parts
    first = 1 if fields[0].tag == _TAGGED_0 else 0  # behind the version
    return fields[first + 2].encoded, fields[first].of(INTEGER).encoded


def extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """The value of the certificate's extension of that kind; None without one. Raises CmsError if unreadable."""
    with parsing("certificate"):
        try:
            return certificate.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None


def _check_signature(
    data: _SignedData, signer: x509.Certificate, content: bytes | None, digests: Collection[str]
) -> tuple[dict[bytes, Element], str]:
    """Its signed attributes and its digest's name, if the signature holds; without the content only the attributes'."""
    name, algorithm = _DIGESTS.get(data.digest_algorithm, ("unknown", None))
    if algorithm is None or name not in digests:
        raise CmsError(f"digest {name} is not accepted")
    attributes: dict[bytes, Element] = {}
    signed_bytes = content
    if data.signed_attributes is not None and data.signed_attributes.parts:
        attributes = _attributes(data.signed_attributes)
        if content is not None:
            digest = hashlib.new(name, content, usedforsecurity=False).digest()
            if not hmac.compare_digest(attributes[MESSAGE_DIGEST].of(OCTET_STRING).contents, digest):
                raise CmsError("the messageDigest does not fit the content")
        if attributes[CONTENT_TYPE].of(OBJECT_IDENTIFIER).contents != data.content_type:
            raise CmsError("the contentType attribute does not fit")
        signed_bytes = tlv(SET, data.signed_attributes.contents)  # not as they are tagged, RFC 5652 section 5.4
    elif content is not None and content[:1] == bytes([SET]):
        # Somebody may have taken the attributes of another message for the content of this one: the signature is good.
        raise CmsError("the content may be signed attributes")
    if signed_bytes is not None:
        _check_value(signer, data.signature, signed_bytes, algorithm())
    return attributes, name


def _attributes(signed: Element) -> dict[bytes, Element]:
    attributes: dict[bytes, Element] = {}
    for each in signed.parts:
        kind, values = each.of(SEQUENCE).parts
        name = kind.of(OBJECT_IDENTIFIER).contents
        if name in attributes or len(values.of(SET).parts) != 1:
            raise CmsError("a signed attribute is not single-valued")
        attributes[name] = values.parts[0]
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
