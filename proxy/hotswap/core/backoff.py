"""Exponential backoff between a crash of a slot and its next start.

The wait doubles with each crash in a row, up to a cap, and jitter takes away up to half of it, so that the
slots of a pool that died of one cause do not all come back in the same instant. A process that was ready for
a stable minute ends the row: its crash is news, and the first wait is short enough that nobody notices a
single one.
"""

from __future__ import annotations

from dataclasses import dataclass

STABLE_AFTER = 60.0
"""Seconds of being ready that end a row of crashes."""

FIRST = 0.1
LONGEST = 30.0
"""Seconds that the first and the longest wait of a row last, before jitter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Crashes of one slot in a row, so far."""

    crashes: int = 0

    def after_crash(self, *, ready_for: float) -> Backoff:
        """Count a crash; one after a stable time is the first again.

        Args:
            ready_for: how long the process had been ready, in seconds; 0 if it never was.
        """
        crashes = 1 if ready_for >= STABLE_AFTER else self.crashes + 1
        return Backoff(crashes=crashes)

    def wait(self, jitter: float) -> float:
        """Seconds to wait before the next start; 0 without a crash.

        Args:
            jitter: a random number from 0 up to 1, drawn by the caller.
        """
        if self.crashes == 0:
            return 0.0
        # Past 2**63 the cap has long won, and a float would overflow after a thousand crashes.
        whole = min(LONGEST, FIRST * 2.0 ** min(self.crashes - 1, 63))
        return whole * (1.0 - jitter / 2.0)
