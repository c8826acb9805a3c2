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


HORIZON: Final = 10.0
"""Seconds after which a connection is looked at even if its deadline is further away: the heap keeps whoever is in it
alive, and connections that came and went in a minute would be a minute's worth of memory."""


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

    __slots__ = ("_heap", "_now", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._serial = 0
        self._now = 0.0  # when it was looked at last

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, timed: Timed, deadline: float) -> None:
        """Move a deadline; `math.inf` takes it away."""
        timed.deadline = deadline
        if deadline < timed.armed:
            self.arm(timed)

    def arm(self, timed: Timed) -> None:
        """Look at a deadline in time: to be called by whoever moved it himself, to before `armed`."""
        timed.armed = deadline = min(timed.deadline, self._now + HORIZON)
        self._serial += 1
        heapq.heappush(self._heap, (deadline, self._serial, timed))

    def due(self, now: float) -> list[Timed]:
        """What is due; each is handed out once and has no deadline afterwards."""
        self._now = now
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
