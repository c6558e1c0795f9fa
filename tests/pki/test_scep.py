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
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
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
    message, _ = scep.request(csr, portal.authority.ca.certificate, identity or client(), "1")
    return scep.open_request(scep.read(message), portal.authority.ca, **options)


def test_a_request_is_read_back(portal):
    request = read(portal, scep_client.certificate_request(SUBJECT, phone_key(), "secret"))
    assert (request.challenge, request.subject) == ("secret", SUBJECT)


def test_the_answer_is_for_the_one_who_asked(portal, clock):
    ca = portal.authority.ca
    message, nonce = scep.request(
        scep_client.certificate_request(SUBJECT, phone_key(), "c"), ca.certificate, client(), "42"
    )
    request = scep.open_request(scep.read(message), ca)
    certificate = portal.authority.issue(request.public_key, "device", "Example", 30, clock())
    reply = scep.read(scep.success(request.message, certificate, ca))
    assert (reply.pki_status, reply.transaction_id, reply.recipient_nonce) == (scep.PkiStatus.SUCCESS, "42", nonce)
    assert reply.signer == ca.certificate
    assert scep.issued_certificate(reply, client()) == certificate
    with pytest.raises(cms.CmsError):
        scep.issued_certificate(reply, client(1))


def test_a_refusal_says_why_and_carries_nothing(portal):
    request = read(portal, scep_client.certificate_request(SUBJECT, phone_key(), "c"))
    reply = scep.read(scep.failure(request.message, scep.FailInfo.BAD_REQUEST, portal.authority.ca))
    assert (reply.pki_status, reply.fail_info, reply.content) == ("2", "2", b"")


def forged(csr):
    """The request with one bit of its signature turned."""
    return csr[:-1] + bytes([csr[-1] ^ 1])


@pytest.mark.parametrize(
    ("make", "fail_info", "reason"),
    [
        (lambda: b"not a csr", scep.FailInfo.BAD_REQUEST, "malformed_csr"),
        (lambda: x509.CertificateSigningRequestBuilder().subject_name(SUBJECT).sign(phone_key(), hashes.SHA256())
         .public_bytes(Encoding.DER), scep.FailInfo.BAD_REQUEST, "no_challenge"),
        (lambda: scep_client.certificate_request(SUBJECT, rsa.generate_private_key(65537, 1024), "c"),
         scep.FailInfo.BAD_ALG, "weak_key"),
        (lambda: forged(scep_client.certificate_request(SUBJECT, phone_key(), "c")),
         scep.FailInfo.BAD_MESSAGE_CHECK,
         "csr_signature"),
    ],
    ids=["no csr", "no challenge", "weak key", "forged csr"],
)  # fmt: skip
def test_bad_requests_are_refused_with_their_reason(portal, make, fail_info, reason):
    with pytest.raises(scep.ScepFailure) as refusal:
        read(portal, make())
    assert (refusal.value.fail_info, refusal.value.reason) == (fail_info, reason)


def enveloped_by_openssl(portal, folder, cipher):
    (folder / "ca.pem").write_bytes(portal.authority.ca.certificate.public_bytes(Encoding.PEM))
    (folder / "csr").write_bytes(scep_client.certificate_request(SUBJECT, phone_key(), "c"))
    command = ["openssl", "cms", "-encrypt", "-binary", cipher, "-in", "csr", "-outform", "DER", "ca.pem"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout


@pytest.mark.parametrize("cipher", ["-aes128", "-aes192", "-aes256"])
@needs_openssl
def test_what_openssl_encrypts_is_read(portal, tmp_path, cipher):
    content = scep.decrypt(enveloped_by_openssl(portal, tmp_path, cipher), portal.authority.ca)
    assert content == (tmp_path / "csr").read_bytes()


@needs_openssl
def test_3des_is_read_only_where_it_is_configured(portal, tmp_path):
    enveloped = enveloped_by_openssl(portal, tmp_path, "-des3")
    with pytest.raises(scep.LegacyCipher):
        scep.decrypt(enveloped, portal.authority.ca)
    content = scep.decrypt(enveloped, portal.authority.ca, accept_legacy=True)
    assert content == (tmp_path / "csr").read_bytes()


def test_sha1_is_read_only_where_it_is_configured(portal, tmp_path):
    """Re-sign a message with SHA-1 through openssl is not possible with SCEP's attributes, so the digest is told."""
    message, _ = scep.request(
        scep_client.certificate_request(SUBJECT, phone_key(), "c"), portal.authority.ca.certificate, client(), "1"
    )
    old = replace(scep.read(message), digest_algorithm="sha1")
    with pytest.raises(scep.ScepFailure) as refusal:
        scep.open_request(old, portal.authority.ca)
    assert refusal.value.fail_info == scep.FailInfo.BAD_ALG
    assert scep.open_request(old, portal.authority.ca, accept_legacy=True).challenge == "c"


@needs_openssl
def test_openssl_reads_what_we_encrypt(portal, tmp_path):
    key = portal.authority.ca.key
    (tmp_path / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    message, _ = scep.request(b"hello", portal.authority.ca.certificate, client(), "1")
    (tmp_path / "enveloped").write_bytes(scep.read(message).content)
    command = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", "enveloped", "-inkey", "ca.key"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert done.stdout == b"hello", done.stderr


def test_a_message_for_another_ca_fails_its_check(portal):
    message, _ = scep.request(b"x", client(1).certificate, client(), "1")
    with pytest.raises(scep.ScepFailure) as refusal:
        scep.open_request(scep.read(message), portal.authority.ca)
    assert refusal.value.fail_info == scep.FailInfo.BAD_MESSAGE_CHECK


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
