"""Outcome of a pool's first start: every slot is ready, or the first backend that could not be started."""

from __future__ import annotations

import trio

from hotswap.core.errors import BackendError
from hotswap.core.pool.pool import Pool


class FirstStart:
    """The outcome of the first start of one pool, for whoever waits for it."""

    def __init__(self, core: Pool) -> None:
        self._core = core
        self._failure: BackendError | None = None
        self._progress = trio.Event()
        core.observe(lambda _: self._note_progress())

    @property
    def full(self) -> bool:
        """Every slot has a backend that can be claimed."""
        return len(self._core.ready_slots()) >= self._core.size

    def note_failure(self, failure: BackendError) -> None:
        """Note why a backend could not be started; the first one is told."""
        self._failure = self._failure or failure
        self._note_progress()

    def note_stop(self) -> None:
        """Note that the pool is being ended."""
        self.note_failure(BackendError("it was ended before it was ready"))

    async def wait(self) -> None:
        """Block until every slot is ready.

        Raises:
            BackendError: the first that could not be started, or the pool was ended before.
        """
        while not self.full:
            if self._failure is not None:
                raise self._failure
            await self._progress.wait()

    def _note_progress(self) -> None:
        self._progress.set()
        self._progress = trio.Event()
