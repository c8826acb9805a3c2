"""Tunnels, by hand on both ends: bytes both ways, half closes, backpressure, and leaving a backend in order."""

from __future__ import annotations

import pytest
import trio

from hotswap.core.pool.lifecycle import BackendState
from hotswap.edge.loop.stream import Stream
from tests.support.stage import Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Sub: 1\r\n\r\n"
RESTART = b"\x88\x02\x03\xf4"
GOING_AWAY = b"\x88\x02\x03\xe9"


async def open_tunnel(stage: Stage, early: bytes = b"", greeting: bytes = b"") -> tuple[Line, Line]:
    """A client and a backend that have switched."""
    client = await stage.connect()
    await client.send(HANDSHAKE + early)
    line = await stage.backend.serve_one(SWITCH + greeting)
    head = await client.read_head()
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nX-Sub: 1\r\n" in head
    assert head.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    return client, line


async def test_bytes_pass_both_ways_as_they_are():
    """Early ones included."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage, early=b"\x81\x80abcd", greeting=b"\x81\x02hi")
        assert await line.read_exactly(6) == b"\x81\x80abcd"
        assert await client.read_exactly(4) == b"\x81\x02hi"
        await client.send(b"ping")
        assert await line.read_exactly(4) == b"ping"
        await line.send(b"\x81\x04pong")
        assert await client.read_exactly(6) == b"\x81\x04pong"
        assert stage.backend.in_flight == 1
        (view,) = await stage.link.exchanges_in(stage.backend.member)
        assert view.tunnel
        assert (view.request_bytes, view.response_bytes) == (10, 10)


async def test_a_client_that_has_said_all_still_hears():
    """A half close is passed on, and the other direction goes on."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        await client.send(b"last")
        await client.end_writes()
        assert await line.read_to_end() == b"last"
        await line.send(b"\x81\x02hi")
        assert await client.read_exactly(4) == b"\x81\x02hi"
        line.close()
        assert await client.read_to_end() == b""
        (record,) = await stage.wait_records()
        assert (record["status"], record["error"]) == (101, "")


async def test_a_backend_that_has_said_all_still_hears():
    """As long as the client says something every few seconds."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        await line.send(b"\x81\x02hi")
        await line.end_writes()
        assert await client.read_to_end() == b"\x81\x02hi"
        await client.send(b"more")
        assert await line.read_exactly(4) == b"more"
        await stage.let_pass(6)
        assert await line.wait_broken() == b""
        assert len(await stage.wait_records()) == 1


async def test_nothing_for_the_idle_timeout_ends_it():
    """From the last byte of either side."""
    async with open_stage(limits={"idle_timeout": "10s"}) as stage:
        client, line = await open_tunnel(stage)
        for _ in range(3):
            await stage.let_pass(8)
            await line.send(b"\x81\x00")
            await client.read_exactly(2)
        await stage.let_pass(11)
        assert await client.wait_broken() == b""
        assert await line.wait_broken() == b""
        assert (await stage.wait_records())[0]["error"] == "idle for too long"


async def test_a_slow_reader_stops_its_source():
    """What is kept is bounded, and all of it arrives."""
    size = 16 << 20
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.send, b"x" * size)
            tunnel = next(iter(stage.plane.tunnels.values()))
            while not tunnel.client_end.stream.backed_up:
                await trio.sleep(0.002)
            await trio.sleep(0.02)
            assert tunnel.client_end.stream.unsent <= 512 * 1024
            assert len(await client.read_exactly(size)) == size


@pytest.mark.parametrize("how", ["half", "whole", "reset"])
@pytest.mark.parametrize("chatty", [False, True], ids=["silent-client", "chatty-client"])
async def test_what_a_backend_said_before_it_left_arrives(how: str, chatty: bool):
    """However slowly it is read, as long as some is in each idle timeout, and whatever the client says meanwhile."""
    async with open_stage(limits={"idle_timeout": "10s"}) as stage:
        client, line = await open_tunnel(stage)
        (tunnel,) = stage.plane.tunnels.values()
        end = tunnel.client_end.stream
        sent = 0
        while not end.unsent:
            await line.send(bytes(65536))
            sent += 65536
            await trio.sleep(0.001)
        if how == "half":
            await line.end_writes()
        else:
            (line.close if how == "whole" else line.reset)()
        await stage.settle()
        assert end.unsent
        got = 0
        while got < sent:
            if chatty and not tunnel.over:
                await client.send(b"\x89\x80mask")
            await stage.let_pass(6)
            before = end.unsent
            got += len(await client.read_exactly(min(sent - got, 1 << 20)))
            # What it has read makes room at the other end when the kernels see fit, which may take more than that.
            while got < sent and end.unsent == before:
                got += len(await client.read_exactly(min(sent - got, 1 << 20)))
                await stage.settle()
        assert await client.wait_broken() == b""
        await stage.let_pass(6)
        await stage.wait_connections(0)
        assert stage.log.defects == []


async def test_a_client_that_takes_none_of_the_rest_is_left_after_the_idle_timeout():
    """Not after the seconds that silence has when all is out, and not never."""
    async with open_stage(limits={"idle_timeout": "20s"}) as stage:
        client, line = await open_tunnel(stage)
        (tunnel,) = stage.plane.tunnels.values()
        while not tunnel.client_end.stream.unsent:
            await line.send(bytes(65536))
            await trio.sleep(0.001)
        line.close()
        await stage.let_pass(15)
        assert stage.plane.tunnels
        await stage.let_pass(8)
        assert not stage.plane.tunnels
        await stage.wait_connections(0)
        client.close()


@pytest.mark.parametrize("by", ["client", "backend"])
async def test_small_pieces_for_a_slow_reader_cost_like_large_ones(by: str):
    """100,000 frames of a byte kept for a side that does not read: memory for what they are, and one send for many."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        (tunnel,) = stage.plane.tunnels.values()
        writer, reader = (client, line) if by == "client" else (line, client)
        target = (tunnel.backend_end if by == "client" else tunnel.client_end).stream
        sent = 0
        while not target.unsent:
            await writer.send(bytes(65536))
            sent += 65536
            await trio.sleep(0.001)
        pieces = b"\x82\x01x"
        assert isinstance(target, Stream)
        for _ in range(1000):
            target.write_all([pieces] * 30)
        assert len(target._kept.pieces) <= 2 * target.unsent // (64 * 1024) + 2
        assert (await reader.read_exactly(sent + 90_000))[-90_000:] == pieces * 30_000
        assert not target.unsent


async def leaving(stage: Stage, *, within: float = 0.0) -> int:
    """Drain the backend, and have its tunnels closed."""
    stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
    return stage.link.close_tunnels(stage.backend.member, within=within)


async def test_on_a_drain_the_client_is_told_to_come_back():
    """A close frame 1012; its echo reaches the backend, which may end in order."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        await line.send(b"\x81\x02hi")
        await client.read_exactly(4)
        assert await leaving(stage) == 1
        await stage.let_pass(0)
        assert await client.read_exactly(4) == RESTART
        echo = b"\x88\x82abcd\x62\x96"
        await client.send(echo)
        assert await line.read_exactly(8) == echo
        await line.send(b"\x88\x02\x03\xf4")
        line.close()
        assert await client.read_to_end() == b""
        counts = stage.plane.pool_counts("web")
        assert (counts.tunnels_closed, counts.cut) == (1, 0)
        assert stage.backend.in_flight == 0
        (record,) = await stage.wait_records()
        assert (record["status"], record["side"]) == (101, "upstream")


async def test_the_close_frame_waits_for_the_end_of_the_frame_under_way():
    """What the backend says after that is dropped."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        await line.send(b"\x81\x7e\x01")  # in the middle of a head
        await client.read_exactly(3)
        await leaving(stage)
        await stage.let_pass(0)
        await line.send(b"\x00" + b"x" * 200)
        assert await client.read_exactly(201) == b"\x00" + b"x" * 200
        await line.send(b"y" * 56 + b"\x81\x02no")
        assert await client.read_exactly(60) == b"y" * 56 + RESTART
        await line.send(b"\x81\x02no")
        await stage.let_pass(3)
        assert await client.wait_broken() == b""


async def test_a_client_that_does_not_answer_is_not_waited_for():
    """Two seconds."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        await leaving(stage)
        await stage.let_pass(0)
        await stage.let_pass(1)
        assert stage.backend.in_flight == 1
        await stage.let_pass(1.5)
        assert await client.wait_broken() == RESTART
        assert await line.wait_broken() == b""
        assert stage.backend.in_flight == 0


async def test_a_backend_that_has_said_goodbye_is_not_outdone():
    """After its close frame no other may come."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        await line.send(b"\x88\x02\x03\xe8")
        assert await client.read_exactly(4) == b"\x88\x02\x03\xe8"
        await leaving(stage)
        await stage.let_pass(0)
        await stage.let_pass(3)
        assert await client.wait_broken() == b""


async def test_tunnels_are_closed_one_after_the_other():
    """Spread, so that their clients do not come back all at once."""
    async with open_stage() as stage:
        pairs = [await open_tunnel(stage) for _ in range(4)]
        assert await leaving(stage, within=8.0) == 4
        await stage.let_pass(0)
        for expected in (1, 2, 3, 4):
            assert stage.plane.pool_counts("web").tunnels_closed == expected
            await stage.let_pass(2.0)
        for client, _ in pairs:
            assert await client.wait_broken() == RESTART


@pytest.mark.parametrize(("leave_within", "told"), [(0.1, 1), (0.0, 0)])
async def test_a_release_tells_tunnels_to_leave_only_where_it_says_so(leave_within: float, told: int):
    """In the last seconds before the deadline; what does not leave by then is cut."""
    async with open_stage() as stage:
        client, _line = await open_tunnel(stage)
        stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
        deadline = trio.current_time() + 0.2
        released = await stage.link.release(stage.backend.member, deadline=deadline, leave_within=leave_within)
        assert released.cut == 1
        assert stage.plane.pool_counts("web").tunnels_closed == told
        assert await client.wait_broken() == RESTART


async def test_cut_ends_what_is_left_and_tells_if_it_can():
    """Between two frames; in the middle of one there is nothing to be said."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        other, _other_line = await open_tunnel(stage)
        await line.send(b"\x81\x05he")
        await client.read_exactly(4)
        stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
        released = await stage.link.release(stage.backend.member, deadline=trio.current_time())
        assert released.cut == 2
        assert await client.wait_broken() == b""
        assert await other.wait_broken() == RESTART
        assert stage.plane.pool_counts("web").cut == 2
        assert stage.backend.in_flight == 0
        assert stage.link.connections_to(stage.backend.member) == 0


async def test_a_stop_of_the_proxy_leaves_tunnels_their_time():
    """Then 1001; found: tunnels were closed at once, without a word."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await stage.plane.drain_downstream(timeout=8.0)

            nursery.start_soon(stop)
            await stage.settle()
            await client.send(b"still")
            assert await line.read_exactly(5) == b"still"
            await stage.let_pass(6.5)
            assert await client.read_exactly(4) == GOING_AWAY
            client.close()
            line.close()
        assert stage.plane.tunnels == {}


async def test_a_backend_that_is_removed_takes_its_tunnels_with_it():
    """Nobody waits for bytes of a process that is gone."""
    async with open_stage() as stage:
        client, line = await open_tunnel(stage)
        stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
        stage.pool.remove(stage.backend.member)
        assert await client.wait_broken() == b""
        assert await line.wait_broken() == b""


async def test_only_a_valid_handshake_is_passed_on_as_one():
    """Without a key it is an ordinary request (P8)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(HANDSHAKE.replace(b"Key: dGhl", b"Key: dGh"))
        line = await stage.backend.accept()
        assert b"Upgrade" not in await line.read_head()
