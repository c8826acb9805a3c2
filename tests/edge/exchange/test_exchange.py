"""Answers of the proxy's own, limits, deadlines, and what the access log says of each exchange."""

from __future__ import annotations

import re
import socket
import time
from email.utils import parsedate_to_datetime

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hotswap.core.config import RouteTable
from tests.support.stage import GET, OK, open_stage

pytestmark = pytest.mark.fail_after(10)

POST = b"POST /up HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\n"
CHUNKED_OK = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
CHUNKED = b"POST /up HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_the_access_line_says_it_all():
    """One record for each exchange."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(POST.replace(b"/up", b"/up?token=secret&x=1") + b"hello")
        line = await stage.backend.accept()
        head = await line.read_head()
        stage.clock.now += 0.25
        await line.send(OK)
        await client.read_response()
        (record,) = await stage.wait_records()
        request_id = record["request_id"]
        assert request_id.encode() in head
        assert record.pop("time")
        assert record == {
            "listener": "public",
            "client": "127.0.0.1",
            "method": "POST",
            "host": "example.org",
            "target": "/up?token=***&x=1",
            "version": "1.1",
            "status": 200,
            "request_bytes": 5,
            "response_bytes": 2,
            "duration": 250.0,
            "pool": "web",
            "slot": 0,
            "generation": 1,
            "upstream_duration": 250.0,
            "retries": 0,
            "held": 0.0,
            "request_id": request_id,
            "side": "",
            "error": "",
        }
        assert stage.plane.tally.requests["public", "web", "POST", 200] == 1


@pytest.mark.parametrize("said", [b"", b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n", b"dATE:  x\r\n"])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]
)
async def test_every_response_has_one_date(said: bytes, framing: bytes):
    """That of the backend, or else the moment at which it came (RFC 9110 6.6.1); also what the proxy answers itself."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        await stage.backend.serve_one(b"HTTP/1.1 200 OK\r\n" + said + framing)
        head = await client.read_head()
        dates = [line.partition(b":")[2].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"date:")]
        if said:
            assert dates == [said.partition(b":")[2].strip()]
        else:
            (date,) = dates
            assert abs(parsedate_to_datetime(date.decode()).timestamp() - time.time()) < 5
        other = await stage.connect()
        await other.send(b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await other.read_head()).count(b"\r\nDate: ") == 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", 405),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (POST.replace(b": 5", b": 50"), 413),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (POST.replace(b"\r\n\r\n", b"\r\nExpect: wonders\r\n\r\n"), 417),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 3000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 20 + b"\r\n", 431),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (CHUNKED.replace(b"chunked", b"gzip"), 501),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    ],
)
async def test_what_is_refused_is_answered_shortly_and_never_seen_by_a_backend(raw, status):
    """Fixed text, nothing of the request in it, and the side in the log."""
    limits = {"header_bytes": "2KiB", "headers": 10, "body_bytes": "10B"}
    async with open_stage(limits=limits) as stage:
        client = await stage.connect()
        await client.send(raw)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head
        assert body.startswith(b"%d " % status)
        assert len(body) < 50
        assert (b"\r\nAllow: GET, " in head) is (status == 405)
        (record,) = await stage.wait_records()
        assert (record["status"], record["side"]) == (status, "downstream")
        assert record["error"]
        assert stage.link.connections_to(stage.backend.member) == 0
        assert stage.log.said == []


async def test_no_route_is_404_and_the_connection_goes_on():
    """An unknown host never gets another's app (L12)."""
    async with open_stage(routes=[RouteTable(hosts=("example.org",), pool="web")]) as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"example.org", b"other.org"))
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 404 ")
        await client.send(GET)
        await stage.backend.serve_one()
        await client.read_response()
        assert [record["status"] for record in await stage.wait_records(2)] == [404, 200]


async def test_a_prefix_is_taken_off_where_the_route_says_so():
    """The rest of the target stays as it was sent."""
    async with open_stage(routes=[RouteTable(path="/api", strip_prefix=True, pool="web")]) as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"/ ", b"/api/a%20b?c=/api "))
        line = await stage.backend.accept()
        head = await line.read_head()
        assert head.startswith(b"GET /a%20b?c=/api HTTP/1.1\r\n")
        assert head.count(b"\r\nX-Forwarded-Prefix: /api\r\n") == 1


@pytest.mark.parametrize(("path", "told"), [(b"/api/x", [b"/api"]), (b"/x", [])])
async def test_a_prefix_of_the_client_s_own_words_reaches_no_backend(path: bytes, told: list[bytes]):
    """Whether the route takes one off or not."""
    routes = [RouteTable(path="/api", strip_prefix=True, pool="web"), RouteTable(pool="web")]
    async with open_stage(routes=routes) as stage:
        client = await stage.connect()
        await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\nX-Forwarded-Prefix: /evil\r\n\r\n" % path)
        line = await stage.backend.accept()
        assert re.findall(rb"\r\nx-forwarded-prefix: ([^\r]*)", (await line.read_head()).lower()) == told


async def test_a_chunked_body_is_counted():
    """413 when it is too much, whatever was announced (R2)."""
    async with open_stage(limits={"body_bytes": "10B"}) as stage:
        client = await stage.connect()
        await client.send(CHUNKED)
        line = await stage.backend.accept()
        await line.read_head()
        await client.send(b"8\r\n12345678\r\n")
        await line.read_until(b"12345678\r\n")
        await client.send(b"8\r\n12345678\r\n")
        head, _ = await client.read_response()
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nConnection: close\r\n" in head
        assert await line.wait_broken() == b""


async def test_a_head_has_its_time_from_its_first_byte():
    """408, however busily it trickles (R3)."""
    async with open_stage() as stage:
        client = await stage.connect()
        for byte in GET[:5]:
            await client.send(bytes((byte,)))
            await stage.let_pass(2.4)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 408 ")
        assert await client.read_to_end() == b""
        (record,) = await stage.wait_records()
        assert (record["status"], record["side"]) == (408, "downstream")


async def test_a_connection_that_says_nothing_is_closed_without_a_word():
    """As is one that is idle between two requests, after the idle timeout."""
    async with open_stage() as stage:
        silent = await stage.connect()
        await stage.wait_connections(1)
        client, _ = await stage.exchange()
        await stage.let_pass(70)
        await stage.wait_connections(2)
        await stage.let_pass(6)
        assert await silent.read_to_end() == b""
        assert await client.read_to_end() == b""


async def test_a_body_that_stops_coming_is_given_up():
    """408 after the idle timeout, which counts from the last byte."""
    async with open_stage(limits={"idle_timeout": "10s", "body_rate": "0B"}) as stage:
        client = await stage.connect()
        await client.send(POST)
        line = await stage.backend.accept()
        await line.read_head()
        for _ in range(3):
            await client.send(b"x")
            await stage.let_pass(8)
        await stage.let_pass(3)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 408 ")
        assert await line.wait_broken() == b"xxx"


@pytest.mark.parametrize("head", [POST.replace(b": 5", b": 50000"), CHUNKED])
async def test_a_body_that_trickles_is_given_up(head):
    """Below 500 bytes a second after ten seconds of waiting (R4)."""
    async with open_stage(limits={"body_rate": "500B"}) as stage:
        client = await stage.connect()
        await client.send(head)
        line = await stage.backend.accept()
        await line.read_head()
        piece = b"1\r\nx\r\n" if head is CHUNKED else b"x"
        for _ in range(4):
            await stage.let_pass(3)
            await client.send(piece)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_is_not_read_does_not_trickle():
    """Time that the backend takes is not the client's."""
    size = 16 << 20
    async with open_stage(pool={"response_timeout": "300s"}, limits={"body_rate": "500B"}) as stage:
        client = await stage.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, POST.replace(b": 5", b": %d" % size) + b"x" * size)
            line = await stage.backend.accept()
            await line.read_head()
            await stage.let_pass(60)
            await stage.let_pass(60)
            await line.read_exactly(size)
            await line.send(OK)
            assert (await client.read_response())[0].startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_does_not_read_its_answer_is_left():
    """After the idle timeout without progress; and bytes that it sends are no progress (R6)."""
    size = 32 << 20
    async with open_stage(limits={"idle_timeout": "10s"}) as stage:
        client = await stage.connect(receive_buffer=65536)
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)

            nursery.start_soon(answer)
            http = next(iter(stage.plane.listeners["public"].connections))
            while not http.stream.backed_up:  # type: ignore[attr-defined]
                await trio.sleep(0.002)
            for _ in range(5):  # what the kernel still takes is progress, a byte of the client is none
                await stage.let_pass(6)
                if stage.plane.listeners["public"].connections:
                    await client.send(b"\r\n")
            assert not stage.plane.listeners["public"].connections
        (record,) = await stage.wait_records()
        assert (record["side"], record["error"]) == ("downstream", "the client does not read its answer")
        assert stage.backend.in_flight == 0


async def test_a_slow_client_gets_its_last_answer_whole():
    """Although the connection is to be closed; found: what was unsent after five seconds was dropped."""
    size = 12 << 20
    async with open_stage() as stage:
        client = await stage.connect(receive_buffer=65536)
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        line = await stage.backend.accept()
        await line.read_head()
        await client.send(b"\r\n")  # something of it is still to be read when the answer is over
        http = next(iter(stage.plane.listeners["public"].connections))
        http.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.send, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            await client.read_head()
            got = 0
            while stage.backend.in_flight:
                got += len(await client.read_exactly(1 << 16))
            await stage.let_pass(6)
            while got < size:
                got += len(await client.read_exactly(min(1 << 16, size - got)))
            assert await client.read_to_end() == b""


async def test_memory_is_bounded_by_what_the_other_side_takes():
    """Neither side is read faster than the other is written to (R9)."""
    size = 24 << 20
    async with open_stage() as stage:
        client = await stage.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, POST.replace(b": 5", b": %d" % size) + b"x" * size)
            line = await stage.backend.accept()
            await line.read_head()
            upstream = stage.plane.gates["web"].upstreams[stage.backend.member.id]
            (connection,) = upstream.connections
            while not connection.stream.backed_up:
                await trio.sleep(0.002)
            await wait_all_tasks_blocked(0.01)  # nothing moves any more
            assert connection.stream.unsent <= 512 * 1024
            await line.read_exactly(size)
            nursery.start_soon(line.send, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            http = next(iter(stage.plane.listeners["public"].connections))
            while not http.stream.backed_up:  # type: ignore[attr-defined]
                await trio.sleep(0.002)
            await wait_all_tasks_blocked(0.01)  # nothing moves any more
            assert http.stream.unsent <= 600 * 1024  # type: ignore[attr-defined]
            await client.read_response()


async def test_chunked_bodies_are_bounded_too():
    """Both ways."""
    pieces = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(1000))
    async with open_stage() as stage:
        client = await stage.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, CHUNKED + pieces + b"0\r\n\r\n")
            line = await stage.backend.accept()
            await line.read_head()
            upstream = stage.plane.gates["web"].upstreams[stage.backend.member.id]
            (connection,) = upstream.connections
            while not connection.stream.backed_up:
                await trio.sleep(0.002)
            await wait_all_tasks_blocked(0.01)  # nothing moves any more
            assert connection.stream.unsent <= 600 * 1024
            await line.read_until(b"\r\n0\r\n\r\n")
            nursery.start_soon(
                line.send, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
            )
            http = next(iter(stage.plane.listeners["public"].connections))
            while not http.stream.backed_up:  # type: ignore[attr-defined]
                await trio.sleep(0.002)
            await wait_all_tasks_blocked(0.01)  # nothing moves any more
            assert http.stream.unsent <= 800 * 1024  # type: ignore[attr-defined]
            assert (await client.read_until(b"\r\n0\r\n\r\n")).count(b"x") == 1000 * 0x4000
