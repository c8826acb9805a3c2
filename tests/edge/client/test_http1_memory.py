"""What one HTTP/1.1 connection may make us keep, whatever its client does (docs/reference/strictness.md, R9)."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.lowlevel

from tests.support.stage import GET, Line, Stage, open_stage

KIB = 1024
Abuse = Callable[[Stage, list[Line]], Awaitable[None]]


async def send_what_goes(client: Line, data: bytes) -> None:
    """Send until nobody takes more for a while."""
    with trio.move_on_after(1):
        await client.send(data)


async def half_a_head(stage: Stage, lines: list[Line]) -> None:
    """All of a head that is allowed, but its end, in small pieces."""
    client = await stage.connect()
    lines.append(client)
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    for _ in range(60):
        await client.send(b"a: " + b"b" * 1000 + b"\r\n")
        await trio.lowlevel.checkpoint()


async def many_requests(stage: Stage, lines: list[Line]) -> None:
    """As many requests as go behind one that is not answered."""
    client = await stage.connect()
    lines.append(client)
    await send_what_goes(client, b"GET / HTTP/1.1\r\nHost:a\r\n\r\n" * 100_000)
    lines.append(await stage.backend.accept())


async def unread_answer(stage: Stage, lines: list[Line]) -> None:
    """A long answer that the client does not read."""
    client = await stage.connect(receive_buffer=4096)
    await client.send(GET)
    line = await stage.backend.accept()
    lines += (client, line)
    await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await send_what_goes(line, (b"1000\r\n" + bytes(4096) + b"\r\n") * 4000)


async def untaken_body(stage: Stage, lines: list[Line]) -> None:
    """A body that the backend does not read."""
    client = await stage.connect()
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    lines += (client, await stage.backend.accept())
    await send_what_goes(client, (b"1000\r\n" + bytes(4096) + b"\r\n") * 4000)


async def trailers(stage: Stage, lines: list[Line]) -> None:
    """As many trailers as go."""
    client = await stage.connect()
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    lines += (client, await stage.backend.accept())
    await client.send(b"10000\r\n" + bytes(65536) + b"\r\n0\r\n")
    with trio.move_on_after(1), pytest.raises(trio.BrokenResourceError):
        await client.send(b"a:\r\n" * 1_000_000)


@pytest.mark.fail_after(30)
@pytest.mark.parametrize(
    ("abuse", "most"),
    [
        (half_a_head, 128),
        (many_requests, 256),
        (unread_answer, 576),
        (untaken_body, 576),
        (trailers, 576),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_connection_keeps_no_more_than_it_may(abuse: Abuse, most: int) -> None:
    """However much its client sends or leaves unread."""
    async with open_stage() as stage:
        client, line = await stage.exchange()  # what is made once is made
        client.close()
        line.close()
        lines: list[Line] = []
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.take_snapshot()
            await abuse(stage, lines)
            await stage.settle()
            after = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        ours = [tracemalloc.Filter(True, "*/proxy/*")]
        kept = sum(
            found.size_diff for found in after.filter_traces(ours).compare_to(before.filter_traces(ours), "filename")
        )
        for line in lines:
            line.close()
        assert kept <= most * KIB, f"{kept // KIB} KiB"
