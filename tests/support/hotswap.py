"""A hotswap that really runs: started from a configuration, asked, signalled, stopped, and read line by line.

`run_hotswap` writes the configuration, starts `python -m hotswap run` as a process of its own, waits until
every slot is ready, and at the end of its block stops it by SIGTERM and expects exit code 0. Ports are the
system's choice (`bind = ["127.0.0.1:0"]`) and are learned from the status. When the block fails, what the
proxy wrote is shown.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.support.admin import Admin, AdminEvent
from tests.support.client import Response, Target, fetch

REPOSITORY = Path(__file__).resolve().parents[2]

SOURCES = os.pathsep.join(str(REPOSITORY / folder) for folder in ("", "proxy", "backends"))
"""What a program of a checkout finds its modules in."""

PROGRAM = (sys.executable, "-m", "hotswap")
"""The command `hotswap`, as it is run from a checkout."""

READY_TIMEOUT = 20.0
"""Seconds from the start of the process until `/readyz`."""

STOP_TIMEOUT = 30.0
"""Seconds from SIGTERM until the process must be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of a command."""

    code: int
    stdout: str
    stderr: str


class Hotswap:
    """A running proxy.

    Attributes:
        process: The process; its `pid` is the proxy's.
        directory: Where its configuration and state are.
        config: Its configuration file; rewrite it before a reload that must read another.
        admin: Its admin API.
        lines: What it wrote so far, both streams, one entry a line.
    """

    def __init__(self, process: trio.Process, *, directory: Path, config: Path, admin: Admin) -> None:
        self.process = process
        self.directory = directory
        self.config = config
        self.admin = admin
        self.lines: list[str] = []
        self._more = trio.Event()
        self._status: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """The process id of the proxy."""
        return self.process.pid

    # What it says

    def records(self) -> list[dict[str, Any]]:
        """Those lines that are JSON objects, which is all of the log when `log_format` is json."""
        found = []
        for line in self.lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def written(self, *texts: str) -> list[str]:
        """The lines that have every one of these texts in them."""
        return [line for line in self.lines if all(text in line for text in texts)]

    async def wait_line(self, *texts: str, after: int = 0) -> str:
        """Block until a line has every one of these texts in it; `after` skips that many lines at the start."""
        while True:
            for line in self.lines[after:]:
                if all(text in line for text in texts):
                    return line
            await self._more.wait()

    async def wait_more(self, *, at_most: float = 0.1) -> None:
        """Block until it writes another line, or until `at_most` seconds have passed."""
        with trio.move_on_after(at_most):
            await self._more.wait()

    # Where it listens

    async def status(self) -> dict[str, Any]:
        """Its status now."""
        self._status = await self.admin.status()
        return self._status

    async def pool(self, name: str = "web") -> dict[str, Any]:
        """The status of one pool."""
        found = (await self.status())["pools"][name]
        assert isinstance(found, dict)
        return found

    async def backends(self, pool: str = "web") -> list[dict[str, Any]]:
        """Every living backend of a pool, by slot."""
        return [backend for slot in (await self.pool(pool))["slots"] for backend in _with_slot(slot)]

    async def page(self) -> str:
        """Where a browser finds the page: the first TCP address of the admin API."""
        addresses = json.loads(await self.wait_line("admin.listening"))["addresses"]
        return f"http://{next(one for one in addresses if not one.startswith('unix:'))}/"

    async def target(self, listener: str = "public", *, tls: Any = None, host: str = "localhost") -> Target:
        """How to reach a listener."""
        status = self._status or await self.status()
        bound = str(status["listeners"][listener]["bind"][0])
        if bound.startswith("unix:"):
            return Target(address=Path(bound.removeprefix("unix:")), tls=tls, host=host)
        name, _, port = bound.rpartition(":")
        return Target(address=(name.strip("[]"), int(port)), tls=tls, host=host)

    async def fetch(self, path: str, *, listener: str = "public", **options: Any) -> Response:
        """One exchange with a plain listener over a fresh connection."""
        return await fetch(await self.target(listener), path, **options)

    # What it is told

    async def command(self, *arguments: str) -> Ran:
        """Run `hotswap` with these arguments; it finds this proxy by `$HOTSWAP_ADMIN`."""
        environment = {**_environment(), "HOTSWAP_ADMIN": f"unix:{self.admin.path}", "NO_COLOR": "1"}
        done = await trio.run_process(
            [*PROGRAM, *arguments],
            cwd=self.directory,
            env=environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        return Ran(code=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())

    def configure(self, config_text: str) -> None:
        """Write its configuration anew, for the next reload to read."""
        self.config.write_text(complete_configuration(config_text, self.directory), encoding="utf-8")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the proxy, and to nobody else."""
        self.process.send_signal(number)

    async def rollout(self, pool: str = "web") -> dict[str, Any]:
        """Roll a pool, wait for the end, and give the rollout; it must have been accepted."""
        response = await self.admin.reload(pool, wait=True)
        assert response.status in (200, 202), (response.status, response.body)
        found = response.json()
        assert isinstance(found, dict)
        return await self.logged(found)

    async def logged(self, report: dict[str, Any]) -> dict[str, Any]:
        """The same report of a rollout that has ended, when the log has been read to its last line about it.

        The admin API answers before the thread that writes the log has its turn.
        """
        await self.wait_line('"event": "rollout.report"', f'"rollout": "{report["id"]}"')
        return report

    # Waiting for a state

    async def wait_until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Block until a condition holds; it is asked again at every event of the proxy, and 5 times a second."""
        if await condition():
            return
        send, receive = trio.open_memory_channel[AdminEvent | None](100)

        async def follow() -> None:
            try:
                async for event in self.admin.events():
                    send.send_nowait(event)
            except (OSError, trio.WouldBlock, trio.BrokenResourceError):
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            while not await condition():
                with trio.move_on_after(0.2):
                    await receive.receive()
            nursery.cancel_scope.cancel()

    async def wait_ready(self) -> None:
        """Block until `/readyz` says yes and every slot of every pool can be claimed.

        Raises:
            AssertionError: The process ended before.
            trio.TooSlowError: It took longer than `READY_TIMEOUT`.
        """
        with trio.fail_after(READY_TIMEOUT):
            while True:
                assert self.process.poll() is None, f"ended with {self.process.returncode} before it was ready"
                try:
                    if await self.admin.ready() and await self.full():
                        return
                except (OSError, trio.BrokenResourceError):
                    pass  # it does not listen yet
                await self.wait_more()

    async def full(self) -> bool:
        """Whether every slot of every pool has a backend that can be claimed."""
        return all(
            any(one["state"] == "ready" and one["health"] == "healthy" for one in slot["backends"])
            for pool in (await self.status())["pools"].values()
            for slot in pool["slots"]
        )

    # The end

    async def stop(self) -> None:
        """Stop it by SIGTERM, unless it has ended already; it must finish by itself, in time and with 0."""
        if self.process.poll() is None:
            self.process.terminate()
        await self.wait_stopped()

    async def wait_stopped(self) -> None:
        """Block until it has ended, which must be with 0."""
        with trio.fail_after(STOP_TIMEOUT):
            await self.process.wait()
        assert self.process.returncode == 0, f"ended with {self.process.returncode}"

    async def _read(self, stream: trio.abc.ReceiveStream) -> None:
        rest = b""
        async for data in stream:
            *lines, rest = (rest + data).split(b"\n")
            self._wrote(lines)
        if rest:
            self._wrote([rest])

    def _wrote(self, lines: list[bytes]) -> None:
        self.lines.extend(line.decode("utf-8", "backslashreplace") for line in lines)
        self._more.set()
        self._more = trio.Event()


def _with_slot(slot: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"slot": slot["slot"], **backend} for backend in slot["backends"]]


def _environment() -> dict[str, str]:
    # Only what a program needs: no variable of the machine that runs the tests may change what the proxy
    # does.
    names = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_DATA_HOME")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1"}


@asynccontextmanager
async def run_hotswap(
    config_text: str,
    directory: Path,
    *,
    wait_ready: bool = True,
    stop: bool = True,
    environment: Mapping[str, str] | None = None,
    launcher: Sequence[str] = (),
    program: Sequence[str] = PROGRAM,
    pass_fds: Sequence[int] = (),
    admin: str = "admin.sock",
) -> AsyncIterator[Hotswap]:
    """Run a proxy for the time of the block.

    Args:
        config_text: TOML; tables `[proxy]` and `[admin]` are added when it has none.
        directory: Where the configuration is written; the state is kept below it.
        wait_ready: Whether the block begins only when `/readyz` says yes.
        stop: Whether to stop it at the end and to expect exit code 0; False for a test that ends it in
            another way.
        environment: Further environment variables.
        program: The command, where it is another one than that of the checkout.
        launcher: A program, with its arguments, that runs the command behind them.
        pass_fds: Descriptors that it inherits.
        admin: The path of a Unix socket of its admin API, below the directory.
    """
    config = directory / "hotswap.toml"
    config.write_text(complete_configuration(config_text, directory), encoding="utf-8")
    process = await trio.lowlevel.open_process(
        [*launcher, *program, "run", str(config)],
        cwd=directory,
        env={**_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
    )
    hotswap = Hotswap(process, directory=directory, config=config, admin=Admin(directory / admin))
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hotswap._read, process.stdout)
            nursery.start_soon(hotswap._read, process.stderr)
            if wait_ready:
                await hotswap.wait_ready()
            yield hotswap
            if stop:
                await hotswap.stop()
            # The relays end when the proxy and all that inherited its streams have gone.
            nursery.cancel_scope.deadline = trio.current_time() + 5
    except BaseException:
        sys.stderr.write("\n".join(["", f"what the proxy in {directory} wrote:", *hotswap.lines[-200:], ""]))
        raise
    finally:
        with trio.CancelScope(shield=True):
            await _bury(process)


async def _bury(process: trio.Process) -> None:
    """End a proxy that is still there: politely first, so that it can take its backends with it."""
    if process.poll() is None:
        process.terminate()
        with trio.move_on_after(5):
            await process.wait()
    if process.poll() is None:
        process.kill()
    await process.wait()


def complete_configuration(config_text: str, directory: Path) -> str:
    """The configuration with the tables that every test needs and few want to say."""
    parts = []
    if "[proxy]" not in config_text:
        parts.append('[proxy]\nstate_dir = "state"\nlog_format = "json"\naccess_log = "access.log"\n')
    if "[admin]" not in config_text:
        parts.append(f'[admin]\nbind = ["unix:{directory / "admin.sock"}"]\n')
    return "\n".join([*parts, config_text])


def living(pids: Iterable[int]) -> list[int]:
    """Those of these processes that live, zombies not counted."""
    return [pid for pid in pids if (stat := _stat(pid)) is not None and stat[0] not in "ZX"]


def descendants(pid: int) -> list[int]:
    """The processes that this one started, and those that they started, zombies not counted."""
    parents = {child: int(stat[1]) for child in _processes() if (stat := _stat(child)) is not None}
    found = [pid]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return living(found[1:])


def children(pid: int) -> dict[int, str]:
    """The states of the direct children of a process, zombies among them."""
    found = {child: stat for child in _processes() if (stat := _stat(child)) is not None}
    return {child: stat[0] for child, stat in found.items() if int(stat[1]) == pid}


def command_lines() -> dict[int, list[bytes]]:
    """The words by which each process was started; none of a zombie."""
    found = {}
    for pid in _processes():
        with suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    return found


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _stat(pid: int) -> list[str] | None:
    """State, parent and the rest of what the kernel says of a process; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()


async def wait_gone(pid: int) -> None:
    """Block until a process that need not be a child of ours is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        trio.lowlevel.notify_closing(pidfd)
        os.close(pidfd)
