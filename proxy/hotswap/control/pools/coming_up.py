"""Whether a pool that has just been started comes up: every slot ready, or the first that could not be started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hotswap.core.errors import BackendError

if TYPE_CHECKING:
    from hotswap.control.pools.supervised_pool import SupervisedPool


class ComingUp:
    """What is to be known of the beginning of one pool."""

    def __init__(self, pool: SupervisedPool) -> None:
        self._pool = pool
        self._failure: BackendError | None = None
        self._progress = trio.Event()
        pool.core.observe(lambda _: self.note_progress())

    def note_failure(self, failure: BackendError) -> None:
        """Note why a backend could not be started."""
        self._failure = failure
        self.note_progress()

    def note_progress(self) -> None:
        """Something may be different now."""
        self._progress.set()
        self._progress = trio.Event()

    async def wait(self) -> None:
        """Block until every slot is ready.

        Raises:
            BackendError: the first that could not be started.
        """
        while not self._pool.full:
            if self._failure is not None:
                raise self._failure
            if self._pool.stopping:
                raise BackendError("it was ended before it was ready")
            await self._progress.wait()
