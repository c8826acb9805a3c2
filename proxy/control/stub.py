"""What is left of the first process of a container once another one has everything: pid 1 must not end.

When process 1 of a namespace ends, the kernel kills all the others. So a process that was replaced stays there
as a stub: it reaps whatever is orphaned, passes signals on to the proxy that serves, and ends when that one
does, with its exit code. Which process that is, it reads from a file that every proxy writes when it has taken
over, because proxies go on replacing each other.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

PID_NAME: Final = "proxy.pid"
"""The name, in the state directory, of the file with the process id of the proxy that serves."""

_FIRST_FD: Final = 3
"""After the standard streams."""

FORWARDED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2})


def write_pid(directory: Path) -> None:
    """Note that this process serves. Never raises."""
    path = directory / PID_NAME
    with suppress(OSError):
        temporary = path.with_name(f"{PID_NAME}.{os.getpid()}")
        temporary.write_text(f"{os.getpid()}\n", encoding="ascii")
        temporary.rename(path)


def read_pid(directory: Path) -> int | None:
    """Give the process that serves, or None when that is not known."""
    try:
        return int((directory / PID_NAME).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def be_stub(directory: Path, successor: int, *, forward: Callable[[int, int], None] = os.kill) -> int:
    """Stay until no proxy is left; blocks, and needs no event loop, nor anything else that was open.

    Args:
        directory: the state directory.
        successor: the process that has taken over.
        forward: sends a signal to a process.

    Returns:
        The exit code of the last proxy, 1 when it was killed.
    """
    # First, because a signal that comes from now on is passed on as well.
    waited = {*FORWARDED, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    # What it had open is the other's now: a listener that is closed there must not live on here.
    os.closerange(_FIRST_FD, os.sysconf("SC_OPEN_MAX"))
    serving, code = successor, 0
    while True:
        ended = _reap()
        # The one that serves now may be told of only by the one that is just ending.
        told = read_pid(directory)
        if serving in ended:
            code = ended[serving]
            if told is None or told == serving or told in ended or not _lives(told):
                return code
            serving = told
        elif told is not None and told != serving and told != os.getpid() and _lives(told):
            serving = told
        if not _lives(serving):
            return code
        number = signal.sigwait(waited)
        if number in FORWARDED:
            with suppress(OSError):
                forward(read_pid(directory) or serving, number)


def _reap() -> dict[int, int]:
    """Reap every child that has ended; gives exit codes by process."""
    ended = {}
    with suppress(ChildProcessError):
        while (result := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)) is not None:
            ended[result.si_pid] = result.si_status if result.si_code == os.CLD_EXITED else 1
    return ended


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
