"""What a form says of time."""

import pytest

from portal import clock


@pytest.mark.parametrize(
    ("typed", "means"),
    [("2026-03-02T09:00", "2026-03-02T09:00:00+00:00"), ("2026-03-02T09:00+02:00", "2026-03-02T07:00:00+00:00"),
     ("2026-03-02", "2026-03-02T00:00:00+00:00"), ("", None), ("soon", None), ("2026-13-01T00:00", None)],
)  # fmt: skip
def test_a_moment_is_in_utc_unless_it_says_of_which_zone_it_is(typed, means):
    told = clock.typed(typed)
    assert (told.isoformat() if told is not None else None) == means
