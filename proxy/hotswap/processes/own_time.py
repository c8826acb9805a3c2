"""Timeouts that count only time in which this process ran, not time in which it was stopped or starved.

A proxy that was suspended, stopped or starved finds every deadline over when it wakes, though whoever had the deadline
may have kept it. So what a backend has to do within a time is timed in slices: of a slice that took longer than
it should, only what it should have taken counts.
"""

from __future__ import annotations

from typing import Final

import trio

SLICE: Final = 0.5
"""Seconds; a stall can hide at most one of them."""

STALL: Final = 1.0
"""Seconds by which something may be late before it is a stall."""


async def sleep_own_time(seconds: float) -> None:
    """Sleep for so many seconds of this process running."""
    left = seconds
    while left > 0:
        slice = min(left, SLICE)
        await trio.sleep(slice)
        left -= slice


async def cancel_after_own_time(scope: trio.CancelScope, seconds: float) -> None:
    """Cancel something after so many seconds of this process running."""
    await sleep_own_time(seconds)
    scope.cancel()
