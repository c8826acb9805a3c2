"""Timers of the data plane: a heap of deadlines, checked a few times a second.

A connection moves its deadline at almost every request, always further away, so moving one costs an attribute: the heap
holds each connection at the earliest time anybody asked for, and puts it back when that time comes and the deadline
has moved on. Deadlines are coarse: they fire up to `TICK` late.

What has ended must not be kept alive by a place in the heap, or a flood of short connections would be as many dead
ones. So a place is a list that its holder can empty, and the heap is rid of empty ones when most are.
"""

from __future__ import annotations

import heapq
import math
from typing import Any, Final, Protocol

from hotswap.edge.loop.containment import Contained

TICK: Final = 0.05
"""Seconds between two looks at the heap."""

HORIZON: Final = 10.0
"""Seconds after which a place in the heap is looked at even if the deadline is further away: what ended without a word
is let go then."""

FEW: Final = 1000
"""So many empty places are left alone."""

Place = list[Any]
"""A place in the heap: the time at which it is looked at, a serial number, and whose it is; None when it is empty."""

NEVER: Final[Place] = [math.inf, 0, None]
"""The place of those that have none."""


class Timed(Contained, Protocol):
    """An object with a deadline.

    `deadline` and `armed` are the timers' own: infinite and `NEVER` when nothing is set.
    """

    deadline: float
    armed: Place

    def on_deadline(self) -> None:
        """The deadline has passed; it is no longer set."""


class Timers:
    """Heap of deadlines on the data plane's clock, in seconds."""

    __slots__ = ("_empty", "_heap", "_now", "_serial")

    def __init__(self) -> None:
        self._heap: list[Place] = []
        self._empty = 0  # how many places are
        self._serial = 0
        self._now = 0.0  # when it was looked at last

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, timed: Timed, deadline: float) -> None:
        """Set or move a deadline; `math.inf` removes it."""
        timed.deadline = deadline
        if deadline < timed.armed[0]:
            self.arm(timed)

    def arm(self, timed: Timed) -> None:
        """Enter an object in the heap; to be called by whoever moved its deadline to before the time of `armed`."""
        self._leave(timed.armed)
        self._serial += 1
        timed.armed = place = [min(timed.deadline, self._now + HORIZON), self._serial, timed]
        heapq.heappush(self._heap, place)

    def forget(self, timed: Timed) -> None:
        """Remove the deadline of an object that has ended."""
        timed.deadline = math.inf
        self._leave(timed.armed)
        timed.armed = NEVER

    def due(self, now: float) -> Timed | None:
        """Pop the earliest object that is due, or None; it has no deadline afterwards.

        One at a time, since thousands may be due together: whoever serves them can give way to others in between.
        """
        self._now = now
        heap = self._heap
        while heap and heap[0][0] <= now:
            timed: Timed | None = heapq.heappop(heap)[2]
            if timed is None:
                self._empty -= 1
                continue
            timed.armed = NEVER
            if timed.deadline <= now:
                timed.deadline = math.inf
                return timed
            if timed.deadline < math.inf:
                self.set(timed, timed.deadline)
        return None

    def _leave(self, place: Place) -> None:
        if place is not NEVER:
            place[2] = None
            self._empty += 1
            if self._empty > FEW and self._empty > len(self._heap) / 2:
                self._heap[:] = [one for one in self._heap if one[2] is not None]
                heapq.heapify(self._heap)
                self._empty = 0
