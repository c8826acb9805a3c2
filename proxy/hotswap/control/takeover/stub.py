"""What is left of the first process of a container once another one has everything: pid 1 must not end.

When process 1 of a namespace ends, the kernel kills all the others. So a process that was replaced stays there
as a stub: it reaps whatever is orphaned, passes signals on to the proxy that serves, and ends when that one
does, with its exit code. Which process that is, it reads from a file, because proxies go on replacing each other:
each writes there who has everything from now on, before it ends, and who has taken over writes it too, in case the one
before it could not.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

PID_NAME: Final = "proxy.pid"
"""The name, in the state directory, of the file with the process id of the proxy that serves."""

_FIRST_FD: Final = 3
"""After the standard streams."""

FORWARDED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2})

SUCCESSION: Final = 3.0
"""Seconds that are left to whoever takes over from a proxy that died without a word, to say so."""


def write_pid(directory: Path, pid: int | None = None) -> None:
    """Note who serves: this process, or another one. Never raises."""
    path = directory / PID_NAME
    with suppress(OSError):
        temporary = path.with_name(f"{PID_NAME}.{os.getpid()}")
        temporary.write_text(f"{pid or os.getpid()}\n", encoding="ascii")
        temporary.rename(path)


def read_pid(directory: Path) -> int | None:
    """Give the process that serves, or None when that is not known."""
    try:
        return int((directory / PID_NAME).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def forget_pid(directory: Path) -> None:
    """Remove what proxies before this one have left; it begins a chain of its own. Never raises."""
    with suppress(OSError):
        (directory / PID_NAME).unlink(missing_ok=True)


def be_stub(directory: Path, successor: int) -> int:
    """Stay until no proxy is left; blocks, and needs no event loop, nor anything else that was open.

    Returns:
        The exit code of the last proxy, 1 when it was killed.
    """
    # First, because a signal that comes from now on is passed on as well.
    received: deque[int] = deque()
    for number in (*FORWARDED, signal.SIGCHLD):
        signal.signal(number, lambda number, _frame: received.append(number))
    # What it had open is the other's now: a listener that is closed there must not live on here.
    os.closerange(_FIRST_FD, os.sysconf("SC_OPEN_MAX"))
    # Not by waiting for blocked signals: idle threads of the loop that was may be left, which do not block them, and
    # what the kernel gives to one of those wakes nobody here.
    awake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    serving, code = successor, 0
    alone_since: float | None = None
    while True:
        ended = _reap()
        code = ended.get(serving, code)
        told = read_pid(directory)
        if told is not None and told != os.getpid() and lives(told):
            serving = told
        if lives(serving):
            alone_since = None
            if not received:
                _await_signal(awake, None)
            while received:
                signalled = received.popleft()
                if signalled != signal.SIGCHLD:
                    with suppress(OSError):
                        os.kill(read_pid(directory) or serving, signalled)
            continue
        # If it did not say who goes on, one that was taking over may be left, and needs a moment.
        now = time.monotonic()
        alone_since = now if alone_since is None else alone_since
        if now - alone_since > SUCCESSION or not _has_children():
            return code
        _await_signal(awake, 0.05)


def _await_signal(awake: int, timeout: float | None) -> None:
    """Block until a signal has come, whichever thread it came to, or for so many seconds."""
    select.select([awake], [], [], timeout)
    with suppress(BlockingIOError):
        os.read(awake, 4096)


def _reap() -> dict[int, int]:
    """Reap every child that has ended; gives exit codes by process."""
    ended = {}
    with suppress(ChildProcessError):
        while (result := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)) is not None:
            ended[result.si_pid] = result.si_status if result.si_code == os.CLD_EXITED else 1
    return ended


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def lives(pid: int) -> bool:
    """Tell whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
