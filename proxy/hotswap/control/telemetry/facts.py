"""What the kernel was last found to know of the processes of backends, looked up outside the loop.

Theory. A pool of 60 with 8 workers each is 500 files of /proc, 20 ms in which nobody would be served. So a view of the
state takes what is in here, and whoever wants it fresh waits for a look first. Looks are made by one thread at a time;
who comes while one is under way shares the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio

from hotswap.control.pools.process_facts import ProcessFacts, read_process

FRESH: Final = 0.5
"""Seconds for which a look is good enough for whoever comes next."""


class FactsBook:
    """The last look at the processes of the backends."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        """Begin without a look; `pids` gives the processes that there are."""
        self._pids = pids
        self._facts: Mapping[int, ProcessFacts] = {}
        self._looked = float("-inf")
        self._turn = trio.Lock()

    def of(self, pid: int | None) -> ProcessFacts | None:
        """Give what was found about a process at the last look; None when that did not meet it."""
        return None if pid is None else self._facts.get(pid)

    async def look(self) -> None:
        """Have a look that is no older than `FRESH` seconds when this returns.

        **Cancellation**: the look goes on, and is forgotten.
        """
        async with self._turn:
            if trio.current_time() - self._looked < FRESH:
                return
            pids = tuple(self._pids())
            self._facts = await trio.to_thread.run_sync(_read, pids, abandon_on_cancel=True)
            self._looked = trio.current_time()


def _read(pids: Iterable[int]) -> Mapping[int, ProcessFacts]:
    return {pid: facts for pid in pids if (facts := read_process(pid)) is not None}
