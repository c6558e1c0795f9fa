"""Answers of other servers: no larger, no longer in coming, and packed in no other way than was asked for."""

import ast
import gzip
import json
import tracemalloc
import zlib

import httpx
import pytest

from portal import bounded
from portal.settings import ROOT

LARGEST, SECONDS = 100_000, 20.0


class Pieces(httpx.SyncByteStream):
    """An answer as it comes; notes how much of it was taken, and whether the connection was given up."""

    def __init__(self, pieces):
        self._pieces, self.taken, self.closed = pieces, 0, False

    def __iter__(self):
        for piece in self._pieces:
            self.taken += len(piece)
            yield piece

    def close(self):
        self.closed = True


def asked(pieces, encoding=None, status=200):
    """What a client gets; and the answer's pieces, with what was asked."""
    stream, requests = Pieces(pieces), []

    def answer(request):
        requests.append(request)
        return httpx.Response(status, stream=stream, headers={"Content-Encoding": encoding} if encoding else {})

    hooks = bounded.within(LARGEST, SECONDS)
    with httpx.Client(transport=httpx.MockTransport(answer), event_hooks=hooks) as client:
        try:
            return client.get("https://server.example/"), stream, requests[0]
        except httpx.HTTPError as error:
            return error, stream, requests[0]


def pieces_of(content, size=4096):
    return [content[at : at + size] for at in range(0, len(content), size)]


@pytest.mark.parametrize("encoding", [None, "identity", "gzip", " GZIP "])
@pytest.mark.parametrize("size", [0, 1, LARGEST])
def test_an_honest_answer_comes_whole(encoding, size):
    content = bytes(number % 251 for number in range(size))
    sent = gzip.compress(content) if encoding and "gzip" in encoding.casefold() else content
    answer, stream, request = asked(pieces_of(sent), encoding, status=404)
    assert (answer.status_code, answer.content) == (404, content)
    assert request.headers["Accept-Encoding"] == "gzip"
    assert stream.closed


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_one_byte_too_many_is_too_large(encoding):
    content = b"x" * (LARGEST + 1)
    answer, stream, _ = asked(pieces_of(gzip.compress(content) if encoding else content), encoding)
    assert isinstance(answer, bounded.TooLarge)
    assert stream.closed


def test_what_is_endless_is_not_taken_whole():
    answer, stream, _ = asked(b"x" * 4096 for _ in range(10**6))
    assert isinstance(answer, bounded.TooLarge)
    assert stream.taken < LARGEST + 2 * 4096


@pytest.mark.parametrize("in_one_piece", [True, False])
def test_what_unpacks_to_a_thousand_times_itself_is_never_unpacked_whole(in_one_piece):
    bomb = gzip.compress(b"\0" * 50_000_000, 9)
    tracemalloc.start()
    try:
        answer, _, _ = asked([bomb] if in_one_piece else pieces_of(bomb), "gzip")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(answer, bounded.TooLarge)
    assert most < 2_000_000


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,identity", "deflate", "br", "zstd", "x"])
def test_what_is_packed_twice_or_in_another_way_is_not_unpacked(encoding):
    answer, stream, _ = asked([gzip.compress(gzip.compress(b"\0" * 1000))], encoding)
    assert isinstance(answer, httpx.DecodingError)
    assert (stream.taken, stream.closed) == (0, True)


@pytest.mark.parametrize(
    "sent", [b"no gzip at all", gzip.compress(b"x" * 1000)[:5] + b"\xff" * 100, zlib.compress(b"x")]
)
def test_what_only_says_that_it_is_packed_is_an_error(sent):
    answer, _, _ = asked([sent], "gzip")
    assert isinstance(answer, httpx.DecodingError)


def test_what_follows_a_packed_answer_is_not_read():
    answer, stream, _ = asked([gzip.compress(b"{}"), *(b"x" * 4096 for _ in range(1000))], "gzip")
    assert answer.content == b"{}"
    assert stream.taken < 2 * 4096


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_what_drips_is_given_up(encoding, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(bounded.time, "monotonic", lambda: now[0])

    def drip():
        for byte in gzip.compress(bytes(range(256)) * 8) if encoding else b" " * 10_000:
            now[0] += 5
            yield bytes([byte])

    answer, stream, _ = asked(drip(), encoding)
    assert isinstance(answer, httpx.ReadTimeout)
    assert stream.taken <= SECONDS / 5 + 1


def test_a_document_is_one_json_object():
    assert bounded.document(b'{"a": 1}') == {"a": 1}
    for content in (b"", b"[]", b"1", b"null", b"{", b"\xff\xfe\xff", b"[" * 200_000, json.dumps("x").encode()):
        with pytest.raises(ValueError):  # noqa: PT011  (of json, or its own)
            bounded.document(content)


def asking():
    """Every call by which the portal makes a client, or asks without one: where, and what it is given."""
    makes = {"Client", "AsyncClient", "OAuth2Client", "get", "post", "put", "request", "stream"}
    for path in (ROOT / "portal").rglob("*.py"):
        text = path.read_text("utf-8")
        if "simulator" in path.parts or not ("httpx" in text or "OAuth2Client" in text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                module, _, name = called.rpartition(".")
                if called == "OAuth2Client" or (module == "httpx" and name in makes):
                    given = {each.arg for each in node.keywords}
                    yield pytest.param(given, id=f"{path.relative_to(ROOT)}:{node.lineno}")


@pytest.mark.parametrize("given", asking())
def test_whoever_asks_another_server_does_it_within_bounds(given):
    assert "event_hooks" in given


def test_there_are_such_clients():
    assert len(list(asking())) >= 8
