"""Reading the compatibility number of a release, from a file or from a command.

Whatever goes wrong is a value (`Unreadable`), because what a release contains must not be able to do more than
have its own rollout refused. Both ways block, so they run in a thread: a file may lie on a dead network disk, and
a command takes as long as it takes, up to `COMMAND_TIMEOUT`.
"""

from __future__ import annotations

import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import trio

from hotswap.control.configuration.outside import ReadTooSlow, read_within
from hotswap.core.config import CompatibilityTable
from hotswap.core.rollout.compatibility import Compatibility, Unreadable, parse_compatibility
from hotswap.processes.children import note_child
from hotswap.processes.guard import start_time_of
from hotswap.processes.guardian import Guardian
from hotswap.processes.open_files import give_back_limit

COMMAND_TIMEOUT = 10.0
"""Seconds a command may take; it prints one line."""

KEPT_BYTES = 64 * 1024
"""How much of a file or of an output is looked at; only the first line counts."""


async def read_compatibility(
    table: CompatibilityTable | None,
    *,
    directory: str,
    environment: Mapping[str, str],
    guardian: Guardian | None = None,
) -> Compatibility | None:
    """Read the number of the release in a directory.

    Args:
        table: where it is found; None: there is none.
        directory: of the release, symbolic links resolved.
        environment: every variable of the command.
        guardian: ends the command should the proxy be killed while it runs.

    Returns:
        The number, why it cannot be read, or None without a table.

    **Cancellation**: a read or command that still runs is left to its deadline.
    """
    if table is None:
        return None
    if table.command:
        # It has a deadline of its own, but not for a program or a directory on a disk that went away.
        with trio.move_on_after(COMMAND_TIMEOUT + 2.0):
            return await trio.to_thread.run_sync(
                run_command, table.command, directory, environment, COMMAND_TIMEOUT, guardian, abandon_on_cancel=True
            )
        return Unreadable(f"{table.command[0]} could not be started within {COMMAND_TIMEOUT:g} s")
    path = os.path.join(directory, table.file)
    return await trio.to_thread.run_sync(read_file, path, abandon_on_cancel=True)


def read_file(path: str) -> Compatibility:
    """Read the number from a file; blocks, up to `READ_TIMEOUT`."""
    try:
        return read_within(lambda: _read_file(path), path)
    except ReadTooSlow as error:
        return Unreadable(f"{path}: {error.strerror}")


def _read_file(path: str) -> Compatibility:
    try:
        # Without O_NONBLOCK the open of a FIFO would wait for somebody to write to it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return Unreadable(f"{path} is not a regular file")
            content = os.read(fd, KEPT_BYTES)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        return Unreadable(f"{path}: {getattr(error, 'strerror', None) or error}")
    return parse_compatibility(content, origin=path)


def run_command(
    command: Sequence[str],
    directory: str,
    environment: Mapping[str, str],
    timeout: float = COMMAND_TIMEOUT,
    guardian: Guardian | None = None,
) -> Compatibility:
    """Take the number from the first line that a command prints; blocks up to `timeout` seconds.

    With a guardian it has to run in a thread that trio started: the guardian is told in the loop.
    """
    name = f"the output of {command[0]}"
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Unreadable(f"{command[0]} cannot be run: {getattr(error, 'strerror', None) or error}")
    note_child(process.pid)
    give_back_limit(process.pid)
    with process, _guarded(process.pid, guardian):
        try:
            output, complaint, ended = _collect(process, time.monotonic() + timeout)
        finally:
            # What it left behind in its group too. The leader is not reaped yet, so nobody else has its number.
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if not ended:
        return Unreadable(f"{command[0]} did not end within {timeout:g} s")
    if process.returncode != 0:
        last = complaint.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2][-200:]
        return Unreadable(f"{command[0]} ended with {_ending(process.returncode)}{': ' if last else ''}{last}")
    return parse_compatibility(output, origin=name)


@contextmanager
def _guarded(group: int, guardian: Guardian | None) -> Iterator[None]:
    """Have the guardian end a process group should the proxy die within the block."""
    start = None if guardian is None else start_time_of(group)
    if guardian is None or start is None:
        yield
        return
    _in_the_loop(guardian.watch, group, start)
    try:
        yield
    finally:
        _in_the_loop(guardian.forget, group)


def _in_the_loop(verb: Callable[..., None], *arguments: int) -> None:
    # Nobody minds when the loop has ended: so has the guardian then, or it will find nothing.
    with suppress(trio.RunFinishedError, trio.Cancelled):
        trio.from_thread.run_sync(verb, *arguments)


def _collect(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes, bool]:
    """Read both outputs until the process has ended, which is told by the third value; keep the start of each."""
    assert process.stdout is not None
    assert process.stderr is not None
    output, complaint = bytearray(), bytearray()
    pidfd = os.pidfd_open(process.pid)
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(pidfd, selectors.EVENT_READ)
            for pipe in (process.stdout, process.stderr):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            ended = False
            while not ended and (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj == pidfd:
                        ended = True
                    elif not _read(key.fd, output if key.fileobj is process.stdout else complaint):
                        selector.unregister(key.fileobj)
            # What it wrote last may have come with its end.
            _read(process.stdout.fileno(), output)
            _read(process.stderr.fileno(), complaint)
        finally:
            os.close(pidfd)
    return bytes(output), bytes(complaint), ended


def _read(fd: int, kept: bytearray) -> bool:
    """Take what is there; False at the end of the stream."""
    try:
        data = os.read(fd, KEPT_BYTES)
    except BlockingIOError:
        return True
    except OSError:
        return False
    kept += data[: max(0, KEPT_BYTES - len(kept))]
    return bool(data)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
