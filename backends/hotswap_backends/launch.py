"""Launcher: sets `LISTEN_PID` and what else only the new process can, then executes the server.

Started by the proxy as `python -I -S -c SOURCE PARENT DIRECTORY PROGRAM ARGUMENT…`. It has its own session,
standard streams, the listening socket as fd 3 where there is one, and SIGUSR2 blocked. It gives the server a
clean start:

- `LISTEN_PID`, which no one can know before the process exists, when `LISTEN_FDS` is set;
- `HOTSWAP_BACKEND`, its process id and start time: by that the proxy finds what it has started, daemons too;
- no other file descriptor;
- SIGUSR2 ignored over the exec: the reload signal, sent to a process group by mistake, must be harmless to a
  backend also while it boots, before any handler of its own; every other signal has its default action, and
  none is blocked;
- the working directory;
- and it stops right here when the proxy that started it is already gone, because nobody else knows of it yet.

Then it becomes the server: same process id. Standard library only, and no import of anything beside it,
because the interpreter that runs it looks at no site directory.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

CANNOT_RUN = 126
NOT_FOUND = 127
"""The shell's exit codes for a program that cannot be run, and for one that is not there."""

_FIRST_LISTEN_FD = 3


def launch(parent: int, directory: str, argv: list[str]) -> int:
    """Execute the server in this process.

    Args:
        parent: process id of whoever started this.
        directory: working directory of the program; empty: stay.
        argv: program, looked up in PATH when it has no slash, and its arguments.

    Returns:
        The exit code, only when the program could not be started; why is on stderr.
    """
    listens = int(os.environ.get("LISTEN_FDS", "0"))
    os.closerange(_FIRST_LISTEN_FD + listens, os.sysconf("SC_OPEN_MAX"))
    # Python ignores these two when it starts, and an ignored signal stays ignored over exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, (signal.SIGUSR2,) if is_gunicorn(argv) else ())
    if listens:
        os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["HOTSWAP_BACKEND"] = f"{os.getpid()}-{start_time()}"
    try:
        if directory:
            os.chdir(directory)
    except OSError as error:
        return _refuse(f"cannot enter {directory}", error)
    if os.getppid() != parent:
        return CANNOT_RUN
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        return _refuse(f"cannot run {argv[0]}", error)


def start_time() -> str:
    """Start time of this process in ticks since boot, see proc(5); with its id it names it for ever."""
    try:
        with open("/proc/self/stat", "rb") as stat:
            # The name of the program is in brackets and may hold anything.
            return stat.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""


def is_gunicorn(argv: list[str]) -> bool:
    """Whether a command line runs gunicorn: by its script, with or without an interpreter, as a module, or by ours."""
    names = [os.path.basename(argument) for argument in argv[:3]]
    return "gunicorn" in names[:2] or names[1:] in (["-m", "gunicorn"], ["serve.py", "gunicorn"])


def _refuse(what: str, error: OSError) -> int:
    print(f"hotswap: {what}: {error.strerror}", file=sys.stderr, flush=True)
    return NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else CANNOT_RUN


if __name__ == "__main__":
    sys.exit(launch(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
