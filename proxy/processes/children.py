"""The children of this process: those it started, and orphans that come to it because it is process 1.

Theory. When a process ends, its children go to process 1 of its namespace, or to the nearest ancestor that asked for
them (a subreaper), and stay zombies until that one reaps them. A proxy in a container is process 1, so what its
backends leave behind piles up unless it reaps what it never started. It may reap nothing else: whoever started a
process waits for it, learns how it ended, and relies on its number staying taken until then. So what is started is
noted here, and only a zombie that nobody noted, and that is still there at a second look, is reaped.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from typing import Final

import trio
from structlog.typing import FilteringBoundLogger

GRACE: Final = 0.5
"""Seconds between the two looks: what was started in this instant is noted by then."""

_PR_GET_CHILD_SUBREAPER: Final = 37

_started: set[int] = set()


def note_child(pid: int) -> None:
    """Note that this process started another and will wait for it; call it right after the start, from any thread."""
    _started.add(pid)


def adopts_orphans() -> bool:
    """Whether orphans come to this process: it is process 1 or a subreaper."""
    if os.getpid() == 1:
        return True
    asked = ctypes.c_int()
    return ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(asked), 0, 0, 0) == 0 and bool(asked.value)


async def serve_orphans(log: FilteringBoundLogger) -> None:
    """Reap orphans that have ended, until cancelled; ends at once where none come.

    **Cancellation**: those that are left stay zombies until this process ends.
    """
    if not adopts_orphans():
        return
    with trio.open_signal_receiver(signal.SIGCHLD) as deaths:
        # Some may have come before.
        await _reap_orphans(log)
        async for _ in deaths:
            await _reap_orphans(log)


async def _reap_orphans(log: FilteringBoundLogger) -> None:
    """Look until there is nothing left that was not there before."""
    seen: frozenset[int] = frozenset()
    while found := _zombies() - _started:
        for pid in seen & found:
            _reap(pid)
            log.debug("orphan.reaped", pid=pid)
        seen = found - seen
        if not seen:
            return
        await trio.sleep(GRACE)


def _reap(pid: int) -> None:
    with suppress(OSError):
        os.waitpid(pid, os.WNOHANG)


def _zombies() -> frozenset[int]:
    """Children that have ended and were not reaped; forgets those noted that are no children any more."""
    children, zombies = set(), set()
    noted, own = set(_started), str(os.getpid()).encode()
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                # The name of the program is in brackets and may hold anything.
                state, parent, *_ = stat.read().rpartition(b")")[2].split()
        except (OSError, ValueError):
            continue
        if parent == own:
            children.add(int(name))
            if state == b"Z":
                zombies.add(int(name))
    # Only what was noted before the look: a later one may have been missed by it.
    _started.difference_update(noted - children)
    return frozenset(zombies)
