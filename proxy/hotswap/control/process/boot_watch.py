"""What the service manager is told of a proxy: its status whenever that changes, and once that the boot is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hotswap.control.process.memory import settle_memory
from hotswap.control.process.status import summarise

if TYPE_CHECKING:
    from hotswap.control.process.runtime import Runtime


async def watch_boot(runtime: Runtime) -> None:
    """Keep the service manager informed, until cancelled.

    The boot is over when what can serve does (`PoolSet.complete`); a pool that does not come up is named.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow_events, runtime)
        while True:
            runtime.manager.status(summarise(runtime))
            if not runtime.booted and not runtime.stopping and runtime.pools.complete():
                runtime.booted = True
                settle_memory()
                _tell_ready(runtime)
                runtime.manager.status(summarise(runtime))
                runtime.manager.ready()
            runtime.changed = trio.Event()
            await runtime.changed.wait()


def _tell_ready(runtime: Runtime) -> None:
    missing = runtime.pools.not_ready()
    if missing:
        detail = "ready with what serves; these pools did not come up so far and are tried again"
        runtime.log.warning("proxy.ready", not_ready=missing, detail=detail)
    else:
        runtime.log.info("proxy.ready")
    runtime.events.publish("proxy.ready")


async def _follow_events(runtime: Runtime) -> None:
    """Have the service manager told what a rollout is at: its steps are no changes of the pool."""
    while True:
        with runtime.events.subscribe() as events:
            async for _ in events:
                runtime.changed.set()
