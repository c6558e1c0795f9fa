"""How a name that is typed reads to a directory, and whose tries are counted with it."""

import pytest

from portal.credentials import throttle
from portal.credentials.base import as_read


@pytest.mark.parametrize(
    ("typed", "read"),
    [("erika", "erika"), (" Erika  Maria\tM\u00fcller ", "Erika Maria M\u00fcller"), ("a \u034f b", "a b"),
     ("e\u200brika", "erika"),
     ("e\ufe0frika\u3164", "erika"), ("a\x00b", "ab"), ("\u00a0\u2003", ""), ("\u0915\u0941", "\u0915\u0941")],
)  # fmt: skip
def test_spaces_are_one_and_what_cannot_be_seen_is_not_there(typed, read):
    assert as_read(typed) == read
    assert as_read(as_read(typed)) == as_read(typed)


def test_many_ways_of_typing_one_name_are_counted_as_one():
    ways = ("erika m", "ERIKA M", "DOMAIN\\erika  m", "erika m@example.com", "\u00e9rika\u034f m", "e r i k a m")
    assert len({throttle.typed(as_read(each)) for each in ways}) == 1
    assert throttle.typed("erika m") != throttle.typed("erika n")
