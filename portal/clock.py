"""The only place that reads the time. Times are aware and in UTC."""

from collections.abc import Callable
from datetime import UTC, datetime


def _system_time() -> datetime:
    return datetime.now(UTC)


_read: Callable[[], datetime] = _system_time


def now() -> datetime:
    """The current time, aware, in UTC."""
    return _read()


def use(read: Callable[[], datetime] | None) -> None:
    """Replace the clock by ``read`` (tests), or restore the system's with ``None``."""
    global _read
    _read = read or _system_time
