"""Signing certificates as admins upload them."""

import datetime
import threading
import time
from pathlib import Path

import pytest
from asn1crypto import pkcs12 as asn1_pkcs12
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from portal.pki import opening, uploads
from portal.pki.authority import identity_from_pem
from tests.conftest import START
from tests.factories import phone_key

DAY = datetime.timedelta(days=1)


def certificate(key, name="Signer", days=90, begins=START):
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1000 + days, begins - DAY, begins + days * DAY
    )
    return builder.sign(key, hashes.SHA256())


def pem(key, *certificates, secret=None):
    encryption = BestAvailableEncryption(secret) if secret else NoEncryption()
    parts = [each.public_bytes(Encoding.PEM) for each in certificates]
    return b"".join(parts) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def p12(key, own, others=(), secret=b"open sesame"):
    return pkcs12.serialize_key_and_certificates(b"x", key, own, list(others), BestAvailableEncryption(secret))


@pytest.fixture(scope="module")
def own():
    return certificate(phone_key())


@pytest.fixture(scope="module")
def other():
    return certificate(phone_key(1), "Intermediate")


def check(text, own, other):
    identity = identity_from_pem(text.encode(), text.encode())
    assert (identity.certificate, identity.intermediates) == (own, (other,))


def test_pkcs12_and_pem_are_read_with_and_without_a_passphrase_in_any_order(own, other):
    check(uploads.read(p12(phone_key(), own, [other]), "open sesame", START), own, other)
    check(uploads.read(pem(phone_key(), own, other), "", START), own, other)
    check(uploads.read(pem(phone_key(), other, own), "not needed", START), own, other)
    check(uploads.read(pem(phone_key(), own, other, secret=b"open sesame"), "open sesame", START), own, other)


@pytest.mark.parametrize(
    ("make", "passphrase", "code"),
    [
        (lambda own, other: p12(phone_key(), own), "wrong", "passphrase"),
        (lambda own, other: p12(phone_key(), own), "", "passphrase"),
        (lambda own, other: pem(phone_key(), own, secret=b"x" * 12), "wrong", "passphrase"),
        (lambda own, other: pem(phone_key(), own, secret=b"x" * 12), "", "passphrase"),
        (lambda own, other: b"\x30\x03nonsense", "", "unreadable"),
        (lambda own, other: b"hello", "", "unreadable"),
        (lambda own, other: own.public_bytes(Encoding.PEM), "", "key"),
        (lambda own, other: pem(phone_key(), other), "", "other_key"),
        (lambda own, other: pem(phone_key(), certificate(phone_key(), days=-3, begins=START - 9 * DAY)), "", "expired"),
        (lambda own, other: pem(phone_key(), certificate(phone_key(), begins=START + 9 * DAY)), "", "expired"),
        (lambda own, other: pem(phone_key(), own)[:-200], "", "unreadable"),
        (lambda own, other: b"-----BEGIN" + b"x" * 70_000, "", "large"),
    ],
)  # fmt: skip
def test_what_cannot_sign_is_refused_and_says_why(own, other, make, passphrase, code):
    with pytest.raises(uploads.IdentityRefused) as refused:
        uploads.read(make(own, other), passphrase, START)
    assert refused.value.code == code


def test_an_elliptic_key_is_refused(own):
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(uploads.IdentityRefused) as refused:
        uploads.read(pem(key, certificate(key)), "", START)
    assert refused.value.code == "rsa"
    assert isinstance(phone_key(), rsa.RSAPrivateKey)


def test_a_file_that_takes_too_long_is_given_up(monkeypatch, clock):
    """How often its passphrase is hashed says the file itself."""
    now = START
    key = phone_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9))
    secret = BestAvailableEncryption(b"pw")
    told = asn1_pkcs12.Pfx.load(
        pkcs12.serialize_key_and_certificates(b"x", key, made.sign(key, hashes.SHA256()), None, secret)
    )
    assert b"PRIVATE KEY" in opening.opened(told.dump(force=True), "pw")[0]
    told["mac_data"]["iterations"] = 2**31 - 1
    monkeypatch.setattr(opening, "MOST_SECONDS", 0.7)
    moments: list[float] = []
    ended = threading.Event()

    def tick():
        while not ended.wait(0.02):
            moments.append(time.monotonic())

    threading.Thread(target=tick, daemon=True).start()
    with pytest.raises(opening.NotOpened, match="unreadable"):
        opening.opened(told.dump(force=True), "pw")
    ended.set()
    assert len(moments) > 10  # other threads went on


def test_what_opens_it_is_told_nothing_of_the_portal():
    """It runs by its path, before anything of the portal is loaded."""
    imported = {line.split()[1] for line in Path(opening.__file__).read_text().splitlines() if line.startswith("from ")}
    assert {each for each in imported if not each.startswith(("cryptography", "typing"))} == set()
