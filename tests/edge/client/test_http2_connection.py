"""Exchanges over HTTP/2, with both ends driven by hand: bodies, windows, resets, drains, limits, and WebSocket."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import subprocess
from functools import partial
from itertools import pairwise
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame

from hotswap.core.config import TlsTable
from hotswap.core.pool.lifecycle import BackendState
from hotswap.edge.client.certificates import development_authority
from hotswap.edge.client.http2_backlog import KEPT_LIMIT
from hotswap.edge.client.http2_connection import Http2Connection
from hotswap.edge.client.http2_stream import Http2Stream
from hotswap.edge.client.tls import AUTHORITY, open_context
from hotswap.edge.upstream.upstream import REST
from hotswap.wire.http2.session import GROWTH, MAX_STREAMS, STREAM_WINDOW
from tests.support.http2_client import Http2Client, Upload, connect_http2
from tests.support.http2_frames import GET, POST, PREFACE, raw_frame
from tests.support.stage import OK, Line, Stage, open_stage
from tests.support.tools import require_tool

HEAD = ((b":method", b"HEAD"), *GET[1:])


def connections_of(stage: Stage) -> list[Http2Connection]:
    """Clients of the stage that speak HTTP/2."""
    return [
        connection
        for connection in stage.plane.listeners["public"].connections
        if isinstance(connection, Http2Connection)
    ]


async def wait_for_clients(stage: Stage, count: int) -> list[Http2Connection]:
    """Clients whose settings have been read."""
    while True:
        known = connections_of(stage)
        if len(known) == count and not any(connection.reader.partial for connection in known):
            return known
        await trio.sleep(0.002)


async def send_until_stopped(line: Line) -> int:
    """Send until nobody takes more; gives how many bytes went."""
    sent = 0
    assert isinstance(line.stream, trio.SocketStream)
    while True:
        with trio.move_on_after(0.3):
            sent += await line.stream.socket.send(bytes(65536))
            continue
        return sent


async def answer_target(line: Line) -> None:
    """Answer one request with its target."""
    head = await line.read_head()
    target = head.split(b" ", 2)[1]
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


# Exchanges.


async def test_a_request_reaches_the_backend_in_http_1_and_its_answer_the_client():
    """Fields end to end, the forwarded ones by us, nothing of connections either way."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1, (*GET, (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2")))
        line = await stage.backend.accept()
        head = await line.read_head()
        assert head.startswith(b"GET / HTTP/1.1\r\nHost: example.org\r\naccept: */*\r\ncookie: a=1; b=2\r\n")
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in head
        assert b"Transfer-Encoding" not in head
        await line.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: keep-alive, X-Own\r\nX-Own: 1\r\n"
            b"Date: today\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok"
        )
        await client.wait_end(1)
        assert client.read.fields[1] == [
            [
                (b":status", b"200"),
                (b"content-type", b"text/plain"),
                (b"date", b"today"),
                (b"set-cookie", b"a"),
                (b"set-cookie", b"b"),
                (b"content-length", b"2"),
            ]
        ]
        assert client.answer(1) == (200, b"ok")
        (record,) = await stage.wait_records()
        assert (record["version"], record["status"], record["response_bytes"]) == ("2", 200, 2)
        assert stage.log.defects == []


async def test_streams_are_exchanges_of_their_own():
    """They are answered in the order in which backends answer, and the connections to backends are reused."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        for number in range(10):
            await client.request(2 * number + 1, (*GET[:3], (b":path", b"/%d" % number)))
        lines = [await stage.backend.accept() for _ in range(10)]
        for line in reversed(lines):
            await answer_target(line)
        for number in range(10):
            await client.wait_end(2 * number + 1)
        assert sorted(client.answer(2 * number + 1) for number in range(10)) == [
            (200, b"/%d" % number) for number in range(10)
        ]
        assert stage.link.connections_to(stage.backend.member) == 10


async def test_requests_that_come_together_are_started_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch):
    """Others have their turn in between; all are served, in the order in which they came."""
    async with open_stage() as stage:
        started: list[int] = []
        seen = [0]
        start = Http2Stream.start
        poller = stage.plane.poller

        def note(stream: Http2Stream) -> None:
            started.append(stream.stream_id)
            start(stream)

        def look() -> None:
            seen.append(len(started))
            if len(started) < MAX_STREAMS:
                poller.soon(stage.plane.listeners["public"], look)

        monkeypatch.setattr(Http2Stream, "start", note)
        client = await connect_http2(stage)
        numbers = [2 * number + 1 for number in range(MAX_STREAMS)]
        look()
        await client.send(*(client.write.headers(number, GET, end=True) for number in numbers))
        for _ in numbers:
            await answer_target(await stage.backend.accept())
        for number in numbers:
            await client.wait_end(number)
        assert started == numbers
        assert max(later - earlier for earlier, later in pairwise(seen)) <= MAX_STREAMS / 4


async def test_what_one_turn_brings_leaves_in_one_write():
    """Head, body and end of a small answer come in one segment."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.wait(lambda: len(client.read.frames) >= 3)
        await client.request(1)
        await stage.backend.serve_one()
        before = len(client.read.frames)
        await client.take()
        frames = client.read.frames[before:]
        assert [frame.type for frame in frames] == [HeadersFrame.type, DataFrame.type]
        assert client.read.ended(1)


async def test_a_body_goes_up_with_its_length_or_in_chunks():
    """With content-length as counted bytes, without as chunks; head and body in one piece."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1, (*POST, (b"content-length", b"5")), b"hello")
        line = await stage.backend.accept()
        raw = await line.read()
        assert raw.endswith(b"\r\n\r\nhello")
        assert b"Content-Length: 5\r\n" in raw
        await line.send(OK)
        await client.wait_end(1)
        await client.request(3, POST, b"hello")
        raw = await line.read()
        assert b"Transfer-Encoding: chunked\r\n" in raw
        assert raw.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        await line.send(OK)
        await client.wait_end(3)
        assert client.answer(3) == (200, b"ok")


async def test_a_request_whose_body_comes_later_is_begun_without_it():
    """The body follows piece by piece."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, POST, end=False))
        line = await stage.backend.accept()
        await line.read_head()
        await client.send(client.write.data(1, b"one"))
        assert await line.read_exactly(8) == b"3\r\none\r\n"
        await client.send(client.write.data(1, b"two", end=True))
        assert await line.read_exactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"
        await line.send(OK)
        await client.wait_end(1)
        assert client.answer(1) == (200, b"ok")


async def test_a_large_body_goes_up_as_the_backend_takes_it():
    """The client's window is opened for what has gone on, and the proxy keeps no more than its buffers."""
    size = 24 * 1024 * 1024
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, (*POST, (b"content-length", b"%d" % size)), end=False))
        line = await stage.backend.accept()
        await line.read_head()

        upload = Upload(client, 1, bytes(size))
        with trio.move_on_after(0.5):
            await upload.send()
        assert upload.sent < size  # the backend reads nothing, so the client had to stop
        (connection,) = connections_of(stage)
        assert sum(map(len, connection.streams[1]._inbox or ())) <= STREAM_WINDOW + GROWTH
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.send)
            await line.read_exactly(size)
        await line.send(OK)
        await client.wait_end(1)
        assert client.answer(1) == (200, b"ok")


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n", b"", b"Transfer-Encoding: chunked\r\n"])
async def test_a_large_body_comes_down_whole(framing: bytes):
    """In any framing of the backend's."""
    body = bytes(range(256)) * 8192
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1)
        line = await stage.backend.accept()
        await line.read_head()

        async def send() -> None:
            await line.send(b"HTTP/1.1 200 OK\r\n" + (framing % len(body) if b"%" in framing else framing) + b"\r\n")
            if b"chunked" in framing:
                for place in range(0, len(body), 100_000):
                    piece = body[place : place + 100_000]
                    await line.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                await line.send(b"0\r\n\r\n")
            else:
                await line.send(body)
            if not framing:
                line.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await client.wait_end(1)
        assert client.read.ended(1)
        assert client.read.bodies[1] == body


async def test_a_client_that_opens_no_window_stops_the_backend():
    """What is kept stays below the window and one buffer, others go on, and reading again brings the rest."""
    size = 24 * 1024 * 1024
    async with open_stage() as stage:
        client = await connect_http2(stage, opens=False)
        await client.send(client.write.window(0, 1 << 20))
        await client.request(1)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        sent = await send_until_stopped(line)
        assert sent < size
        (connection,) = connections_of(stage)
        assert 0 < connection.streams[1].kept_bytes <= 256 * 1024

        await client.request(3)
        await stage.backend.serve_one()
        await client.wait_end(3)
        assert client.answer(3) == (200, b"ok")

        client.opens = True
        await client.send(client.write.window(1, 1 << 20), client.write.window(0, 1 << 20))

        async def send_rest() -> None:
            left = size - sent
            while left:
                piece = min(left, 65536)
                await line.send(bytes(piece))
                left -= piece

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_rest)
            await client.wait(lambda: len(client.read.bodies.get(1, b"")) >= size)
        assert client.read.ended(1)


async def test_small_pieces_of_an_upload_go_on_together():
    """Thousands of small frames are a few pieces for the backend, and nothing of them is lost."""
    count = 6000
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, POST, end=False))
        line = await stage.backend.accept()
        await line.read_head()
        await client.send(client.write.data(1, b"x") * count, client.write.data(1, b"", end=True))
        raw = await line.read_until(b"0\r\n\r\n")
        sizes = [int(size, 16) for size in re.findall(rb"([0-9a-f]+)\r\nx", raw)]
        assert sum(sizes) == count
        assert len(sizes) <= count / 100
        await line.send(OK)
        await client.wait_end(1)
        assert client.answer(1) == (200, b"ok")


async def test_what_is_kept_for_shut_windows_is_bounded_for_a_connection():
    """A hundred streams that take nothing cost little more than one; streams that take what comes go on (R9)."""
    size = 200_000
    async with open_stage() as stage:
        client = await connect_http2(stage, settings={4: 0})
        (connection,) = await wait_for_clients(stage, 1)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, bytes(size))
        last = 2 * MAX_STREAMS - 1

        async def answer_one() -> None:
            line = await stage.backend.accept()
            await line.read_head()
            await line.send(answer)

        async with trio.open_nursery() as nursery:
            for stream_id in range(1, last, 2):
                await client.request(stream_id)
                nursery.start_soon(answer_one)
            with trio.move_on_after(5):
                while connection.backlog.kept_bytes <= KEPT_LIMIT:
                    await trio.sleep(0.01)
            await stage.settle()
            assert KEPT_LIMIT < connection.backlog.kept_bytes < KEPT_LIMIT + 256 * 1024
            # One whose window is open is served although the others wait.
            await client.request(last)
            line = await stage.backend.accept()
            await client.send(client.write.window(0, 1 << 30), client.write.window(last, 1 << 20))
            await line.read_head()
            await line.send(OK)
            await client.wait_end(last)
            # And all of them are, as soon as the client takes what it asked for.
            await client.send(*(client.write.window(stream_id, 1 << 20) for stream_id in range(1, last, 2)))
            for stream_id in range(1, last, 2):
                await client.wait_end(stream_id)
        assert client.answer(last) == (200, b"ok")
        assert {len(client.read.bodies[stream_id]) for stream_id in range(1, last, 2)} == {size}
        assert connection.backlog.kept_bytes == 0
        assert stage.log.defects == []


async def test_a_client_that_never_reads_is_given_up():
    """Its window stays shut for the idle timeout: the stream is reset and the backend left (D13)."""
    async with open_stage() as stage:
        client = await connect_http2(stage, settings={4: 0})
        await client.request(1)
        line = await stage.backend.serve_one()
        await client.wait(lambda: 1 in client.read.fields)
        await stage.let_pass(76.0)
        await client.wait_end(1)
        assert client.read.resets() == {1: ErrorCodes.CANCEL}
        assert line is not None
        (connection,) = connections_of(stage)
        assert connection.backlog.kept_bytes == 0


def received(client: Http2Client, size: int) -> bool:
    """Whether so much of bodies has come, and not more."""
    return sum(map(len, client.read.bodies.values())) == size


async def test_a_small_window_is_shared_by_all_streams():
    """No stream takes all of the connection's window for itself."""
    body = bytes(40_000)
    async with open_stage() as stage:
        client = await connect_http2(stage, opens=False)
        (connection,) = await wait_for_clients(stage, 1)
        connection.session.machine.outbound_flow_control_window = 0
        streams = range(1, 11, 2)
        for stream_id in streams:
            await client.request(stream_id)
            if stream_id == 1:
                line = await stage.backend.accept()
            await line.read_head()
            await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await client.wait(partial(client.read.fields.get, stream_id))
        for number in range(1, 3 * len(streams) + 1):
            await client.send(client.write.window(0, 10_000))
            await client.wait(partial(received, client, 10_000 * number))
        got = [len(client.read.bodies[stream_id]) for stream_id in streams]
        assert max(got) - min(got) <= 10_000


async def test_answers_without_a_body_end_with_their_head():
    """HEAD, 204, 304 and an empty one (P7)."""
    answers = {
        1: (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200),
        3: (GET, b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        5: (GET, b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304),
        7: (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        9: (HEAD, b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", 404),
    }
    async with open_stage() as stage:
        client = await connect_http2(stage)
        for stream_id, (fields, answer, status) in answers.items():
            await client.request(stream_id, fields)
            if stream_id == 1:
                line = await stage.backend.accept()
            await line.read_head()
            await line.send(answer)
            await client.wait_end(stream_id)
            assert client.answer(stream_id) == (status, b"")
            frames = [frame for frame in client.read.frames if frame.stream_id == stream_id]
            assert [frame.type for frame in frames] == [HeadersFrame.type]
            await stage.let_pass(REST)


async def test_informational_responses_are_passed_on():
    """103 always, 100 to whom it was promised."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, (*POST, (b"expect", b"100-continue")), end=False))
        line = await stage.backend.accept()
        assert b"Expect: 100-continue\r\n" in await line.read_head()
        await line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.wait(lambda: 1 in client.read.fields)
        assert client.status(1) == 100
        await client.send(client.write.data(1, b"x", end=True))
        await line.read_until(b"0\r\n\r\n")
        await line.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
        await client.wait_end(1)
        assert [client.status(1, number) for number in range(3)] == [100, 103, 200]


@pytest.mark.parametrize("settings", [None, {4: 2}], ids=["at once", "through a window"])
async def test_trailers_of_a_chunked_answer_are_passed_on(settings: dict[int, int] | None):
    """They end the stream; fields that belong to heads are not among them (F15)."""
    async with open_stage() as stage:
        client = await connect_http2(stage, settings=settings)
        await client.request(1)
        await stage.backend.serve_one(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
            b"Grpc-Status: 0\r\nContent-Length: 9\r\nSet-Cookie: x\r\n\r\n"
        )
        await client.wait_end(1)
        assert client.read.fields[1][1:] == [[(b"grpc-status", b"0")]]
        assert client.answer(1) == (200, b"hello")
        assert client.read.ended(1)


# Failures.


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nX",
    ],
    ids=["counted", "chunked", "malformed"],
)
async def test_a_truncated_answer_resets_its_stream_only(answer: bytes):
    """The client sees that it is not whole, and goes on with others."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1)
        line = await stage.backend.serve_one(answer)
        line.close()
        await client.wait_end(1)
        assert client.read.resets() == {1: ErrorCodes.INTERNAL_ERROR}
        assert not client.read.ended(1)
        await client.request(3)
        await stage.backend.serve_one()
        await client.wait_end(3)
        assert client.answer(3) == (200, b"ok")


async def test_a_backend_that_leaves_early_is_answered_for():
    """502 to a request that must not be repeated."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1, POST, b"x")
        line = await stage.backend.accept()
        await line.read_until(b"0\r\n\r\n")
        line.close()
        await client.wait_end(1)
        assert client.answer(1) == (502, b"502 Bad Gateway\n")


async def test_a_stream_that_the_client_resets_leaves_its_backend():
    """Within a second, with 499 in the record; the connection goes on (R12, D8)."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1)
        line = await stage.backend.accept()
        await line.read_head()
        await client.send(client.write.reset(1))
        with trio.fail_after(1):
            assert await line.read_to_end() == b""
        (record,) = await stage.wait_records()
        assert (record["status"], record["side"]) == (499, "downstream")
        assert stage.backend.in_flight == 0
        await client.request(3)
        await stage.backend.serve_one()
        await client.wait_end(3)


async def test_requests_that_are_reset_at_once_reach_no_backend():
    """Rapid reset: nothing is connected for them (CVE-2023-44487)."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        write = client.write
        await client.send(b"".join(write.headers(number) + write.reset(number) for number in range(1, 4001, 2)))
        await client.wait_gone()
        (goaway,) = [frame for frame in client.read.frames if isinstance(frame, GoAwayFrame)]
        assert goaway.error_code == ErrorCodes.ENHANCE_YOUR_CALM
        assert stage.link.connections_to(stage.backend.member) == 0
        assert stage.backend.in_flight == 0
        assert stage.log.defects == []


async def test_a_client_that_hangs_up_leaves_all_its_backends():
    """Every exchange of the connection is cancelled."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        for stream_id in (1, 3, 5):
            await client.request(stream_id)
        lines = [await stage.backend.accept() for _ in range(3)]
        for line in lines:
            await line.read_head()
        client.line.close()
        with trio.fail_after(1):
            for line in lines:
                assert await line.read_to_end() == b""
        await stage.wait_connections(0)
        assert stage.backend.in_flight == 0


@pytest.mark.parametrize("by", ["hangup", "a broken rule"])
async def test_a_client_that_leaves_a_hundred_requests_holds_nobody_up(by: str, monkeypatch: pytest.MonkeyPatch):
    """They are ended a few at a time, those that had not begun are not begun, and all are recorded."""
    async with open_stage() as stage:
        ended = [0]
        at_a_time = []
        cancel = Http2Stream.on_reset
        give_up = Http2Connection._give_up

        def note(stream: Http2Stream, detail: str) -> None:
            ended[0] += 1
            cancel(stream, detail)

        def look(connection: Http2Connection, error: str) -> None:
            before = ended[0]
            give_up(connection, error)
            at_a_time.append(ended[0] - before)

        monkeypatch.setattr(Http2Stream, "on_reset", note)
        monkeypatch.setattr(Http2Connection, "_give_up", look)
        client = await connect_http2(stage)
        frames = [client.write.headers(2 * number + 1) for number in range(MAX_STREAMS)]
        if by == "hangup":
            await client.send(*frames)
            for _ in range(MAX_STREAMS):
                await (await stage.backend.accept()).read_head()
            client.line.close()
        else:
            await client.send(*frames, raw_frame(0, 0, 0, b"x"))
            await client.wait_gone()
        records = await stage.wait_records(MAX_STREAMS + (by != "hangup"))
        assert {record["status"] for record in records} == ({499} if by == "hangup" else {499, 400})
        assert max(at_a_time) <= 16
        assert sum(at_a_time) == MAX_STREAMS
        await stage.wait_in_flight(0)
        client.line.close()
        await stage.wait_connections(0)
        if by != "hangup":
            assert stage.link.connections_to(stage.backend.member) == 0
        assert stage.log.defects == []


async def test_an_answer_before_the_body_is_whole_gives_the_rest_up():
    """413: the answer is whole, then RST_STREAM with NO_ERROR."""
    async with open_stage(limits={"body_bytes": "10B"}) as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, POST, end=False), client.write.data(1, bytes(11)))
        await client.wait(lambda: 1 in client.read.resets())
        assert client.status(1) == 413
        assert client.read.ended(1)
        assert client.read.resets() == {1: ErrorCodes.NO_ERROR}


async def test_a_backslash_is_refused_in_the_path_and_passed_in_the_query():
    """As over HTTP/1.1, with an answer and a record; found: both were reset, which browsers show as a broken site."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(
            client.write.headers(1, (*GET[:3], (b":path", b"/a\\b"))),
            client.write.headers(3, (*GET[:3], (b":path", b"/find?q=C:\\temp"))),
        )
        line = await stage.backend.accept()
        assert (await line.read_head()).startswith(b"GET /find?q=C:\\temp HTTP/1.1\r\n")
        await line.send(OK)
        await client.wait_end(3)
        assert (client.status(1), client.status(3)) == (400, 200)
        records = await stage.wait_records(2)
        assert sorted(record["status"] for record in records) == [200, 400]


async def test_the_same_head_may_come_again_and_again_with_max_forwards():
    """Each time it is counted down once; found: the third was less by two, as both were one object (P6)."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        fields = ((b":method", b"OPTIONS"), *GET[1:], (b"max-forwards", b"3"))
        line = None
        for stream in range(1, 13, 2):
            await client.send(client.write.headers(stream, fields))
            line = line or await stage.backend.accept()
            assert b"max-forwards: 2\r\n" in await line.read_head()
            await line.send(OK)
            await client.wait_end(stream)


async def test_a_malformed_request_ends_its_stream_only():
    """A name that is not one is reset, recorded with what can be told, and forgotten; the others are served (D1)."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, (*GET, (b"a b", b""))), client.write.headers(3))
        await stage.backend.serve_one()
        await client.wait_end(3)
        assert client.read.resets() == {1: ErrorCodes.PROTOCOL_ERROR}
        records = await stage.wait_records(2)
        told = sorted((record["status"], record["method"], record["target"], record["version"]) for record in records)
        assert told == [(200, "GET", "/", "2"), (400, "GET", "/", "2")]
        assert stage.log.defects == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((*GET[:3], (b":path", b"/\xff\xfe")), 400),
        ((*GET[:3], (b":path", b"/" + b"x" * 70000)), 414),
        ((*GET, (b"a", b"x" * 70000)), 431),
        ((*GET, (b"expect", b"a miracle")), 417),
        (((b":method", b"BREW"), *GET[1:]), 501),
    ],
)
async def test_what_is_refused_is_answered_in_words_and_recorded(fields: tuple[tuple[bytes, bytes], ...], status: int):
    """A status on the stream, and a line with method, target and version as far as they can be told."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(*client.write.cut_headers(1, fields, [16000] * 3))
        await client.wait_end(1)
        assert (client.answer(1), client.read.resets()) == ((status, b""), {})
        (record,) = await stage.wait_records()
        told = dict(fields)
        target = told[b":path"][:2048].decode("ascii", "backslashreplace")
        assert (record["method"], record["target"], record["version"], record["status"]) == (
            told[b":method"].decode(),
            target,
            "2",
            status,
        )
        assert stage.log.defects == []


async def test_what_breaks_the_connection_is_recorded_in_few_words():
    """The library's words would hold every byte that it could not read."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        block = b"\x00\x7f" + b"\xff" * 100_000
        pieces = [block[place : place + 16384] for place in range(0, len(block), 16384)]
        last = len(pieces) - 1
        await client.send(
            *(raw_frame(9 if number else 1, 4 * (number == last), 1, piece) for number, piece in enumerate(pieces))
        )
        await client.wait_gone()
        assert client.read.goaways() == [(0, ErrorCodes.COMPRESSION_ERROR)]
        (record,) = await stage.wait_records()
        assert (record["version"], record["status"], record["side"]) == ("2", 400, "downstream")
        assert len(record["error"]) < 100


@pytest.mark.parametrize(("sent", "passed"), [([b"abc"], b""), ([b"ab", b"cde", b"f"], b"ab")], ids=["less", "more"])
async def test_a_body_of_the_wrong_length_is_never_whole_at_the_backend(sent: list[bytes], passed: bytes):
    """The backend sees a connection that ends in the middle (D3), also when it is only the last frame that is wrong."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, (*POST, (b"content-length", b"5")), end=False))
        line = await stage.backend.accept()
        await line.read_head()
        for number, data in enumerate(sent, 1):
            await client.send(client.write.data(1, data, end=number == len(sent)))
            await stage.settle()
        assert await line.wait_broken() == passed
        await client.wait_end(1)
        assert client.read.resets() == {1: ErrorCodes.PROTOCOL_ERROR}


async def test_a_stream_that_ends_behind_its_body_is_answered_and_not_reset():
    """END_STREAM in a frame of its own, as httpx sends it; and the connection to the backend is used again."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, (*POST, (b"content-length", b"3")), end=False))
        line = await stage.backend.accept()
        await line.read_head()
        await client.send(client.write.data(1, b"abc"))
        await stage.settle()
        await client.send(client.write.data(1, b"", end=True))
        assert await line.read_exactly(3) == b"abc"
        await line.send(OK)
        await client.wait_end(1)
        await client.request(3)
        await line.read_head()
        await line.send(OK)
        await client.wait_end(3)
        assert (client.answer(1), client.answer(3)) == ((200, b"ok"), (200, b"ok"))
        assert client.read.resets() == {}


async def test_a_broken_connection_is_told_and_closed():
    """GOAWAY, then the end; its exchanges are cancelled."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1)
        line = await stage.backend.accept()
        await line.read_head()
        await client.send(raw_frame(0, 0, 0, b"x"))
        await client.wait_gone()
        assert client.read.goaways() == [(1, ErrorCodes.PROTOCOL_ERROR)]
        assert await line.wait_broken() == b""
        assert stage.log.defects == []


async def test_a_client_that_never_reads_what_it_asks_for_is_not_read():
    """Pings whose answers are not taken stop the reading, and after a while the connection ends (D12)."""
    async with open_stage() as stage:
        client = await connect_http2(stage, opens=False, receive_buffer=4096)
        await client.send(client.write.window(0, 1 << 30))
        for number in range(90):
            await client.send(client.write.headers(2 * number + 1), client.write.window(2 * number + 1, 1 << 30))
        with trio.move_on_after(0.5):
            while True:
                line = await stage.backend.accept()
                await line.read_head()
                await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
        (connection,) = connections_of(stage)
        kept = connection.stream.unsent + sum(stream.kept_bytes for stream in connection.streams.values())
        assert kept < 16 * 1024 * 1024
        await stage.let_pass(76.0)
        await stage.wait_connections(0)
        assert stage.backend.in_flight == 0


# Deadlines and drains.


async def test_an_idle_client_is_told_and_left():
    """GOAWAY with NO_ERROR after the idle timeout."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1)
        await stage.backend.serve_one()
        await client.wait_end(1)
        await stage.let_pass(76.0)
        await client.wait_gone()
        assert client.read.goaways() == [(1, ErrorCodes.NO_ERROR)]
        await stage.let_pass(6.0)
        await stage.wait_connections(0)


@pytest.mark.parametrize("what", ["preface", "settings", "head", "frame"])
async def test_a_head_has_its_time(what: str):
    """The preface, the first SETTINGS, and a head with its CONTINUATION frames (D10)."""
    async with open_stage() as stage:
        client = Http2Client(await stage.connect())
        if what == "preface":
            await client.send(PREFACE[:20])
        elif what == "settings":
            await client.send(PREFACE)
        elif what == "frame":
            await client.greet()
            await client.send(client.write.headers(1)[:12])
        else:
            await client.greet()
            for frame in client.write.cut_headers(1, GET, [2, 1])[:2]:
                await client.send(frame)
                await stage.let_pass(6.0)
        await stage.let_pass(11.0)
        await client.wait_gone()
        assert client.read.goaways()[-1:] == [(0, ErrorCodes.ENHANCE_YOUR_CALM)]


async def test_a_body_has_its_time():
    """408 when the next piece does not come."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, POST, end=False), client.write.data(1, b"x"))
        line = await stage.backend.accept()
        await line.read_head()
        await stage.let_pass(60.0)
        await client.send(client.write.data(1, b"y"))
        await stage.let_pass(60.0)
        assert 1 not in client.read.fields
        await stage.let_pass(76.0)
        await client.wait_end(1)
        assert client.status(1) == 408


async def test_a_client_that_is_silent_while_its_answer_flows_is_not_cut():
    """A stream in both directions, as of gRPC: progress of either counts, and only a silence of both is too long."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, POST, end=False), client.write.data(1, b"subscribe"))
        line = await stage.backend.accept()
        await line.read_until(b"subscribe")
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(1, 6):
            await line.send(b"1\r\nx\r\n")
            await client.wait(partial(received, client, number))
            await stage.let_pass(60.0)
        assert client.read.resets() == {}
        await stage.let_pass(76.0)
        await stage.let_pass(76.0)
        await client.wait_end(1)
        assert 1 in client.read.resets()


async def test_a_drain_lets_streams_end():
    """GOAWAY of everything, a ping, GOAWAY of what came; then the rest is finished and the connection closed (D16)."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1)
        line = await stage.backend.accept()
        await line.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: stage.plane.drain_downstream(timeout=30))
            await client.wait(lambda: len(client.read.goaways()) == 2)
            assert client.read.goaways() == [(2**31 - 1, 0), (1, 0)]
            assert not client.gone
            await line.send(OK)
            await client.wait_end(1)
            await client.wait_gone()
            client.line.close()
        assert client.answer(1) == (200, b"ok")


async def test_an_idle_connection_makes_room_at_the_limit_and_says_so():
    """One with a stream does not."""
    async with open_stage(limits={"connections": 2}) as stage:
        idle, busy = await connect_http2(stage), await connect_http2(stage)
        await busy.send(busy.write.headers(1))
        line = await stage.backend.accept()
        await line.read_head()
        waiting = await stage.connect()
        await waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await stage.let_pass(6)
        await idle.wait(lambda: idle.read.goaways() == [(0, ErrorCodes.NO_ERROR)])
        await stage.backend.serve_one()
        await waiting.read_response()
        await line.send(OK)
        await busy.wait_end(1)
        assert busy.status(1) == 200


async def test_a_request_that_crosses_the_first_goaway_is_served():
    """Only what comes after the second one is refused."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.wait(lambda: len(client.read.frames) >= 3)
        (connection,) = connections_of(stage)
        connection.drain()
        await client.line.send(client.write.headers(1))
        await stage.backend.serve_one()
        await client.wait_end(1)
        await client.wait_gone()
        assert client.answer(1) == (200, b"ok")
        assert client.read.goaways() == [(2**31 - 1, 0), (1, 0)]


# Ways in.


async def test_a_connection_ends_in_order_after_so_many_requests():
    """GOAWAY in two steps; what came with the last of them is served, and what comes later was not begun."""
    async with open_stage(limits={"requests_per_connection": 1}) as stage:
        client = await connect_http2(stage)
        last = 2 * MAX_STREAMS - 1
        await client.request(1)
        line = await stage.backend.serve_one()
        await client.wait_end(1)
        for stream_id in range(3, last, 2):
            await client.request(stream_id)
            await line.read_head()
            await line.send(OK)
            await client.wait_end(stream_id)
        assert client.read.goaways() == []
        await client.send(*(client.write.headers(stream_id, GET) for stream_id in (last, last + 2)))
        await line.read_head()
        await line.send(OK)
        await stage.backend.serve_one()
        await client.wait_gone()
        assert (client.answer(last), client.answer(last + 2)) == ((200, b"ok"), (200, b"ok"))
        assert client.read.goaways() == [(2**31 - 1, ErrorCodes.NO_ERROR), (last + 2, ErrorCodes.NO_ERROR)]


async def test_a_connection_without_a_limit_of_requests_goes_on():
    """0 is no number of requests, as in HTTP/1.1."""
    async with open_stage(limits={"requests_per_connection": 0}) as stage:
        client = await connect_http2(stage)
        await client.request(1)
        line = await stage.backend.serve_one()
        await client.wait_end(1)
        await client.request(3)
        await line.read_head()
        await line.send(OK)
        await client.wait_end(3)
        assert client.read.goaways() == []


@pytest.mark.parametrize("size", [1, 5, 18, 24, 1000])
async def test_prior_knowledge_in_any_pieces(size: int):
    """The preface of HTTP/2 on a plain listener (RFC 9113 3.3)."""
    async with open_stage() as stage:
        client = Http2Client(await stage.connect())
        raw = PREFACE + client.write.settings() + client.write.headers(1)
        for place in range(0, len(raw), size):
            await client.send(raw[place : place + size])
            await trio.lowlevel.checkpoint()
        await stage.backend.serve_one()
        await client.wait_end(1)
        assert client.answer(1) == (200, b"ok")


async def test_a_listener_without_http_2_answers_505():
    """L9."""
    async with open_stage(http2=False) as stage:
        line = await stage.connect()
        await line.send(PREFACE)
        assert (await line.read_head()).startswith(b"HTTP/1.1 505 ")


def tls_of(directory: Path, *, http2: bool) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a listener and of a client that trusts it and prefers HTTP/2."""
    table = TlsTable.model_validate({"self_signed": ["localhost"]})
    server = open_context(table, http2=http2, authority_dir=directory, where="listeners.public.tls")
    client = ssl.create_default_context()
    development_authority(directory / AUTHORITY).configure_trust(client)
    client.set_alpn_protocols(["h2", "http/1.1"])
    return server, client


@pytest.mark.parametrize("http2", [True, False])
async def test_alpn_chooses(tmp_path: Path, http2: bool):
    """h2 where the listener speaks it, else HTTP/1.1; httpx on the other side."""
    server, trusting = tls_of(tmp_path, http2=http2)
    async with open_stage(context=server, http2=http2) as stage:
        async with (
            trio.open_nursery() as nursery,
            httpx.AsyncClient(http1=True, http2=True, verify=trusting) as client,
        ):
            nursery.start_soon(stage.backend.serve_one)
            response = await client.get(f"https://localhost:{stage.port}/")
        assert (response.status_code, response.text) == (200, "ok")
        assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert stage.log.defects == []


async def test_bodies_both_ways_over_tls(tmp_path: Path):
    """A megabyte up and down, many at a time, with httpx."""
    server, trusting = tls_of(tmp_path, http2=True)
    body = bytes(range(256)) * 4096
    async with open_stage(context=server) as stage:

        async def echo(line: Line) -> None:
            head = await line.read_head()
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
            assert length is not None
            data = await line.read_exactly(int(length[1]))
            await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
            await line.send(data)

        async def post(client: httpx.AsyncClient) -> None:
            response = await client.post(f"https://localhost:{stage.port}/", content=body)
            assert response.content == body

        async with (
            httpx.AsyncClient(http1=False, http2=True, verify=trusting) as client,
            trio.open_nursery() as nursery,
        ):
            for _ in range(4):
                nursery.start_soon(post, client)
            for _ in range(4):
                nursery.start_soon(echo, await stage.backend.accept())
        assert stage.log.defects == []


async def test_curl_speaks_http_2_to_it(tmp_path: Path):
    """A stranger, by ALPN and by prior knowledge."""
    curl = require_tool("curl", package="curl")
    async with open_stage() as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.backend.serve_one)
            done = await trio.run_process(  # a client that ends by itself
                [curl, "-s", "--http2-prior-knowledge", "-w", " %{http_version}", f"http://127.0.0.1:{stage.port}/"],
                capture_stdout=True,
                stderr=subprocess.STDOUT,
            )
        assert done.stdout == b"ok 2"


async def test_curl_gets_an_answer_that_comes_before_its_upload_is_through(tmp_path: Path):
    """The end of the answer and the reset of the rest are not one record, which curl 7.88 takes for a failure."""
    curl = require_tool("curl", package="curl")
    server, _ = tls_of(tmp_path, http2=True)
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(4 * 1024 * 1024))
    async with open_stage(context=server, limits={"body_bytes": "1MiB"}) as stage:
        done = await trio.run_process(
            [curl, "-sSk", "--http2", "-T", str(upload), "-w", "%{http_code}", f"https://localhost:{stage.port}/"],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.stdout == b"413 Content Too Large\n413"


# WebSocket (RFC 8441).

WEBSOCKET = (
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *GET[1:],
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-protocol", b"chat"),
)


async def accept_websocket(stage: Stage, more: bytes = b"") -> Line:
    """A backend that agrees."""
    line = await stage.backend.accept()
    head = await line.read_head()
    assert head.startswith(b"GET / HTTP/1.1\r\n")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
    key = re.search(rb"(?i)\r\nsec-websocket-key: (\S+)\r\n", head)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    await line.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%bSec-WebSocket-Protocol: chat\r\n\r\n" % (accept, more)
    )
    return line


async def open_websocket(stage: Stage, **settings: object) -> tuple[Http2Client, Line]:
    """A tunnel on stream 1."""
    client = await connect_http2(stage, **settings)  # type: ignore[arg-type]
    await client.send(client.write.headers(1, WEBSOCKET, end=False))
    line = await accept_websocket(stage)
    await client.wait(lambda: 1 in client.read.fields)
    return client, line


async def test_a_websocket_over_http_2_reaches_a_backend_of_http_1():
    """200, the subprotocol, no field of the handshake of HTTP/1.1, then bytes both ways, then the end both ways."""
    async with open_stage() as stage:
        client, line = await open_websocket(stage)
        assert client.read.fields[1] == [[(b":status", b"200"), (b"sec-websocket-protocol", b"chat")]]
        await client.send(client.write.data(1, b"\x81\x82mask\x0c\x0a"))
        assert await line.read_exactly(8) == b"\x81\x82mask\x0c\x0a"
        await line.send(b"\x81\x02hi")
        await client.wait(lambda: client.read.bodies.get(1, b"") == b"\x81\x02hi")
        await client.send(client.write.data(1, b"bye", end=True))
        assert await line.read_to_end() == b"bye"
        line.close()
        await client.wait_end(1)
        assert client.read.ended(1)
        (record,) = await stage.wait_records()
        assert (record["status"], record["request_bytes"], record["response_bytes"]) == (200, 11, 4)
        assert stage.backend.in_flight == 0
        await client.request(3)
        await stage.backend.serve_one()
        await client.wait_end(3)
        assert stage.log.defects == []


async def test_small_pieces_of_a_tunnel_go_on_together():
    """Small frames of the client are one write for the backend, and its small writes one frame for the client."""
    async with open_stage() as stage:
        client, line = await open_websocket(stage)
        await client.send(client.write.data(1, b"x") * 5000)
        assert await line.read_exactly(5000) == b"x" * 5000
        frame = b"\x82\x01y"
        await line.send(frame * 5000)
        await client.wait(partial(received, client, 5000 * len(frame)))
        data = [frame for frame in client.read.frames if isinstance(frame, DataFrame)]
        assert len(data) < 50
        assert stage.log.defects == []


async def test_a_tunnel_whose_backend_breaks_is_reset():
    """RST_STREAM with CANCEL, as a TCP RST; what came before it arrives (RFC 8441 5)."""
    async with open_stage() as stage:
        client, line = await open_websocket(stage)
        await line.send(b"\x81\x02hi")
        await client.wait(partial(received, client, 4))
        line.reset()
        await client.wait_end(1)
        assert not client.read.ended(1)
        assert client.read.resets() == {1: ErrorCodes.CANCEL}
        await stage.wait_records()
        assert stage.backend.in_flight == 0


async def test_a_tunnel_whose_backend_closes_first_is_not_reset_before_the_client_has_ended_it(tmp_path: Path):
    """On a Unix socket a close is seen as one of both halves at once."""
    async with open_stage(backends=0) as stage:
        await stage.add_backend(slot=0, path=tmp_path / "s")
        client, line = await open_websocket(stage)
        await line.send(b"\x88\x00")
        line.close()
        await client.wait(lambda: client.read.ended(1))
        await stage.settle()
        await client.send(client.write.data(1, b"\x88\x00", end=True))
        await stage.wait_records()
        await client.request(3)
        await stage.backend.serve_one()
        await client.wait_end(3)
        assert client.read.resets() == {}
        assert stage.backend.in_flight == 0


async def test_a_length_in_the_backends_handshake_is_not_one_of_the_tunnels():
    """RFC 9110 9.3.6: the 200 that opens a tunnel has none, and what follows would break it."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, WEBSOCKET, end=False))
        line = await accept_websocket(stage, b"Content-Length: 0\r\n")
        await line.send(b"\x81\x02hi")
        await client.wait(partial(received, client, 4))
        assert client.read.fields[1] == [[(b":status", b"200"), (b"sec-websocket-protocol", b"chat")]]


async def test_what_is_said_before_the_tunnel_is_open_arrives():
    """Behind the CONNECT, before the backend agreed."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, WEBSOCKET, end=False), client.write.data(1, b"early"))
        line = await accept_websocket(stage)
        assert await line.read_exactly(5) == b"early"


async def test_a_tunnel_has_backpressure_both_ways():
    """A window that stays shut stops the backend; a backend that does not read stops the client."""
    async with open_stage() as stage:
        client, line = await open_websocket(stage, settings={4: 1000})
        await send_until_stopped(line)
        (connection,) = connections_of(stage)
        assert 0 < connection.streams[1].kept_bytes <= 512 * 1024
        upload = Upload(client, 1, bytes(64 * 1024 * 1024))
        with trio.move_on_after(0.5):
            await upload.send()
        assert upload.sent < len(upload.data)


@pytest.mark.parametrize("by", ["reset", "hangup"])
async def test_a_tunnel_that_the_client_breaks_leaves_the_backend(by: str):
    """RST_STREAM, or the end of the whole connection."""
    async with open_stage() as stage:
        client, line = await open_websocket(stage)
        if by == "reset":
            await client.send(client.write.reset(1))
        else:
            client.line.close()
        assert await line.wait_broken() == b""
        await stage.wait_records()
        await stage.wait_in_flight(0)
        assert not stage.plane.tunnels
        assert stage.log.defects == []


async def test_a_tunnel_whose_backend_is_cut_says_goodbye():
    """A close frame with 1012, and the end of the stream."""
    async with open_stage() as stage:
        client, _ = await open_websocket(stage)
        stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
        await stage.link.release(stage.backend.member, deadline=trio.current_time())
        await client.wait_end(1)
        assert client.read.bodies[1] == b"\x88\x02\x03\xf4"
        assert client.read.ended(1)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
        (OK, 502),
        (b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: no\r\n\r\n", 502),
    ],
    ids=["refused", "not switched", "wrong key"],
)
async def test_a_backend_that_does_not_agree_opens_no_tunnel(answer: bytes, status: int):
    """Its refusal is passed on; anything that would look like a tunnel is not (P8)."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, WEBSOCKET, end=False))
        await stage.backend.serve_one(answer)
        await client.wait_end(1)
        assert client.status(1) == status
        (record,) = await stage.wait_records()
        assert record["status"] == status
        assert stage.log.defects == []


async def test_the_h2_library_as_a_websocket_client():
    """A stranger's state machine agrees with every frame."""
    async with open_stage() as stage:
        line = await stage.connect()
        stranger = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        stranger.initiate_connection()
        await line.send(stranger.data_to_send())
        events: list[h2.events.Event] = []

        async def read_until(kind: type[h2.events.Event]) -> None:
            while not any(isinstance(event, kind) for event in events):
                data = await line.read()
                assert data
                events.extend(stranger.receive_data(data))
                await line.send(stranger.data_to_send())

        await read_until(h2.events.RemoteSettingsChanged)
        stranger.send_headers(1, [(name.decode(), value.decode()) for name, value in WEBSOCKET])
        await line.send(stranger.data_to_send())
        backend = await accept_websocket(stage)
        await read_until(h2.events.ResponseReceived)
        stranger.send_data(1, b"ping")
        await line.send(stranger.data_to_send())
        assert await backend.read_exactly(4) == b"ping"
        await backend.send(b"\x81\x04pong")
        await read_until(h2.events.DataReceived)
        stranger.end_stream(1)
        await line.send(stranger.data_to_send())
        assert await backend.read_to_end() == b""
        backend.close()
        await read_until(h2.events.StreamEnded)
