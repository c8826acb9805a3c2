"""Many connections that do nothing, or next to nothing: what they take of the proxy, and of those who work."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest
import trio

from tests.support.client import Target, open_connection
from tests.support.crowd import run_crowd
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.metronome import run_metronome
from tests.support.pools import command_pool, listeners

IDLE = 2000
IDLE_BYTES = 20 * 1024
"""What one idle connection may take of the proxy's memory, plain; the kernel's buffers are not in it."""
SLOW = 1000
HEADER_TIMEOUT = 1.0
STEADY_SECONDS = 3.0
"""How long the steady client is looked at, before and meanwhile: the slow ones run into the timeout and come again."""
NOISE = 0.004
"""Seconds of a p99 that a shared machine takes without being asked."""
KEPT = 3 << 20
"""Bytes of memory that may be left behind: what is made once, and holes."""


def memory_of(pid: int) -> int:
    """What a process has in memory now, in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


async def connections_of(hotswap: Hotswap) -> int:
    """How many clients the listener has."""
    return int((await hotswap.status())["listeners"]["public"]["connections"])


async def wait_connections(hotswap: Hotswap, count: int) -> None:
    """Wait until the listener has so many."""

    async def reached() -> bool:
        return await connections_of(hotswap) == count

    await hotswap.wait_until(reached)


async def p99_of(target: Target, pid: int) -> float:
    """The delay that 99 of 100 requests of one steady client stay below, without waits for a processor."""
    delays: list[tuple[float, float]] = []
    async with run_metronome([pid]) as waits:
        async with open_connection(target) as connection:
            end = trio.current_time() + STEADY_SECONDS
            while trio.current_time() < end:
                began = trio.current_time()
                (await connection.request("GET", "/whoami")).expect()
                delays.append((began, trio.current_time() - began))
                await trio.sleep(0.002)
        net = sorted(delay - waits.within(began, began + delay) for began, delay in delays)
    return net[len(net) * 99 // 100]


@pytest.mark.alone
@pytest.mark.fail_after(60)
async def test_an_idle_connection_takes_little(tmp_path: Path):
    """Two thousand of them, each behind one exchange; none is lost meanwhile."""
    config = listeners() + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(config, tmp_path) as hotswap:
        target = await hotswap.target()
        assert isinstance(target.address, tuple)
        async with run_crowd(target.address[1], 100, "idle"):
            pass  # what is made once is made
        await wait_connections(hotswap, 0)
        before = memory_of(hotswap.pid)
        async with run_crowd(target.address[1], IDLE, "idle") as crowd:
            await wait_connections(hotswap, IDLE)
            each = (memory_of(hotswap.pid) - before) / IDLE
        print(f"{each / 1024:.1f} KiB for each of {IDLE} idle connections")
        assert crowd.ended == 0
        assert each < IDLE_BYTES


@pytest.mark.alone
@pytest.mark.fail_after(60)
async def test_slow_heads_slow_nobody_else_down(tmp_path: Path):
    """A thousand clients that send a byte a second: each is answered 408 in time, a steady client keeps its p99, and
    memory returns to what it was before."""
    limits = {"header_timeout": f"{HEADER_TIMEOUT:g}s", "requests_per_connection": 1_000_000}
    config = listeners(limits=limits) + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(config, tmp_path) as hotswap:
        target = await hotswap.target()
        assert isinstance(target.address, tuple)
        before = await p99_of(target, hotswap.pid)
        memory_before = memory_of(hotswap.pid)
        async with run_crowd(target.address[1], SLOW, "slow") as crowd:
            meanwhile = await p99_of(target, hotswap.pid)
            memory_meanwhile = memory_of(hotswap.pid)
            await crowd.wait_ended(SLOW)

        await wait_connections(hotswap, 0)
        memory_after = memory_of(hotswap.pid)
        print(
            f"p99 {before * 1000:.2f} ms before, {meanwhile * 1000:.2f} ms meanwhile; {crowd.ended} told 408; memory "
            f"{memory_before >> 10} KiB before, {memory_meanwhile >> 10} meanwhile, {memory_after >> 10} after"
        )
        assert meanwhile < max(1.5 * before, before + NOISE)
        assert memory_after - memory_before < KEPT


@pytest.mark.alone
@pytest.mark.fail_after(60)
@pytest.mark.parametrize("limits", ["1024:1048576", "1024:1024"])
async def test_idle_connections_of_one_client_keep_nobody_out(tmp_path: Path, limits: str):
    """Two thousand of them where a process may open 1,024 files: others come, go and keep their p99, backends stay
    healthy, and the admin API answers."""
    config = listeners(limits={"requests_per_connection": 0}) + command_pool(tmp_path, "faulty.plain")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, _, most = limits.partition(":")
    launcher = ("prlimit", f"--nofile={soft}:{min(int(most), hard)}")
    async with run_hotswap(config, tmp_path, launcher=launcher) as hotswap:
        target = await hotswap.target()
        assert isinstance(target.address, tuple)
        before = await p99_of(target, hotswap.pid)
        async with run_crowd(target.address[1], IDLE, "idle"):
            meanwhile = await p99_of(target, hotswap.pid)
            for _ in range(50):
                (await hotswap.fetch("/whoami")).expect()
            kept = await connections_of(hotswap)
            assert all(backend["health"] == "healthy" for backend in await hotswap.backends())
        print(
            f"{limits}: p99 {before * 1000:.2f} ms before, {meanwhile * 1000:.2f} ms meanwhile; {kept} connections kept"
        )
        assert meanwhile < max(1.5 * before, before + NOISE)
        assert (kept >= IDLE) == (int(most) > IDLE)
        assert not hotswap.written("backend.unhealthy")
        assert not hotswap.written("backend.ejected")
