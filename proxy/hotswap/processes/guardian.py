"""Client of the guardian, the small process that ends the backends when the proxy was killed.

Theory. Backends are no children that die with their parent: each leads a session of its own, so that a
takeover can adopt it. Somebody else has to end them when the proxy dies without a word, and that is the
guardian: it holds one end of a pipe, the proxy the other, and the kernel closes that one however the proxy
dies. What is said on the pipe, and what follows when it closes, is in `hotswap.processes.guard`, the program
that the guardian runs.

In a takeover each proxy has its own guardian, and each backend is watched by the one of its owner. The new proxy is
given the pipe of the old one's guardian too, so that one acts only when both proxies are dead, for as long as
backends could still return. When nothing can, the new proxy has its own guardian watch what it has adopted, and then
the other one forget it, group by group (`settle`). What was not adopted stays with the old proxy and its guardian.

The guardian has its own session, so that signals to the proxy's group or terminal do not reach it. Should it
die itself, `serve` starts another one that knows the same groups.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import trio

from hotswap.processes import guard
from hotswap.processes.children import note_child
from hotswap.processes.scripts import interpreter_command, open_script, read_script

_PROGRAM: Final = read_script("hotswap.processes", "guard.py")

_LOCK_FD: Final = 3
"""After the standard streams."""

_SCRIPT_FD: Final = 4
"""Where it reads its program; what it is called by shows in a list of processes."""

_LOCK_POLL: Final = 0.05

_RESTART_PAUSE: Final = 1.0
"""Seconds between two guardians, should they not stay alive."""


class Guardian:
    """A running guardian, told which process groups to end.

    None of the verbs raise because of the guardian, nor do they block: the proxy goes on without it.

    Attributes:
        pid: its process id; 0 while there is none.
        pipe: the writing end of its pipe, to hand it over; ownership stays here. -1 while there is none.
    """

    def __init__(self, theirs: int | None = None, *, lock: Path | None = None) -> None:
        """Start the guardian.

        Args:
            lock: a file that it holds locked for as long as it lives, for `wait_guardians_gone`.
            theirs: the writing end of the pipe of another proxy's guardian, from which backends are adopted; taken
                over.

        Raises:
            OSError: the system has no process or pipe left.
        """
        self._groups: dict[int, int] = {}
        self._adopted: dict[int, int] = {}
        self._shared = False
        self._theirs = -1 if theirs is None else theirs
        self._lock = lock
        self.pid, self.pipe = _spawn(lock)

    @property
    def watched(self) -> frozenset[int]:
        """Process groups that our own guardian would end."""
        return frozenset(self._groups)

    def watch(self, group: int, start: int) -> None:
        """Have this process group ended if the proxy dies; `start` is `guard.start_time_of` its leader."""
        self._groups[group] = start
        self._tell(b"watch %d %d\n" % (group, start))

    def adopt(self, group: int, start: int) -> None:
        """Watch this process group from `settle` on; until then the other proxy's guardian does."""
        self._adopted[group] = start

    def forget(self, group: int) -> None:
        """Stop watching this process group; harmless when it is not watched."""
        if self._groups.pop(group, None) is not None:
            self._tell(b"forget %d\n" % group)
        if self._adopted.pop(group, None) is not None:
            self._tell_theirs(b"forget %d\n" % group)

    def give_back(self, group: int) -> None:
        """Undo `adopt`: this process group stays with the other proxy and its guardian."""
        self._adopted.pop(group, None)

    def settle(self) -> None:
        """Watch what was adopted, and have the other proxy's guardian stop doing so."""
        for group, start in self._adopted.items():
            self.watch(group, start)
        untold = [group for group in self._adopted if not self._tell_theirs(b"forget %d\n" % group)]
        self._adopted.clear()
        if not untold and self._theirs >= 0:
            # Kept open otherwise, for as long as this proxy lives: what it could not be told it must not act upon.
            os.close(self._theirs)
            self._theirs = -1

    def share(self) -> None:
        """From now on another proxy may own what is watched: a guardian that dies is not replaced."""
        self._shared = True

    def reclaim(self) -> None:
        """Undo `share`: the other proxy is gone. `serve` goes on."""
        self._shared = False

    def leave(self, groups: Iterable[int]) -> None:
        """Give these process groups to another proxy for good; it has the guardian forget them."""
        for group in groups:
            self._groups.pop(group, None)
        self._shared = False

    def alive(self) -> bool:
        """Whether the guardian runs: it holds its end of the pipe."""
        if self.pipe < 0:
            return False
        poll = select.poll()
        poll.register(self.pipe, 0)
        return not poll.poll(0)

    async def serve(self) -> None:
        """Replace a guardian that died, until cancelled.

        **Cancellation**: nothing changes; the guardian goes on watching.
        """
        while True:
            if not self._shared and not self.alive():
                self._replace()
            await trio.sleep(_RESTART_PAUSE)

    def _tell(self, line: bytes) -> None:
        try:
            # Shorter than PIPE_BUF, so it is written whole or not at all.
            os.write(self.pipe, line)
        except OSError:
            # It died, or was stopped for so long that the pipe is full.
            if not self._shared:
                self._replace()

    def _tell_theirs(self, line: bytes) -> bool:
        """Tell the other proxy's guardian; False when it lives and could not be told."""
        if self._theirs < 0:
            return True
        try:
            os.write(self._theirs, line)
        except BrokenPipeError:
            return True
        except OSError:
            return False
        return True

    def _replace(self) -> None:
        """Start another guardian for the same groups; the old one must not act on its closed pipe."""
        if self.pid:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            # Reaped: the number may soon be somebody else's.
            self.pid = 0
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
        try:
            self.pid, self.pipe = _spawn(self._lock)
            for group, start in self._groups.items():
                os.write(self.pipe, b"watch %d %d\n" % (group, start))
        except OSError:
            # Out of processes or files: `serve` tries again.
            pass


async def wait_guardians_gone(lock: Path) -> bool:
    """Block until guardians of killed proxies have ended their backends, or little longer than that takes.

    Returns:
        Whether one was waited for.
    """
    held = _open_lock(lock)
    if held < 0:
        return False
    waited = False
    try:
        with trio.move_on_after(guard.END_TIMEOUT + _RESTART_PAUSE):
            while True:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waited = True
                    await trio.sleep(_LOCK_POLL)
    finally:
        os.close(held)
    return waited


def _open_lock(lock: Path | None) -> int:
    """Open the file that guardians lock; -1 when that fails, and then none is waited for."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return -1 if lock is None else os.open(lock, flags, 0o600)
    except OSError:
        return -1


def _spawn(lock: Path | None) -> tuple[int, int]:
    with ExitStack() as undo, ExitStack() as after_spawn:
        # Its standard error stays the proxy's: it has one line to say when it acts.
        actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]]
        actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        held = _open_lock(lock)
        if held >= 0:
            after_spawn.callback(os.close, held)
            # It belongs to the open file, so it goes with the guardian, which alone keeps it.
            with suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            actions.append((os.POSIX_SPAWN_DUP2, held, _LOCK_FD))
        held_script = open_script("hotswap-guardian", _PROGRAM)
        if held_script is None:
            command = interpreter_command("-c", _PROGRAM)
        else:
            after_spawn.callback(os.close, held_script)
            actions.append((os.POSIX_SPAWN_DUP2, held_script, _SCRIPT_FD))
            command = interpreter_command(f"/proc/self/fd/{_SCRIPT_FD}", "guardian", str(os.getpid()))
        reading, writing = os.pipe()
        after_spawn.callback(os.close, reading)
        undo.callback(os.close, writing)
        os.set_blocking(writing, False)
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0), *actions],
            setsid=True,
            # Blocked until they are ignored, so that there is no moment at which one could end it.
            setsigmask=guard.IGNORED,
        )
        note_child(pid)
        undo.pop_all()
    return pid, writing
