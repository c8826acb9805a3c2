"""Which backend of a pool is replaced because of what it has served, how old it is, or how much it has grown.

One at a time, and only while nothing else goes on in the pool: what recycling is for can wait, and a deploy, an
operator or a crash cannot. Each backend has limits of its own, a random part above those of the pool, so that backends
that became ready together do not come due together; only memory is not stretched, since it is a limit of the machine's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

SPREAD = 0.2
"""The largest part by which the limits of a backend lie above those of its pool."""

FIRST_WAIT = 30.0
LONGEST_WAIT = 3600.0
"""Seconds that the first and the longest wait last after a replacement that did not become ready; each doubles."""


class RecycleReason(StrEnum):
    """Which limit a backend has reached."""

    REQUESTS = "requests"
    AGE = "age"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecycleLimits:
    """Limits of a pool; 0 is none.

    Attributes:
        requests: exchanges that a backend has served.
        age: seconds since it was started.
        memory: resident bytes of it and what it has started.
    """

    requests: int = 0
    age: float = 0.0
    memory: int = 0

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.requests or self.age or self.memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendLife:
    """What is known of a backend that serves.

    Attributes:
        slot: the slot it fills.
        served, age, memory: as in `RecycleLimits`.
        first_memory: its memory when it had just become ready; 0 where that is not known.
        share: a random number from 0 up to 1 that belongs to it.
    """

    slot: int
    served: int
    age: float
    memory: int
    first_memory: int = 0
    share: float = 0.0

    def excess(self, limits: RecycleLimits) -> tuple[float, RecycleReason] | None:
        """Give how many times its limit it has reached, of the one that it is furthest beyond; None within all."""
        stretch = 1.0 + SPREAD * self.share
        used = [
            (self.served / (limits.requests * stretch), RecycleReason.REQUESTS) if limits.requests else None,
            (self.age / (limits.age * stretch), RecycleReason.AGE) if limits.age else None,
            (self.memory / limits.memory, RecycleReason.MEMORY)
            if limits.memory and not self.outgrown_at_birth(limits)
            else None,
        ]
        return max((one for one in used if one is not None and one[0] >= 1.0), default=None)

    def outgrown_at_birth(self, limits: RecycleLimits) -> bool:
        """Whether a new backend takes as much as the limit allows, so that replacing it would gain nothing."""
        return 0 < limits.memory <= self.first_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStanding:
    """What else goes on in a pool.

    Attributes:
        size: number of its slots.
        ready: how many of them serve; the one whose backend is, or would be, replaced counts whether it does or not.
        ending: the pool or the proxy is being stopped, or another proxy process takes over.
        rollout: one is in progress, or has been asked for.
        locked, paused: as it is called.
        drained: an operator has taken a slot out of rotation.
        leaving: a backend that was replaced is not gone yet.
    """

    size: int
    ready: int
    ending: bool = False
    rollout: bool = False
    locked: bool = False
    paused: bool = False
    drained: bool = False
    leaving: bool = False


def may_recycle(standing: PoolStanding) -> bool:
    """Whether a backend may be replaced now: every other slot serves, and nothing else goes on."""
    return standing.ready >= standing.size and not (
        standing.ending
        or standing.rollout
        or standing.locked
        or standing.paused
        or standing.drained
        or standing.leaving
    )


def must_give_way(standing: PoolStanding) -> bool:
    """Whether a replacement is broken off, so that the old backend serves: another slot does not, or nothing may."""
    return standing.paused or standing.ready < standing.size


def most_due(limits: RecycleLimits, lives: Iterable[BackendLife]) -> tuple[BackendLife, RecycleReason] | None:
    """Give the backend that is furthest beyond a limit, and which; None when none has reached one."""
    due = [(excess, life) for life in lives if (excess := life.excess(limits)) is not None]
    if not due:
        return None
    (_, reason), life = max(due, key=lambda one: (one[0][0], -one[1].slot))
    return life, reason


def wait_after_failures(failures: int) -> float:
    """Give the seconds until the next attempt after so many replacements in a row that did not become ready."""
    return 0.0 if failures == 0 else min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 63))
