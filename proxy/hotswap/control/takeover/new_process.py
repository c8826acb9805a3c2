"""The process that takes over, as the old one knows it: asked before it exists, started, watched, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path

import trio

from hotswap.control.takeover.channel import Channel, open_pair
from hotswap.control.takeover.fault import silence
from hotswap.control.takeover.handoff import ask_new_version, new_command
from hotswap.processes.children import note_child
from hotswap.processes.exit_status import Exit
from hotswap.processes.open_files import give_back_limit

SILENCE = 5.0
"""Seconds without a word after which a new process that should give signs of life is stuck."""

ARREARS = 0.5
"""Seconds to hear what is waiting, should it be this process that has stood still."""

LAST_WORDS = 0.01
"""Seconds after its death in which what it sent before is still read."""

NOT_INHERITED = frozenset({"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"})
"""Variables that speak to this process alone."""

KEPT_LOG = "HOTSWAP_ACCESS_LOG_FD"
"""Names the descriptor of the old process's access log to the new one: it may have been opened as root."""


def take_kept_log(environment: MutableMapping[str, str]) -> int | None:
    """Take the descriptor of the access log out of the variables of this process; None: it was given none."""
    given = environment.pop(KEPT_LOG, "")
    try:
        descriptor = int(given)
        os.set_inheritable(descriptor, False)
    except (ValueError, OSError):
        return None
    return descriptor


class NewProcess:
    """The new process, from its versions on disk to its end.

    Attributes:
        command: program and first arguments.
        version: of its code, as far as it was told.
        channel: to it; None before there is one.
        pid: its process id; 0 before it is known.
        pidfd: of it; -1 before there is one.
        heard: how many frames it has sent.
    """

    def __init__(
        self,
        executable: str | None,
        config: Path,
        *,
        called: socket.socket | None,
        caller: int,
        access_log: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Make it; nothing is started.

        Args:
            executable: as for `new_command`.
            config: its configuration.
            called: connected to a process that has come by itself; None: there is none yet.
            caller: pidfd of that process, or -1.
            access_log: gives the descriptor of our access log, for a process that may not open it itself.
        """
        self.command = new_command(executable)
        self.version = ""
        self.channel = None if called is None else Channel(called)
        self.pid = 0
        self.pidfd = caller
        self.heard = 0
        self._config = config
        self._access_log = access_log
        self._environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        self._process: trio.Process | None = None

    async def preflight(self) -> None:
        """Ask the code on disk whether it can take over.

        Raises:
            Refused: it cannot.
        """
        info = await ask_new_version(self.command, self._config, environment=self._environment)
        self.version = info.version

    async def spawn(self) -> None:
        """Start it with one end of a channel.

        Raises:
            OSError: it cannot be started.
        """
        channel, theirs = open_pair()
        self.channel = channel
        given, environment = [theirs.fileno()], self._environment
        log = self._access_log()
        if log is not None:
            given.append(log)
            environment = {**environment, KEPT_LOG: str(log)}
        with theirs:
            argv = [*self.command, "run", "--takeover-fd", str(theirs.fileno()), str(self._config)]
            self._process = await trio.lowlevel.open_process(
                argv, env=environment, pass_fds=given, stdin=subprocess.DEVNULL
            )
        self.pid = self._process.pid
        note_child(self.pid, stranger=True)
        give_back_limit(self.pid)
        self.pidfd = os.pidfd_open(self.pid)

    async def wait_death(self) -> str:
        """Block until it has ended, and reap it; gives how it ended, in words."""
        await trio.lowlevel.wait_readable(self.pidfd)
        detail = "the new process ended"
        if self._process is not None:
            code = await self._process.wait()
            detail = f"the new process ended: {Exit(code=code) if code >= 0 else Exit(signal=-code)}"
        await trio.sleep(LAST_WORDS)
        return detail

    async def wait_silence(self) -> str:
        """Block until it has said nothing for `SILENCE` seconds; gives that in words."""
        patience = silence(SILENCE)
        while True:
            before = self.heard
            await trio.sleep(patience)
            if self.heard == before:
                await trio.sleep(ARREARS)
            if self.heard == before:
                return f"the new process has said nothing for {patience:g} s"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; harmless when it is gone."""
        if self.pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, number)

    def close(self) -> None:
        """Close what was open to it; it is left alone."""
        if self.channel is not None:
            self.channel.close()
        if self.pidfd >= 0:
            trio.lowlevel.notify_closing(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1
