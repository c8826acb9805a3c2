"""The ways to end the process of a backend, from graceful to immediate.

| way | for a backend that | in flight |
|---|---|---|
| `end_in_order` | serves | has time to end, then is cut |
| `retire` | drains, and has nothing in flight or had its time | has a moment, then is cut |
| `discard` | did not become ready | there is nothing |
| `let_go` | is still starting and no longer wanted | there is nothing |
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from hotswap.control.pools.entries import Entries
from hotswap.control.pools.supervised_backend import ExitReason, SupervisedBackend
from hotswap.control.pools.surroundings import Plane
from hotswap.control.telemetry.events import EventLog
from hotswap.core.errors import StartFailed
from hotswap.core.http.exchange_view import SHOWN, ExchangeView, tell_exchanges
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.withdrawal import DISCONNECT
from hotswap.processes.supervisor import Stopped


async def end_in_order(member: SupervisedBackend, entries: Entries, plane: Plane, *, drain_timeout: float) -> None:
    """Drain a backend, cut what is left after a while, and retire it.

    **Cancellation**: it may live on, and nothing new is claimed for it.
    """
    backend = member.backend
    if backend.state is BackendState.READY:
        entries.move(backend, BackendState.DRAINING)
    await let_finish(
        member, plane, timeout=drain_timeout, leave_within=drain_timeout / 4, event="backend.drain_timed_out"
    )
    if member.alive:
        await retire(member, entries, plane)


async def let_finish(
    member: SupervisedBackend,
    plane: Plane,
    *,
    timeout: float,
    event: str,
    leave_within: float = 0.0,
    events: EventLog | None = None,
) -> tuple[int, Sequence[ExchangeView]]:
    """Block until nothing is in flight in a backend and no connection to it is left; what is cut is logged.

    Args:
        member: the backend; nothing may be claimed for it.
        plane: who uses it.
        timeout: seconds for what is in flight; what is left then is cut.
        event: what a cut is called in log and events.
        leave_within: the last seconds of that time, in which its tunnels are told to leave.
        events: where a cut is published; None: nowhere.

    Returns:
        How many exchanges were cut, and the oldest of them.
    """
    backend = member.backend
    try:
        released = await plane.release(backend, deadline=trio.current_time() + timeout, leave_within=leave_within)
    except Exception as error:
        # A defect of ours must not leave a process that nobody uses and nobody ends.
        member.log.error("backend.disconnect_crashed", exc_info=error)
        return 0, ()
    if released.cut:
        told = tell_exchanges(released.exchanges)
        member.log.warning(event, cut=released.cut, exchanges=told)
        if events is not None:
            events.publish(
                event,
                pool=backend.pool,
                slot=backend.slot,
                generation=backend.generation,
                backend=backend.id,
                cut=released.cut,
                exchanges=told,
            )
    return released.cut, released.exchanges[:SHOWN]


async def retire(member: SupervisedBackend, entries: Entries, plane: Plane) -> Stopped:
    """Close every connection to a backend, ask it to stop, and kill it after its `stop_timeout`.

    Exchanges that are still in flight have `DISCONNECT` seconds, then they are cut.

    **Cancellation**: it may live on.
    """
    member.expect(ExitReason.STOPPED)  # its end from here on is no crash
    member.stop_probes()
    if member.backend.state is BackendState.READY:
        entries.move(member.backend, BackendState.DRAINING)
    if member.backend.state is BackendState.DRAINING:
        entries.move(member.backend, BackendState.STOPPING)
    await member.wait_probed()
    await member.wait_released(timeout=member.release.table.drain_timeout)
    await let_finish(member, plane, timeout=DISCONNECT, event="backend.connections_cut")
    stop_timeout = member.release.table.stop_timeout
    member.log.info("backend.stopping", stop_timeout=stop_timeout)
    member.process.terminate(stop_timeout=stop_timeout)
    with trio.move_on_after(stop_timeout):
        return Stopped(exit=await member.process.wait_exit(), killed=False)
    member.expect(ExitReason.KILLED)
    member.log.warning("backend.killed", detail=f"it did not end within {stop_timeout:g} s")
    stopped = await member.process.stop(stop_timeout=0.0)
    return Stopped(exit=stopped.exit, killed=True)


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
