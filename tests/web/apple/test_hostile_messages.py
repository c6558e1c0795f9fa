"""Messages made to cost time or to trip a parser: no machine's address spends much on one, or answers 500."""

import base64
import plistlib
import subprocess
import sys

import pytest
from asn1crypto import cms as structures
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from portal.pki import asn1, cms, scep
from portal.pki.authority import Identity
from portal.simulator import iphone, scep_client
from portal.simulator.model import MODELS
from tests.backends.delegated import SETTINGS
from tests.factories import phone_key
from tests.pages import BASE
from tests.pki.test_asn1 import nested, tlv
from tests.pki.test_scep import asked
from tests.tools import needs_openssl

ROOM = asn1.LARGEST_MESSAGE - 200
SIGNED_DATA = tlv(0x06, bytes.fromhex("2a864886f70d010702"))
MOST_LINES = 150_000
"""Of Python, for one message: two thirds are usual, some ten milliseconds. A parser let loose takes many times it."""


def in_signed_data(*parts):
    return tlv(0x30, SIGNED_DATA + tlv(0xA0, tlv(0x30, b"".join(parts))))


def many_certificates():
    """As many as fit, all with one name, so that each might have issued each."""
    one = scep_client.self_signed(x509.Name([]), phone_key()).public_bytes(Encoding.DER)
    message = structures.ContentInfo.load(cms.sign(b"x", phone_key(), x509.load_der_x509_certificate(one)))
    certificate = message["content"]["certificates"][0]
    message["content"]["certificates"] = [certificate] * (ROOM // len(one) - 3)
    return message.dump(force=True)


def hidden_in_an_extension():
    """A long object identifier where no first look goes: in an octet string of a certificate within the content."""
    name, nothing = tlv(0x30), b"\x05\x00"
    algorithm = tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d01010b")) + nothing)
    validity = tlv(0x30, tlv(0x17, b"200101000000Z") + tlv(0x17, b"300101000000Z"))
    key = tlv(0x30, algorithm + tlv(0x03, b"\0" + tlv(0x30, tlv(0x02, b"\x05") + tlv(0x02, b"\x03"))))
    usage = tlv(0x04, tlv(0x30, tlv(0x06, b"\x2a" + b"\xff" * (ROOM - 700) + b"\x01")))
    extension = tlv(0xA3, tlv(0x30, tlv(0x30, tlv(0x06, bytes.fromhex("551d25")) + usage)))
    body = tlv(0xA0, tlv(0x02, b"\x02")) + tlv(0x02, b"\x01") + algorithm + name + validity + name + key + extension
    certificate = tlv(0x30, tlv(0x30, body) + algorithm + tlv(0x03, b"\0" + b"x" * 8))
    digest = tlv(0x30, tlv(0x06, bytes.fromhex("608648016503040201")) + nothing)
    data = tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d010701")))
    inner = tlv(0x30, tlv(0x02, b"\x01") + tlv(0x31, digest) + data + tlv(0xA0, certificate) + tlv(0x31))
    signer = tlv(0x30, tlv(0x02, b"\x01") + tlv(0x30, name + tlv(0x02, b"\x01")) + digest + algorithm + tlv(0x04, b"x"))
    carried = tlv(0x30, SIGNED_DATA + tlv(0xA0, inner))
    return in_signed_data(tlv(0x02, b"\x01"), tlv(0x31, digest), carried, tlv(0x31, signer))


BOMBS = {
    "hidden in an extension": hidden_in_an_extension,
    "object identifier": lambda: tlv(0x30, tlv(0x06, b"\x81" * ROOM)),
    "object identifier within": lambda: in_signed_data(tlv(0x02, b"\x01"), tlv(0x31, tlv(0x06, b"\x81" * ROOM))),
    "long tag": lambda: b"\x3f" + b"\xff" * ROOM + b"\x7f\x00",
    "deep": lambda: nested(ROOM // 6),
    "open and deep": lambda: b"\x30\x80" * (ROOM // 2),
    "many elements": lambda: in_signed_data(tlv(0x02, b"\x01"), tlv(0x31, tlv(0x30) * (ROOM // 2))),
    "long integer": lambda: in_signed_data(tlv(0x02, b"\x7f" * ROOM)),
    "long string": lambda: in_signed_data(tlv(0x02, b"\x01"), tlv(0x31), tlv(0x04, b"x" * ROOM)),
    "many certificates": many_certificates,
    "zeros": lambda: b"\x00" * ROOM,
    "text": lambda: b"<plist>" + b"<array>" * (ROOM // 7),
    "too large": lambda: b"\x3f" + b"\xff" * (1024 * 1024 - 3) + b"\x7f\x00",
}


def senders(app, delegated, bomb):
    """Every machine's address, of both backends, with the bomb wherever it takes something."""
    client, encoded = app.test_client(), base64.b64encode(bomb)
    header = {"Mdm-Signature": encoded.decode(), "Content-Type": "application/x-apple-aspen-mdm"}
    query = {"operation": "PKIOperation", "message": encoded[: 60 * 1024]}
    post = {"base_url": BASE, "data": bomb}
    yield "scep", lambda: client.post("/scep?operation=PKIOperation", **post)
    yield "scep in the query", lambda: client.get("/scep", query_string=query, base_url=BASE)
    yield "enroll", lambda: client.post("/apple/enroll", **post)
    for path in ("/mdm/checkin", "/mdm/connect"):
        yield path, lambda path=path: client.put(path, headers=header, **post)
    client_of_delegated = delegated.test_client()
    yield "authorize", lambda: client_of_delegated.get("/mdm/authorize", headers=header, base_url=BASE)
    relayed = {"base_url": BASE, "data": bomb, "headers": header}
    yield "relay", lambda: client_of_delegated.put("/mdm/relay", **relayed)
    yield "webhook", lambda: client_of_delegated.post("/hooks/nanomdm", **post)


def counted(action):
    """What comes of an action, and how many lines of Python that took: the same on every machine, as time is not."""
    lines = 0

    def note(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        return action(), lines
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("kind", BOMBS)
def test_no_message_costs_a_machines_address_much(app, make_app, company, kind):
    for name, send in senders(app, make_app(**SETTINGS), BOMBS[kind]()):
        send()  # what is made at first use is no cost of this message
        answer, lines = counted(send)
        assert lines < MOST_LINES, name
        assert 400 <= answer.status_code < 500, (name, answer.status_code)


def signed_with(identity, folder, *options, others=()):
    """MachineInfo signed by openssl, with ``others``' certificates before the signer's in the set."""
    certificate, key = identity
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "body").write_bytes(plistlib.dumps(MODELS[18].machine_info("en")))
    command = ["openssl", "cms", "-sign", "-binary", "-nodetach", "-in", "body", "-signer", "certificate.pem", "-inkey",
               "key.pem", "-outform", "DER", *options]  # fmt: skip
    message = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    held = structures.ContentInfo.load(message)
    first = [structures.CertificateChoices.load(other) for other in others]
    held["content"]["certificates"] = [*first, *held["content"]["certificates"]]
    return held.dump(force=True)


def certificate_of(key, *extensions):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    made = scep_client.self_signed(name, key)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 7, made.not_valid_before_utc, made.not_valid_after_utc
    )
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(key, hashes.SHA256())


def with_identifier(key, *others):
    return certificate_of(key, x509.SubjectKeyIdentifier.from_public_key(key.public_key()), *others)


def signer():
    """A longer certificate than the others, since a set is sorted, the shorter first."""
    return with_identifier(phone_key(), x509.SubjectAlternativeName([x509.DNSName("device" * 10)])), phone_key()


def twice(certificate):
    """The same certificate with its extension once more: such a thing cannot be made with a builder."""
    der = structures.Certificate.load(certificate.public_bytes(Encoding.DER))
    extensions = der["tbs_certificate"]["extensions"]
    extensions.append(extensions[0])
    return der.dump(force=True)


STRANGE = {
    "another of version 4": lambda: certificate_of(phone_key(1)).public_bytes(Encoding.DER).replace(
        b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1),
    "another with an extension twice": lambda: twice(with_identifier(phone_key(1))),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE)
@needs_openssl
def test_certificates_that_no_parser_takes_are_the_senders_fault(app, company, tmp_path, kind):
    message = signed_with(signer(), tmp_path, "-keyid", others=[STRANGE[kind]()])
    client = app.test_client()
    header = {"Mdm-Signature": base64.b64encode(message).decode()}
    assert client.post("/apple/enroll", data=message, base_url=BASE).status_code == 400
    assert client.post("/scep?operation=PKIOperation", data=message, base_url=BASE).status_code == 400
    assert client.put("/mdm/connect", data=b"x", headers=header, base_url=BASE).status_code == 403


@needs_openssl
def test_a_signer_named_by_key_identifier_is_found_behind_a_certificate_without_one(app, company, tmp_path):
    without = certificate_of(phone_key(1)).public_bytes(Encoding.DER)
    message = signed_with(signer(), tmp_path, "-keyid", others=[without])
    assert app.test_client().post("/apple/enroll", data=message, base_url=BASE).status_code == 401


def scep_request(portal, browser, company, identity):
    """A good PKCSReq for a downloaded profile, signed by ``identity``: (message, invitation)."""
    invitation = company.invite(company.person())
    payload = iphone.IPhone().open_profile(browser.walk_to("profile", invitation).download())
    settings = iphone.payload_of(payload, "com.apple.security.scep")["PayloadContent"]
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, settings["Subject"][1][0][1])])
    csr = scep_client.certificate_request(names, phone_key(), settings["Challenge"])
    return csr, invitation


def ec_signed(portal, csr):
    """The request signed by an EC key. Only the signature is made anew; the structure is that of every client."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    made = scep_client.self_signed(name, phone_key())
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 7, made.not_valid_before_utc, made.not_valid_after_utc
    ).sign(key, hashes.SHA256())
    held = structures.ContentInfo.load(asked(portal, csr, Identity(made, phone_key())))
    data, info = held["content"], held["content"]["signer_infos"][0]
    data["certificates"] = [structures.CertificateChoices.load(certificate.public_bytes(Encoding.DER))]
    info["sid"] = structures.SignerIdentifier.load(
        structures.IssuerAndSerialNumber(
            {"issuer": data["certificates"][0].chosen.issuer, "serial_number": certificate.serial_number}
        ).dump()
    )
    info["signature_algorithm"] = {"algorithm": "sha256_ecdsa"}
    info["signature"] = key.sign(info["signed_attrs"].untag().dump(force=True), ec.ECDSA(hashes.SHA256()))
    return held.dump(force=True)


def post_scep(app, message):
    answer = app.test_client().post("/scep?operation=PKIOperation", data=message, base_url=BASE)
    assert answer.status_code == 200, answer.text
    return scep.read(answer.data)


def test_a_signer_to_whom_no_answer_can_be_encrypted_uses_nothing_up(app, portal, browser, company):
    csr, invitation = scep_request(portal, browser, company, None)
    reply = post_scep(app, ec_signed(portal, csr))
    assert (reply.pki_status, reply.fail_info) == (scep.PkiStatus.FAILURE, scep.FailInfo.BAD_ALG)
    assert company.events(invitation)[-1] == ("certificate.refused", "signer_key")
    assert post_scep(app, asked(portal, csr)).pki_status == scep.PkiStatus.SUCCESS


def test_what_is_refused_before_its_challenge_is_read_is_told_with_its_request(app, portal, browser, company):
    """Once in a row, by the challenge or by the profile's own name for the device."""
    csr, invitation = scep_request(portal, browser, company, None)
    damaged = csr[:-1] + bytes([csr[-1] ^ 1])
    for _ in range(3):
        assert post_scep(app, asked(portal, damaged)).pki_status == scep.PkiStatus.FAILURE
    assert [each for each in company.events(invitation) if each[0] == "certificate.refused"] == [
        ("certificate.refused", "csr_signature")
    ]
    unknown = scep_client.certificate_request(x509.load_der_x509_csr(csr).subject, phone_key(), "a challenge of nobody")
    post_scep(app, asked(portal, unknown))
    assert company.events(invitation)[-1] == ("certificate.refused", "unknown_challenge")


def test_what_belongs_to_no_request_is_counted(app, portal, company, browser, clock):
    nobody = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody\x00's")])
    for _ in range(2):
        post_scep(app, asked(portal, scep_client.certificate_request(nobody, phone_key(), "no challenge of ours")))
    company.person("ada", "admin")
    browser.staff_sign_in("ada", clock()).get("/admin/device-management")
    assert "unknown challenge 2" in browser.text


def test_all_that_is_wrong_after_decryption_is_answered_alike(app, portal, browser, company):
    """Whoever has captured a request must not learn from the answers what is in it (a padding oracle)."""
    csr, _ = scep_request(portal, browser, company, None)
    name = x509.load_der_x509_csr(csr).subject
    bad = {
        "padding": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        "key": lambda content: content.replace(content[200:210], b"0123456789"),
    }
    sender = Identity(scep_client.self_signed(name, phone_key()), phone_key())
    messages = [
        asked(portal, b"no request at all"),
        asked(portal, csr[:-1] + bytes([csr[-1] ^ 1])),
        asked(portal, scep_client.certificate_request(name, phone_key(), "wrong")),
    ]
    for spoil in bad.values():
        enveloped = scep._encrypt(csr, portal.authority.ca.certificate)
        attributes = {scep.MESSAGE_TYPE: b"19", scep.TRANSACTION_ID: b"1", scep.SENDER_NONCE: b"n" * 16}
        messages.append(scep._build(spoil(enveloped), attributes, sender))
    replies = [post_scep(app, message) for message in messages]
    assert {(each.pki_status, each.fail_info, each.content) for each in replies} == {("2", "2", b"")}


@pytest.mark.parametrize("kind", ["17", "18", "20", "21", "22", "3", "99", ""])
def test_only_a_first_request_is_taken(app, portal, browser, company, kind):
    csr, _ = scep_request(portal, browser, company, None)
    enveloped = scep._encrypt(csr, portal.authority.ca.certificate)
    attributes = {scep.MESSAGE_TYPE: kind.encode(), scep.TRANSACTION_ID: b"1", scep.SENDER_NONCE: b"n" * 16}
    sender = Identity(scep_client.self_signed(x509.Name([]), phone_key()), phone_key())
    assert post_scep(app, scep._build(enveloped, attributes, sender)).fail_info == scep.FailInfo.BAD_REQUEST


@pytest.mark.parametrize(
    "written",
    [
        lambda encoded: encoded.replace("+", "-").replace("/", "_"),
        lambda encoded: encoded.rstrip("="),
        lambda encoded: "\r\n".join(encoded[at : at + 64] for at in range(0, len(encoded), 64)),
        lambda encoded: encoded.replace("+", " "),
    ],
    ids=["url-safe", "unpadded", "in lines", "spaces"],
)
def test_a_message_in_the_query_may_be_written_as_clients_do(app, portal, browser, company, written):
    csr, _ = scep_request(portal, browser, company, None)
    message = written(base64.b64encode(asked(portal, csr)).decode())
    query = {"operation": "PKIOperation", "message": message}
    answer = app.test_client().get("/scep", query_string=query, base_url=BASE)
    assert scep.read(answer.data).pki_status == scep.PkiStatus.SUCCESS
