"""Answers that are kept for a while: asked once, by one thread, and never a failure instead of an answer."""

import threading
from itertools import count

import pytest

from portal.kept import Kept


def test_within_its_time_the_same_answer_is_given_again_and_then_a_new_one():
    numbers, kept = count(), Kept(1000.0)
    assert [kept.get(lambda: next(numbers)) for _ in range(3)] == [0, 0, 0]
    kept.seconds = 0.0
    assert [kept.get(lambda: next(numbers)) for _ in range(3)] == [1, 2, 3]
    assert kept.last == 3


def test_a_failure_is_raised_each_time_and_keeps_nobody_else_from_asking():
    kept = Kept(1000.0, first="before")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            kept.get(lambda: str(1 // 0))
    assert kept.last == "before"
    assert kept.get(lambda: "after") == "after"


@pytest.mark.parametrize(("first", "others"), [("before", ["before"] * 3), (None, ["own"] * 3)])
def test_while_one_asks_the_others_get_the_last_answer_or_ask_for_themselves(first, others):
    asked, answer = threading.Event(), threading.Event()
    kept = Kept(1000.0, first=first)

    def slowly():
        asked.set()
        assert answer.wait(10)
        return "new"

    asking = threading.Thread(target=kept.get, args=(slowly,))
    asking.start()
    assert asked.wait(10)
    kept.seconds = 0.0
    assert [kept.get(lambda: "own") for _ in range(3)] == others
    answer.set()
    asking.join(10)
    kept.seconds = 1000.0
    assert kept.get(lambda: "never") == "new"


def test_what_was_asked_before_a_change_of_settings_is_not_kept_after_it(portal, configure):
    asked, answer = threading.Event(), threading.Event()

    def slowly():
        asked.set()
        assert answer.wait(10)
        return "before"

    asking = threading.Thread(target=portal.domains.get, args=(slowly,))
    asking.start()
    assert asked.wait(10)
    configure(account_driven__domains=["work.example.com"])
    answer.set()
    asking.join(10)
    assert portal.domains.get(lambda: "after") == "after"
