"""A first look at foreign ASN.1 (X.690), before any parser sees it: linear, without recursion, and strict in size.

Parsers of BER are quadratic in what no honest message has: tags and object identifiers of many octets, deep nesting,
thousands of elements. One pass over the octets refuses all of that, so that the size of a message bounds its cost.
"""

LARGEST_MESSAGE = 64 * 1024
"""Bytes. What devices and SCEP clients send has 3 to 10 KB."""
LONGEST_IDENTIFIER = 32
"""Octets of an object identifier; the longest in use here has 10."""
DEEPEST = 40
MOST_ELEMENTS = 4_000
"""A SignedData with eight certificates of every extension has about 800."""

_CONSTRUCTED, _LONG_TAG, _INDEFINITE = 0x20, 0x1F, 0x80
_OBJECT_IDENTIFIER, _END_OF_CONTENTS = 0x06, b"\x00\x00"


class Asn1Refused(ValueError):
    """The octets are no ASN.1 that an honest sender would send; the text says what is wrong."""


def check(message: bytes, largest: int = LARGEST_MESSAGE) -> None:
    """Walk over the one BER value in ``message`` (bytes, at most ``largest``). Raises Asn1Refused."""
    if len(message) > largest:
        raise Asn1Refused("too large")
    if not message:
        raise Asn1Refused("nothing")
    ends: list[int | None] = [len(message)]  # where each open value ends; None: at its end-of-contents octets
    position = elements = 0
    while True:
        while ends and ends[-1] == position:
            ends.pop()
        if not ends:
            return
        if ends[-1] is None and message[position : position + 2] == _END_OF_CONTENTS:
            ends.pop()
            position += 2
            continue
        elements += 1
        if elements > MOST_ELEMENTS or len(ends) > DEEPEST:
            raise Asn1Refused("too many or too deep elements")
        position, end, constructed = _header(message, position)
        innermost = next(each for each in reversed(ends) if each is not None)
        if (end if end is not None else position) > innermost:
            raise Asn1Refused("an element is longer than what holds it")
        if constructed:
            ends.append(end)
        else:
            assert end is not None  # only a constructed value may leave its end open
            position = end


def _header(message: bytes, position: int) -> tuple[int, int | None, bool]:
    """Where the contents at ``position`` begin and end (None: open), and whether they are values themselves."""
    octets = message[position : position + 6]
    if len(octets) < 2:
        raise Asn1Refused("cut off")
    tag, length = octets[0], octets[1]
    if tag & _LONG_TAG == _LONG_TAG:
        raise Asn1Refused("a tag of several octets")
    constructed, begin = bool(tag & _CONSTRUCTED), position + 2
    if length == _INDEFINITE:
        if not constructed:
            raise Asn1Refused("a primitive value of open length")
        return begin, None, True
    if length > _INDEFINITE:
        count = length - _INDEFINITE
        if count > 4 or len(octets) < 2 + count:
            raise Asn1Refused("a length of too many octets")
        begin += count
        length = int.from_bytes(octets[2 : 2 + count], "big")
    if tag == _OBJECT_IDENTIFIER and length > LONGEST_IDENTIFIER:
        raise Asn1Refused("a long object identifier")
    return begin, begin + length, constructed
