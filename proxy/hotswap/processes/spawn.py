"""Spawns backends: one call from a plan to a supervised process.

Theory. `posix_spawn` starts the shim `hotswap_backends.launch`, which becomes the server. The kernel's part of the
job is done here (own session, standard streams, the listening socket as fd 3, signals), what only the new
process can do is done by the shim (`LISTEN_PID`, directory, closing everything else). Nothing of the proxy
runs in the child between fork and exec, so neither threads nor the state of the event loop matter.

SIGUSR2 is blocked from the first instruction until the shim ignores it, so that the reload signal sent to a
backend by mistake is harmless at every moment of its boot.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.errors import BackendError
from hotswap.processes.children import note_child
from hotswap.processes.guard import start_time_of
from hotswap.processes.guardian import Guardian
from hotswap.processes.listening import BackendSocket, open_backend_socket, open_directory, remove_path
from hotswap.processes.notification import NotifySocket, open_notify_socket
from hotswap.processes.open_files import give_back_limit
from hotswap.processes.output import LineSink
from hotswap.processes.presets import Recipe
from hotswap.processes.scripts import at_hand, interpreter_command, read_script
from hotswap.processes.supervisor import BackendProcess, ProcessHandles

LISTEN_FD: Final = 3
"""Where an inherited listening socket is found, as systemd does it."""

_LAUNCHER: Final = read_script("hotswap_backends", "launch.py")
_RUNNER: Final = read_script("hotswap_backends", "serve.py")
_RUNNER_PATH: Final = "/hotswap_backends/serve.py"

_OUTPUT_PIPE_BYTES: Final = 1 << 20
"""A burst of output this long does not make a backend wait, even while the proxy is busy."""

_FIRST_FREE_FD: Final = 10
"""File descriptors are moved above this one first, so that placing one of them cannot overwrite another."""

_OURS: Final = frozenset(
    (
        "FDSTORE",
        "JOURNAL_STREAM",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    )
)
"""Variables that speak to one process only: those that the proxy was given are not the backend's."""

_PLACEHOLDER: Final = re.compile(r"\{(fd|socket|host|port|slot|generation)\}")

_EVERY_SIGNAL: Final = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnPlan:
    """Everything needed to spawn one backend.

    Attributes:
        recipe: its command, signals and sockets; {fd} {socket} {host} {port} {slot} {generation} are replaced.
        directory: where it runs, symbolic links resolved.
        environment: every variable it gets but those of the contract, which are set here.
        pool, slot, generation: who it is.
        notify: give it a notify socket.
    """

    recipe: Recipe
    directory: str
    environment: Mapping[str, str]
    pool: str
    slot: int
    generation: int
    notify: bool = False

    @property
    def name(self) -> str:
        """Base name of its sockets, such as "web-0-3"."""
        return f"{self.pool}-{self.slot}-{self.generation}"


def fill_placeholders(argv: tuple[str, ...], *, address: Address, slot: int, generation: int) -> tuple[str, ...]:
    """Replace {fd} {socket} {host} {port} {slot} {generation}; other braces stay.

    {socket} is empty for a backend on TCP, {host} and {port} for one on a Unix socket; {fd} is always 3.
    """
    values = {
        "fd": str(LISTEN_FD),
        "socket": address.path if isinstance(address, UnixAddress) else "",
        "host": address.host if isinstance(address, TcpAddress) else "",
        "port": str(address.port) if isinstance(address, TcpAddress) else "",
        "slot": str(slot),
        "generation": str(generation),
    }
    # In one pass, so that a value that looks like a placeholder stays what it is.
    return tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], argument) for argument in argv)


def backend_environment(plan: SpawnPlan, *, inherits: bool, notify_path: str | None) -> dict[str, str]:
    """The environment of a backend, except `LISTEN_PID`, which the launcher sets."""
    environment = {name: value for name, value in plan.environment.items() if name not in _OURS}
    # A traceback or a print must not wait in a buffer that dies with the process.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    environment["HOTSWAP_POOL"] = plan.pool
    environment["HOTSWAP_SLOT"] = str(plan.slot)
    environment["HOTSWAP_GENERATION"] = str(plan.generation)
    if inherits:
        environment["LISTEN_FDS"] = "1"
        environment["LISTEN_FDNAMES"] = "http"
    if notify_path is not None:
        environment["NOTIFY_SOCKET"] = notify_path
    return environment


def spawn_backend(
    plan: SpawnPlan,
    *,
    directory: Path,
    relay: LineSink,
    log: FilteringBoundLogger,
    guardian: Guardian | None = None,
) -> BackendProcess:
    """Spawn a backend. Blocks for about a millisecond; call within trio.

    Args:
        plan: what to start.
        directory: where its sockets go, from `open_directory`.
        relay: takes each line of its output.
        log: where it is complained about; bound to the backend's pool, slot and generation.
        guardian: ends it should the proxy die.

    Returns:
        The process; run its `serve` in a nursery.

    Raises:
        BackendError: the system has no process, file or socket left. A program that does not exist is no
            error here: the process ends with a line of output that says so.
    """
    recipe = plan.recipe
    if not directory.is_dir():
        # Somebody has removed it a moment ago; whose it is will make the rest of it again.
        open_directory(directory)
    listening = open_backend_socket(recipe.listen, directory=directory, name=plan.name, transport=recipe.transport)
    try:
        with ExitStack() as undo:
            undo.callback(remove_path, listening.address)
            notify = open_notify_socket(directory=directory, name=plan.name) if plan.notify else None
            if notify is not None:
                undo.callback(notify.close)
            handles = _start(plan, listening, notify, undo, directory)
            undo.pop_all()
    except (OSError, ValueError) as error:
        raise BackendError(f"cannot start a process for backend {plan.name}: {error}") from error
    finally:
        listening.close()  # the proxy's copy
    return BackendProcess(
        handles,
        address=listening.address,
        stop_signal=recipe.stop_signal,
        relay=relay,
        log=log,
        guardian=guardian,
    )


def _start(
    plan: SpawnPlan, listening: BackendSocket, notify: NotifySocket | None, undo: ExitStack, directory: Path
) -> ProcessHandles:
    argv = fill_placeholders(plan.recipe.argv, address=listening.address, slot=plan.slot, generation=plan.generation)
    argv = tuple(
        at_hand(argument, _RUNNER, directory) if argument.endswith(_RUNNER_PATH) else argument for argument in argv
    )
    environment = backend_environment(
        plan,
        inherits=listening.socket is not None,
        notify_path=None if notify is None else notify.path,
    )
    output, written = os.pipe()
    undo.callback(os.close, output)
    try:
        fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _OUTPUT_PIPE_BYTES)
    except OSError:
        # Above the user's limit for pipes; the kernel's 64 KiB will do.
        pass
    with ExitStack() as after_spawn:
        after_spawn.callback(os.close, written)
        writing = _moved_up(written, after_spawn)
        nothing = _moved_up(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), after_spawn, close=True)
        placed = [(nothing, 0), (writing, 1), (writing, 2)]
        if listening.socket is not None:
            placed.append((_moved_up(listening.socket.fileno(), after_spawn), LISTEN_FD))
        launched = [str(os.getpid()), plan.directory, *argv]
        command = interpreter_command("-c", _LAUNCHER, *launched, others=argv[:1])
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in placed],
            setsid=True,
            setsigmask=[signal.SIGUSR2],
            # Whatever the proxy ignores, or was started with: a backend begins with the defaults.
            setsigdef=_EVERY_SIGNAL,
        )
        note_child(pid)
        give_back_limit(pid)
    # Nobody reaps our children but the supervisor, so the number is still this process.
    try:
        start = start_time_of(pid)
        if start is None:
            raise OSError("it cannot be found in /proc")
        pidfd = os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return ProcessHandles(pid=pid, start=start, pidfd=pidfd, output=output, notify=notify)


def _moved_up(fd: int, after_spawn: ExitStack, *, close: bool = False) -> int:
    if close:
        after_spawn.callback(os.close, fd)
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
    after_spawn.callback(os.close, moved)
    return moved
