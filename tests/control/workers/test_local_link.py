"""What control says to the data plane in its own process, and what it hears: views, releases, reports."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from hotswap.core.config import StaticPoolTable
from hotswap.core.pool.events import BackendDrained
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.outlook import Outlook
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.withdrawal import Released
from hotswap.core.strategy import Balance
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)


class Asked:
    """A release that was asked for, and its answers so far."""

    def __init__(self) -> None:
        self.answers: list[Released] = []

    async def ask(self, stage: Stage, *, seconds: float) -> None:
        """Ask for the release of the first backend."""
        deadline = trio.current_time() + seconds
        self.answers.append(await stage.link.release(stage.backend.member, deadline=deadline))


async def begin(stage: Stage) -> tuple[Line, Line]:
    """An exchange in flight in a backend that drains."""
    client = await stage.connect()
    await client.send(GET)
    line = await stage.backend.accept()
    await line.read_head()
    stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
    return client, line


async def test_a_release_is_answered_when_the_exchange_and_its_connection_have_ended():
    """Not before, and nothing was cut; the end of the exchange is told as a drain that is complete."""
    async with open_stage() as stage, trio.open_nursery() as nursery:
        told: list[object] = []
        stage.pool.observe(told.append)
        client, line = await begin(stage)
        asked = Asked()
        nursery.start_soon(partial(asked.ask, stage, seconds=8))
        await stage.settle()
        assert asked.answers == []
        assert told[-1] != BackendDrained(stage.backend.member)
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"
        assert await line.read_to_end() == b""
        await stage.settle()
        assert asked.answers == [Released()]
        assert told.count(BackendDrained(stage.backend.member)) == 1
        assert stage.link.connections_to(stage.backend.member) == 0


async def test_idle_connections_are_closed_and_do_not_keep_it():
    """It is answered in the same instant."""
    async with open_stage() as stage:
        client, line = await stage.exchange()
        assert stage.link.connections_to(stage.backend.member) == 1
        stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
        with trio.fail_after(1):
            assert await stage.link.release(stage.backend.member, deadline=trio.current_time() + 8) == Released()
        assert await line.read_to_end() == b""
        client.close()


async def test_what_is_left_at_the_deadline_is_cut_and_named():
    """And then no connection is left either."""
    async with open_stage() as stage:
        client, _line = await begin(stage)
        released = await stage.link.release(stage.backend.member, deadline=trio.current_time() + 0.05)
        assert released.cut == 1
        assert [view.request_line for view in released.exchanges] == ["GET /"]
        assert stage.link.connections_to(stage.backend.member) == stage.backend.in_flight == 0
        client.close()


async def test_a_release_that_is_taken_back_leaves_the_exchange_alone():
    """The backend is readmitted and goes on."""
    async with open_stage() as stage:
        client, line = await begin(stage)
        with trio.move_on_after(0.02):
            await stage.link.release(stage.backend.member, deadline=trio.current_time() + 8)
        stage.pool.move(stage.backend.member, BackendState.READY, now=0.0)
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"
        assert stage.link.pool_counts("web").outlook is Outlook.CLAIMABLE


async def test_everybody_who_asked_is_answered_once_also_when_the_pool_goes():
    """Nobody waits for what is not there any more."""
    async with open_stage() as stage, trio.open_nursery() as nursery:
        client, _line = await begin(stage)
        first, second = Asked(), Asked()
        for asked in (first, second):
            nursery.start_soon(partial(asked.ask, stage, seconds=8))
        await stage.settle()
        stage.link.drop_pool("web")
        await stage.settle()
        assert (len(first.answers), len(second.answers)) == (1, 1)
        assert await stage.link.release(stage.backend.member, deadline=trio.current_time() + 8) == Released()
        client.close()


async def test_a_backend_that_is_removed_is_released():
    """Its connections were closed by that."""
    async with open_stage(backends=2) as stage, trio.open_nursery() as nursery:
        client = await stage.connect()
        await client.send(GET)
        await stage.settle()
        busy = next(backend for backend in stage.backends if backend.in_flight)
        stage.pool.move(busy.member, BackendState.DRAINING, now=0.0)
        nursery.start_soon(partial(stage.link.release, busy.member, deadline=trio.current_time() + 8))
        await stage.settle()
        stage.pool.remove(busy.member)
        with trio.fail_after(1):
            while len(nursery.child_tasks):
                await trio.sleep(0.002)
        client.close()


async def test_a_backend_that_is_dead_is_released():
    """Whatever of its last response is still on the way to a client goes on."""
    async with open_stage() as stage:
        client, line = await begin(stage)
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                release = partial(stage.link.release, stage.backend.member, deadline=trio.current_time() + 8)
                nursery.start_soon(release)
                await stage.settle()
                stage.pool.move(stage.backend.member, BackendState.STOPPED, now=0.0)
        assert stage.backend.in_flight == 1
        await line.send(b"ok")
        assert (await client.read_response())[1] == b"ok"


async def test_a_pool_that_was_replaced_is_not_followed_any_more():
    """The new one has the name; what the old one does changes nothing."""
    async with open_stage() as stage:
        other = Pool(name="web", balance=Balance.ROUND_ROBIN, size=1, supervised=True)
        stage.link.add_pool(other, StaticPoolTable.model_validate({"addresses": ["127.0.0.1:1"]}))
        stage.pool.pause()
        assert stage.link.pool_counts("web").outlook is Outlook.EXPECTED
        other.lock("nobody fills it")
        assert stage.link.pool_counts("web").outlook is Outlook.HOPELESS
        assert stage.link.in_flight(stage.backend.member) == 0
