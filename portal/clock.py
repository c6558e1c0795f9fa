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


def typed(text: str) -> datetime | None:
    """A moment as a form has it (ISO 8601): in UTC, unless it says of which zone it is. None for what is none."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return None
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
