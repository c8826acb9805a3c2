"""Passive health: who fails one exchange after the other is left out for a while, and never the last one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from hotswap.core.pool.ejection import FAILURES
from hotswap.core.pool.events import BackendEjected
from hotswap.core.pool.lifecycle import Health
from tests.support.stage import GET, OK, Line, ScriptedBackend, Stage, open_stage

pytestmark = pytest.mark.fail_after(15)

POST = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def serving(backend: ScriptedBackend, answer: bytes = OK) -> AsyncIterator[None]:
    """A backend that answers whatever comes; without an answer it hangs up on every request.

    Nothing of it is left at the end of the block.
    """
    lines: list[Line] = []

    async def serve(line: Line) -> None:
        try:
            while True:
                await line.read_head()
                if not answer:
                    line.close()
                    return
                await line.send(answer)
        except (AssertionError, trio.ClosedResourceError, trio.BrokenResourceError):
            pass  # the proxy hung up

    async def accept(nursery: trio.Nursery) -> None:
        while True:
            lines.append(await backend.accept())
            nursery.start_soon(serve, lines[-1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, nursery)
        yield
        nursery.cancel_scope.cancel()
    for line in lines:
        line.close()


async def ask(client: Line, times: int, request: bytes = GET) -> list[bytes]:
    """So many requests one after the other; gives the statuses."""
    statuses = []
    for _ in range(times):
        await client.send(request)
        statuses.append((await client.read_response())[0].split(b" ", 2)[1])
    return statuses


def left_out(backend: ScriptedBackend) -> bool:
    """Whether it is ejected now."""
    return backend.member.ejected


def retries(stage: Stage) -> int:
    """How many attempts failed and were made elsewhere, so far."""
    return sum(stage.plane.tally.retries.values())


async def test_a_backend_that_refuses_is_left_out_and_comes_back():
    """Five refusals in a row, then none for a second; then it is tried again, and left out for longer."""
    async with open_stage(backends=2) as stage:
        bad, good = stage.backends
        told: list[BackendEjected] = []
        stage.pool.observe(lambda event: told.append(event) if isinstance(event, BackendEjected) else None)
        await bad.refuse()
        async with serving(good):
            client = await stage.connect()
            for ejections in (1, 2):
                assert await ask(client, 30) == [b"200"] * 30
                assert retries(stage) == ejections * FAILURES
                assert left_out(bad)
                assert bad.member.claimable  # it is not the probes that say so
                await stage.let_pass(1.1)
            assert left_out(bad)  # the second time for two seconds
            await stage.let_pass(1.1)
            assert not left_out(bad)
        assert [(event.backend, event.seconds) for event in told] == [
            (bad.member, 1.0),
            (bad.member, 0),
            (bad.member, 2.0),
            (bad.member, 0),
        ]


async def test_a_response_in_between_clears_a_backend():
    """A backend that fails now and then is a backend that works."""
    async with open_stage(backends=2) as stage:
        bad, good = stage.backends
        client = await stage.connect()
        async with serving(good):
            for number in range(1, 4):
                async with serving(bad, b""):
                    while retries(stage) < number * (FAILURES - 1):
                        assert await ask(client, 1) == [b"200"]
                async with serving(bad):
                    assert await ask(client, 4) == [b"200"] * 4
        assert not left_out(bad)


async def test_the_last_one_is_never_left_out():
    """It fails every request, and the next goes to it all the same."""
    async with open_stage() as stage:
        client = await stage.connect()
        async with serving(stage.backend, b""):
            assert await ask(client, 3 * FAILURES, POST) == [b"502"] * (3 * FAILURES)
            assert left_out(stage.backend)
        async with serving(stage.backend):
            assert await ask(client, 2, POST) == [b"200"] * 2


async def test_an_ejected_backend_serves_when_there_is_no_other():
    """Because the other became unhealthy, at once; and it is left out again when the other is back."""
    async with open_stage(backends=2) as stage:
        bad, good = stage.backends
        client = await stage.connect()
        async with serving(bad, b""), serving(good):
            while not left_out(bad):
                await ask(client, 1, POST)
        async with serving(bad):
            stage.pool.set_health(good.member, Health.UNHEALTHY)
            assert await ask(client, 3, POST) == [b"200"] * 3
            assert left_out(bad)
        stage.pool.set_health(good.member, Health.HEALTHY)
        async with serving(good):
            before = bad.in_flight
            assert await ask(client, 6, POST) == [b"200"] * 6
            assert bad.in_flight == before == 0
