"""Everything real devices sign with is read; nothing else is believed."""

import subprocess

import pytest
from asn1crypto import cms as structures
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from portal import clock as portal_clock
from portal.pki import cms
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
    message = openssl_sign(tmp_path, b"x", "-md", "sha256")
    info = structures.ContentInfo.load(message)
    attributes = info["content"]["signer_infos"][0]["signed_attrs"].untag().dump()
    info["content"]["signer_infos"][0]["signed_attrs"] = None
    with pytest.raises(cms.CmsError):
        cms.verify_detached(info.dump(force=True), b"x")
    assert attributes[:1] == b"\x31"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_in_words(message):
    with pytest.raises(cms.CmsError):
        cms.verify(message)


def test_damaged_messages_are_refused_or_still_hold(identity, tmp_path):
    """Flip every byte in turn: never another exception than CmsError, never another content."""
    certificate, key = identity
    message = cms.sign_detached(b"body", key, certificate)
    for position in range(len(message)):
        damaged = bytearray(message)
        damaged[position] ^= 0xFF
        try:
            signed = cms.verify_detached(bytes(damaged), b"body")
        except cms.CmsError:
            continue
        assert signed.content == b"body"


def test_deep_nesting_is_refused():
    with pytest.raises(cms.CmsError):
        cms.verify(b"\x30\x80" * 50_000)
