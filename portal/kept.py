"""Answers that are kept for a while, for what is asked more often than it changes."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Kept(Generic[Answer]):
    """The answer to one question, asked anew at most every ``seconds``.

    One thread asks; the others get the last answer meanwhile, or ask for themselves if there is none yet.
    """

    def __init__(self, seconds: float, first: Answer | None = None) -> None:
        """``first``: what is said until the first answer is there."""
        self.seconds = seconds
        self._last = (float("-inf"), first) if first is not None else None
        self._asking = threading.Lock()

    @property
    def last(self) -> Answer | None:
        """What was answered last, however long ago."""
        return self._last[1] if self._last is not None else None

    def get(self, ask: Callable[[], Answer]) -> Answer:
        """The answer that is kept, else what ``ask`` gives; what that raises is not kept."""
        last = self._last
        if last is not None and time.monotonic() - last[0] < self.seconds:
            return last[1]
        mine = self._asking.acquire(blocking=False)
        if not mine and last is not None:
            return last[1]
        try:
            answer = ask()
            self._last = time.monotonic(), answer
        finally:
            if mine:
                self._asking.release()
        return answer
