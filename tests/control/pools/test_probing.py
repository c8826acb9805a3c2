"""Periodic probes: when a verdict changes, who is told, and that nothing ends the probing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import trio

from hotswap.control.pools.entries import Entries
from hotswap.control.pools.probing import serve_probes
from hotswap.core.address import Address, TcpAddress
from hotswap.core.config import HealthTable
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.health import ProbeResult
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance
from tests.support.pool_stage import StillPlane, open_surroundings

HEALTH = HealthTable.model_validate({"interval": "2s", "healthy_after": 2, "unhealthy_after": 3})


async def probe_for(
    seconds: float, answers: Iterator[bool | Exception | None], observer: Callable[[object], None] | None = None
) -> tuple[Backend, list[str], dict[tuple[str, str], int]]:
    """Probe a ready backend that answers like this; gives it, what was logged, and what was counted."""
    pool = Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=1, supervised=False)
    backend = pool.add(slot=0, generation=1, address=TcpAddress("127.0.0.1", 9), state=BackendState.READY, now=0.0)
    if observer is not None:
        pool.observe(observer)

    async def probe(address: Address, health: HealthTable, *, pool: str, h2c: bool = False) -> ProbeResult:
        assert (address, health, h2c) == (backend.address, HEALTH, False)
        await trio.lowlevel.checkpoint()
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return ProbeResult(ok=False, detail="no descriptor", asked=False)
        return ProbeResult(ok=answer, detail="" if answer else f"no from {pool}")

    async with open_surroundings(StillPlane()) as (surroundings, records):
        surroundings = replace(surroundings, probe=probe)
        with trio.move_on_after(seconds):
            await serve_probes(
                Entries(pool, surroundings.log), backend, HEALTH, surroundings, surroundings.log, first_after=1.0
            )
        return backend, [record["event"] for record in records], dict(surroundings.tally.health_checks)


async def test_a_verdict_takes_as_many_probes_in_a_row_as_the_table_says(autojump_clock):
    """At 1, 3, 5, … seconds; two passes make it healthy, three failures unhealthy."""
    backend, _, counts = await probe_for(2, iter([True]))
    assert (backend.health, counts) == (Health.UNKNOWN, {("web", "pass"): 1})
    backend, events, _ = await probe_for(4, iter([True, True]))
    assert (backend.health, events) == (Health.HEALTHY, ["backend.healthy"])
    backend, events, counts = await probe_for(10, iter([True, True, False, False, False]))
    assert (backend.health, events) == (Health.UNHEALTHY, ["backend.healthy", "backend.unhealthy"])
    assert counts == {("web", "pass"): 2, ("web", "fail"): 3}


async def test_a_backend_that_stays_unhealthy_is_mentioned_every_minute(autojump_clock):
    """Not with every probe."""
    _, events, _ = await probe_for(200, iter([False] * 100))
    assert events == ["backend.unhealthy"] + ["backend.still_unhealthy"] * 3


async def test_a_probe_that_raises_is_a_failed_probe(autojump_clock):
    """A defect of ours neither ends the probing nor makes a backend look well."""
    backend, events, _ = await probe_for(8, iter([ZeroDivisionError()] * 3 + [True]))
    assert backend.health is Health.UNHEALTHY
    assert events == ["probe.crashed"] * 3 + ["backend.unhealthy"]


async def test_an_observer_that_raises_does_not_end_the_probing(autojump_clock):
    """The change was made."""

    def explode(_event: object) -> None:
        raise ZeroDivisionError

    backend, events, counts = await probe_for(8, iter([True] * 4), explode)
    assert backend.health is Health.HEALTHY
    assert "pool.observer_crashed" in events
    assert counts == {("web", "pass"): 4}


async def test_a_probe_that_could_not_be_made_says_nothing_of_the_backend(autojump_clock):
    """However many there are: the verdict stays, and it is said once a minute."""
    backend, events, counts = await probe_for(100, iter([True, True, *[None] * 50]))
    assert backend.health is Health.HEALTHY
    assert events == ["backend.healthy", "backend.not_probed", "backend.not_probed"]
    assert counts == {("web", "pass"): 2}
