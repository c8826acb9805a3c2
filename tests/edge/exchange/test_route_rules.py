"""Limits of a route in place of its listener's and its pool's, over HTTP/1 and HTTP/2."""

from __future__ import annotations

import math

import pytest
import trio

from hotswap.core.config import RouteTable
from hotswap.core.http.contents import NO_CONTENTS
from hotswap.edge.client.http1_connection import Http1Connection
from hotswap.edge.client.http2_connection import Http2Connection
from hotswap.edge.client.http2_stream import Http2Stream
from hotswap.edge.exchange.route_rules import make_rules
from tests.support.http2_client import Http2Client, connect_http2
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)

UPGRADE = (
    b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
UPLOAD = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/up"), (b":authority", b"x")]
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def post(length: int) -> bytes:
    """The head of an upload."""
    return b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length


def routes(**own: object) -> tuple[RouteTable, ...]:
    """A route with limits of its own below /up, and one without."""
    return (
        RouteTable.model_validate({"path": "/up", "pool": "web", **own}),
        RouteTable(pool="web"),
    )


async def test_what_a_route_does_not_say_is_inherited():
    """And "unlimited" and "0s" are something else than nothing."""
    async with open_stage() as stage:
        assert make_rules(RouteTable(pool="web"), NO_CONTENTS, stage.plane) is None
        table = RouteTable.model_validate({"pool": "web", "body_bytes": "unlimited"})
        rules = make_rules(table, NO_CONTENTS, stage.plane)
        assert rules is not None
        assert (rules.body_bytes, rules.response_timeout, rules.idle_timeout) == (math.inf, None, None)
        table = RouteTable.model_validate({"pool": "web", "response_timeout": "0s", "body_bytes": "0B"})
        rules = make_rules(table, NO_CONTENTS, stage.plane)
        assert rules is not None
        assert (rules.body_bytes, rules.response_timeout) == (0, 0.0)


@pytest.mark.parametrize(
    ("listener", "own", "size", "taken"),
    [
        ("10B", "1KiB", 1000, True),
        ("10B", "unlimited", 5000, True),
        ("10B", "1KiB", 2000, False),
        ("1KiB", "10B", 11, False),
        ("unlimited", "10B", 11, False),
        ("10B", "", 11, False),
    ],
)
@pytest.mark.parametrize("early", [True, False])
async def test_a_route_raises_or_lowers_the_longest_body(listener: str, own: str, size: int, taken: bool, early: bool):
    """Also of what came together with the head, before it was known which route it is for."""
    async with open_stage(limits={"body_bytes": listener}, routes=routes(body_bytes=own)) as stage:
        client = await stage.connect()
        await client.send(post(size) + (b"x" * size if early else b""))
        if not taken:
            assert (await client.read_head()).startswith(b"HTTP/1.1 413 ")
            return
        line = await stage.backend.accept()
        await line.read_head()
        if not early:
            await client.send(b"x" * size)
        assert await line.read_exactly(size) == b"x" * size
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


async def test_a_body_in_chunks_is_counted_against_the_limit_of_its_route():
    """Of whatever came before the routing and after it."""
    async with open_stage(limits={"body_bytes": "4B"}, routes=routes(body_bytes="8B")) as stage:
        client = await stage.connect()
        await client.send(b"POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n")
        line = await stage.backend.accept()
        await line.read_until(b"abcdef\r\n")
        await client.send(b"3\r\nghi\r\n")
        assert (await client.read_head()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("size", [8, 9])
async def test_a_body_of_http2_is_counted_against_the_limit_of_its_route(size: int):
    """Which is above that of the listener."""
    async with open_stage(limits={"body_bytes": "4B"}, routes=routes(body_bytes="8B")) as stage:
        client = await connect_http2(stage)
        await client.request(1, UPLOAD, b"x" * size)
        if size <= 8:
            line = await stage.backend.accept()
            await line.read_until(b"x" * size)
            await line.send(OK)
        await client.wait_end(1)
        assert client.status(1) == (200 if size <= 8 else 413)


@pytest.mark.parametrize(("own", "status"), [("5s", 504), ("0s", 200), ("2m", 200), ("", 504)])
async def test_a_route_says_how_long_a_backend_may_take(own: str, status: int):
    """ "0s" is for ever; nothing is what the pool says."""
    async with open_stage(pool={"response_timeout": "20s"}, routes=routes(response_timeout=own)) as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"/ ", b"/up "))
        line = await stage.backend.accept()
        await line.read_head()
        await stage.let_pass(6 if own == "5s" else 100)
        if status == 200:
            await line.send(OK)
        assert (await client.read_head()).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("own", ["5s", "10m"])
async def test_a_route_says_how_long_a_body_may_pause(own: str):
    """In place of the listener; between requests it is the listener that says so."""
    async with open_stage(limits={"idle_timeout": "60s"}, routes=routes(idle_timeout=own)) as stage:
        client = await stage.connect()
        await client.send(post(4) + b"a")
        line = await stage.backend.accept()
        await line.read_until(b"a")
        await stage.let_pass(6 if own == "5s" else 500)
        if own == "5s":
            assert (await client.read_head()).startswith(b"HTTP/1.1 408 ")
            return
        await client.send(b"bcd")
        await line.read_until(b"bcd")
        await line.send(OK)
        await client.read_response()
        await stage.let_pass(61)
        assert await client.read_to_end() == b""


async def test_a_patient_route_does_not_make_a_client_look_slow():
    """The rate of a body is reckoned from when the client was asked for it, whatever timeouts are in force."""
    async with open_stage(limits={"idle_timeout": "5s"}, routes=routes(idle_timeout="10m")) as stage:
        client = await stage.connect()
        await client.send(post(100_000))
        line = await stage.backend.accept()
        await line.read_head()
        for _ in range(4):
            await client.send(b"x" * 25_000)
            await line.read_exactly(25_000)
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


@pytest.mark.parametrize("own", ["5s", "10m"])
async def test_a_route_says_how_long_a_body_of_http2_may_pause(own: str):
    """As over HTTP/1."""
    async with open_stage(limits={"idle_timeout": "60s"}, routes=routes(idle_timeout=own)) as stage:
        client = await connect_http2(stage)
        await client.send(client.write.headers(1, UPLOAD, end=False), client.write.data(1, b"a"))
        line = await stage.backend.accept()
        await line.read_until(b"1\r\na\r\n")
        await stage.let_pass(6 if own == "5s" else 500)
        if own == "10m":
            await client.send(client.write.data(1, b"b", end=True))
            await line.read_until(b"0\r\n\r\n")
            await line.send(OK)
        await client.wait_end(1)
        assert client.status(1) == (408 if own == "5s" else 200)


@pytest.mark.parametrize(
    ("own", "survives", "open_window"), [("5s", False, False), ("10m", True, False), ("10m", True, True)]
)
async def test_a_route_says_how_long_a_client_of_http2_may_not_read(own: str, survives: bool, open_window: bool):
    """Whether its windows are used up or its socket is full; of a full socket, the most patient stream says so."""
    async with open_stage(limits={"idle_timeout": "60s"}, routes=routes(idle_timeout=own)) as stage:
        window = {4: 2**31 - 1} if open_window else None
        client = Http2Client(await stage.connect(receive_buffer=4096), opens=False)
        await client.greet(window)
        if open_window:
            await client.send(client.write.window(0, 2**31 - 1 - 65535))
        await client.send(client.write.headers(1, UPLOAD, end=True))
        line = await stage.backend.accept()
        await line.read_head()
        await fill(stage, line)
        await stage.let_pass(500 if survives else 6)
        assert stage.in_flight == (1 if survives else 0)


@pytest.mark.parametrize(("own", "survives"), [("5s", False), ("10m", True)])
async def test_a_route_says_how_long_a_backend_may_pause_in_its_answer(own: str, survives: bool):
    """Such as one of server-sent events that are far between."""
    async with open_stage(limits={"idle_timeout": "60s"}, routes=routes(idle_timeout=own)) as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"/ ", b"/up "))
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await client.read_until(b"ab")
        await stage.let_pass(500 if survives else 6)
        if survives:
            await line.send(b"cd")
            assert await client.read_exactly(2) == b"cd"
        else:
            assert await client.wait_broken() == b""


@pytest.mark.parametrize(("own", "survives"), [("5s", False), ("10m", True)])
async def test_a_route_says_how_long_a_websocket_may_be_idle(own: str, survives: bool):
    """In place of the listener."""
    async with open_stage(limits={"idle_timeout": "60s"}, routes=routes(idle_timeout=own)) as stage:
        client = await stage.connect()
        await client.send(UPGRADE)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(SWITCHED)
        assert (await client.read_head()).startswith(b"HTTP/1.1 101 ")
        await stage.let_pass(500 if survives else 6)
        if survives:
            await line.send(b"hi")
            assert await client.read_exactly(2) == b"hi"
        else:
            assert await client.wait_broken() == b""


@pytest.mark.parametrize(("own", "survives"), [("5s", False), ("10m", True)])
async def test_a_route_says_how_long_a_client_may_not_read(own: str, survives: bool):
    """A slow reader of a route that is patient is waited for."""
    async with open_stage(limits={"idle_timeout": "60s"}, routes=routes(idle_timeout=own)) as stage:
        client = await stage.connect(receive_buffer=4096)
        await client.send(GET.replace(b"/ ", b"/up "))
        line = await stage.backend.accept()
        await line.read_head()
        await fill(stage, line)
        await stage.let_pass(500 if survives else 6)
        assert stage.in_flight == (1 if survives else 0)


async def fill(stage: Stage, line: Line) -> None:
    """Answer with more than the sockets on the way take."""
    (connection,) = stage.plane.listeners["public"].connections
    filled = next(iter(connection.streams.values())) if isinstance(connection, Http2Connection) else connection
    assert isinstance(filled, Http1Connection | Http2Stream)
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n")
    while not filled.backed_up:
        await line.send(bytes(65536))
        await trio.sleep(0.001)
