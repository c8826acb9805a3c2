"""Deaths that nobody asked for: of a backend, and of the proxy itself."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.client import Connection, Target, open_connection
from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import Hotswap, descendants, living, run_hotswap, wait_gone
from tests.support.load import run_load
from tests.support.pools import command_pool, demo_pool, listeners
from tests.support.trouble import Trouble

UPLOADS = 6
BODY = b"x" * 1000

SURVIVAL = 5.0
"""Seconds that a backend may outlive a killed proxy."""


async def half_upload(target: Target, stack: AsyncExitStack) -> Connection:
    """A POST of which half of the body was sent."""
    connection = await stack.enter_async_context(open_connection(target))
    await connection.send_head("POST", "/upload", headers=[("Content-Length", str(len(BODY)))])
    await connection.send_body(BODY[:500])
    return connection


async def finish_upload(connection: Connection, statuses: list[int]) -> None:
    """The other half, and the status that comes back; the proxy may have answered before it."""
    try:
        await connection.send_body(BODY[500:])
        await connection.send_end()
    except trio.BrokenResourceError:
        pass
    status, _ = await connection.head()
    statuses.append(status)


async def in_flight(hotswap: Hotswap, number: int) -> bool:
    """Whether so many exchanges are inside the backends."""
    return sum(backend["in_flight"] for backend in await hotswap.backends()) >= number


async def refilled(hotswap: Hotswap, victim: int) -> bool:
    """Whether both slots are ready again, without the process that was killed."""
    backends = await hotswap.backends()
    ready = [one for one in backends if one["state"] == "ready" and one["health"] == "healthy"]
    return len(ready) == 2 and victim not in {one["pid"] for one in backends}


async def test_a_killed_backend_hurts_only_what_was_inside_it(tmp_path: Path):
    """Uploads inside it get 502, those beside it succeed, and its slot is filled again from the same release."""
    config = listeners() + demo_pool(tmp_path)
    async with run_hotswap(config, tmp_path) as hotswap, AsyncExitStack() as stack:
        target = await hotswap.target()
        uploads = [await half_upload(target, stack) for _ in range(UPLOADS)]
        await hotswap.wait_until(partial(in_flight, hotswap, UPLOADS))
        (victim, other) = await hotswap.backends()
        inside = victim["in_flight"]
        assert 0 < inside < UPLOADS

        os.kill(victim["pid"], signal.SIGKILL)
        statuses: list[int] = []
        async with trio.open_nursery() as nursery:
            for connection in uploads:
                nursery.start_soon(finish_upload, connection, statuses)
        assert sorted(statuses) == [200] * (UPLOADS - inside) + [502] * inside

        await hotswap.wait_until(partial(refilled, hotswap, victim["pid"]))
        after = {backend["slot"]: backend for backend in await hotswap.backends()}
        assert after[other["slot"]]["pid"] == other["pid"]
        assert [backend["generation"] for backend in after.values()] == [1, 1]


@pytest.mark.fail_after(90)
async def test_a_killed_backend_under_load_is_hardly_noticed(tmp_path: Path):
    """GETs are retried and none fails; a POST fails only if it was inside, with 502; no entry is made twice."""
    config = listeners() + demo_pool(tmp_path)
    clients = 2
    kills = 3
    async with run_hotswap(config, tmp_path) as hotswap:
        async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS, clients=clients, rest=0) as load:
            for _ in range(kills):
                await load.wait_turns(10)
                (victim, _) = await hotswap.backends()
                os.kill(victim["pid"], signal.SIGKILL)
                await hotswap.wait_until(partial(refilled, hotswap, victim["pid"]))
            await load.wait_turns(10)
        for kind, count in load.counts.items():
            allowed = clients * kills if "post" in kind else 0
            assert count.troubles.total() <= allowed, load.table()
            assert all("status 502" in detail for detail in count.details), load.table()
        assert load.troubles_of([Trouble.SERVER_ERROR]) == load.troubles, load.table()
        load.assert_ledger(tmp_path / "notes.sqlite3")


@pytest.mark.parametrize("program", [("faulty.plain",), ("faulty", "ignores-sigterm")])
async def test_no_process_outlives_a_killed_proxy(tmp_path: Path, program: tuple[str, ...]):
    """kill -9 of the proxy: 5 s later nothing that it started is left, backends deaf to SIGTERM included."""
    config = listeners() + command_pool(tmp_path, *program)
    async with run_hotswap(config, tmp_path, stop=False) as hotswap:
        family = descendants(hotswap.pid)
        backends = [backend["pid"] for backend in await hotswap.backends()]
        assert set(backends) <= set(family)
        hotswap.process.kill()
        with trio.move_on_after(SURVIVAL):
            async with trio.open_nursery() as nursery:
                for pid in family:
                    nursery.start_soon(wait_gone, pid)
        assert living(family) == []


async def test_a_killed_proxy_can_be_started_again_at_once(tmp_path: Path):
    """What it left behind (sockets, state) is no obstacle for the next one."""
    config = listeners() + command_pool(tmp_path, "faulty.plain", listen="unix", command=unix_command())
    async with run_hotswap(config, tmp_path, stop=False) as hotswap:
        hotswap.process.kill()
        await hotswap.process.wait()
    async with run_hotswap(config, tmp_path) as hotswap:
        (await hotswap.fetch("/healthz")).expect()


def unix_command() -> list[str]:
    """The plain backend on a path."""
    return [sys.executable, "-m", "faulty.plain", "--unix", "{socket}"]
