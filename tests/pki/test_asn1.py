"""Foreign ASN.1 is looked over before a parser sees it, and what no honest message has is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.pki import asn1


def tlv(tag, contents=b""):
    size = len(contents)
    length = bytes([size]) if size < 128 else b"\x84" + size.to_bytes(4, "big")
    return bytes([tag]) + length + contents


def nested(depth):
    value = b""
    for _ in range(depth):
        value = tlv(0x30, value)
    return value


@pytest.mark.parametrize(
    "message",
    [
        tlv(0x30),
        tlv(0x30, tlv(0x02, b"\x01") + tlv(0x04, b"x" * 1000)),
        b"\x30\x80" + tlv(0x02, b"\x01") + b"\x00\x00",
        b"\x30\x80\x24\x80" + tlv(0x04, b"abc") * 3 + b"\x00\x00\x00\x00",
        nested(asn1.DEEPEST),
    ],
    ids=["empty", "values", "open", "open within open", "deep"],
)
def test_what_senders_send_passes(message):
    asn1.read(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x30",
        b"\x30\x05\x02\x01\x01",
        tlv(0x30, b"\x02\x7f\x01"),
        tlv(0x30) + b"\x00",
        b"\x3f" + b"\xff" * 1000 + b"\x7f\x00",
        b"\x30\x03\x1f\x81\x00",
        tlv(0x06, b"\x81" * 33),
        b"\x04\x80\x00\x00",
        b"\x30\x80" + tlv(0x02, b"\x01"),
        b"\x30\x85\x00\x00\x00\x00\x00",
        nested(asn1.DEEPEST + 1),
        tlv(0x31, tlv(0x05) * asn1.MOST_ELEMENTS),
        b"\x30\x80" * 50,
        tlv(0x30, b"\x30\x80" + tlv(0x04, b"abc")) + b"\x00\x00",
        tlv(0x04, b"x" * asn1.LARGEST_MESSAGE),
    ],
    ids=["nothing", "no length", "cut off", "longer than its holder", "more behind it", "long tag", "long tag within",
         "long identifier", "open primitive", "never closed", "length of five octets", "too deep", "too many",
         "open and deep", "closed outside of its holder", "too large"],
)  # fmt: skip
def test_what_no_honest_sender_sends_is_refused(message):
    with pytest.raises(asn1.Asn1Refused):
        asn1.read(message)


@given(st.binary(max_size=200))
def test_whatever_comes_it_passes_or_is_refused(message):
    with contextlib.suppress(asn1.Asn1Refused):
        asn1.read(message)
