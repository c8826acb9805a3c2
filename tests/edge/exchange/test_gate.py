"""Holding: who waits for a backend, how long, in which order, and who is turned away."""

from __future__ import annotations

import re

import pytest
import trio

from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.edge.exchange.exchange import Exchange
from hotswap.edge.exchange.gate import STEP
from tests.support.stage import GET, OK, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)


def get(number: int) -> bytes:
    """A request that can be told from others."""
    return GET.replace(b"/ ", b"/%d " % number)


async def test_requests_wait_for_a_backend_that_is_starting_in_their_order():
    """First in, first out; the record says how long."""
    async with open_stage(backends=0, supervised=True, max_in_flight=1) as stage:
        backend = await stage.add_backend(slot=0, ready=False)
        clients = []
        for number in range(3):
            client = await stage.connect()
            await client.send(get(number))
            await stage.wait_held(number + 1)
            clients.append(client)
        assert len(stage.plane.gates["web"].held) == 3
        await stage.let_pass(2)
        stage.pool.move(backend.member, BackendState.READY, now=0.0)
        stage.pool.set_health(backend.member, Health.HEALTHY)
        line = await backend.accept()
        for number, client in enumerate(clients):
            assert (await line.read_head()).startswith(b"GET /%d " % number)
            await line.send(OK)
            await client.read_response()
        records = await stage.wait_records(3)
        assert [record["held"] >= 2000 for record in records] == [True, True, True]
        counts = stage.plane.pool_counts("web")
        assert counts.held == 3
        assert counts.longest_hold >= 2
        assert stage.plane.pool_counts("web") == counts
        stage.plane.restart_longest_hold("web")
        assert stage.plane.pool_counts("web").longest_hold == 0
        assert len(stage.plane.gates["web"].held) == 0


async def test_one_more_than_may_wait_is_turned_away():
    """503 with a moment to come back, which is not the same for all."""
    async with open_stage(backends=0, supervised=True, pool={"hold_limit": 1}) as stage:
        await stage.add_backend(slot=0, ready=False)
        first = await stage.connect()
        await first.send(GET)
        await stage.wait_held(1)
        moments = set()
        for _ in range(30):
            client = await stage.connect()
            await client.send(GET)
            head, body = await client.read_response()
            assert head.startswith(b"HTTP/1.1 503 ")
            assert body == b"503 Service Unavailable\n"
            moments |= set(re.findall(rb"\r\nRetry-After: (\d+)\r\n", head))
        assert len(moments) > 1


async def test_who_is_turned_away_is_told_when_the_next_start_is_due():
    """As long as the last start took, less what has passed of this one; never before, and spread."""
    async with open_stage(backends=0, supervised=True, pool={"hold_limit": 0}) as stage:

        async def told() -> list[int]:
            moments = []
            for _ in range(20):
                client = await stage.connect()
                await client.send(GET)
                head, _ = await client.read_response()
                moments += [int(moment) for moment in re.findall(rb"\r\nRetry-After: (\d+)\r\n", head)]
            assert len(moments) == 20
            return moments

        first = await stage.add_backend(slot=0, ready=False)
        await stage.let_pass(20)
        stage.pool.move(first.member, BackendState.READY, now=0.0)
        stage.pool.set_health(first.member, Health.HEALTHY)
        stage.pool.move(first.member, BackendState.DRAINING, now=0.0)
        await stage.add_backend(slot=0, ready=False)
        moments = await told()
        assert 20 <= min(moments) < max(moments) <= 30
        await stage.let_pass(14)
        moments = await told()
        assert 6 <= min(moments) < max(moments) <= 9


async def test_nobody_waits_longer_than_the_hold_timeout():
    """503, and the queue is empty."""
    async with open_stage(backends=0, supervised=True, pool={"hold_timeout": "5s"}) as stage:
        await stage.add_backend(slot=0, ready=False)
        client = await stage.connect()
        await client.send(GET)
        await stage.wait_held(1)
        await stage.let_pass(5.1)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 503 ")
        await stage.wait_held(0)
        (record,) = await stage.wait_records()
        assert (record["side"], record["held"] >= 5000) == ("upstream", True)


async def test_without_hope_nobody_waits():
    """A static pool whose only address is unhealthy: 503 at once."""
    async with open_stage() as stage:
        stage.pool.set_health(stage.backend.member, Health.UNHEALTHY)
        client = await stage.connect()
        await client.send(GET)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 503 ")


async def test_hope_that_is_lost_ends_the_wait():
    """All of them are answered, and their records say how long they waited."""
    async with open_stage(backends=0, supervised=True) as stage:
        backend = await stage.add_backend(slot=0, ready=False)
        clients = []
        for number in range(3):
            client = await stage.connect()
            await client.send(GET)
            await stage.wait_held(number + 1)
            clients.append(client)
        await stage.let_pass(1)
        stage.pool.move(backend.member, BackendState.FAILED, now=0.0)
        stage.pool.lock("it failed")
        for client in clients:
            assert (await client.read_response())[0].startswith(b"HTTP/1.1 503 ")
        assert all(record["held"] >= 1000 for record in await stage.wait_records(3))


async def test_a_pause_holds_and_a_resume_lets_go_without_a_stampede():
    """Sixty-four at once, the others a moment later."""
    async with open_stage() as stage:
        stage.pool.pause()
        clients = []
        for _ in range(70):
            client = await stage.connect()
            await client.send(GET)
            clients.append(client)
        await stage.wait_held(70)
        stage.pool.resume()
        assert stage.backend.in_flight == 0  # not in the middle of somebody's call
        stage.plane.gates["web"].let_in()
        assert (stage.backend.in_flight, len(stage.plane.gates["web"].held)) == (STEP, 70 - STEP)
        await stage.wait_in_flight(70)
        assert stage.plane.pool_counts("web").held == 70


async def test_who_comes_later_does_not_overtake():
    """A request that meets a queue joins it, even if a backend has just become free."""
    async with open_stage(max_in_flight=1) as stage:
        first = await stage.connect()
        await first.send(get(1))
        line = await stage.backend.accept()
        await line.read_head()
        second, third = await stage.connect(), await stage.connect()
        await second.send(get(2))
        await stage.wait_held(1)
        await third.send(get(3))
        await stage.wait_held(2)
        for number, client in ((2, first), (3, second)):
            await line.send(OK)
            await client.read_response()
            assert (await line.read_head()).startswith(b"GET /%d " % number)
        await line.send(OK)
        await third.read_response()


@pytest.mark.parametrize("request_bytes", [GET, GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")])
async def test_a_client_that_leaves_while_it_waits_is_forgotten(request_bytes):
    """With a body under way too (found by reading: it stayed in the queue)."""
    async with open_stage(backends=0, supervised=True) as stage:
        await stage.add_backend(slot=0, ready=False)
        client = await stage.connect()
        await client.send(request_bytes)
        await stage.wait_held(1)
        client.close()
        await stage.wait_held(0)
        assert (await stage.wait_records())[0]["status"] == 499


async def test_the_body_of_one_who_waits_stays_with_the_client():
    """Only what came with the head has been read."""
    async with open_stage(backends=0, supervised=True) as stage:
        backend = await stage.add_backend(slot=0, ready=False)
        client = await stage.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        await stage.wait_held(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"x" * 200000)
            await stage.settle()
            (held,) = stage.plane.gates["web"].held
            assert isinstance(held, Exchange)
            assert held.request_bytes == 0
            await stage.let_pass(20)
            stage.pool.move(backend.member, BackendState.READY, now=0.0)
            stage.pool.set_health(backend.member, Health.HEALTHY)
            line = await backend.accept()
            await line.read_head()
            await line.read_exactly(200000)
            await line.send(OK)
            await client.read_response()


async def held_and_in_flight(stage: Stage):
    """One exchange in the backend, one that waits."""
    first, second = await stage.connect(), await stage.connect()
    await first.send(GET)
    line = await stage.backend.accept()
    await line.read_head()
    await second.send(GET)
    await stage.wait_held(1)
    return first, second, line


async def test_a_pool_that_is_dropped_answers_everybody():
    """Whoever waits, and whoever is inside; nothing is tried again (found by reading: it was)."""
    async with open_stage(max_in_flight=1) as stage:
        first, second, line = await held_and_in_flight(stage)
        stage.plane.drop_pool("web")
        for client in (first, second):
            assert (await client.read_response())[0].startswith(b"HTTP/1.1 503 ")
        assert await line.wait_broken() == b""
        await first.send(GET)
        assert (await first.read_response())[0].startswith(b"HTTP/1.1 503 ")
        assert stage.backend.in_flight == 0


async def test_an_exchange_with_a_defect_does_not_keep_the_others_waiting():
    """It is answered with 500, its claim is released, and the next one is let in (found by reading)."""
    async with open_stage(backends=0, supervised=True) as stage:
        backend = await stage.add_backend(slot=0, ready=False)
        first, second = await stage.connect(), await stage.connect()
        await first.send(GET)
        await stage.wait_held(1)
        await second.send(GET)
        await stage.wait_held(2)
        broken = stage.plane.gates["web"].held[0]
        assert isinstance(broken, Exchange)
        broken.target = None  # type: ignore[assignment]  # what no code should ever do
        stage.pool.move(backend.member, BackendState.READY, now=0.0)
        stage.pool.set_health(backend.member, Health.HEALTHY)
        assert (await first.read_response())[0].startswith(b"HTTP/1.1 500 ")
        await stage.settle()
        for line in (await backend.accept(), await backend.accept()):  # the broken one had connected
            if await line.read() != b"":
                await line.send(OK)
        assert (await second.read_response())[1] == b"ok"
        assert backend.in_flight == 0
        assert len(stage.log.defects) == 1
