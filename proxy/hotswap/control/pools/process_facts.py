"""Age, memory and processor time of a backend's processes, as the kernel knows them.

It is read from /proc whenever somebody looks, so it is right also for processes that were started by the
proxy process before this one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hotswap.processes.guard import read_stat

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")

MOST_PROCESSES = 64
"""How many processes of one backend are looked at: a server with more workers is told too small, not slow."""

# Where `read_stat` has them.
_USER, _SYSTEM = 11, 12
_START = 19
_PAGES = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """A process and those that it has started.

    Attributes:
        uptime: seconds since the process itself was started.
        memory: resident bytes of all of them; what they share counts for each.
    """

    uptime: float
    memory: int


def read_process(pid: int) -> ProcessFacts | None:
    """Look at a process; None when it is gone."""
    stat = read_stat(pid)
    if stat is None:
        return None
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[_START]) / TICKS
    pages = int(stat[_PAGES])
    for child in _descendants(pid):
        found = read_stat(child)
        pages += 0 if found is None else int(found[_PAGES])
    return ProcessFacts(uptime=max(0.0, uptime), memory=pages * PAGE)


def processor_seconds(pid: int) -> float:
    """Give the processor time that a process and those it has started have used; 0 when it is gone."""
    ticks = 0
    for one in (pid, *_descendants(pid)):
        found = read_stat(one)
        ticks += 0 if found is None else int(found[_USER]) + int(found[_SYSTEM])
    return ticks / TICKS


def _descendants(pid: int) -> Iterator[int]:
    waiting, seen = [pid], 0
    while waiting and seen < MOST_PROCESSES:
        seen += 1
        for child in _children(waiting.pop()):
            waiting.append(child)
            yield child


def _children(pid: int) -> list[int]:
    # Of the main thread alone: servers start their workers there, and a look at each thread would add up.
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as stream:
            return [int(child) for child in stream.read().split()]
    except OSError:
        return []
