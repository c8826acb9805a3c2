"""What an operator does by hand: one backend out of rotation and back, a whole pool held and let go."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.entries import Entries
from hotswap.core.backend import Backend
from hotswap.core.errors import RefusalCode, Refused
from hotswap.core.lifecycle import BackendState
from hotswap.core.pool import Pool


def drain(backend: Backend, entries: Entries) -> bool:
    """Let nothing new be claimed for a backend, and leave it running; what is in flight goes on.

    The last backend that can be claimed is not drained: its requests would be answered 503 at once, and who
    wants none of them answered has `pause`, which holds them.

    Returns:
        False when it was drained already.

    Raises:
        Refused: no other backend could be claimed then.
    """
    core = entries.core
    if backend.state is BackendState.DRAINING:
        return False
    if not any(other.claimable for other in core.backends if other is not backend):
        raise Refused(
            RefusalCode.NOT_READY,
            f"no other backend of pool {core.name} can be claimed; to hold its requests: hotswap pause {core.name}",
            describe_slot(core, backend.slot),
        )
    entries.move(backend, BackendState.DRAINING)
    return True


def readmit(backend: Backend, entries: Entries) -> bool:
    """Bring a drained backend back into rotation.

    Returns:
        False when it is in rotation, as far as its health allows.
    """
    if backend.state is not BackendState.DRAINING:
        return False
    entries.move(backend, BackendState.READY)
    return True


def pause(core: Pool, log: FilteringBoundLogger) -> bool:
    """Hold the requests for a pool, within its limits; False when they were held already."""
    if core.paused:
        return False
    core.pause()
    log.info("pool.paused")
    return True


def resume(core: Pool, log: FilteringBoundLogger) -> bool:
    """Let the requests for a pool go on; False when it was not paused."""
    if not core.paused:
        return False
    core.resume()
    log.info("pool.resumed")
    return True


def describe_slot(core: Pool, number: int) -> dict[str, object]:
    """Give the facts that a verb about a slot is judged by, for JSON."""
    return {
        "pool": core.name,
        "slot": number,
        "slots": core.size,
        "ready": len(core.ready_slots()),
        "states": [backend.state.value for backend in core.backends if backend.slot == number],
    }
