"""Streams that trickle, such as server-sent events: each piece goes on when it comes."""

from __future__ import annotations

import statistics

import pytest
import trio

from tests.support.http2_client import Http2Client, connect_http2
from tests.support.http2_frames import GET as GET_FIELDS
from tests.support.stage import GET, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(15)

WITHIN = 0.005
"""Seconds from the moment when a backend sends a piece until the client has it."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
EVENTS = 25


class Client:
    """A client of either version, in the middle of an endless answer."""

    def __init__(self, line: Line, http2: Http2Client | None) -> None:
        self.line = line
        self.http2 = http2
        self._read = b""

    @classmethod
    async def ask(cls, stage: Stage, *, http2: bool) -> Client:
        """Send a request."""
        if http2:
            client = await connect_http2(stage)
            await client.request(1, GET_FIELDS)
            return cls(client.line, client)
        line = await stage.connect()
        await line.send(GET)
        return cls(line, None)

    async def wait(self, text: bytes) -> None:
        """Read until this has come."""
        client = self.http2
        if client is not None:
            await client.wait(lambda: text in client.read.bodies.get(1, b""))
        else:
            while text not in self._read:
                self._read += await self.line.read()


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n", b"", b"Content-Length: 100000\r\n"])
async def test_a_piece_goes_on_when_it_comes(framing: bytes, http2: bool):
    """Unbuffered, the first byte as well as every other, whatever ends the answer."""
    async with open_stage() as stage:
        client = await Client.ask(stage, http2=http2)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(HEAD + framing + b"\r\n")
        delays = []
        for number in range(EVENTS):
            event = b"data: %d\n\n" % number
            began = trio.current_time()
            await line.send(b"%x\r\n%b\r\n" % (len(event), event) if b"chunked" in framing else event)
            await client.wait(event)
            delays.append(trio.current_time() - began)
        print(f"median {statistics.median(delays) * 1000:.2f} ms, first {delays[0] * 1000:.2f} ms")
        assert statistics.median(delays) < WITHIN


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
async def test_a_stream_may_be_as_long_as_it_is_not_silent(http2: bool):
    """`idle_timeout` counts from the last byte, not from the start; then the end shows that it is none."""
    async with open_stage(limits={"idle_timeout": "10s"}, pool={"response_timeout": "5s"}) as stage:
        client = await Client.ask(stage, http2=http2)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for number in range(8):
            event = b"data: %d\n\n" % number
            await line.send(b"%x\r\n%b\r\n" % (len(event), event))
            await client.wait(event)
            await stage.let_pass(9)
        assert stage.backend.in_flight == 1
        await stage.let_pass(2)
        await stage.wait_in_flight(0)
        if client.http2 is None:
            assert not (await client.line.wait_broken()).endswith(b"0\r\n\r\n")
        else:
            await client.http2.wait_end(1)
            assert list(client.http2.read.resets()) == [1]
        assert await line.wait_broken() == b""
