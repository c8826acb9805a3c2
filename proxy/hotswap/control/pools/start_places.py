"""Limits how many backends boot at a time to the number of processors.

All slots at once would take each other's time: where a dozen heavy apps boot together on two processors, each needs
six times as long, none comes up within `start_timeout`, and the next attempt is no better. So one waits until another
is ready, has failed, or is seen to use next to no processor time, as one does that waits for a database.

The backends of one pool may use their places for as long as `start_timeout`, again and again, and never become ready.
So one pool never has all of them: where it would, the next of the others has one more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import trio

from hotswap.control.pools.process_facts import processor_seconds

LOOK: Final = 0.5
"""Seconds between two looks at what a backend that boots uses."""

IDLE: Final = 0.1
"""Part of a processor; a backend that uses less does not need its place."""

Rank = tuple[int, int]
"""Who is next, the lowest first: failed starts of the slot so far, then its number, so that each pool has one soon."""


class Place:
    """The right to boot one backend, held until it is given back."""

    def __init__(self, places: StartPlaces, pool: str) -> None:
        self._places = places
        self._pool = pool
        self.held = True

    def give_back(self) -> None:
        """Let the next one start; a second time is harmless."""
        if self.held:
            self.held = False
            self._places.free(self._pool)

    async def watch(self, pid: int) -> None:
        """Give it back when somebody waits and the process that has it uses next to nothing; ends with the place."""
        used = await trio.to_thread.run_sync(processor_seconds, pid)
        while self.held:
            await trio.sleep(LOOK)
            before, used = used, await trio.to_thread.run_sync(processor_seconds, pid)
            if self._places.wanted and used - before < IDLE * LOOK:
                self.give_back()


@dataclass(slots=True, order=True)
class _Waiting:
    rank: Rank
    came: int
    pool: str
    turn: trio.Event = field(default_factory=trio.Event, compare=False)


class StartPlaces:
    """A semaphore for starts with priorities, which no pool can have for itself alone."""

    def __init__(self, number: int) -> None:
        """Begin with all of them free, at least 1."""
        self._number = max(1, number)
        self._held: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []
        self._came = count()

    @property
    def wanted(self) -> bool:
        """Somebody waits."""
        return bool(self._waiting)

    async def take(self, pool: str, rank: Rank) -> Place:
        """Block until there is a place; of those who wait, the lowest rank is next.

        **Cancellation**: nothing is held.
        """
        entry = _Waiting(rank, next(self._came), pool)
        self._waiting.append(entry)
        self._give()
        try:
            await entry.turn.wait()
        except BaseException:
            if entry.turn.is_set():
                self.free(pool)
            else:
                self._waiting.remove(entry)
            raise
        return Place(self, pool)

    def free(self, pool: str) -> None:
        """Take note that a place of a pool was given back."""
        self._held -= Counter([pool])
        self._give()

    def _give(self) -> None:
        """Give away what is free, and one more where a single pool has all."""
        while entry := min(self._eligible(), default=None):
            self._waiting.remove(entry)
            self._held[entry.pool] += 1
            entry.turn.set()

    def _eligible(self) -> list[_Waiting]:
        if self._held.total() < self._number:
            return self._waiting
        return [entry for entry in self._waiting if len(self._held) == 1 and entry.pool not in self._held]
