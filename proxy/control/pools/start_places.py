"""Places for backends that boot, as many as there are processors: all slots at once would take each other's time.

Where a dozen heavy apps boot together on two processors, each needs six times as long, none comes up within
`start_timeout`, and the next attempt is no better. So one waits until another is ready, has failed, or is seen to use
next to no processor time, as one does that waits for a database.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Final

import trio

from proxy.control.pools.process_facts import processor_seconds

LOOK: Final = 0.5
"""Seconds between two looks at what a backend that boots uses."""

IDLE: Final = 0.1
"""Part of a processor; one that uses less does not need its place."""

Rank = tuple[int, int]
"""Who is next, the lowest first: failed starts of the slot so far, then its number, so that each pool has one soon."""


class Place:
    """One place, held until it is given back."""

    def __init__(self, places: StartPlaces) -> None:
        self._places = places
        self.held = True

    def give_back(self) -> None:
        """Let the next one start; a second time is harmless."""
        if self.held:
            self.held = False
            self._places.free()

    async def watch(self, pid: int) -> None:
        """Give it back when somebody waits and the process that has it uses next to nothing; ends with the place."""
        used = await trio.to_thread.run_sync(processor_seconds, pid)
        while self.held:
            await trio.sleep(LOOK)
            before, used = used, await trio.to_thread.run_sync(processor_seconds, pid)
            if self._places.wanted and used - before < IDLE * LOOK:
                self.give_back()


class StartPlaces:
    """The places of all pools."""

    def __init__(self, number: int) -> None:
        """Begin with all of them free.

        Args:
            number: how many there are, at least 1.
        """
        self._free = max(1, number)
        self._waiting: list[tuple[Rank, int, trio.Event]] = []
        self._order = count()

    @property
    def wanted(self) -> bool:
        """Somebody waits."""
        return bool(self._waiting)

    async def take(self, rank: Rank) -> Place:
        """Block until there is a place; of those who wait, the lowest rank is next.

        **Cancellation**: nothing is held.
        """
        if self._free and not self._waiting:
            self._free -= 1
            return Place(self)
        entry = (rank, next(self._order), trio.Event())
        heapq.heappush(self._waiting, entry)
        try:
            await entry[2].wait()
        except BaseException:
            if entry[2].is_set():
                self.free()
            else:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
            raise
        return Place(self)

    def free(self) -> None:
        """Take note that a place was given back."""
        if self._waiting:
            heapq.heappop(self._waiting)[2].set()
        else:
            self._free += 1


async def _look_at(pid: int) -> float:
    # In a thread: the tree of a process is walked through, and that is not for the loop.
    return await trio.to_thread.run_sync(processor_seconds, pid, abandon_on_cancel=True)
