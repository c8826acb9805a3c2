"""How long the loop was held: the longest turn of any task, without what the kernel gave to others meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from trio.lowlevel import Task


class Turns(trio.abc.Instrument):
    """Watches every turn of every task of the loop it is added to.

    Attributes:
        longest: seconds of the longest turn, and the task that had it.
    """

    def __init__(self) -> None:
        self.longest: tuple[float, str] = (0.0, "")
        self._waits = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        # The first turn that is seen is the rest of one.
        self._began, self._waited = time.monotonic(), self._wait()

    def before_task_step(self, task: Task) -> None:
        """A turn begins."""
        self._waited = self._wait()
        self._began = time.monotonic()

    def after_task_step(self, task: Task) -> None:
        """It has ended."""
        took = time.monotonic() - self._began
        if took > self.longest[0]:
            # The loop was ready to run, and another process had the processor.
            took -= self._wait() - self._waited
            self.longest = max(self.longest, (took, task.name))

    def _wait(self) -> float:
        return int(self._waits.read_bytes().split()[1]) / 1e9


@contextmanager
def watch_turns() -> Iterator[Turns]:
    """Watch the turns of the running loop for the time of the block."""
    turns = Turns()
    trio.lowlevel.add_instrument(turns)
    try:
        yield turns
    finally:
        trio.lowlevel.remove_instrument(turns)
