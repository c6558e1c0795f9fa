"""Answers of other servers, read no further than they may be large or take long."""

import json
import time
from typing import Any

import httpx


class TooLarge(Exception):
    """It is larger than any honest answer."""


def ask(
    http: httpx.Client, method: str, address: str, *, largest: int, seconds: float, **request: Any
) -> tuple[int, bytes]:
    """(status, body) of what ``address`` answers to ``request``, in these bounds. Raises TooLarge, httpx.HTTPError."""
    with http.stream(method, address, **request) as answer:
        return answer.status_code, read(answer, largest, seconds)


def document(content: bytes) -> dict[str, Any]:
    """The JSON object in ``content``. Raises ValueError, also for what is nested without end."""
    try:
        told = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(told, dict):
        raise ValueError("not a JSON object")
    return told


def read(answer: httpx.Response, largest: int, seconds: float) -> bytes:
    """The body of an answer that is being streamed, unpacked: at most ``largest`` bytes, within ``seconds``.

    Raises TooLarge, httpx.ReadTimeout.
    """
    content, until = bytearray(), time.monotonic() + seconds
    for piece in answer.iter_bytes(64 * 1024):
        content += piece
        if len(content) > largest:
            raise TooLarge
        if time.monotonic() > until:
            raise httpx.ReadTimeout("it takes too long", request=answer.request)
    return bytes(content)
