"""Estimates Retry-After from recent start times of a pool.

Nobody knows, but a pool that has started backends before has an idea: the next start will take about as long as the
last one. Clients that were turned away together are spread behind that moment, so that they do not return together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from hotswap.core.identity import BackendId

UNKNOWN_START: Final = 2.0
"""Seconds that a start is taken to need as long as none was seen."""
LONGEST: Final = 120
"""The most seconds that a client is sent away for."""


class StartTimes:
    """Start times of a pool's backends, from spawn to claimable; times are seconds of any clock."""

    __slots__ = ("_starting", "typical")

    def __init__(self) -> None:
        self.typical = UNKNOWN_START
        self._starting: dict[BackendId, float] = {}

    def note_added(self, backend: BackendId, now: float) -> None:
        """A backend was added and starts."""
        self._starting[backend] = now

    def note_claimable(self, backend: BackendId, now: float) -> None:
        """A backend became claimable; for a starting one, the start is measured."""
        began = self._starting.pop(backend, None)
        if began is not None:
            self.typical = now - began

    def note_gone(self, backend: BackendId) -> None:
        """A starting backend was removed."""
        self._starting.pop(backend, None)

    def remaining(self, now: float) -> float:
        """Estimated seconds until the first starting backend is claimable; a whole start when none starts.

        A start that is overdue is taken to be in the middle of what it needs.
        """
        if not self._starting:
            return self.typical
        age = now - min(self._starting.values())
        return self.typical - age if age < self.typical else age


def retry_after(estimate: float, random: Callable[[], float]) -> int:
    """Seconds for Retry-After: the estimate, plus up to half of it at random.

    Args:
        estimate: seconds until the pool can serve again.
        random: gives a number from 0 to 1, one not included.
    """
    return max(1, min(LONGEST, math.ceil(estimate + random() * max(2.0, estimate / 2))))
