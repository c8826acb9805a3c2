"""Program of the guardian: ends the backends when the proxy was killed. `hotswap.processes.guardian` starts it.

It reads lines from a pipe whose only other end is the proxy's:

    watch GROUP START     end this process group if the pipe closes; START is when its leader started
    forget GROUP          it ended, or somebody else looks after it now
    farewell              whatever is still watched is somebody else's now; only older versions of the proxy say so

When the pipe closes without that line, the groups get SIGTERM, with what has left them and is still of their
sessions or bears their mark, and SIGKILL what is left a little later, all of it within `END_TIMEOUT`. It ignores the
signals that somebody may send it by mistake: it ends when the pipe closes, whatever happens.

The mark of a backend is a variable with the process id and the start time of its leader, which the launcher sets and
whatever the backend starts inherits. It tells a daemon, which has left the session, whoever its parent is by now.

Run as a script without site directories, so nothing outside of the standard library may be imported here.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

END_TIMEOUT: Final = 5.0
"""Seconds from the proxy's death to the end of the last backend."""

_TERM_GRACE: Final = 3.5
"""Seconds between SIGTERM and SIGKILL; the rest is for the kernel and for a busy machine."""

_POLL: Final = 0.05

IGNORED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""Signals that the guardian ignores."""

MARK: Final = b"HOTSWAP_BACKEND="
"""The variable whose value, PID-START, is the mark of a backend."""

FAREWELL: Final = b"farewell\n"
"""The line that lets the guardian go without ending anything."""


def read_stat(pid: int) -> list[bytes] | None:
    """Read what /proc/PID/stat has after the name of the program, see proc(5). None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The name is in brackets and may hold anything, brackets and spaces too.
            return stat.read().rpartition(b")")[2].split() or None
    except OSError:
        return None


def start_time_of(pid: int) -> int | None:
    """Start time of a process in ticks since boot, which with its id is unique. None when it is gone.

    A process that ended but was not reaped is still there.
    """
    stat = read_stat(pid)
    return None if stat is None else int(stat[19])


def signal_group(group: int, start: int, number: int) -> bool:
    """Send a signal to a process group, unless its number was reused.

    While a group has members the kernel gives its number to no new process, so a process of that number that
    started at another time means that the group is gone.

    Returns:
        Whether there was a group to signal.
    """
    if group <= 1:
        return False
    if start_time_of(group) not in (start, None):
        return False
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


def guard(pipe: int) -> int:
    """Read the pipe to its end, then end what is still watched.

    Returns:
        How many groups had to be ended.
    """
    groups: dict[int, int] = {}
    pending = b""
    while True:
        try:
            data = os.read(pipe, 65536)
        except OSError:
            data = b""
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            if line + b"\n" == FAREWELL:
                return 0
            _obey(line, groups)
    return _end(groups)


def _obey(line: bytes, groups: dict[int, int]) -> None:
    with suppress(ValueError):
        match line.split():
            case [b"watch", group, start]:
                groups[int(group)] = int(start)
            case [b"forget", group]:
                groups.pop(int(group), None)


def _end(groups: dict[int, int]) -> int:
    deadline = time.monotonic() + _TERM_GRACE
    members = members_of(groups)
    left = {
        group: start for group, start in groups.items() if signal_session(group, start, signal.SIGTERM, members[group])
    }
    # Whoever inherits the dead may take its time to reap them, and until then they can be signalled.
    ended = len(left)
    if ended:
        with suppress(OSError):
            os.write(2, b"hotswap: the proxy is gone; its guardian ends %d backends\n" % ended)
    for group, start in left.items():
        # A stopped process takes SIGTERM only when it goes on.
        signal_session(group, start, signal.SIGCONT, members[group])
    while left and time.monotonic() < deadline:
        select.select((), (), (), _POLL)
        members = members_of(left)
        left = {
            group: start
            for group, start in left.items()
            if members[group] != [] and signal_session(group, start, 0, members[group])
        }
    members = members_of(left)
    for group, start in left.items():
        signal_session(group, start, signal.SIGKILL, members[group])
    return ended


def members_of(leaders: Mapping[int, int]) -> dict[int, list[int] | None]:
    """Living processes of backends, by their leaders; None for each when that cannot be found out.

    A process can leave its group for another, but not its session for one that exists. One that makes a session of its
    own is found by its mark, unless it has changed its variables.

    Args:
        leaders: the process that leads each session, with the time at which it was started.
    """
    found: dict[int, list[int]] = {session: [] for session in leaders}
    unknown: dict[int, list[int] | None] = dict.fromkeys(leaders)
    own = os.getpid()
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return unknown
    if own not in pids:
        return unknown  # the list of somebody else's processes
    for pid in pids:
        with suppress(OSError):
            session = os.getsid(pid)
            if session not in found and pid != own:
                session, start = mark_of(pid)
                if leaders.get(session) != start:
                    continue
            if session in found and _lives(pid):
                found[session].append(pid)
    return {**found}


def mark_of(pid: int) -> tuple[int, int]:
    """Read of which backend a process bears the mark: process id and start time of its leader; zeros: of none."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as variables:
            _, found, rest = (b"\0" + variables.read()).partition(b"\0" + MARK)
        leader, _, start = rest.partition(b"\0")[0].partition(b"-")
        return (int(leader), int(start)) if found else (0, 0)
    except (OSError, ValueError):
        return 0, 0


def signal_session(session: int, start: int, number: int, members: Collection[int] | None) -> bool:
    """Send a signal to a process group and to those members of its backend that have left it.

    Args:
        session: the number of both; who leads a session leads a group.
        start: when its leader was started.
        number: the signal.
        members: of the backend, from `members_of`; None: they are not known.

    Returns:
        Whether there was anybody to signal.
    """
    reached = signal_group(session, start, number)
    ours = session > 1 and start_time_of(session) in (start, None)
    for pid in members or ():
        with suppress(OSError):
            if ours and os.getpgid(pid) == session:
                continue  # it had its signal
            handle = os.pidfd_open(pid)
            try:
                # Its number may have been another's a moment ago; the handle is this one's for good.
                if (ours and os.getsid(pid) == session) or mark_of(pid) == (session, start):
                    signal.pidfd_send_signal(handle, number)
                    reached = True
            finally:
                os.close(handle)
    return reached


def _lives(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat[0] not in (b"Z", b"X")


def main() -> None:
    """Run the guardian: standard input is the pipe."""
    for number in (*IGNORED, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with suppress(OSError):
        os.chdir("/")
    guard(0)


if __name__ == "__main__":
    main()
