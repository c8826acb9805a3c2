"""State of one slot of a supervised pool, which outlives the processes that fill it."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from hotswap.control.pools.release import Release
from hotswap.core.backoff import Backoff
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.failure_row import FailureRow
from hotswap.core.pool.slot_record import CRASH_LOOP


# Not frozen: it is the supervisor's memory of the slot, and only the pool writes to it.
@dataclass(slots=True, kw_only=True, eq=False)
class Slot:
    """What a supervised pool knows of one of its slots.

    Attributes:
        number: from 0.
        generation: number of the rollout whose release it holds.
        release: what its next respawn is started from: that of the backend that became ready last.
        backoff: the row of crashes so far.
        row: the reasons of those crashes that were logged.
        next_try: when the next start is due, on trio's clock; None while none waits for its time.
        filling: ends the task that fills it, while there is one.
        sleeping: that task waits between two starts, and has no process.
        drained: an operator has taken it out of rotation, with whatever backend fills it.
        placeholder: the entry of the backend that crashed last, shown as `backoff` until the next start.
    """

    number: int
    generation: int
    release: Release
    backoff: Backoff = field(default_factory=Backoff)
    row: FailureRow = field(default_factory=FailureRow)
    next_try: float | None = None
    filling: trio.CancelScope | None = None
    sleeping: bool = False
    drained: bool = False
    placeholder: Backend | None = None

    @property
    def looping(self) -> bool:
        """Its backends have crashed or failed to start again and again, whether they were ready in between or not."""
        return self.backoff.crashes >= CRASH_LOOP

    def note_failure(self, reason: str, *, ready_for: float = 0.0) -> bool:
        """Count a crash or a failed start; True when its reason is not known in this row.

        Args:
            reason: why, in one line.
            ready_for: how long the process had been ready, in seconds; 0 if it never was.
        """
        self.backoff = self.backoff.after_crash(ready_for=ready_for)
        row = FailureRow() if self.backoff.crashes == 1 else self.row
        self.row = row.having(reason)
        return not row.knows(reason)
