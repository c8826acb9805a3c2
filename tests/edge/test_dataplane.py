"""What control asks of the data plane: drains, cuts, counts, listeners that come and go, and an end in order."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from hotswap.core.pool.lifecycle import BackendState
from tests.support.stage import GET, OK, open_stage

pytestmark = pytest.mark.fail_after(10)


async def test_a_drain_lets_the_exchange_end_and_takes_no_other():
    """Then nothing is in flight and, after `close_idle`, nothing connected."""
    async with open_stage(backends=2) as stage:
        client = await stage.connect()
        await client.send(GET)
        await stage.wait_in_flight(1)
        draining, other = sorted(stage.backends, key=lambda backend: -backend.in_flight)
        line = await draining.accept()
        await line.read_head()
        stage.pool.move(draining.member, BackendState.DRAINING, now=0.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(stage.link.release, draining.member, deadline=trio.current_time() + 8))
            for _ in range(3):
                another = await stage.connect()
                await another.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                if _ == 0:
                    kept = await other.accept()
                await kept.read_head()
                await kept.send(OK)
                await another.read_to_end()
            (view,) = await stage.link.exchanges_in(draining.member)
            assert (view.request_line, view.client, view.tunnel) == ("GET /", "127.0.0.1", False)
            await line.send(OK)
        assert (await client.read_response())[1] == b"ok"
        assert stage.link.close_idle(draining.member) == 0  # what served a draining backend is not kept
        assert stage.link.connections_to(draining.member) == 0
        assert await line.read_to_end() == b""
        assert stage.link.connections_to(other.member) == 1
        assert stage.link.close_idle(other.member) == 1
        assert await kept.read_to_end() == b""


async def test_at_the_deadline_what_is_left_is_cut_and_counted():
    """503 if nothing was answered yet, a visible end if something was."""
    async with open_stage() as stage:
        first, second = await stage.connect(), await stage.connect()
        await first.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await second.send(GET)
        begun = await stage.backend.serve_one(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await second.read_head()
        stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
        released = await stage.link.release(stage.backend.member, deadline=trio.current_time())
        assert released.cut == 2
        head, _ = await first.read_response()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in head
        assert await second.wait_broken() == b"hello"
        for connection in (line, begun):
            assert await connection.wait_broken() == b""
        assert stage.plane.pool_counts("web").cut == 2
        assert stage.backend.in_flight == 0
        assert {record["error"] for record in await stage.wait_records(2)} == {"cut at the end of the drain"}


async def test_idle_connections_are_given_up_before_a_server_would():
    """After four seconds."""
    async with open_stage() as stage:
        _, line = await stage.exchange()
        await stage.let_pass(3.9)
        assert stage.link.connections_to(stage.backend.member) == 1
        await stage.let_pass(0.2)
        assert stage.link.connections_to(stage.backend.member) == 0
        assert await line.read_to_end() == b""


async def test_a_listener_that_is_closed_ends_its_connections_in_order():
    """Idle ones at once, the others after their exchange; a new client is refused."""
    async with open_stage() as stage:
        idle, line = await stage.exchange()
        busy = await stage.connect()
        await busy.send(GET)
        await line.read_head()
        port = stage.port
        stage.plane.close_listener("public")
        assert await idle.read_to_end() == b""
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream("127.0.0.1", port)
        await line.send(OK)
        await busy.read_response()


async def test_a_stop_in_order_ends_every_exchange():
    """The last answers say that the connection ends; a request that has arrived is still served."""
    async with open_stage() as stage:
        idle, line = await stage.exchange()
        busy = await stage.connect()
        await busy.send(GET)
        await line.read_head()
        sent = await stage.connect()
        await stage.wait_connections(3)
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await stage.plane.drain_downstream(timeout=30.0)

            sent.sock._sock.send(GET)  # type: ignore[attr-defined]  # it arrives in the moment of the stop
            nursery.start_soon(stop)
            assert await idle.read_to_end() == b""
            late = await stage.backend.accept()
            await late.read_head()
            await late.send(OK)
            await line.send(OK)
            for client in (busy, sent):
                answer = await client.read_to_end()
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"\r\nConnection: close\r\n" in answer


async def test_a_stop_does_not_cut_what_a_slow_client_still_reads():
    """The exchange is over for the backend, not for the client; found: the rest was dropped."""
    size = 12 << 20
    async with open_stage() as stage:
        client = await stage.connect(receive_buffer=65536)
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.send, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            await client.read_head()
            got = 0
            while stage.backend.in_flight:
                got += len(await client.read_exactly(1 << 16))

            async def stop() -> None:
                await stage.plane.drain_downstream(timeout=30.0)

            nursery.start_soon(stop)
            await stage.settle()
            assert got + len(await client.read_to_end()) == size
            client.close()  # or the proxy waits for it to have read its answer


async def test_what_does_not_end_in_time_is_closed():
    """And its claim is released, its record written."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await stage.plane.drain_downstream(timeout=0.05)
        answer = await client.wait_broken()
        assert answer.startswith(b"HTTP/1.1 503 "), "the client is told that its time was over"
        assert b"Connection: close" in answer
        assert await line.wait_broken() == b""
        assert stage.backend.in_flight == 0
        (record,) = await stage.wait_records()
        assert (record["status"], record["side"]) == (503, "upstream")


async def test_a_first_byte_is_passed_on_at_once():
    """A stream of events is not gathered: 5 ms, measured over several, with a busy machine in mind."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.serve_one(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await client.read_head()
        delays = []
        for _ in range(20):
            began = trio.current_time()
            await line.send(b"6\r\ndata:\n\r\n")
            await client.read_exactly(11)
            delays.append(trio.current_time() - began)
        assert sorted(delays)[10] < 0.005
