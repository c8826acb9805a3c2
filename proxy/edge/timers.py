"""Deadlines of connections, kept in one place and looked at a few times a second.

A connection moves its deadline at almost every request, always further away, so moving one costs an attribute: the heap
holds each connection at the earliest time anybody asked for, and puts it back when that time comes and the deadline
has moved on. Deadlines are coarse: they fire up to `TICK` late.
"""

from __future__ import annotations

import heapq
import math
from typing import Final, Protocol

TICK: Final = 0.05
"""Seconds between two looks at the heap."""


class Timed(Protocol):
    """What has a deadline.

    `deadline` and `armed` are the timers' own: infinite when nothing is set.
    """

    deadline: float
    armed: float

    def on_deadline(self) -> None:
        """The deadline has passed; it is no longer set."""

    def on_crash(self, error: Exception) -> None:
        """An exception left `on_deadline`."""


class Timers:
    """A heap of deadlines on the data plane's clock, in seconds."""

    __slots__ = ("_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, timed: Timed, deadline: float) -> None:
        """Move a deadline; `math.inf` takes it away."""
        timed.deadline = deadline
        if deadline < timed.armed:
            self.arm(timed)

    def arm(self, timed: Timed) -> None:
        """Look at a deadline in time: to be called by whoever moved it himself, to before `armed`."""
        timed.armed = deadline = timed.deadline
        self._serial += 1
        heapq.heappush(self._heap, (deadline, self._serial, timed))

    def due(self, now: float) -> list[Timed]:
        """What is due; each is handed out once and has no deadline afterwards."""
        heap = self._heap
        due: list[Timed] = []
        while heap and heap[0][0] <= now:
            armed, _, timed = heapq.heappop(heap)
            if armed != timed.armed:
                continue  # pushed again for an earlier time, which came first
            timed.armed = math.inf
            if timed.deadline <= now:
                timed.deadline = math.inf
                due.append(timed)
            elif timed.deadline < math.inf:
                self.set(timed, timed.deadline)
        return due
