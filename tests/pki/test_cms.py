"""Everything real devices sign with is read; nothing else is believed."""

import subprocess
from datetime import timedelta

import pytest
from asn1crypto import cms as structures
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from portal import clock as portal_clock
from portal.pki import asn1, cms
from portal.pki.asn1 import SEQUENCE, tlv
from tests.factories import phone_key
from tests.tools import needs_openssl

FORMS = [
    ["-md", "sha1"],
    ["-md", "sha256"],
    ["-md", "sha512"],
    ["-md", "sha1", "-noattr"],
    ["-md", "sha256", "-noattr"],
    ["-md", "sha256", "-keyid"],
]
ENCODINGS = [[], ["-stream", "-indef"]]


@pytest.fixture
def identity(portal, tmp_path):
    """(certificate, key) of a device, also as PEM files for openssl."""
    key = phone_key()
    certificate = portal.authority.issue(key.public_key(), "device", "Example", 30, portal_clock.now())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return certificate, key


def openssl_sign(folder, body, *options):
    (folder / "body").write_bytes(body)
    command = ["openssl", "cms", "-sign", "-binary", "-in", "body", "-signer", "certificate.pem", "-inkey", "key.pem",
               "-outform", "DER", *options]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout


@pytest.mark.parametrize("encoding", ENCODINGS, ids=" ".join)
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@needs_openssl
def test_every_form_that_devices_send_is_verified(identity, tmp_path, form, encoding):
    message = openssl_sign(tmp_path, b"<plist/>", *form, *encoding)
    assert message[:2] == (b"\x30\x80" if encoding else b"\x30\x82")
    assert cms.verify_detached(message, b"<plist/>").signer == identity[0]


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@needs_openssl
def test_another_body_is_refused_in_every_form(identity, tmp_path, form):
    message = openssl_sign(tmp_path, b"<plist/>", *form)
    with pytest.raises(cms.CmsError):
        cms.verify_detached(message, b"<plist >")


@needs_openssl
def test_what_we_sign_openssl_verifies(portal, tmp_path):
    signer, ca = portal.authority.signer, portal.authority.ca
    (tmp_path / "signed").write_bytes(cms.sign(b"profile\r\n", signer.key, signer.certificate))
    (tmp_path / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "signed", "-CAfile", "ca.pem", "-purpose", "any",
               "-attime", str(int(portal_clock.now().timestamp()))]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"profile\r\n"


@needs_openssl
def test_a_signature_without_its_certificate_is_refused(identity, tmp_path):
    with pytest.raises(cms.CmsError, match="certificate is missing"):
        cms.verify_detached(openssl_sign(tmp_path, b"x", "-nocerts"), b"x")


@needs_openssl
def test_signed_attributes_cannot_be_passed_off_as_the_body(identity, tmp_path):
    """Their signature holds over them as a body, too (RFC 5652 section 5.4 tags them anew before they are signed)."""
    info = structures.ContentInfo.load(openssl_sign(tmp_path, b"x", "-md", "sha256"))
    signer = info["content"]["signer_infos"][0]
    body = signer["signed_attrs"].untag().dump()
    signer["signed_attrs"] = None
    with pytest.raises(cms.CmsError, match="may be signed attributes"):
        cms.verify_detached(info.dump(force=True), body)


CONTENT, SIGNED_DATA, SIGNER = (1, 0, 2), (1, 0), (1, 0, -1, 0)
ONE, TWO = tlv(0xA1, tlv(SEQUENCE)), tlv(0xA2, tlv(SEQUENCE))
STRAY = {
    "a third kind of part": (SIGNED_DATA, lambda parts: [*parts[:-1], TWO, parts[-1]]),
    "revocations twice": (SIGNED_DATA, lambda parts: [*parts[:-1], ONE, ONE, parts[-1]]),
    "certificates twice": (SIGNED_DATA, lambda parts: [*parts[:-1], parts[-2], parts[-1]]),
    "certificates behind revocations": (SIGNED_DATA, lambda parts: [*parts[:-2], ONE, *parts[-2:]]),
    "two contents": (CONTENT, lambda parts: [*parts, parts[1]]),
    "content of two strings": (CONTENT, lambda parts: [parts[0], tlv(0xA0, tlv(4, b"content"), tlv(4, b"other"))]),
    "nothing where the content is": (CONTENT, lambda parts: [parts[0], tlv(0xA0)]),
    "something else behind the signature": (SIGNER, lambda parts: [*parts, TWO]),
    "unsigned attributes twice": (SIGNER, lambda parts: [*parts, ONE, ONE]),
}


def changed(encoded, path, change):
    """The same value; the encoded values in the one at the end of ``path`` are what ``change`` makes of them."""
    element = asn1.read(encoded)
    parts = [each.encoded for each in element.parts]
    if path:
        parts[path[0]] = changed(parts[path[0]], path[1:], change)
    else:
        parts = change(parts)
    return tlv(element.tag, *parts)


def test_revocations_and_unsigned_attributes_are_passed_over(identity):
    certificate, key = identity
    message = changed(cms.sign(b"content", key, certificate), SIGNED_DATA, lambda parts: [*parts[:-1], ONE, parts[-1]])
    message = changed(message, SIGNER, lambda parts: [*parts, ONE])
    assert cms.verify(message).content == b"content"


@pytest.mark.parametrize("kind", STRAY)
def test_a_message_with_a_part_too_many_is_refused(identity, kind):
    """What one reader passes over another may believe."""
    certificate, key = identity
    with pytest.raises(cms.CmsError):
        cms.verify(changed(cms.sign(b"content", key, certificate), *STRAY[kind]))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_in_words(message):
    with pytest.raises(cms.CmsError):
        cms.verify(message)


def test_damaged_messages_are_refused_or_still_hold(identity):
    """Flip every byte in turn: never another exception than CmsError, never another content or key."""
    certificate, key = identity
    message = cms.sign(b"body", key, certificate)
    held = 0
    for position in range(len(message)):
        damaged = bytearray(message)
        damaged[position] ^= 0xFF
        try:
            signed = cms.verify(bytes(damaged))
        except cms.CmsError:
            continue
        assert (signed.content, signed.signer.public_key()) == (b"body", certificate.public_key()), position
        held += 1
    assert 0 < held < len(message) - 256 - len(b"body")  # what is not signed here: most of the certificate


def test_deep_nesting_is_refused():
    with pytest.raises(cms.CmsError):
        cms.verify(b"\x30\x80" * 50_000)


def issued(name, key, issuer, issuer_key, now, *extensions):
    builder = x509.CertificateBuilder(
        issuer, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(),
        x509.random_serial_number(), now, now + timedelta(days=1),
    )  # fmt: skip
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def chain_of(now, middle):
    """(device, middle, root): the device's certificate issued by a middle one with these extensions."""
    keys = [phone_key(number) for number in range(3)]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    root = issued("root", keys[0], name, keys[0], now, x509.BasicConstraints(True, None))
    between = issued("middle", keys[1], root.subject, keys[0], now, *middle)
    return issued("device", keys[2], between.subject, keys[1], now), between, root


USAGE = dict.fromkeys(
    ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
     "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False)  # fmt: skip


@pytest.mark.parametrize(
    ("middle", "vouches"),
    [
        ([x509.BasicConstraints(True, None)], True),
        ([x509.BasicConstraints(True, 0), x509.KeyUsage(**{**USAGE, "key_cert_sign": True})], True),
        ([x509.BasicConstraints(True, 0), x509.KeyUsage(**{**USAGE, "digital_signature": True})], False),
        ([x509.BasicConstraints(False, None)], False),
        ([], False),
    ],
    ids=["authority", "authority that may sign", "authority that may not sign", "device", "no constraints"],
)
def test_only_an_authority_vouches_for_another_certificate(clock, middle, vouches):
    """Otherwise whoever holds any key that the root vouches for could make devices of their own."""
    *certificates, root = chain_of(clock(), middle)
    if vouches:
        cms.verify_chain(certificates, root)
    else:
        with pytest.raises(cms.CmsError):
            cms.verify_chain(certificates, root)


def test_an_authority_vouches_for_no_longer_a_path_than_it_says(clock):
    device, middle, _ = chain_of(clock(), [x509.BasicConstraints(True, None)])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    for length, holds in ((0, False), (1, True)):
        root = issued("root", phone_key(0), name, phone_key(0), clock(), x509.BasicConstraints(True, length))
        if holds:
            cms.verify_chain([device, middle], root)
        else:
            with pytest.raises(cms.CmsError):
                cms.verify_chain([device, middle], root)
