"""Memory of the process: how often Python looks for cycles of garbage, and what goes back to the system.

Exchanges and connections are taken apart when they end, so reference counts free them. What the collector would walk
at its default pace is everything that lives: with thousands of connections open that is a pause for all of them.

What they held is free then, and glibc keeps it: behind the bodies of a thousand uploads lies something small that
lives on, and only what lies behind everything goes back by itself.
"""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import Final

import trio

THRESHOLDS: Final = (50_000, 20, 50)
"""Allocations before the youngest generation is looked at, and how many such looks before an older one is."""
LOOK: Final = 10.0
"""Seconds between two looks at what is free."""
SPARE: Final = 8 * 1024 * 1024
"""Bytes that may be free and still with us: they will be needed again. To give back 90 MiB takes 10 ms, in which others
wait for the allocator."""


def settle_memory() -> None:
    """Collect once, then leave what lives by now out of every later look, and look seldom. Called when booted."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


class SpareMemory:
    """What is resident and not in use."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._trim = getattr(libc, "malloc_trim", None)
        self._info = getattr(libc, "mallinfo2", None)
        if self._info is not None:
            self._info.restype = _Mallinfo
        self._least: int | None = None

    async def serve(self) -> None:
        """Give back what is much, until cancelled; at once over where the C library is not glibc."""
        while self._trim is not None and self._info is not None:
            await trio.to_thread.run_sync(self.look)
            await trio.sleep(LOOK)

    def look(self) -> None:
        """Give back what has become free, if it is more than `SPARE`. Takes milliseconds then."""
        assert self._trim is not None
        spare = self._measure()
        if self._least is not None and spare > self._least + SPARE:
            self._trim(0)
            self._least = self._measure()
        elif self._least is None or spare < self._least:
            self._least = spare

    def _measure(self) -> int:
        """Bytes that are resident beside those that somebody has asked the allocator for: code, Python's own, free."""
        assert self._info is not None
        info: _Mallinfo = self._info()
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        used: int = info.uordblks + info.hblkhd
        return pages * os.sysconf("SC_PAGE_SIZE") - used
