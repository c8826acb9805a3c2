"""Long bodies pass through the kernel where that is cheaper, and arrive as they were sent."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
import trio

from hotswap.edge.loop.pipe import PIPE_BYTES, Pipe
from hotswap.edge.loop.poller import READ, Poller
from hotswap.edge.loop.stream import BLOCKED, Stream
from tests.support.stage import GET, OK, open_stage

SIZE = 6 << 20
BODY = random.Random(0).randbytes(SIZE)


class CountingPipe(Pipe):
    """Counts what went through it."""

    moved = 0

    def fill(self, fd: int, count: int) -> int:
        """As `Pipe.fill`."""
        got = super().fill(fd, count)
        self.moved += got
        return got


@pytest.mark.fail_after(20)
async def test_long_bodies_over_plain_tcp_are_moved_by_the_kernel():
    """Up and down, past readers that are slow at first; what must be kept for another try is not moved."""
    async with open_stage() as stage:
        stage.plane.pipe.close()
        pipe = stage.plane.pipe = CountingPipe()
        client = await stage.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE + BODY)
            line = await stage.backend.accept()
            await line.read_head()
            http = next(iter(stage.plane.listeners["public"].connections))
            upstream = http.exchange.connection.stream  # type: ignore[attr-defined]
            while not upstream.backed_up and not upstream.unsent:
                await trio.sleep(0.002)
            assert await line.read_exactly(SIZE) == BODY
            up = pipe.moved
            assert SIZE // 2 < up < SIZE - 64 * 1024
            nursery.start_soon(line.send, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + BODY)
            while not http.stream.unsent:  # type: ignore[attr-defined]
                await trio.sleep(0.002)
            assert (await client.read_response())[1] == BODY
            assert pipe.moved - up > SIZE // 4
        (record,) = await stage.wait_records()
        assert (record["request_bytes"], record["response_bytes"]) == (SIZE, SIZE)
        await client.send(GET)
        await line.read_head()
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


class _Owner:
    """Of a stream whose events nobody serves."""

    def on_ready(self, events: int) -> None:
        """Not called."""

    def on_crash(self, error: Exception) -> None:
        """Not called."""

    def on_drained(self) -> None:
        """Not called."""


@pytest.fixture
def poller() -> Iterator[Poller]:
    """One that does not run."""
    poller = Poller()
    yield poller
    poller.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """One for the test."""
    pipe = Pipe()
    yield pipe
    pipe.close()


def open_pair(poller: Poller) -> tuple[Stream, socket.socket]:
    """A stream over TCP, and who is at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    stream = Stream(ours, poller, _Owner())
    poller.watch(stream.fd, stream.owner, READ)
    return stream, theirs


def test_what_the_other_side_does_not_take_is_kept_in_order(poller: Poller, pipe: Pipe):
    """And the pipe is empty afterwards."""
    source, client = open_pair(poller)
    target, backend = open_pair(poller)
    sent = bytearray()
    client.setblocking(False)
    while not target.unsent:
        try:
            sent += BODY[len(sent) : len(sent) + client.send(BODY[len(sent) : len(sent) + 100_000])]
        except BlockingIOError:
            pass
        while source.move(1 << 30, target, pipe) > 0 and not target.unsent:
            pass
    with pytest.raises(BlockingIOError):
        pipe.read(1)
    assert target.unsent <= PIPE_BYTES
    received = bytearray()
    while len(received) < len(sent):
        if target.unsent:
            target.flush_kept()
        elif source.move(1 << 30, target, pipe) == BLOCKED and target.unsent == 0:
            pass
        received += backend.recv(1 << 20)
    assert received == sent
    for end in (source, target, client, backend):
        end.close()


def test_the_end_and_a_broken_target_are_told(poller: Poller, pipe: Pipe):
    """As by reading and writing; nothing of a broken connection stays in the pipe for the next one."""
    source, client = open_pair(poller)
    target, backend = open_pair(poller)
    assert source.move(1000, target, pipe) == BLOCKED
    assert not source.readable
    backend.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    backend.close()
    client.sendall(b"x" * 1000)
    client.close()
    got = 0
    while not target.broken:
        got = max(got, source.move(100, target, pipe))
    assert got == 100
    with pytest.raises(BlockingIOError):
        pipe.read(1)
    while source.move(1000, target, pipe) > 0:
        pass
    assert source.hangup
    source.close()
    target.close()
