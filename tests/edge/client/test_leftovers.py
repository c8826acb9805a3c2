"""What is left of connections that have ended: nothing that somebody has to look for."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hotswap.edge.loop.timers import HORIZON
from tests.support.http2_client import connect_http2
from tests.support.http2_frames import GET as GET_FIELDS
from tests.support.http2_frames import PREFACE, raw_frame
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(20)

OURS = ("hotswap", "httptools", "h2", "hpack")


@contextmanager
def garbage_counted() -> Iterator[Counter[str]]:
    """Counts, by type and when the block has ended, what only a search for cycles could free."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(type(each).__name__ for each in gc.garbage if type(each).__module__.split(".")[0] in OURS)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def leave_half_a_head(stage: Stage) -> None:
    """A client that goes away in the middle of its first request."""
    client = await stage.connect()
    await client.send(b"GET / HT")
    await stage.wait_connections(1)
    await stage.settle()
    client.close()


async def be_too_slow(stage: Stage) -> None:
    """A client that is told 408."""
    client = await stage.connect()
    await client.send(b"GET / HT")
    await stage.wait_connections(1)
    await stage.let_pass(11)
    assert (await client.wait_broken()).startswith(b"HTTP/1.1 408 ")
    client.close()


async def have_an_exchange(stage: Stage) -> None:
    """A client that gets its answer and leaves; its backend leaves as well."""
    client = await stage.connect()
    await client.send(GET)
    line = await stage.backend.serve_one()
    await client.read_response()
    client.close()
    line.close()


async def upload_in_chunks(stage: Stage) -> None:
    """A client whose request has a body."""
    client = await stage.connect()
    await client.send(b"POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    line: Line = await stage.backend.accept()
    await line.read_until(b"\r\n0\r\n\r\n")
    await line.send(OK)
    await client.read_response()
    client.close()
    line.close()


async def speak_http2(stage: Stage) -> None:
    """A client of HTTP/2 that gets an answer and leaves in the middle of another request."""
    client = await connect_http2(stage)
    await client.request(1)
    line = await stage.backend.serve_one()
    await client.wait_end(1)
    await client.send(client.write.headers(3, end=False))
    await stage.settle()
    client.line.close()
    line.close()


async def be_refused_over_http2(stage: Stage) -> None:
    """A client whose requests are answered in words, or reset, and which leaves before it says anything else."""
    client = await connect_http2(stage)
    await client.send(client.write.headers(1, (*GET_FIELDS[:3], (b":path", b"/\xff"))))
    await client.wait_end(1)
    await client.send(client.write.headers(3, (*GET_FIELDS, (b"a b", b""))))
    await client.wait_end(3)
    await client.send(client.write.headers(5, (*GET_FIELDS, *((b"", b""),) * 200)))
    await client.wait_end(5)
    client.line.close()


async def break_a_rule_of_http2(stage: Stage) -> None:
    """A client that is told GOAWAY with requests under way."""
    client = await connect_http2(stage)
    await client.send(*(client.write.headers(number) for number in range(1, 81, 2)), raw_frame(0, 0, 0, b"x"))
    await client.wait_gone()
    client.line.close()


async def take_nothing_over_http2(stage: Stage) -> None:
    """A client whose windows are shut, so that its answer is kept, and which leaves."""
    client = await connect_http2(stage, settings={4: 0})
    await client.request(1)
    line = await stage.backend.serve_one()
    await client.wait(lambda: 1 in client.read.fields)
    client.line.close()
    line.close()


async def send_what_cannot_be_decoded(stage: Stage) -> None:
    """A client whose field block is none, as large as a frame may be."""
    for block in (b"\xff" * 16_384, b"\x82\x86\x84\x01\x01a\x00\x01x\x7f\xe1\x7c" + b"\x18\xc6" * 7_000):
        client = await connect_http2(stage)
        await client.send(raw_frame(1, 5, 1, block))
        await client.wait_gone()
        client.line.close()


async def give_up_at_once(stage: Stage) -> None:
    """A client that takes its requests back in the packet that brings them, until that is too much."""
    client = await connect_http2(stage)
    for number in range(1, 400, 2):
        await client.send(client.write.headers(number), client.write.reset(number))
    await client.wait_gone()
    client.line.close()


@pytest.mark.parametrize(
    "use",
    [
        leave_half_a_head,
        be_too_slow,
        have_an_exchange,
        upload_in_chunks,
        speak_http2,
        be_refused_over_http2,
        break_a_rule_of_http2,
        take_nothing_over_http2,
        send_what_cannot_be_decoded,
        give_up_at_once,
    ],
)
async def test_a_connection_that_has_ended_is_gone(use):
    """It is in no cycle, so its memory is there for the next one, however seldom garbage is looked for."""
    async with open_stage() as stage:
        await use(stage)  # what is made once is made
        await stage.wait_connections(0)
        with garbage_counted() as found:
            for _ in range(3):
                await use(stage)
                await stage.wait_connections(0)
                await stage.let_pass(2 * HORIZON)
            await stage.settle()
        assert found == Counter()


@pytest.mark.parametrize("block", [b"\xff" * 16_384, b"\xff"], ids=["large", "small"])
async def test_what_ends_with_its_first_bytes_has_no_place_among_the_deadlines(block: bytes):
    """Found: it took one after its end, and a flood of such connections kept 25 KiB each for ten seconds."""
    async with open_stage() as stage:
        before = len(stage.plane.poller.timers)
        client = await stage.connect()
        await client.send(PREFACE + raw_frame(4, 0, 0) + raw_frame(1, 5, 1, block))
        await client.wait_broken()
        client.close()
        await stage.wait_connections(0)
        held = [place for place in stage.plane.poller.timers._heap if place[2] is not None]
        assert len(held) == before
