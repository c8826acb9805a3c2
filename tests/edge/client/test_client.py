"""Nothing outlives its peer: whatever a client connection is doing, and whichever way the client ends.

In every state of every kind of connection the client resets, hangs up, closes its half, or says and takes nothing any
more. Afterwards no connection, exchange, claim, tunnel, descriptor or deadline of it is left, and a graceful stop has
nothing to wait for.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from hotswap.edge.client.http1_connection import Http1Connection
from hotswap.edge.client.http2_connection import Http2Connection
from hotswap.edge.loop.sockets import LOST_AFTER
from hotswap.edge.loop.timers import HORIZON
from tests.support.certificates import issue_certificate
from tests.support.http2_client import connect_http2
from tests.support.lives import BEGINNINGS, HTTP1, HTTP2, State
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(30)

TIMEOUT = 2
"""Seconds that each side has for its next byte."""
LIMITS = {"idle_timeout": f"{TIMEOUT}s", "header_timeout": f"{TIMEOUT}s"}
POOL = {"response_timeout": f"{TIMEOUT}s", "hold_timeout": f"{TIMEOUT}s"}
STEP = 6.0
"""Seconds that pass at a time: longer than any one timeout, those of lingering and connecting included."""


def reset(line: Line) -> None:
    """End with a reset."""
    line.reset()


def hang_up(line: Line) -> None:
    """Close both halves: a reset too, if something was not read."""
    line.close()


def close_half(line: Line) -> None:
    """Say that nothing more is said."""
    line.sock.shutdown(socket.SHUT_WR)


def be_silent(line: Line) -> None:
    """Say and take nothing any more."""


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def is_left(stage: Stage) -> list[str]:
    """What the proxy still has of its clients."""
    gate = stage.plane.gates["web"]
    found = {
        "connections": len(stage.plane.listeners["public"].connections),
        "counted": stage.plane.tally.connections["public"],
        "in flight": stage.in_flight,
        "held": len(gate.held),
        "tunnels": len(stage.plane.tunnels),
        "busy upstreams": sum(len(up.connections) - len(up.idle) for up in gate.upstreams.values()),
    }
    return [f"{name}: {number}" for name, number in found.items() if number]


async def assert_nothing_is_left(stage: Stage) -> None:
    """At once, as the clock goes that a test turns."""
    with trio.move_on_after(2):
        while is_left(stage):
            await trio.sleep(0.002)
    assert not is_left(stage)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a listener that speaks both versions, and of a client."""
    issued = issue_certificate(tmp_path_factory.mktemp("tls"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(issued.cert, issued.key)
    server.set_alpn_protocols(["h2", "http/1.1"])
    return server, issued.trusting


def cases() -> Iterator[Any]:
    """Every state of every kind of connection."""
    for state in BEGINNINGS:
        yield pytest.param("preamble", state, id=f"preamble-{state.__name__}")
        yield pytest.param("handshake", state, id=f"handshake-{state.__name__}")
    for kind in ("plain", "tls"):
        for state in HTTP1:
            yield pytest.param(kind, state, id=f"{kind}-{state.__name__}")
        for state in HTTP2:
            yield pytest.param(kind, state, id=f"{kind}-{state.__name__}")


@pytest.mark.parametrize("end", [reset, hang_up, close_half, be_silent])
@pytest.mark.parametrize(("kind", "state"), [*cases()])
async def test_no_connection_outlives_its_client(kind: str, state: State, end: Any, contexts, tmp_path: Path):
    """See the module; after a reset not even time has to pass."""
    server, client = contexts
    settings: dict[str, Any] = {"proxy_protocol": True} if kind == "preamble" else {}
    context = server if kind in ("tls", "handshake") else None
    async with open_stage(backends=0, limits=LIMITS, pool=POOL, context=context, **settings) as stage:
        await stage.add_backend(slot=0, path=tmp_path / "backend" if "connecting" in state.__name__ else None)

        async def dial() -> Line:
            if kind != "tls":
                return await stage.connect(receive_buffer=4096)
            client.set_alpn_protocols(["h2" if state in HTTP2 else "http/1.1"])
            return await stage.connect_tls(client)

        await stage.settle()
        before = descriptors()
        lines = await state(stage, dial)
        assert isinstance(lines[0], Line)
        while not stage.plane.listeners["public"].connections:
            await trio.sleep(0.001)
        end(lines[0])
        if end is not reset:
            for _ in range(12):
                await stage.settle()
                if not is_left(stage):
                    break
                await stage.let_pass(STEP)
        await assert_nothing_is_left(stage)
        for _ in range(3):  # what has no deadline any more leaves the heap when its place is looked at
            stage.clock.now += 2 * HORIZON
            stage.plane.poller.run_deadlines()
        assert len(stage.plane.poller.timers) == 0
        for line in lines:
            line.close()
        assert descriptors() == before
        with trio.fail_after(1):
            await stage.plane.drain_downstream(timeout=60)
        assert stage.log.defects == []


async def test_a_reset_behind_the_end_of_the_handshake_is_heard(contexts):
    """One packet with Finished and a whole request, and a reset with it: who owned the socket then is not who does
    afterwards."""
    server, trusting = contexts
    async with open_stage(limits=LIMITS, pool=POOL, context=server) as stage:
        before = descriptors()
        trusting.set_alpn_protocols(["http/1.1"])
        for _ in range(20):
            line = await stage.connect()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            await line.send(outgoing.read())
            while True:
                incoming.write(await line.read())
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    pass
            client.write(GET)
            await line.send(outgoing.read())
            line.reset()
        await assert_nothing_is_left(stage)
        await stage.let_pass(STEP)
        assert descriptors() == before


async def test_an_answer_that_finds_its_client_gone_ends_the_connection(contexts):
    """Whoever else should have heard of the reset: what ends an exchange ends its connection."""
    async with open_stage(limits=LIMITS, pool=POOL) as stage:
        line = await stage.connect()
        await line.send(GET)
        backend = await stage.backend.accept()
        await backend.read_head()
        (connection,) = stage.plane.listeners["public"].connections
        assert isinstance(connection, Http1Connection)
        stage.plane.poller.hand_over(connection.stream.fd, Deaf())
        line.reset()
        await stage.settle()
        assert is_left(stage)
        await backend.send(OK)
        await assert_nothing_is_left(stage)


async def test_a_client_whose_end_nobody_heard_of_is_looked_for(contexts):
    """No connection that has a descriptor waits for ever."""
    async with open_stage(limits=LIMITS, pool={"response_timeout": "0s"}) as stage:
        for dial in (stage.connect, lambda: connect_http2(stage)):
            client = await dial()
            line = client if isinstance(client, Line) else client.line
            await (line.send(GET) if isinstance(client, Line) else client.request(1))
            backend = await stage.backend.accept()
            await backend.read_head()
            for _ in range(3):
                await stage.let_pass(STEP)
            (connection,) = stage.plane.listeners["public"].connections
            assert isinstance(connection, Http1Connection | Http2Connection)
            stage.plane.poller.hand_over(connection.stream.fd, Deaf())
            line.reset()
            await stage.let_pass(STEP)
            await assert_nothing_is_left(stage)


async def test_a_client_that_is_lost_without_a_word_is_asked_for():
    """By the kernel, also while a backend takes its time."""
    async with open_stage() as stage:
        await stage.connect()
        await stage.wait_connections(1)
        (connection,) = stage.plane.listeners["public"].connections
        assert isinstance(connection, Http1Connection)
        sock = connection.stream.sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == LOST_AFTER


class Deaf:
    """A handler that hears of nothing."""

    def on_ready(self, events: int) -> None:
        """Forget it."""

    def on_crash(self, error: Exception) -> None:
        """There is nothing to contain."""
