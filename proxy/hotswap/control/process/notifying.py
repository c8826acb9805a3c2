"""What the service manager is told of a proxy: its status whenever that changes, and once that the boot is over."""

from __future__ import annotations

import trio

from hotswap.control.process.memory import settle_memory
from hotswap.control.process.parts import Parts
from hotswap.control.process.status import summarise
from hotswap.core.process.phases import Phase, PhaseEvent


async def serve_notifications(parts: Parts) -> None:
    """Keep the service manager informed, until cancelled.

    The boot is over when what can serve does (`PoolSet.complete`); a pool that does not come up is named.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow_events, parts)
        while True:
            parts.manager.status(summarise(parts))
            if parts.life.phase is Phase.BOOTING and parts.pools.complete():
                parts.life.note(PhaseEvent.BOOTED)
                settle_memory()
                _tell_ready(parts)
                parts.manager.status(summarise(parts))
                parts.manager.ready()
            parts.life.changed = trio.Event()
            await parts.life.changed.wait()


def _tell_ready(parts: Parts) -> None:
    missing = parts.pools.not_ready()
    if missing:
        detail = "ready with what serves; these pools did not come up so far and are tried again"
        errors = {
            name: [error.text for error in map(core.last_error, range(core.size)) if error is not None][:1]
            for name, core in ((name, parts.pools[name].core) for name in missing)
        }
        parts.log.warning("proxy.ready", not_ready=missing, last_errors=errors, detail=detail)
    else:
        parts.log.info("proxy.ready")
    parts.events.publish("proxy.ready")


async def _follow_events(parts: Parts) -> None:
    """Have the service manager told what a rollout is at: its steps are no changes of the pool."""
    while True:
        with parts.events.subscribe() as events:
            async for _ in events:
                parts.life.changed.set()
