"""Foreign ASN.1 is read as it was written, and what no honest message has is refused."""

import contextlib

import pytest
from asn1crypto import core
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


# --- what is read is what was written ---------------------------------------------------------------------------------

VALUES = st.recursive(
    st.tuples(st.sampled_from([asn1.INTEGER, asn1.OCTET_STRING, asn1.PRINTABLE_STRING, 0x80]), st.binary(max_size=300)),
    lambda inner: st.tuples(st.sampled_from([asn1.SEQUENCE, asn1.SET, 0xA0]), st.lists(inner, max_size=4)),
    max_leaves=12,
)


def der(value):
    tag, inner = value
    return asn1.tlv(tag, inner) if isinstance(inner, bytes) else asn1.tlv(tag, *map(der, inner))


def ber(value):
    """The same with lengths left open wherever they may be."""
    tag, inner = value
    return tlv(tag, inner) if isinstance(inner, bytes) else bytes([tag, 0x80, *b"".join(map(ber, inner)), 0, 0])


def told(element):
    return element.tag, [told(each) for each in element.parts] if element.tag & 0x20 else element.contents


@pytest.mark.parametrize("write", [der, ber])
@given(value=VALUES)
def test_what_is_written_is_read_back(write, value):
    message = write(value)
    element = asn1.read(message)
    assert (told(element), element.encoded) == (value, message)
    assert all(told(asn1.read(each.encoded)) == told(each) for each in element.parts)


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 2**70), max_size=5))
def test_object_identifiers_are_written_as_others_write_them(first, second, rest):
    dotted = ".".join(map(str, (first, second, *rest)))
    assert asn1.object_identifier(dotted) == core.ObjectIdentifier(dotted).contents


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_a_string_in_pieces_is_one_string(pieces):
    inner = tlv(0x24, b"".join(tlv(0x04, each) for each in pieces))
    assert asn1.read(b"\x24\x80" + inner + tlv(0x04, b"end") + b"\x00\x00").octets == b"".join(pieces) + b"end"


def test_a_string_of_something_else_is_refused():
    with pytest.raises(asn1.Asn1Refused):
        _ = asn1.read(tlv(0x24, tlv(0x02, b"\x01"))).octets
