"""SCEP messages: what is read, what is refused and with which failInfo."""

import base64
import subprocess
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from cryptography.x509 import load_der_x509_certificate
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from portal.pki import cms, scep
from portal.pki.authority import Identity
from portal.simulator import iphone, scep_client
from tests.factories import phone_key
from tests.pages import BASE
from tests.tools import needs_openssl

SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])


@lru_cache
def client(number=0):
    key = phone_key(number)
    return Identity(scep_client.self_signed(SUBJECT, key), key)


def read(portal, csr, identity=None, **options):
    return scep.open_request(scep.read(asked(portal, csr, identity)), portal.authority.ca, **options)


def asked(portal, csr, identity=None):
    return scep.request(csr, portal.authority.ca.certificate, identity or client(), "1")[0]


def test_a_request_is_read_back(portal):
    request = read(portal, scep_client.certificate_request(SUBJECT, phone_key(), "secret"))
    assert (request.problem, request.challenge, request.common_names) == (None, "secret", ("device",))


def test_the_answer_is_for_the_one_who_asked(portal, clock):
    ca = portal.authority.ca
    message, nonce = scep.request(
        scep_client.certificate_request(SUBJECT, phone_key(), "c"), ca.certificate, client(), "42"
    )
    asked = scep.read(message)
    request = scep.open_request(asked, ca)
    certificate = portal.authority.issue(request.public_key, "device", "Example", 30, clock())
    reply = scep.read(scep.success(asked, certificate, ca))
    assert (reply.pki_status, reply.transaction_id, reply.recipient_nonce) == (scep.PkiStatus.SUCCESS, "42", nonce)
    assert reply.signer == ca.certificate
    assert scep.issued_certificate(reply, client()) == certificate
    with pytest.raises(cms.CmsError):
        scep.issued_certificate(reply, client(1))


def test_a_refusal_says_why_and_carries_nothing(portal):
    message = scep.read(asked(portal, scep_client.certificate_request(SUBJECT, phone_key(), "c")))
    reply = scep.read(scep.failure(message, scep.FailInfo.BAD_REQUEST, portal.authority.ca))
    assert (reply.pki_status, reply.fail_info, reply.content) == ("2", "2", b"")


def forged(csr):
    """The request with one bit of its signature turned."""
    return csr[:-1] + bytes([csr[-1] ^ 1])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: b"not a csr", "malformed_csr"),
        (lambda: x509.CertificateSigningRequestBuilder().subject_name(SUBJECT).sign(phone_key(), hashes.SHA256())
         .public_bytes(Encoding.DER), "no_challenge"),
        (lambda: scep_client.certificate_request(SUBJECT, rsa.generate_private_key(65537, 1024), "c"), "weak_key"),
        (lambda: forged(scep_client.certificate_request(SUBJECT, phone_key(), "c")), "csr_signature"),
    ],
    ids=["no csr", "no challenge", "weak key", "forged csr"],
)  # fmt: skip
def test_bad_requests_are_refused_with_their_reason(portal, make, reason):
    assert read(portal, make()).problem == scep.Problem(scep.FailInfo.BAD_REQUEST, reason)


def enveloped_by_openssl(portal, folder, cipher, *options, others=()):
    """A request, for the CA and before it for ``others``."""
    recipients = [*others, portal.authority.ca.certificate]
    for number, recipient in enumerate(recipients):
        (folder / f"{number}.pem").write_bytes(recipient.public_bytes(Encoding.PEM))
    (folder / "csr").write_bytes(scep_client.certificate_request(SUBJECT, phone_key(), "c"))
    command = ["openssl", "cms", "-encrypt", "-binary", cipher, "-in", "csr", "-outform", "DER", *options]
    command += [f"{number}.pem" for number in range(len(recipients))]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout


@pytest.mark.parametrize("cipher", ["-aes128", "-aes192", "-aes256"])
@needs_openssl
def test_what_openssl_encrypts_is_read(portal, tmp_path, cipher):
    content = scep.decrypt(enveloped_by_openssl(portal, tmp_path, cipher), portal.authority.ca)
    assert content == (tmp_path / "csr").read_bytes()


@pytest.mark.parametrize("options", [[], ["-keyid"]], ids=" ".join)
@needs_openssl
def test_what_is_for_several_is_read_by_whom_it_names(portal, clock, tmp_path, options):
    keys = [phone_key(number).public_key() for number in (1, 2)]
    others = [portal.authority.issue(key, "device", "Example", 30, clock()) for key in keys]
    enveloped = enveloped_by_openssl(portal, tmp_path, "-aes128", *options, others=others)
    content = scep.decrypt(enveloped, portal.authority.ca)
    assert content == (tmp_path / "csr").read_bytes()


@needs_openssl
def test_the_cipher_says_how_long_its_key_is(portal, tmp_path):
    """Else what is known of one cipher could be asked with another."""
    enveloped = enveloped_by_openssl(portal, tmp_path, "-aes128")
    names = {bits: bytes.fromhex("0609608648016503040102")[:-1] + bytes([last]) for bits, last in ((128, 2), (256, 42))}
    assert enveloped.count(names[128]) == 1
    with pytest.raises(cms.CmsError):
        scep.decrypt(enveloped.replace(names[128], names[256]), portal.authority.ca)


@pytest.mark.parametrize(("accept_legacy", "told"), [(False, scep.FailInfo.BAD_ALG), (True, scep.FailInfo.BAD_REQUEST)])
@pytest.mark.parametrize("cipher", ["-des3", "-des-cbc"])
@needs_openssl
def test_nobody_learns_what_is_in_a_legacy_envelope(portal, tmp_path, cipher, accept_legacy, told):
    """The answer is the same whether it could be decrypted or not (a padding oracle)."""
    legacy = ["-provider", "default", "-provider", "legacy"] if cipher == "-des-cbc" else []
    enveloped = enveloped_by_openssl(portal, tmp_path, cipher, *legacy)
    message = scep.read(asked(portal, b""))
    told_of = []
    for spoilt in (-1, -9, -20):  # its padding, a bit of its padding, what is in it
        content = bytearray(enveloped)
        content[spoilt] ^= 1
        request = scep.open_request(replace(message, content=bytes(content)), portal.authority.ca, accept_legacy)
        told_of.append(request.problem.fail_info)
    assert told_of == [told] * 3


@pytest.mark.parametrize(
    ("cipher", "reason"),
    [("-des3", "legacy_cipher"), ("-aes-128-gcm", "unknown_cipher"), ("-camellia-256-cbc", "unknown_cipher")],
)
@needs_openssl
def test_other_ciphers_are_refused_with_the_failure_that_names_them(portal, tmp_path, cipher, reason):
    message = replace(scep.read(asked(portal, b"")), content=enveloped_by_openssl(portal, tmp_path, cipher))
    request = scep.open_request(message, portal.authority.ca)
    assert request.problem == scep.Problem(scep.FailInfo.BAD_ALG, reason)
    if cipher == "-des3":  # read all the same, so that helpdesk is told whose it is
        assert request.challenge == "c"
        assert scep.open_request(message, portal.authority.ca, accept_legacy=True).problem is None


@pytest.mark.parametrize(
    ("digest", "reason", "legacy"),
    [
        ("sha1", "legacy_digest", None),
        ("md5", "unknown_digest", "unknown_digest"),
        ("sha224", "unknown_digest", "unknown_digest"),
    ],
)
def test_other_digests_are_refused_with_the_failure_that_names_them(portal, digest, reason, legacy):
    """No client here signs SCEP's attributes with them, so the digest is told."""
    message = scep.read(asked(portal, scep_client.certificate_request(SUBJECT, phone_key(), "c")))
    request = scep.open_request(replace(message, digest_algorithm=digest), portal.authority.ca)
    assert (request.problem, request.challenge) == (scep.Problem(scep.FailInfo.BAD_ALG, reason), "c")
    request = scep.open_request(replace(message, digest_algorithm=digest), portal.authority.ca, accept_legacy=True)
    assert (request.problem.reason if request.problem else None) == legacy


@needs_openssl
def test_a_csr_signed_with_sha1_is_read_where_it_is_configured(portal, tmp_path):
    (tmp_path / "key").write_bytes(
        phone_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    (tmp_path / "config").write_text(
        "[req]\ndistinguished_name=dn\nattributes=attrs\nprompt=no\n[dn]\nCN=device\n[attrs]\nchallengePassword=c\n"
    )
    command = ["openssl", "req", "-new", "-sha1", "-key", "key", "-config", "config", "-outform", "DER"]
    csr = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert read(portal, csr).problem.reason == "csr_signature"
    assert read(portal, csr, accept_legacy=True).problem is None
    assert read(portal, forged(csr), accept_legacy=True).problem.reason == "csr_signature"


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_the_certrep_carries_the_devices_certificate_alone(portal, clock, bits):
    """A set of certificates is sorted, the shorter first, and Apple's client takes the first one as its own."""
    key = rsa.generate_private_key(65537, bits)
    certificate = portal.authority.issue(key.public_key(), "device" * 10, "Example " * 7, 30, clock())
    ca = portal.authority.ca
    assert len(certificate.public_bytes(Encoding.DER)) > len(ca.certificate.public_bytes(Encoding.DER))
    message = scep.read(asked(portal, b""))
    reply = scep.read(scep.success(message, certificate, ca))
    assert pkcs7.load_der_pkcs7_certificates(scep.decrypt(reply.content, client())) == [certificate]


@needs_openssl
def test_openssl_reads_what_we_encrypt(portal, tmp_path):
    key = portal.authority.ca.key
    (tmp_path / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    message, _ = scep.request(b"hello", portal.authority.ca.certificate, client(), "1")
    (tmp_path / "enveloped").write_bytes(scep.read(message).content)
    command = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", "enveloped", "-inkey", "ca.key"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert done.stdout == b"hello", done.stderr


def test_whatever_is_in_the_envelope_it_is_refused_in_words_or_read(portal):
    """Flip every octet of it in turn: helpdesk is told, nothing else happens."""
    message = scep.read(asked(portal, scep_client.certificate_request(SUBJECT, phone_key(), "c")))
    read = 0
    for position in range(len(message.content)):
        damaged = bytearray(message.content)
        damaged[position] ^= 0xFF
        request = scep.open_request(replace(message, content=bytes(damaged)), portal.authority.ca)
        assert request.problem is not None or request.challenge == "c", position
        read += request.problem is None
    assert read < 100  # versions, whose key it is meant for, the name of the algorithm that wraps it


def test_a_message_for_another_ca_fails_its_check(portal):
    message, _ = scep.request(b"x", client(1).certificate, client(), "1")
    problem = scep.open_request(scep.read(message), portal.authority.ca).problem
    assert problem == scep.Problem(scep.FailInfo.BAD_REQUEST, "not_decryptable")


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_message(body):
    with pytest.raises(cms.CmsError):
        scep.read(body)


def test_the_responder_takes_messages_by_post_by_get_and_in_the_query_of_a_post(app, browser, company):
    """Apple's own client and others differ; a certificate comes either way, and each challenge counts once."""
    http = app.test_client()
    ca = load_der_x509_certificate(http.get("/scep?operation=GetCACert&message=x", base_url=BASE).data)
    assert {"AES", "SHA-256", "POSTPKIOperation", "SCEPStandard"} == set(
        http.get("/scep?operation=GetCACaps", base_url=BASE).text.split()
    )
    browser.walk_to("profile", company.invite(company.person()))
    for send in ("post", "get", "post in query"):
        payload = iphone.IPhone().open_profile(browser.download())
        settings = iphone.payload_of(payload, "com.apple.security.scep")["PayloadContent"]
        names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, settings["Subject"][1][0][1])])
        csr = scep_client.certificate_request(names, phone_key(), settings["Challenge"])
        message, _ = scep.request(csr, ca, client(0), "1")
        query = quote(base64.b64encode(message).decode(), safe="")
        if send == "post":
            answer = http.post("/scep?operation=PKIOperation", data=message, base_url=BASE)
        else:
            open_with = http.get if send == "get" else http.post
            answer = open_with(f"/scep?operation=PKIOperation&message={query}", base_url=BASE)
        assert answer.content_type == "application/x-pki-message", answer.text
        reply = scep.read(answer.data)
        assert reply.pki_status == scep.PkiStatus.SUCCESS, send
        assert scep.issued_certificate(reply, client(0)).subject != names  # the subject is ours
