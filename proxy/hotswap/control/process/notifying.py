"""What the service manager is told of a proxy: its status whenever that changes, and once that the boot is over."""

from __future__ import annotations

import trio

from hotswap.control.process.memory import settle_memory
from hotswap.control.process.parts import Parts
from hotswap.control.process.status import summarise
from hotswap.core.address import TcpAddress
from hotswap.core.links import links_to
from hotswap.core.process.phases import Phase, PhaseEvent
from hotswap.edge.loop.sockets import address_of


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
    listeners, page = find_links(parts)
    if missing:
        detail = "ready with what serves; these pools did not come up so far and are tried again"
        errors = {
            name: [error.text for error in map(core.last_error, range(core.size)) if error is not None][:1]
            for name, core in ((name, parts.pools[name].core) for name in missing)
        }
        told = {"not_ready": missing, "last_errors": errors, "detail": detail}
        parts.log.warning("proxy.ready", listeners=listeners, page=page, **told)
    else:
        parts.log.info("proxy.ready", listeners=listeners, page=page)
    parts.events.publish("proxy.ready")


def find_links(parts: Parts) -> tuple[dict[str, list[str]], str | None]:
    """Give where a browser goes: for each listener, and for the page of the admin API, where that has an address."""
    listeners = {}
    for name, table in parts.config.listeners.items():
        known = () if table.tls is None else table.tls.self_signed
        listeners[name] = links_to(parts.listeners.bound(name), tls=table.tls is not None, name=(*known, "")[0])
    pages = (address for address in map(address_of, parts.door.sockets) if isinstance(address, TcpAddress))
    return listeners, next(iter(links_to(pages, tls=False)), None)


async def _follow_events(parts: Parts) -> None:
    """Have the service manager told what a rollout is at: its steps are no changes of the pool."""
    while True:
        with parts.events.subscribe() as events:
            async for _ in events:
                parts.life.changed.set()
