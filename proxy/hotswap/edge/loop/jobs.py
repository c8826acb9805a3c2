"""Blocking calls of the data plane, in threads: the file system and costly arithmetic.

The loop asks for a call and goes on; what comes of it is handed back in a turn of the loop. How many run at a time is
bounded for each kind, so that a disk that hangs takes no thread from anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio

from hotswap.edge.loop.containment import Contained, contain
from hotswap.edge.loop.poller import Poller

Result = TypeVar("Result")


class Jobs:
    """All blocking calls that are asked for or run.

    Args:
        poller: the loop in which results are handed back.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._nursery: trio.Nursery | None = None
        self._waiting: list[Callable[[trio.Nursery], None]] = []  # asked for before `serve`

    def begin(
        self,
        owner: Contained,
        work: Callable[[], Result],
        done: Callable[[Result], None],
        failed: Callable[[OSError], None],
        *,
        limiter: trio.CapacityLimiter,
        abandon: bool = True,
    ) -> None:
        """Have a call made in a thread; `done` or `failed` is called in a turn of the loop, or never if the plane ends.

        Args:
            owner: contains what leaves the work, other than an OSError, and what leaves `done` and `failed`.
            work: what may block.
            done: takes what it returns.
            failed: takes its OSError.
            limiter: bounds how many of this kind run at a time; further ones wait.
            abandon: whether its thread is left behind when the plane ends. False for a call that always returns soon
                and must not return while the interpreter ends: an extension in Rust would abort the process then.
        """

        def start(nursery: trio.Nursery) -> None:
            nursery.start_soon(self._run, owner, work, done, failed, limiter, abandon)

        if self._nursery is None:
            self._waiting.append(start)
        else:
            start(self._nursery)

    async def _run(
        self,
        owner: Contained,
        work: Callable[[], Result],
        done: Callable[[Result], None],
        failed: Callable[[OSError], None],
        limiter: trio.CapacityLimiter,
        abandon: bool,
    ) -> None:
        try:
            result = await trio.to_thread.run_sync(work, abandon_on_cancel=abandon, limiter=limiter)
        except OSError as error:
            self._poller.soon(owner, partial(failed, error))
        except Exception as error:  # a defect of ours, of this one
            contain(owner, owner.on_crash, error)
        else:
            self._poller.soon(owner, partial(done, result))

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what is asked for until cancelled.

        **Cancellation** leaves threads behind, or waits for those that are not to be; what they return is lost.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                for start in self._waiting:
                    start(self._nursery)
                self._waiting.clear()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
