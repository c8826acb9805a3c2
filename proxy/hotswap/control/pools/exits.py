"""What the end of a backend means for its pool: it is counted, told, and followed by a respawn or by none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hotswap.control.pools.supervised_backend import ExitReason, StartReason, SupervisedBackend
from hotswap.core.lifecycle import BackendState
from hotswap.processes.supervisor import Exit

if TYPE_CHECKING:
    from hotswap.control.pools.supervised_pool import SupervisedPool


def note_exit(pool: SupervisedPool, member: SupervisedBackend, ended: Exit) -> None:
    """Take note that a process has ended: forget it, and have its slot filled again where that is due."""
    backend = member.backend
    member.stop_probes()
    try:
        pool.surroundings.plane.close_idle(backend)
    except Exception as error:
        member.log.error("backend.disconnect_crashed", exc_info=error)
    if member.handed_over:
        pool.handover.note_exit(member, ended)
        return
    crashed = member.ending is None and backend.state in (BackendState.READY, BackendState.DRAINING)
    reason = ExitReason.CRASHED if crashed else member.ending or ExitReason.START_FAILED
    pool.surroundings.tally.backend_exits[pool.name, reason.value] += 1
    pool.surroundings.events.publish(
        "backend.exited",
        pool=pool.name,
        slot=backend.slot,
        generation=backend.generation,
        backend=backend.id,
        pid=backend.pid,
        reason=reason.value,
        exit=str(ended),
    )
    if crashed:
        _note_crash(pool, member, ended)
        return
    member.log.info("backend.exited", reason=reason.value, exit=str(ended))
    # One that was starting, or had failed to, belongs to whoever waits for it.
    if backend.state is BackendState.STOPPING or member.leaving:
        pool.entries.bury(backend)
    if member.leaving:
        # A slot of its number may have come back, and have waited for it.
        pool.refill(StartReason.REFILL)


def _note_crash(pool: SupervisedPool, member: SupervisedBackend, ended: Exit) -> None:
    backend = member.backend
    slot, run = pool.slots.get(backend.slot), pool.run
    respawn = run is None or run.rollout.respawned_by_supervisor(backend.slot, backend.generation)
    member.log.error(
        "backend.crashed",
        exit=str(ended),
        in_flight=pool.surroundings.plane.in_flight(backend),
        output=list(member.process.output_lines()[-5:]),
    )
    pool.entries.move(backend, BackendState.STOPPED)
    if slot is None or pool.stopping or not respawn:
        pool.entries.remove(backend)
    elif pool.core.locked is not None:
        pool.entries.remove(backend)
        member.log.error(
            "backend.not_respawned",
            locked=pool.core.locked,
            detail=f"the pool is locked; once repaired: hotswap unlock {pool.name}",
        )
    else:
        now = trio.current_time()
        pool.filler.fill_after_crash(slot, backend, ready_for=now - (member.ready_at or now))
    if run is not None:
        run.note_exit(backend)
