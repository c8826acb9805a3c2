"""Reaps orphans that are reparented to this process, and leaves its own children to whoever started them.

Theory. When a process ends, its children go to process 1 of its namespace, or to the nearest ancestor that asked for
them (a subreaper), and stay zombies until that one reaps them. A proxy in a container is process 1, so what its
backends leave behind piles up unless it reaps what it never started. It may reap nothing else: whoever started a
process waits for it, learns how it ended, and relies on its number staying taken until then. So what is started is
noted here, and only a zombie that nobody noted, and that is still there at a second look, is reaped.

What lives is ended with this process when a backend started it. Its variables tell that, and where it has none that
do, that nothing else can have come here: neither a child that this process had from the beginning, by the exec of a
script, nor what another proxy has left, that it started to take over.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from typing import Final

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.processes.guard import read_stat

GRACE: Final = 0.5
"""Seconds between the two looks: what was started in this instant is noted by then."""

ORPHAN_GRACE: Final = 2.0
"""Seconds that orphans have to end when this process does."""

_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37

_MARK: Final = b"HOTSWAP_POOL="
"""A variable that every backend is given, and that whatever it starts has from it."""

_started: set[int] = set()

_strangers: list[int] = []
"""Children whose own children, orphaned, come here and are no backend's: from the beginning, and other proxies."""


def note_child(pid: int, *, stranger: bool = False) -> None:
    """Register a child that the caller will wait for; call it right after the start, from any thread.

    Args:
        pid: its process id.
        stranger: what it leaves behind is no backend's.
    """
    _started.add(pid)
    if stranger:
        _strangers.append(pid)


def adopts_orphans() -> bool:
    """Whether orphans are reparented to this process: it is process 1 or a subreaper."""
    if os.getpid() == 1:
        return True
    asked = ctypes.c_int()
    return ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(asked), 0, 0, 0) == 0 and bool(asked.value)


def adopt_orphans() -> None:
    """Become a subreaper, so that what backends leave behind can be ended. Call it before anything is started."""
    _strangers.extend(_children()[0])
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def end_orphans(log: FilteringBoundLogger) -> None:
    """Send SIGTERM to the orphans of backends, and SIGKILL to the rest after `ORPHAN_GRACE` seconds.

    Those are daemons without the mark of their backend, with which they would have ended.

    **Cancellation**: some may live on.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = await trio.to_thread.run_sync(_signal_orphans, number)
        if not left:
            return
        log.info("orphan.ending", processes=left, signal=number.name)
        with trio.move_on_after(ORPHAN_GRACE):
            while await trio.to_thread.run_sync(_signal_orphans, 0):
                await trio.sleep(0.02)


def _signal_orphans(number: int) -> int:
    found = 0
    living, _ = _children()
    # Process 1 is sent the orphans of whoever entered its container as well.
    known = not _strangers and os.getpid() != 1
    for pid in living - _started - set(_strangers):
        with suppress(OSError):
            if known or _from_backend(pid):
                # Our child, so its number is its own until we reap it.
                os.kill(pid, number)
                found += 1
    return found


def _from_backend(pid: int) -> bool:
    with open(f"/proc/{pid}/environ", "rb") as variables:
        return any(one.startswith(_MARK) for one in variables.read().split(b"\0"))


async def serve_orphans(log: FilteringBoundLogger) -> None:
    """Reap orphans that have ended, until cancelled; returns at once where none are reparented to us.

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
    """Reap until a look finds no zombie that was not there before."""
    seen: set[int] = set()
    while found := await trio.to_thread.run_sync(_zombies) - _started:
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


def _children() -> tuple[set[int], set[int]]:
    """Give the children of this process, whoever started them: those that live, and the zombies."""
    own = str(os.getpid()).encode()
    living: set[int] = set()
    zombies: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        stat = read_stat(int(name))
        if stat is not None and stat[1] == own:
            (zombies if stat[0] == b"Z" else living).add(int(name))
    return living, zombies


def _zombies() -> set[int]:
    """Children that are zombies; unregisters those that are no children any more."""
    noted = set(_started)
    living, zombies = _children()
    # Only what was noted before the look: a later one may have been missed by it.
    _started.difference_update(noted - living - zombies)
    return zombies
