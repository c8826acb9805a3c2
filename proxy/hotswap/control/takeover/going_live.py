"""The two moments of a process that takes over: it serves, and later everything is its own for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hotswap.control.pools.release import Release
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.process.listeners import Prepared
from hotswap.control.process.memory import settle_memory
from hotswap.control.takeover.stub import write_pid
from hotswap.core.routing import Router

if TYPE_CHECKING:
    from hotswap.control.process.runtime import Runtime


def go_live(runtime: Runtime, prepared: Prepared, releases: Mapping[str, Release]) -> None:
    """Serve what was taken over, with routes, and listeners, which accept from here on.

    Args:
        runtime: the proxy; pools with backends are at work already.
        prepared: its listeners.
        releases: what the backends of its new pools will be started from.
    """
    config = runtime.config
    runtime.pools.take_over(config.pools, releases, runtime.surroundings, runtime.nursery)
    runtime.plane.set_router(Router(config.routes))
    runtime.listeners.commit(prepared, runtime.plane)
    runtime.nursery.start_soon(runtime.traffic.serve, runtime.log)
    # The process before this one had booted, so whoever waits for that need not wait here.
    runtime.booted = True
    runtime.begin_serving()


def settle(runtime: Runtime) -> None:
    """Everything is ours for good: start what is missing, end what is not wanted any more."""
    settle_memory()
    runtime.manager.silent = False
    runtime.manager.ready()
    runtime.nursery.start_soon(runtime.manager.serve_watchdog)
    runtime.admin_door.settle()
    runtime.listeners.close_unused()
    runtime.pools.drop(
        runtime.config.pools, runtime.nursery, static_drain_timeout=runtime.config.proxy.shutdown_timeout
    )
    for pool in runtime.pools.values():
        if isinstance(pool, SupervisedPool) and not runtime.stopping:
            pool.thaw()
    for directory in runtime.pid_directories:
        write_pid(directory)
    runtime.note_settled()
