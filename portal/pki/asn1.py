"""ASN.1 (X.690) as foreign devices send it, read in one pass: linear, without recursion, strict in size.

Readers of BER are quadratic in what no honest message has: tags and object identifiers of many octets, deep nesting,
thousands of elements. All of that is refused, so that the size of a message bounds its cost. What is written is DER.
"""

from dataclasses import dataclass, field

LARGEST_MESSAGE = 64 * 1024
"""Bytes. What devices and SCEP clients send has 3 to 10 KB."""
LONGEST_IDENTIFIER = 32
"""Octets of an object identifier; the longest in use here has 10."""
DEEPEST = 40
MOST_ELEMENTS = 4_000
"""A SignedData with eight certificates of every extension has about 800."""

INTEGER, OCTET_STRING, NULL, OBJECT_IDENTIFIER, PRINTABLE_STRING = 0x02, 0x04, 0x05, 0x06, 0x13
SEQUENCE, SET = 0x30, 0x31
CONTEXT, CONSTRUCTED = 0x80, 0x20
"""Bits of an identifier octet: ``CONTEXT | 0`` is a plain value tagged [0], ``CONTEXT | CONSTRUCTED`` one of parts."""
_LONG_TAG, _INDEFINITE, _END_OF_CONTENTS = 0x1F, 0x80, b"\x00\x00"


class Asn1Refused(ValueError):
    """The octets are no ASN.1 that an honest sender would send; the text says what is wrong."""


@dataclass(slots=True)
class Element:
    """One value within ``message``: its identifier octet, where it and its contents are, and the values in it."""

    message: bytes = field(repr=False)
    tag: int
    start: int
    begin: int
    end: int | None
    """Where the contents end; None while that is not known."""
    stop: int = 0
    parts: list["Element"] = field(default_factory=list, repr=False)

    @property
    def encoded(self) -> bytes:
        """All its octets, as they came."""
        return self.message[self.start : self.stop]

    @property
    def contents(self) -> bytes:
        """The octets between its header and its end."""
        return self.message[self.begin : self.end]

    @property
    def octets(self) -> bytes:
        """Those of a string, which BER may have cut into pieces (X.690 section 8.7.3)."""
        if not self.tag & CONSTRUCTED:
            return self.contents
        pieces, waiting = [], self.parts[::-1]
        while waiting:
            piece = waiting.pop()
            if piece.tag & ~CONSTRUCTED != OCTET_STRING:
                raise Asn1Refused("a string of something else than strings")
            if piece.tag & CONSTRUCTED:
                waiting += piece.parts[::-1]
            else:
                pieces.append(piece.contents)
        return b"".join(pieces)

    def of(self, tag: int) -> "Element":
        """Itself, if it has that tag. Raises Asn1Refused."""
        if self.tag != tag:
            raise Asn1Refused("another value than expected")
        return self


def read(message: bytes, largest: int = LARGEST_MESSAGE) -> Element:
    """The one BER value that ``message`` (at most ``largest`` bytes) is, with all values in it. Raises Asn1Refused."""
    if len(message) > largest:
        raise Asn1Refused("too large")
    whole = Element(message, SEQUENCE, 0, 0, len(message), len(message))
    opened, position, elements = [(whole, len(message))], 0, 0  # with where each has to end at the latest
    while opened:
        holder, limit = opened[-1]
        if holder.end == position:
            opened.pop()
        elif holder.end is None and message[position : position + 2] == _END_OF_CONTENTS:
            holder.end, holder.stop = position, position + 2
            position += 2
            opened.pop()
        else:
            elements += 1
            if elements > MOST_ELEMENTS or len(opened) > DEEPEST:
                raise Asn1Refused("too many or too deep elements")
            inner = _header(message, position, limit)
            holder.parts.append(inner)
            if inner.tag & CONSTRUCTED:
                opened.append((inner, limit if inner.end is None else inner.end))
                position = inner.begin
            else:
                position = inner.stop
    if len(whole.parts) != 1:
        raise Asn1Refused("nothing, or more than one value")
    return whole.parts[0]


def _header(message: bytes, start: int, limit: int) -> Element:
    """The element that begins at ``start`` and has to end by ``limit``."""
    octets = message[start : start + 6]
    if len(octets) < 2:
        raise Asn1Refused("cut off")
    tag, length = octets[0], octets[1]
    if tag & _LONG_TAG == _LONG_TAG:
        raise Asn1Refused("a tag of several octets")
    begin = start + 2
    if length == _INDEFINITE:
        if not tag & CONSTRUCTED:
            raise Asn1Refused("a primitive value of open length")
        if begin > limit:
            raise Asn1Refused("an element is longer than what holds it")
        return Element(message, tag, start, begin, None)
    if length > _INDEFINITE:
        count = length - _INDEFINITE
        if count > 4 or len(octets) < 2 + count:
            raise Asn1Refused("a length of too many octets")
        begin += count
        length = int.from_bytes(octets[2 : 2 + count], "big")
    if tag == OBJECT_IDENTIFIER and length > LONGEST_IDENTIFIER:
        raise Asn1Refused("a long object identifier")
    if begin + length > limit:
        raise Asn1Refused("an element is longer than what holds it")
    return Element(message, tag, start, begin, begin + length, begin + length)


# --- writing ---------------------------------------------------------------------------------------------------------


def tlv(tag: int, *contents: bytes) -> bytes:
    """A value in DER: identifier, length, contents."""
    size = sum(map(len, contents))
    length = bytes([size]) if size < _INDEFINITE else _long(size)
    return b"".join((bytes([tag]), length, *contents))


def _long(size: int) -> bytes:
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([_INDEFINITE | len(octets)]) + octets


def object_identifier(dotted: str) -> bytes:
    """The contents octets of an object identifier (X.690 section 8.19)."""
    first, second, *rest = map(int, dotted.split("."))
    octets = []
    for arc in (first * 40 + second, *rest):
        octets += [
            *(0x80 | arc >> shift & 0x7F for shift in range(max(arc.bit_length() - 1, 0) // 7 * 7, 0, -7)),
            arc & 0x7F,
        ]
    return bytes(octets)
