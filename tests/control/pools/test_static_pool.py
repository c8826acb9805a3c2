"""A static pool: addresses that something else runs, judged by probes."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hotswap.control.pools.static_pool import StaticPool
from hotswap.core.config import StaticPoolTable
from hotswap.core.errors import NotFound, Refused
from hotswap.core.pool.lifecycle import Health
from tests.support.hotswap import SOURCES
from tests.support.pool_stage import StillPlane, open_surroundings

DEAD = "127.0.0.1:9"


@asynccontextmanager
async def open_address(path: Path) -> AsyncIterator[str]:
    """A plain backend on a Unix socket, run by somebody else."""
    command = [sys.executable, "-m", "faulty.plain", "--unix", str(path)]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(command, env={**os.environ, "PYTHONPATH": SOURCES})
        try:
            yield f"unix:{path}"
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_static(*addresses: str, **settings: Any) -> AsyncIterator[tuple[StaticPool, StillPlane]]:
    """A static pool that is probed."""
    table = StaticPoolTable.model_validate(
        {"addresses": addresses, "health": {"interval": "50ms", "unhealthy_after": 2}, **settings}
    )
    plane = StillPlane()
    async with open_surroundings(plane) as (surroundings, _log), trio.open_nursery() as nursery:
        pool = StaticPool("legacy", table, surroundings)
        await nursery.start(pool.serve)
        yield pool, plane
        nursery.cancel_scope.cancel()


async def until(pool: StaticPool, *healths: Health) -> None:
    """Block until the backends have been judged like this."""
    with pool.surroundings.events.subscribe() as events:
        while [backend.health for backend in pool.core.backends] != list(healths):
            await anext(events)


async def test_no_address_is_judged_before_the_pool_is_served():
    """Or the boot would be over before the first probe."""
    table = StaticPoolTable.model_validate({"addresses": [DEAD]})
    async with open_surroundings(StillPlane()) as (surroundings, _log):
        assert not StaticPool("legacy", table, surroundings).judged


async def test_addresses_become_claimable_when_a_probe_passes(tmp_path):
    """Before that requests are held; one that does not answer is found out by itself."""
    async with open_address(tmp_path / "a") as address, open_static(address, DEAD) as (pool, _plane):
        assert pool.core.expecting
        judged = [pool.judged]
        await until(pool, Health.HEALTHY, Health.UNHEALTHY)
        assert [*judged, pool.judged] == [False, True]
        assert pool.core.ready_slots() == {0}


async def test_an_address_that_dies_is_left_out_and_comes_back(tmp_path):
    """Nobody starts anything."""
    async with open_address(tmp_path / "a") as address, open_static(address) as (pool, _plane):
        await until(pool, Health.HEALTHY)
    async with open_static(f"unix:{tmp_path / 'a'}") as (pool, _plane):
        await until(pool, Health.UNHEALTHY)
        assert not pool.core.expecting
        (tmp_path / "a").unlink(missing_ok=True)
        async with open_address(tmp_path / "a"):
            await until(pool, Health.HEALTHY)


async def test_an_operator_drains_and_readmits(tmp_path):
    """But not the last that can be claimed."""
    async with open_address(tmp_path / "a") as a, open_address(tmp_path / "b") as b, open_static(a, b) as (pool, _):
        await until(pool, Health.HEALTHY, Health.HEALTHY)
        pool.drain_slot(0)
        assert pool.core.ready_slots() == {1}
        with pytest.raises(Refused):
            pool.drain_slot(1)
        pool.readmit_slot(0)
        assert pool.core.ready_slots() == {0, 1}
        with pytest.raises(NotFound, match="no slot "):
            pool.drain_slot(2)


async def test_stopping_waits_for_what_is_in_flight_then_cuts_it(tmp_path):
    """The backends themselves are nobody's business here."""
    async with open_address(tmp_path / "a") as address, open_static(address) as (pool, plane):
        await until(pool, Health.HEALTHY)
        plane.claim(pool.core, 0)
        await pool.stop(drain_timeout=0.1)
        assert plane.cuts == 1
        assert pool.core.backends == []


# A changed definition by key, and what tells that it is in force.
APPLIED: dict[str, tuple[Any, Callable[[StaticPool, StillPlane], bool]]] = {
    "protocol": ("h2c", lambda pool, _: [backend.h2c for backend in pool.core.backends] == [False, True]),
    "balance": ("round-robin", lambda pool, plane: plane.claim_any(pool.core) is not None),
    "max_in_flight": (3, lambda pool, _: pool.core.max_in_flight == 3),
    "hold_timeout": ("3s", lambda pool, plane: plane.tables[pool.name].hold_timeout == 3.0),
    "hold_limit": (7, lambda pool, plane: plane.tables[pool.name].hold_limit == 7),
    "response_timeout": ("4s", lambda pool, plane: plane.tables[pool.name].response_timeout == 4.0),
    "health": ({"path": "/status/404", "interval": "50ms"}, lambda pool, _: pool.table.health.path == "/status/404"),
    "buffer": (True, lambda pool, plane: plane.tables[pool.name].buffer is True),
    "spool": ("1MiB", lambda pool, plane: plane.tables[pool.name].spool == 1024 * 1024),
    "error_pages": ("/srv/pages", lambda pool, plane: plane.tables[pool.name].error_pages == "/srv/pages"),
    "sendfile": (
        {"/private/": "/srv"},
        lambda pool, plane: (
            [one.sendfile for one in plane.claims[pool.name].candidates.values()] == [(("/private/", "/srv"),)]
        ),
    ),
    "addresses": ([DEAD], lambda pool, _: str(pool.core.backends[-1].address) == DEAD),
}


@pytest.mark.parametrize("key", StaticPoolTable.model_fields)
async def test_each_key_of_a_changed_definition_is_in_force(key: str, tmp_path):
    """Found: another protocol was accepted, said to be applied, and ignored until the next start."""
    value, in_force = APPLIED[key]
    async with open_address(tmp_path / "a") as address, open_static(address) as (pool, plane):
        await until(pool, Health.HEALTHY)
        plane.claim(pool.core, 0)  # so that what leaves is still there
        changed = {"addresses": [address], "health": {"interval": "50ms"}, key: value}
        pool.reconfigure(StaticPoolTable.model_validate(changed))
        assert in_force(pool, plane)


async def test_another_protocol_is_another_backend_and_a_drained_one_stays_drained(tmp_path):
    """What is in flight ends as it began; the verdict of before says nothing of the new protocol."""
    async with open_address(tmp_path / "a") as a, open_address(tmp_path / "b") as b, open_static(a, b) as (pool, _):
        await until(pool, Health.HEALTHY, Health.HEALTHY)
        pool.drain_slot(1)
        pool.reconfigure(StaticPoolTable.model_validate({"addresses": [a, b], "protocol": "h2c"}))
        new = [backend for backend in pool.core.backends if backend.h2c]
        assert [backend.health for backend in new] == [Health.UNKNOWN, Health.UNKNOWN]
        assert pool.is_drained(1)
        assert not pool.is_drained(0)


async def test_another_health_check_is_used_from_now_on(tmp_path):
    """A path that answers 404 makes the same backend unhealthy, and it is the same backend."""
    async with open_address(tmp_path / "a") as address, open_static(address) as (pool, _plane):
        await until(pool, Health.HEALTHY)
        (backend,) = pool.core.backends
        health = {"path": "/status/404", "interval": "50ms", "unhealthy_after": 1}
        pool.reconfigure(StaticPoolTable.model_validate({"addresses": [address], "health": health}))
        await until(pool, Health.UNHEALTHY)
        assert pool.core.backends == [backend]
