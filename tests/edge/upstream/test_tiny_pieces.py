"""Bodies in very many very small pieces: they arrive, and nobody waits long for them."""

from __future__ import annotations

import pytest
import trio

from hotswap.edge.loop.poller import TURN, Poller
from hotswap.wire.http1.request_parser import RequestParser
from hotswap.wire.http1.response_parser import ResponseParser
from tests.support.stage import GET, Line, open_stage

pytestmark = pytest.mark.fail_after(10)

TINY_CHUNKS = b"".join(b"1\r\n%c\r\n" % (97 + number % 26) for number in range(50_000)) + b"0\r\n\r\n"
BODY = bytes(97 + number % 26 for number in range(50_000))


async def _read_chunked(line: Line) -> tuple[bytes, int]:
    """A body in chunks, and how many there were."""
    body, count = b"", 0
    while size := int(await line.read_until(b"\r\n"), 16):
        body += await line.read_exactly(size)
        assert await line.read_exactly(2) == b"\r\n"
        count += 1
    assert await line.read_exactly(2) == b"\r\n"
    return body, count


async def test_an_upload_in_tiny_chunks_arrives():
    """Found: more pieces than the kernel gathers at a time broke the connection to the backend."""
    async with open_stage() as stage:
        client = await stage.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                client.send, b"POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n" + TINY_CHUNKS
            )
            line = await stage.backend.accept()
            await line.read_head()
            body, chunks = await _read_chunked(line)
        assert body == BODY
        assert chunks < 10_000, "what came together goes on together"


async def test_an_answer_in_tiny_chunks_arrives():
    """Found: more pieces than the kernel gathers at a time broke the client's connection."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.send, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + TINY_CHUNKS)
            await client.read_head()
            body, chunks = await _read_chunked(client)
        assert body == BODY
        assert chunks < 10_000, "what came together goes on together"


async def test_many_requests_in_one_piece_are_read_a_few_at_a_time():
    """Others wait while a client's requests are parsed."""
    async with open_stage() as stage:
        client = await stage.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
            line = await stage.backend.accept()
            await line.read_head()
            http = next(iter(stage.plane.listeners["public"].connections))
            assert 0 < len(http._backlog) < 1000  # type: ignore[attr-defined]
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("size", "tiny"), [(1, True), (40, True), (100, False), (5000, False)], ids=["byte", "short", "long", "whole"]
)
@pytest.mark.parametrize("side", ["request", "response"])
def test_parsers_tell_chunks_that_are_much_work(side: str, size: int, tiny: bool):
    """Of the body under way, by what came last: whoever reads takes less of it at a time."""
    chunk = b"%x\r\n%b\r\n" % (size, bytes(size))
    parser: RequestParser | ResponseParser
    if side == "request":
        parser = RequestParser(header_bytes=1000, headers=10)
        parser.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    else:
        parser = ResponseParser()
        parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.feed(chunk * 100)
    assert parser.tiny_pieces == tiny
    parser.feed(b"400\r\n" + bytes(1024) + b"\r\n")
    assert not parser.tiny_pieces
    parser.feed(chunk * 100 + b"0\r\n\r\n")
    assert not parser.tiny_pieces, "the body is over"


class _Handler:
    """Asks to be called again each time."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.calls = 0

    def on_ready(self, _events: int) -> None:
        """Not used."""

    def on_crash(self, error: Exception) -> None:
        """Not contained here."""
        raise error

    def again(self) -> None:
        """Called soon."""
        self.calls += 1
        if self.calls < 10:
            self.poller.soon(self, self.again)


async def test_what_is_asked_for_twice_is_done_once():
    """Found: each event of a busy connection added a call that asked for the next."""
    poller = Poller()
    handler = _Handler(poller)
    poller.soon(handler, handler.again)
    poller.soon(handler, handler.again)
    poller._run_soon(poller.now + TURN)
    assert handler.calls == 1
    poller._run_soon(poller.now + TURN)
    assert handler.calls == 2
    poller.close()
