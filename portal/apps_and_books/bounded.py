"""Answers of other servers, read no further than they may be large or take long."""

import time

import httpx


class TooLarge(Exception):
    """It is larger than any honest answer."""


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
