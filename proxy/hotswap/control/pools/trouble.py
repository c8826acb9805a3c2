"""Says of a slot why it is not well, how often that was tried in vain, and when it is tried again, as JSON."""

from __future__ import annotations

import trio

from hotswap.control.pools.members import SERVING
from hotswap.control.pools.slot import Slot
from hotswap.control.telemetry.events import utc_now
from hotswap.core.pool.pool import Pool


def describe_trouble(core: Pool, number: int, slot: Slot | None) -> dict[str, object]:
    """Give the facts that the status and the refusals about a slot show; nothing but nulls and 0 of one that is well.

    Args:
        core: the pool.
        number: the slot.
        slot: the supervisor's memory of it; None in a static pool, and of one that is gone.
    """
    error = core.last_error(number)
    due = None if slot is None or error is None else slot.next_try
    return {
        "last_error": None if error is None else error.text,
        "exit": None if error is None else error.exit,
        "attempts": _attempts(core, number, slot),
        "next_try": None if due is None else utc_now(due - trio.current_time()),
    }


def _attempts(core: Pool, number: int, slot: Slot | None) -> int:
    """Count the attempts in a row to have a backend, each of which failed to start or crashed soon after it."""
    if any(backend.slot == number and backend.state in SERVING for backend in core.backends):
        return 0
    # The pool counts failed starts of one generation, the supervisor crashes too.
    return max(core.failed_starts(number), 0 if slot is None else slot.backoff.crashes)
