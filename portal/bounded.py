"""Answers of other servers, read no further than they may be large or take long."""

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx

PACKED = ("", "identity", "gzip")
GZIP = 31
"""How zlib is told of gzip's header (RFC 1952)."""


class TooLarge(httpx.DecodingError):
    """It is larger than any honest answer."""


def within(largest: int, seconds: float) -> dict[str, list[Callable[..., None]]]:
    """Hooks for a client: an answer has at most ``largest`` bytes, unpacked, and has come ``seconds`` after its head.

    The time is looked at with each piece; a server that sends none is left to the client's time-out. Else asking raises
    TooLarge or httpx.ReadTimeout; and httpx.DecodingError where it is packed in another way than asked for, or more
    than once: then a few bytes become any number before somebody counts them.
    """

    def ask(request: httpx.Request) -> None:
        request.headers["Accept-Encoding"] = "gzip"

    def take(answer: httpx.Response) -> None:
        packed = answer.headers.pop("Content-Encoding", "").strip().casefold()
        if packed not in PACKED:
            raise httpx.DecodingError("packed in another way than asked for", request=answer.request)
        answer.stream = _Bounded(answer, largest, time.monotonic() + seconds, is_packed=packed == "gzip")

    return {"request": [ask], "response": [take]}


def document(content: bytes) -> dict[str, Any]:
    """The JSON object in ``content``. Raises ValueError, also for what is nested without end."""
    try:
        told = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(told, dict):
        raise ValueError("not a JSON object")
    return told


class _Bounded(httpx.SyncByteStream):
    """What is left of an answer, unpacked as it comes."""

    def __init__(self, answer: httpx.Response, largest: int, until: float, *, is_packed: bool) -> None:
        assert isinstance(answer.stream, httpx.SyncByteStream)
        self._stream, self._request = answer.stream, answer.request
        self._largest, self._until = largest, until
        self._is_packed = is_packed

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._unpacked() if self._is_packed else self._stream:
            size += len(piece)
            if size > self._largest:
                raise TooLarge("larger than any honest answer", request=self._request)
            if time.monotonic() > self._until:
                raise httpx.ReadTimeout("it takes too long", request=self._request)
            yield piece

    def _unpacked(self) -> Iterable[bytes]:
        unpack = zlib.decompressobj(wbits=GZIP)
        for piece in self._stream:
            if unpack.eof:
                return  # whatever follows is not of it
            try:
                yield unpack.decompress(piece, self._largest + 1)
            except zlib.error as error:
                raise httpx.DecodingError(str(error), request=self._request) from error
            if unpack.unconsumed_tail:
                raise TooLarge("larger than any honest answer", request=self._request)

    def close(self) -> None:
        self._stream.close()
