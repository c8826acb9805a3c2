"""The two moments of a process that takes over: it serves, and later everything is its own for good."""

from __future__ import annotations

from collections.abc import Mapping

from hotswap.control.pools.release import Release
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.process.boot import begin_serving
from hotswap.control.process.listeners import Prepared
from hotswap.control.process.memory import settle_memory
from hotswap.control.process.parts import Parts
from hotswap.control.takeover.stub import write_pid
from hotswap.core.process.phases import PhaseEvent
from hotswap.core.routing import Router


def go_live(parts: Parts, prepared: Prepared, releases: Mapping[str, Release]) -> None:
    """Serve what was taken over, with routes, and listeners, which accept from here on.

    Args:
        parts: the proxy; pools with backends are at work already.
        prepared: its listeners.
        releases: what the backends of its new pools will be started from.
    """
    config = parts.config
    parts.pools.apply(config.pools, releases, parts.surroundings, parts.nursery)
    parts.plane.set_router(Router(config.routes))
    parts.listeners.commit(prepared, parts.plane)
    parts.nursery.start_soon(parts.traffic.serve, parts.log)
    begin_serving(parts)


def settle(parts: Parts) -> None:
    """Everything is ours for good: start what is missing, end what is not wanted any more."""
    settle_memory()
    parts.manager.silent = False
    parts.manager.ready()
    parts.nursery.start_soon(parts.manager.serve_watchdog)
    parts.door.settle()
    parts.listeners.close_unused()
    parts.pools.drop(parts.config.pools, parts.nursery, static_drain_timeout=parts.config.proxy.shutdown_timeout)
    for pool in parts.pools.values():
        if isinstance(pool, SupervisedPool) and not parts.life.stopping:
            pool.thaw()
    for directory in parts.pid_directories:
        write_pid(directory)
    parts.life.note(PhaseEvent.SETTLED)
