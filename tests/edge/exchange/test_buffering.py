"""Bodies that wait in the proxy: requests until they are whole, responses until their client takes them."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from hotswap.core.pool.lifecycle import BackendState
from tests.support.http2_client import Upload, connect_http2
from tests.support.http2_frames import GET as GET2
from tests.support.http2_frames import POST as POST2
from tests.support.stage import GET, OK, Stage, open_stage

pytestmark = pytest.mark.fail_after(20)

BUFFERED = {"buffer": True}
POST = b"POST /up HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /up HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = random.Random(7).randbytes(100_000)
BIG = 8 * 1024 * 1024


def files_of(directory: Path) -> list[int]:
    """Sizes of the files without a name that this process has open in a directory."""
    sizes = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith(f"{directory}/"):
                sizes.append(os.stat(f"/proc/self/fd/{fd}").st_size)
        except FileNotFoundError:
            continue
    return sizes


async def wait_no_files(directory: Path) -> None:
    """Wait until no file is open there."""
    while files_of(directory):
        await trio.sleep(0.002)


def filed(stage: Stage) -> int:
    """Bytes in files."""
    return stage.plane.pool_counts("web").spooled


# Requests.


async def test_a_backend_is_claimed_for_a_whole_request_only(tmp_path):
    """However slowly it comes, and it has one piece then."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(POST % 5 + b"he")
        await stage.settle()
        assert stage.in_flight == 0
        await client.send(b"llo")
        line = await stage.backend.accept()
        head, body = await line.read_response()
        assert b"\r\nContent-Length: 5\r\n" in head
        assert body == b"hello"
        assert stage.in_flight == 1
        await line.send(OK)
        assert await client.read_response()
        assert stage.in_flight == 0
        assert not stage.log.defects


@pytest.mark.parametrize("body", [b"", b"hello", PIECE * 3], ids=len)
async def test_a_request_in_chunks_is_counted(tmp_path, body):
    """For a backend that reads what is counted alone."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(CHUNKED)
        for place in range(0, len(body), 30_000):
            piece = body[place : place + 30_000]
            await client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await stage.settle()
        await client.send(b"0\r\n\r\n")
        line = await stage.backend.accept()
        head, got = await line.read_response()
        assert b"\r\nContent-Length: %d\r\n" % len(body) in head
        assert b"chunked" not in head
        assert got == body
        await line.send(OK)
        await client.read_response()
        assert not stage.log.defects


async def test_a_request_in_chunks_that_came_with_its_head_is_counted(tmp_path):
    """It need not wait for anything."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
        line = await stage.backend.accept()
        head, got = await line.read_response()
        assert b"\r\nContent-Length: 5\r\n" in head
        assert got == b"hello"
        await line.send(OK)
        await client.read_response()


async def test_a_long_request_waits_in_a_file_without_a_name(tmp_path):
    """64 KiB of it and one read are in memory at most, and the room is given back."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path / "spool") as stage:
        client = await stage.connect()
        body = PIECE * 40
        await client.send(POST % len(body) + body[:-1])
        while sum(files_of(tmp_path / "spool")) < len(body) - 400_000:
            await trio.sleep(0.002)
        assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
        assert os.listdir(tmp_path / "spool") == []
        assert filed(stage) <= len(body)
        assert stage.in_flight == 0
        assert stage.plane.gates["web"].room.memory <= 400_000
        await client.send(body[-1:])
        line = await stage.backend.accept()
        _, got = await line.read_response()
        assert got == body
        await line.send(OK)
        await client.read_response()
        await wait_no_files(tmp_path / "spool")
        assert filed(stage) == stage.plane.gates["web"].room.memory == 0
        assert not stage.log.defects


async def test_a_client_that_waits_is_told_to_go_on_by_the_proxy(tmp_path):
    """The backend never hears of its expectation."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send((POST % 5).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        line = await stage.backend.accept()
        head, body = await line.read_response()
        assert b"Expect" not in head
        assert body == b"hello"
        await line.send(OK)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 200")


async def test_a_body_above_the_limit_is_refused_before_a_backend_is_asked(tmp_path):
    """In chunks, as soon as it is too long."""
    async with open_stage(pool=BUFFERED, limits={"body_bytes": "64KiB"}, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(CHUNKED + b"%x\r\n" % len(PIECE) + PIECE)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 413")
        assert stage.in_flight == filed(stage) == 0


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(tmp_path):
    """Neither a file nor a claim."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(POST % 1_000_000 + PIECE * 3)
        while not files_of(tmp_path):
            await trio.sleep(0.002)
        client.close()
        (record,) = await stage.wait_records()
        assert record["status"] == 499
        await wait_no_files(tmp_path)
        assert filed(stage) == stage.in_flight == 0


async def test_the_end_of_a_client_does_not_overtake_what_it_sent(tmp_path):
    """Both may be seen at once, and the request is whole."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(POST % 60_000 + PIECE[:10_000])
        await stage.settle()
        with socket.socket(fileno=os.dup(client.sock.fileno())) as sock:
            sock.sendall(PIECE[10_000:60_000])
            sock.shutdown(socket.SHUT_WR)
        line = await stage.backend.accept()
        _, got = await line.read_response()
        assert got == PIECE[:60_000]
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


@pytest.mark.parametrize("size", [5, 1_000_000])
async def test_a_whole_request_is_sent_again_however_long_it_is(tmp_path, size):
    """By the same rules as any: PUT is."""
    async with open_stage(backends=2, pool=BUFFERED, spool_directory=tmp_path) as stage:
        body = (PIECE * 10)[:size]
        client = await stage.connect()
        await client.send((POST % size).replace(b"POST", b"PUT"))
        await client.send(body)
        first = await stage.backends[0].accept()
        await first.read_response()
        first.close()
        second = await stage.backends[1].accept()
        head, got = await second.read_response()
        assert b"\r\nX-Hotswap-Retry: 1\r\n" in head
        assert got == body
        await second.send(OK)
        await client.read_response()
        (record,) = await stage.wait_records()
        assert record["retries"] == 1
        await wait_no_files(tmp_path)


async def test_without_room_a_request_is_passed_on_as_it_comes():
    """It is counted, and said once a minute."""
    async with open_stage(pool=BUFFERED) as stage:
        body = PIECE * 30
        client = await stage.connect()
        await client.send(POST % len(body))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, body)
            line = await stage.backend.accept()
            _, got = await line.read_response()
        assert got == body
        await line.send(OK)
        await client.read_response()
        assert stage.plane.tally.spool_full["web"] == 1
        warnings = [fields for event, fields in stage.log.said if event == "spool.full"]
        assert len(warnings) == 1
        assert not stage.log.defects


async def test_a_request_in_chunks_without_room_is_passed_on_in_chunks(tmp_path):
    """Up to the limit it was gathered."""
    async with open_stage(pool={"buffer": True, "spool": "256KiB"}, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        body = PIECE * 30

        async def send() -> None:
            await client.send(CHUNKED)
            for place in range(0, len(body), 10_000):
                await client.send(b"%x\r\n%b\r\n" % (10_000, body[place : place + 10_000]))
            await client.send(b"0\r\n\r\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            line = await stage.backend.accept()
            head = await line.read_head()
            assert b"chunked" in head
            got = b""
            while size := int((await line.read_until(b"\r\n"))[:-2], 16):
                got += (await line.read_exactly(size + 2))[:-2]
        assert got == body
        await line.send(OK)
        await client.read_response()
        assert stage.plane.tally.spool_full["web"] == 1
        assert filed(stage) == 0
        assert not stage.log.defects


# Responses.


def response(size: int, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (size, more)


async def test_a_backend_is_let_go_when_its_response_has_been_read(tmp_path):
    """Although the client has yet to read nearly all of it; and the connection carries the next."""
    body = PIECE * 80
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(response(len(body)) + body)
        await stage.wait_in_flight(0)
        assert stage.records() == []
        assert 0 < filed(stage) <= len(body)
        other = await stage.connect()
        await other.send(GET)
        await line.read_head()
        await line.send(OK)
        assert (await other.read_response())[1] == b"ok"
        assert (await slow.read_response())[1] == body
        records = await stage.wait_records(2)
        assert records[1]["response_bytes"] == len(body)
        assert records[1]["error"] == ""
        await slow.send(GET)
        await line.read_head()
        await line.send(OK)
        assert (await slow.read_response())[1] == b"ok"
        await wait_no_files(tmp_path)
        assert filed(stage) == stage.plane.gates["web"].room.memory == 0
        assert not stage.log.defects
        assert not stage.plane.gates["web"].apart


@pytest.mark.parametrize("kind", ["length", "chunks", "end"])
async def test_what_a_slow_client_gets_is_whole(tmp_path, kind):
    """However its end is told."""
    body = PIECE * 60
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        match kind:
            case "length":
                await line.send(response(len(body)) + body)
            case "chunks":
                await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for place in range(0, len(body), 50_000):
                    await line.send(b"%x\r\n%b\r\n" % (50_000, body[place : place + 50_000]))
                await line.send(b"0\r\n\r\n")
            case _:
                await line.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
                line.close()
        await stage.wait_in_flight(0)
        if kind == "length":
            assert (await slow.read_response())[1] == body
        else:
            await slow.read_head()
            got = b""
            while size := int((await slow.read_until(b"\r\n"))[:-2], 16):
                got += (await slow.read_exactly(size + 2))[:-2]
            assert got == body
        await wait_no_files(tmp_path)
        assert not stage.log.defects


async def test_what_came_of_a_response_that_breaks_off_is_given_first(tmp_path):
    """And then the client sees that it is not whole."""
    body = PIECE * 60
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(response(len(body) + 1) + body)
        await stage.settle()
        line.reset()
        await stage.wait_in_flight(0)
        got = await slow.wait_broken()
        assert len(got) > len(body) * 0.9
        assert body.startswith(got.partition(b"\r\n\r\n")[2])
        (record,) = await stage.wait_records()
        assert record["side"] == "upstream"
        await wait_no_files(tmp_path)
        assert not stage.log.defects


@pytest.mark.parametrize(
    "field", [b"Content-Type: text/event-stream\r\n", b"X-Accel-Buffering: no\r\n"], ids=["events", "no"]
)
async def test_a_backend_feels_that_nobody_takes_what_must_not_wait(tmp_path, field):
    """As with a pool that does not buffer."""
    body = PIECE * 80
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.send, response(len(body), field) + body)
            await stage.settle()
            assert stage.in_flight == 1
            assert filed(stage) == 0
            head, got = await slow.read_response()
        assert b"Accel" not in head
        assert got == body


async def test_a_trusted_proxy_in_front_is_told_not_to_buffer_either(tmp_path):
    """What streams through this one would wait there."""
    trusted = ["127.0.0.0/8"]
    async with open_stage(pool={"buffer": False}, spool_directory=tmp_path, trusted_proxies=trusted) as stage:
        front = await stage.connect()
        await front.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(response(5, b"X-Accel-Buffering: no\r\n"))
        assert b"\r\nX-Accel-Buffering: no\r\n" in await front.read_head()


async def test_a_response_may_ask_to_wait(tmp_path):
    """As with nginx, whatever the pool does."""
    body = PIECE * 80
    async with open_stage(pool={"buffer": False}, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(response(len(body), b"X-Accel-Buffering: yes\r\n") + body)
        await stage.wait_in_flight(0)
        head, got = await slow.read_response()
        assert b"Accel" not in head
        assert got == body


async def test_without_room_a_response_waits_in_its_backend(tmp_path):
    """It is given as the client takes it, and counted."""
    body = PIECE * 80
    async with open_stage(pool={"buffer": True, "spool": "1MiB"}, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.send, response(len(body)) + body)
            while not stage.plane.tally.spool_full["web"]:
                await trio.sleep(0.002)
            assert stage.in_flight == 1
            assert filed(stage) <= 1024 * 1024
            assert (await slow.read_response())[1] == body
        await stage.wait_in_flight(0)
        await wait_no_files(tmp_path)
        assert filed(stage) == 0
        assert not stage.log.defects


async def test_a_client_that_does_not_read_what_waits_is_given_up(tmp_path):
    """After the idle timeout."""
    body = PIECE * 80
    async with open_stage(pool=BUFFERED, limits={"idle_timeout": "10s"}, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(response(len(body)) + body)
        await stage.wait_in_flight(0)
        await stage.let_pass(11)
        await stage.let_pass(11)
        (record,) = await stage.wait_records()
        assert record["error"] == "the client does not read its answer"
        await wait_no_files(tmp_path)
        assert filed(stage) == 0


# HTTP/2.


@pytest.mark.parametrize("size", [0, 5, 300_000])
async def test_a_request_of_http2_without_a_length_is_counted(tmp_path, size):
    """Its backend speaks HTTP/1.1, and WSGI."""
    body = (PIECE * 3)[:size]
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, POST2, end=False))
        await stage.settle()
        assert stage.in_flight == 0
        if size:
            await Upload(client, 1, body).send()
        else:
            await client.send(client.write.data(1, b"", end=True))
        line = await stage.backend.accept()
        head, got = await line.read_response()
        assert b"\r\nContent-Length: %d\r\n" % size in head
        assert b"chunked" not in head
        assert got == body
        await line.send(OK)
        await client.wait_end(1)
        assert client.answer(1) == (200, b"ok")
        assert filed(stage) == 0
        assert not stage.log.defects


async def test_a_client_of_http2_that_waits_is_told_to_go_on(tmp_path):
    """By the proxy, before a backend is asked."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, (*POST2, (b"expect", b"100-continue")), end=False))
        await client.wait(lambda: client.read.fields.get(1))
        assert client.status(1) == 100
        await client.send(client.write.data(1, b"hello", end=True))
        line = await stage.backend.accept()
        head, got = await line.read_response()
        assert b"xpect" not in head
        assert got == b"hello"
        await line.send(OK)
        await client.wait_end(1)
        assert client.status(1, 1) == 200


async def test_a_client_of_http2_with_a_small_window_holds_no_backend(tmp_path):
    """What it has no window for waits, on every stream."""
    body = PIECE * 20
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await connect_http2(stage, opens=False)
        streams = (1, 3, 5)
        for stream in streams:
            await client.send(client.write.headers(stream, GET2, end=True))
            line = await stage.backend.accept()
            await line.read_head()
            await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            line.close()
        await stage.wait_in_flight(0)
        assert filed(stage) > 0
        client.opens = True
        grants = [client.write.window(0, 10 * len(body))]
        grants += [client.write.window(stream, 2 * len(body)) for stream in streams]
        await client.send(*grants)
        for stream in streams:
            await client.wait_end(stream)
            assert client.answer(stream) == (200, body)
        await wait_no_files(tmp_path)
        assert not stage.log.defects


async def test_a_client_of_http2_that_takes_nothing_holds_no_backend_with_many_streams(tmp_path):
    """Responses that come in one piece wait as well, and so do those beyond what a connection may keep."""
    body = PIECE[:60_000]
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await connect_http2(stage, opens=False)
        streams = range(1, 81, 2)
        for stream in streams:
            await client.send(client.write.headers(stream, GET2, end=True))
            line = await stage.backend.accept()
            await line.read_head()
            await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            line.close()
            await stage.wait_in_flight(0)
        client.opens = True
        await client.send(client.write.window(0, len(body) * 40))
        for stream in streams:
            await client.wait_end(stream)
            assert client.answer(stream) == (200, body)
        assert not stage.log.defects


# Ends.


async def test_a_stop_that_lasts_too_long_answers_who_is_gathered_and_breaks_off_who_is_given(tmp_path):
    """Each sees what became of its exchange."""
    body = PIECE * 80
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        sends = await stage.connect()
        await sends.send(POST % 1000 + b"he")
        reads = await stage.connect(receive_buffer=4096)
        await reads.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await stage.wait_in_flight(0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(stage.plane.drain_downstream, timeout=0.05))
            assert (await sends.read_response())[0].startswith(b"HTTP/1.1 503")
            assert len(await reads.wait_broken()) < len(body)
        records = await stage.wait_records(2)
        assert {record["error"] for record in records} == {"the proxy stops"}
        await wait_no_files(tmp_path)
        assert filed(stage) == 0
        assert not stage.log.defects


async def test_a_drain_waits_for_nobody_who_reads_slowly(tmp_path):
    """The backend is let go, and the client gets it all afterwards."""
    body = PIECE * 80
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await stage.wait_in_flight(0)
        stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
        released = await stage.link.release(stage.backend.member, deadline=trio.current_time() + 5)
        assert released.cut == 0
        assert (await slow.read_response())[1] == body


async def test_a_pool_that_is_dropped_ends_what_waits_for_it(tmp_path):
    """A request that is gathered for it is answered."""
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(POST % 1000 + b"he")
        while not stage.plane.gates["web"].apart:
            await trio.sleep(0.001)
        stage.plane.drop_pool("web")
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 503")


async def test_who_is_sent_a_body_in_pieces_is_slow_as_well(tmp_path):
    """A backend that reads slowly gets a long body as it takes it, whatever the client did."""
    body = PIECE * 100
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(POST % len(body) + body)
        line = await stage.backend.accept()
        await stage.settle()
        assert stage.in_flight == 1
        head = await line.read_head()
        assert b"\r\nContent-Length: %d\r\n" % len(body) in head
        got = b""
        while len(got) < len(body):
            got += await line.read_exactly(min(1_000_000, len(body) - len(got)))
            await stage.settle()
        assert got == body
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"
        await wait_no_files(tmp_path)


async def test_a_backend_that_answers_early_ends_what_it_was_sent(tmp_path):
    """Its connection is not used again, since the rest of the body was not sent."""
    body = PIECE * 100
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        await client.send(POST % len(body) + body)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 413")
        await line.wait_broken()
        await client.send(GET)
        await stage.backend.serve_one()
        assert (await client.read_response())[1] == b"ok"
        await wait_no_files(tmp_path)
        assert filed(stage) == 0


async def test_a_full_disk_loses_no_request(tmp_path):
    """A file that cannot grow: what is here goes on, and the rest as it comes."""
    body = PIECE * 60
    async with open_stage(pool=BUFFERED, spool_directory=tmp_path) as stage:
        client = await stage.connect()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, POST % len(body) + body)
                line = await stage.backend.accept()
                _, got = await line.read_response()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert got == body
        await line.send(OK)
        await client.read_response()
        assert stage.plane.tally.spool_full["web"] == 1
        assert not stage.log.defects
