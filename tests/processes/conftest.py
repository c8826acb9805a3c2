"""A stage on which real backends are spawned, watched, and ended whatever the test does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from structlog.testing import LogCapture

from hotswap.core.config.pools import HealthTable
from hotswap.core.strategy import Listen
from hotswap.edge.upstream.probe import probe
from hotswap.processes.listening import Transport, open_directory
from hotswap.processes.presets import Recipe
from hotswap.processes.readiness import wait_ready
from hotswap.processes.spawn import SpawnPlan, spawn_backend
from hotswap.processes.supervisor import BackendProcess

HEALTHY = """
import os, socket
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    connection.close()
"""
"""A program that answers every request on its inherited socket."""


class Lines:
    """Lines as a backend writes them, and a way to wait for one."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._more = trio.Event()

    def __call__(self, line: str) -> None:
        self.seen.append(line)
        self._more.set()
        self._more = trio.Event()

    async def wait_for(self, text: str) -> str:
        """Block until a line has this text in it, and give that line."""
        looked_at = 0
        while True:
            for line in self.seen[looked_at:]:
                if text in line:
                    return line
            looked_at = len(self.seen)
            await self._more.wait()


class Stage:
    """Spawns backends and keeps what they wrote, said and were complained about."""

    HEALTHY = HEALTHY

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.directory = directory
        self.nursery = nursery
        self.lines = Lines()
        self.capture = LogCapture()
        self.log: Any = structlog.wrap_logger(
            structlog.PrintLogger(),
            processors=[self.capture],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )
        self.spawned: list[BackendProcess] = []
        self._served: set[int] = set()

    def spawn(
        self,
        program: str = HEALTHY,
        *arguments: str,
        argv: tuple[str, ...] | None = None,
        listen: Listen = Listen.FD,
        transport: Transport = Transport.UNIX,
        stop_signal: signal.Signals = signal.SIGTERM,
        serve: bool = True,
        environment: dict[str, str] | None = None,
        guardian: Any = None,
        **plan: Any,
    ) -> BackendProcess:
        """Spawn a Python program, or the command line given as `argv`, and watch it."""
        process = spawn_backend(
            SpawnPlan(
                recipe=Recipe(
                    argv=argv or (sys.executable, "-c", program, *arguments),
                    listen=listen,
                    transport=transport,
                    stop_signal=stop_signal,
                ),
                environment={**os.environ, **(environment or {})},
                **{"pool": "web", "slot": 0, "generation": 1, "directory": str(self.directory), **plan},
            ),
            directory=self.directory,
            relay=self.lines,
            log=self.log,
            guardian=guardian,
        )
        self.spawned.append(process)
        if serve:
            self.serve(process)
        return process

    def serve(self, process: BackendProcess) -> None:
        """Watch a process that was spawned with `serve=False`."""
        self._served.add(process.pid)
        self.nursery.start_soon(process.serve)

    async def clear(self) -> None:
        """End every process that still lives."""
        for process in self.spawned:
            process.kill()
            if process.exit is None and process.pid not in self._served:
                self.serve(process)
        for process in self.spawned:
            await process.wait_exit()

    async def wait_ready(self, process: BackendProcess, *, start_timeout: float = 30, **health: Any) -> None:
        """Block until the backend is ready by its health check."""
        table = HealthTable.model_validate(health)
        await wait_ready(
            process,
            partial(probe, process.address, table, pool="web"),
            start_timeout=start_timeout,
            interval=table.interval,
            healthy_after=table.healthy_after,
        )


@pytest.fixture
def lives() -> Callable[[int], bool]:
    """A function that says whether a process runs; one that nobody reaped does not."""

    def look(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in {"Z", "X"}

    return look


@pytest.fixture
def wait_gone(lives: Callable[[int], bool]) -> Callable[..., Awaitable[None]]:
    """A function that blocks until none of the processes runs."""

    async def wait(*pids: int) -> None:
        while any(map(lives, pids)):
            await trio.sleep(0.01)

    return wait


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage whose backends are gone at the end of the test."""
    async with trio.open_nursery() as nursery:
        stage = Stage(open_directory(tmp_path / "s"), nursery)
        yield stage
        with trio.fail_after(10):
            await stage.clear()
