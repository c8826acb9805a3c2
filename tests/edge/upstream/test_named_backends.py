"""Backends of static pools that are known by a name: connected to over whichever of its addresses works."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from hotswap.core.address import TcpAddress
from hotswap.core.config.pools import HealthTable
from hotswap.edge.loop.endpoint import Endpoint
from hotswap.edge.loop.names import Names
from hotswap.edge.upstream.probe import probe
from tests.support.stage import GET, ScriptedBackend, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)


class Resolver:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.endpoints: tuple[Endpoint, ...] | OSError = ()
        self.may_answer = trio.Event()

    async def ask(self, host: str, port: int) -> tuple[Endpoint, ...]:
        """One lookup."""
        await self.may_answer.wait()
        if isinstance(self.endpoints, OSError):
            raise self.endpoints
        return self.endpoints


@asynccontextmanager
async def open_named() -> AsyncIterator[tuple[Stage, ScriptedBackend, Resolver]]:
    """A backend by the name of backend.test."""
    resolver = Resolver()
    async with open_stage(backends=0) as stage:
        stage.plane.names.ask = resolver.ask
        backend = await stage.add_backend(slot=0, name="backend.test")
        yield stage, backend, resolver


def endpoint_at(backend: ScriptedBackend) -> Endpoint:
    """Where it really listens."""
    return Endpoint(socket.AF_INET, backend.listener.socket.getsockname())


def refusing() -> Endpoint:
    """Nobody listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return Endpoint(socket.AF_INET, sock.getsockname())


def silent(stack: AsyncExitStack) -> Endpoint:
    """A listener whose queue is full: what comes is neither taken nor refused."""
    listening = stack.enter_context(socket.socket())
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    for _ in range(3):
        caller = stack.enter_context(socket.socket())
        caller.setblocking(False)
        caller.connect_ex(listening.getsockname())
    return Endpoint(socket.AF_INET, listening.getsockname())


async def test_a_request_waits_for_the_first_lookup_and_nobody_else_does():
    """Found: each connect asked the resolver in the loop, and all clients of all pools waited for it."""
    async with open_named() as (stage, backend, resolver):
        client = await stage.connect()
        await client.send(GET)
        await stage.settle()
        other = await stage.connect()
        await other.send(b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n")  # answered by the proxy itself
        assert (await other.read_response())[0].startswith(b"HTTP/1.1 400 ")
        resolver.endpoints = (endpoint_at(backend),)
        resolver.may_answer.set()
        await stage.let_pass(1)
        await backend.serve_one()
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 200 ")


async def test_a_name_that_nobody_answers_for_is_a_failed_connect_after_some_seconds():
    """Until then the backend is not blamed."""
    async with open_named() as (stage, backend, _):
        client = await stage.connect()
        await client.send(GET)
        for _ in range(4):
            await stage.let_pass(1)
        assert backend.in_flight == 0
        assert not stage.plane.gates["web"].ejections.suspects
        for _ in range(4):
            await stage.let_pass(1)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 502 ")


async def test_a_name_without_an_address_is_a_failed_connect():
    """Found: it was a defect of ours, and 500."""
    async with open_named() as (stage, _, resolver):
        resolver.endpoints = socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
        resolver.may_answer.set()
        client = await stage.connect()
        await client.send(GET)
        for _ in range(4):
            await stage.let_pass(0.3)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 502 ")
        (record,) = await stage.wait_records()
        assert record["error"] == "backend.test: No address associated with hostname"


@pytest.mark.parametrize("bad", ["refusing", "silent", "no family"])
async def test_the_first_address_that_works_is_used_and_remembered(bad: str):
    """One that refuses is left at once, one that is silent after a quarter of a second."""
    async with open_named() as (stage, backend, resolver):
        worse = {
            "refusing": refusing,
            "silent": lambda: silent(stage.stack),
            "no family": lambda: Endpoint(socket.AF_AX25, ("", 0)),
        }[bad]()
        good = endpoint_at(backend)
        resolver.endpoints = (worse, good)
        resolver.may_answer.set()
        client = await stage.connect()
        await client.send(GET)
        await stage.let_pass(0.3)
        await stage.let_pass(0.3)
        line = await backend.serve_one()
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 200 ")
        name = stage.plane.names.name("backend.test", good.address[1])
        assert name.endpoints[0] == good
        line.close()


async def test_an_address_that_was_only_slow_has_the_rest_of_the_time():
    """When all others have failed."""
    async with open_named() as (stage, _, resolver):
        slow = silent(stage.stack)
        resolver.endpoints = (slow, refusing())
        resolver.may_answer.set()
        client = await stage.connect()
        await client.send(GET)
        await stage.let_pass(0.3)
        await stage.let_pass(0.3)
        (connection,) = next(iter(stage.plane.gates["web"].upstreams.values())).connections
        assert connection.connecting
        assert connection.endpoint == slow
        for _ in range(9):  # three tries
            await stage.let_pass(6)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("bad", [refusing, None], ids=["refusing", "silent"])
async def test_a_probe_goes_the_same_way(bad):
    """What it finds is what exchanges use (found: it took any family, and they took one)."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        stack.callback(listener.socket.close)
        good = Endpoint(socket.AF_INET, listener.socket.getsockname())
        worse = bad() if bad else silent(stack)

        async def ask(host: str, port: int) -> tuple[Endpoint, ...]:
            return worse, good

        async def answer() -> None:
            async with await listener.accept() as stream:
                await stream.receive_some(65536)
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        names = Names(trio.current_time, ask)
        await nursery.start(names.serve)
        nursery.start_soon(answer)
        address = TcpAddress("backend.test", good.address[1])
        result = await probe(address, HealthTable.model_validate({"timeout": "5s"}), pool="web", names=names)
        assert result.ok
        assert names.name("backend.test", good.address[1]).endpoints == (good, worse)
        nursery.cancel_scope.cancel()
