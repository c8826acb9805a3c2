"""Periodic health checks of one backend, and what follows from them for its pool.

A backend that becomes unhealthy is taken out of rotation and left alive: it may be busy rather than broken, a
restart would lose what is in flight in it, and one cause (a database that went away) makes every backend of a
pool unhealthy at once, which restarts would turn into a storm. It is logged when the verdict changes, and again
every minute for as long as it lasts.
"""

from __future__ import annotations

import math

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.entries import Entries
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.config import HealthTable
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.health import HealthVerdict, ProbeResult
from hotswap.core.pool.lifecycle import Health
from hotswap.processes.own_time import STALL

REMINDER = 60.0
"""Seconds between two log records about a backend that stays unhealthy."""


async def probe_once(
    backend: Backend, health: HealthTable, surroundings: Surroundings, log: FilteringBoundLogger
) -> ProbeResult:
    """Check a backend once and count the result, if it could be asked; never raises.

    **Cancellation**: nothing is counted.
    """
    try:
        result = await surroundings.probe(backend.address, health, pool=backend.pool, h2c=backend.h2c)
    except Exception as error:
        # A defect of ours in the probe must neither end the probing nor make a backend look well.
        log.error("probe.crashed", exc_info=error)
        result = ProbeResult(ok=False, detail=f"the probe itself failed: {error!r}")
    if result.asked:
        surroundings.tally.health_checks[backend.pool, "pass" if result.ok else "fail"] += 1
    return result


async def serve_probes(
    entries: Entries,
    backend: Backend,
    health: HealthTable,
    surroundings: Surroundings,
    log: FilteringBoundLogger,
    *,
    first_after: float,
) -> None:
    """Check a backend periodically until cancelled.

    Args:
        entries: those of its pool, where the verdict is entered.
        backend: what is checked; its health now is the verdict to start from.
        health: how it is checked.
        surroundings: the rest of the process.
        log: bound to the backend.
        first_after: seconds until the first check.

    **Cancellation**: the verdict stays as it is; a check that is under way is closed.
    """
    verdict = HealthVerdict(
        healthy_after=health.healthy_after, unhealthy_after=health.unhealthy_after, health=backend.health
    )
    reminded = 0.0
    told = -math.inf  # when it was last said that the backend could not be asked
    await trio.sleep(first_after)
    while True:
        began = trio.current_time()
        result = await probe_once(backend, health, surroundings, log)
        if not result.ok and trio.current_time() - began > health.timeout + STALL:
            # No check takes that long: the proxy stood still, and the backend may have answered in time.
            continue
        now = trio.current_time()
        if not result.asked:
            if now - told >= REMINDER:
                told = now
                log.warning("backend.not_probed", detail=result.detail)
            await trio.sleep(health.interval)
            continue
        before = backend.health
        after = verdict.observe(result.ok)
        if after is not before:
            entries.set_health(backend, after, "" if result.ok else result.detail)
            if after is Health.UNHEALTHY:
                reminded = now
                log.warning("backend.unhealthy", failures=verdict.failures, detail=result.detail)
            else:
                log.info("backend.healthy")
        elif after is Health.UNHEALTHY and now - reminded >= REMINDER:
            reminded = now
            log.warning("backend.still_unhealthy", detail=result.detail)
        await trio.sleep(health.interval)
