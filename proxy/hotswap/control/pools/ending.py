"""The ways in which a backend of ours is ended, from the gentlest to the roughest.

| way | for a backend that | in flight |
|---|---|---|
| `end_in_order` | serves | has time to end, then is cut |
| `retire` | drains, and has nothing in flight or had its time | has a moment, then is cut |
| `discard` | did not become ready | there is nothing |
| `let_go` | is still starting and no longer wanted | there is nothing |
"""

from __future__ import annotations

import trio

from hotswap.control.pools.cutting import cut_exchanges
from hotswap.control.pools.entries import Entries
from hotswap.control.pools.supervised_backend import ExitReason, SupervisedBackend
from hotswap.control.pools.surroundings import Plane
from hotswap.core.backend import Backend
from hotswap.core.errors import StartFailed
from hotswap.core.lifecycle import BackendState
from hotswap.core.pool import BackendDrained, BackendMoved, PoolEvent
from hotswap.processes.supervisor import Stopped

DISCONNECT_TIMEOUT = 5.0
"""Seconds until connections to a backend that is to be stopped are cut, when closing them does not end them."""


async def end_in_order(member: SupervisedBackend, entries: Entries, plane: Plane, *, drain_timeout: float) -> None:
    """Drain a backend, cut what is left after a while, and retire it.

    **Cancellation**: it may live on, and nothing new is claimed for it.
    """
    backend = member.backend
    if backend.state is BackendState.READY:
        entries.move(backend, BackendState.DRAINING)
    last_quarter = drain_timeout / 4
    drained = await _wait_drained(member, entries, plane, drain_timeout - last_quarter)
    if not drained:
        plane.close_tunnels(backend, within=last_quarter)
        drained = await _wait_drained(member, entries, plane, last_quarter)
    if not drained:
        cut_exchanges(backend, plane, member.log, event="backend.drain_timed_out")
    if member.alive:
        await retire(member, entries, plane)


async def _wait_drained(member: SupervisedBackend, entries: Entries, plane: Plane, timeout: float) -> bool:
    backend = member.backend
    ended = trio.Event()

    def note(event: PoolEvent) -> None:
        if isinstance(event, BackendDrained | BackendMoved) and event.backend is backend:
            ended.set()

    stop_observing = entries.core.observe(note)
    try:
        with trio.move_on_after(timeout):
            if plane.in_flight(backend):
                await ended.wait()
    finally:
        stop_observing()
    return plane.in_flight(backend) == 0 or not member.alive


async def wait_unused(backend: Backend, entries: Entries, plane: Plane, *, timeout: float) -> None:
    """Block until nothing is in flight in a draining backend and no connection to it is open.

    Args:
        backend: the backend; nothing new may be claimed for it.
        entries: of its pool.
        plane: who uses it.
        timeout: seconds for what is in flight; what is left then is cut.
    """
    pause = 0.001
    with trio.move_on_after(timeout):
        while plane.in_flight(backend):
            await trio.sleep(pause)
            pause = min(2 * pause, 0.05)
    if plane.in_flight(backend):
        plane.cut(backend)
    with trio.move_on_after(DISCONNECT_TIMEOUT):
        while True:
            plane.close_idle(backend)
            if plane.connections_to(backend) == 0:
                return
            await trio.sleep(pause)
    plane.cut(backend)


def give_up(member: SupervisedBackend, entries: Entries) -> None:
    """Note that a backend is about to be stopped, so that its end from here on is no crash."""
    member.expect(ExitReason.STOPPED)
    member.stop_probes()
    if member.backend.state is BackendState.READY:
        entries.move(member.backend, BackendState.DRAINING)
    if member.backend.state is BackendState.DRAINING:
        entries.move(member.backend, BackendState.STOPPING)


async def retire(member: SupervisedBackend, entries: Entries, plane: Plane) -> Stopped:
    """Close every connection to a backend, ask it to stop, and kill it after its `stop_timeout`.

    Exchanges that are still in flight have `DISCONNECT_TIMEOUT` seconds, then they are cut.

    **Cancellation**: it may live on.
    """
    give_up(member, entries)
    await member.wait_probed()
    await member.wait_released(timeout=member.release.table.drain_timeout)
    await _disconnect(member, plane)
    stop_timeout = member.release.table.stop_timeout
    member.log.info("backend.stopping", stop_timeout=stop_timeout)
    member.process.terminate(stop_timeout=stop_timeout)
    with trio.move_on_after(stop_timeout):
        return Stopped(exit=await member.process.wait_exit(), killed=False)
    member.expect(ExitReason.KILLED)
    member.log.warning("backend.killed", detail=f"it did not end within {stop_timeout:g} s")
    stopped = await member.process.stop(stop_timeout=0.0)
    return Stopped(exit=stopped.exit, killed=True)


async def _disconnect(member: SupervisedBackend, plane: Plane) -> None:
    backend = member.backend
    pause = 0.001
    try:
        with trio.move_on_after(DISCONNECT_TIMEOUT):
            while True:
                plane.close_idle(backend)
                if plane.connections_to(backend) == 0 or not member.alive:
                    return
                await trio.sleep(pause)
                pause = min(2 * pause, 0.05)
        cut_exchanges(backend, plane, member.log, event="backend.connections_cut")
    except Exception as error:
        # A defect of ours must not leave a process that nobody uses and nobody ends.
        member.log.error("backend.disconnect_crashed", exc_info=error)


async def discard(member: SupervisedBackend, entries: Entries, failure: StartFailed | None = None) -> None:
    """End a backend that did not become ready, and reap it; its entry stays, as failed.

    **Cancellation**: it is killed, and its end is noted whenever it comes.
    """
    member.expect(ExitReason.START_FAILED)
    if member.backend.state is BackendState.STARTING:
        entries.move(member.backend, BackendState.FAILED)
    if failure is not None:
        member.log.error(
            "backend.failed",
            reason=failure.reason.value,
            detail=failure.detail,
            output=list(failure.output),
        )
    member.process.kill()
    await member.process.stop(stop_timeout=0.0)


def let_go(member: SupervisedBackend, entries: Entries) -> None:
    """Kill a backend that is still starting, because it is no longer wanted; its end is noted when it comes."""
    member.expect(ExitReason.DISCARDED)
    member.process.kill()
    if member.backend.state is BackendState.STARTING:
        entries.move(member.backend, BackendState.STOPPING)
    if not member.alive:
        # Its end may have been noted while it was still wanted.
        entries.bury(member.backend)
