"""`hotswap.edge.upstream.upstream`: which connection a request may be sent on, after what came before on it."""

from __future__ import annotations

import pytest

from hotswap.edge.upstream.upstream import MAX_RESTING, REST
from tests.support.stage import GET, OK, Line, Stage, open_stage

HEAD = b"HEAD / HTTP/1.1\r\nHost: example.org\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
BODILESS = {
    "204": (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "204 with a length": (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 43\r\n\r\n"),
    "204 with chunks": (GET, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "304": (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "304 with chunks": (GET, b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "HEAD": (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n"),
    "HEAD without a length": (HEAD, b"HTTP/1.1 200 OK\r\n\r\n"),
}


@pytest.mark.parametrize("late", [EVIL, b"5\r\nhello\r\n0\r\n\r\n"], ids=["a response", "chunks"])
@pytest.mark.parametrize("case", BODILESS)
async def test_a_late_body_where_there_is_none_harms_nobody(case: str, late: bytes):
    """Neither the response that was whole, nor the next one, which is asked for before the body comes."""
    request, answer = BODILESS[case]
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(request)
        line = await stage.backend.serve_one(answer)
        await client.read_head()
        await client.send(GET)
        other = await stage.backend.accept()
        await line.send(late)
        await other.read_head()
        await other.send(OK)
        assert (await client.read_response())[1] == b"ok"
        assert await line.wait_broken() == b""  # nothing was sent on it, and it was closed
        records = await stage.wait_records(2)
        assert [record["error"] for record in records] == ["", ""]


async def rest_one(stage: Stage, client: Line, answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n") -> Line:
    """Have a response without a body, on a new connection to the backend, which rests then."""
    await client.send(GET)
    line = await stage.backend.serve_one(answer)
    await client.read_head()
    return line


async def test_a_connection_that_was_quiet_for_a_while_is_used_again():
    """After a response without a body; the one that has rested longest goes first."""
    async with open_stage() as stage:
        client = await stage.connect()
        lines = [await rest_one(stage, client) for _ in range(2)]
        await stage.let_pass(REST)
        for line in lines:
            await client.send(GET)
            await line.read_head()
            await line.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            await client.read_head()


async def test_few_connections_rest():
    """A backend is not to hold more of them than it can."""
    async with open_stage() as stage:
        client = await stage.connect()
        for _ in range(MAX_RESTING + 3):
            line = await rest_one(stage, client)
        assert await line.wait_broken() == b""
        (upstream,) = stage.plane.gates["web"].upstreams.values()
        assert len(upstream.connections) == MAX_RESTING


async def test_no_more_connections_rest_than_a_backend_serves_at_a_time():
    """Its threads may each wait for one connection's next request (found: others waited for their keep-alive's end)."""
    async with open_stage(max_in_flight=2) as stage:
        client = await stage.connect()
        lines = [await rest_one(stage, client, b"HTTP/1.1 304 Not Modified\r\n\r\n") for _ in range(4)]
        (upstream,) = stage.plane.gates["web"].upstreams.values()
        assert len(upstream.connections) == 2
        for line in lines[:2]:  # those that had rested longest
            assert await line.wait_broken() == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nProxy-Connection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: keep-alive, Upgrade\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nProxy-Connection: close\r\n\r\n",
    ],
)
async def test_what_binds_another_connection_does_not_bind_this_one(answer: bytes):
    """The next response on it is read like the first (found: llhttp took it for data behind the last)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.serve_one(answer)
        while (await client.read_response())[0].startswith(b"HTTP/1.1 103 "):
            pass
        for _ in range(2):
            await client.send(GET)
            await line.read_head()
            await line.send(answer)
            while (head := (await client.read_response())[0]).startswith(b"HTTP/1.1 103 "):
                pass
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
