"""A backend without a proxy: started as the proxy would, to be spoken to directly."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.support.client import Target
from tests.support.hotswap import SOURCES


@dataclass(slots=True, kw_only=True)
class RunningBackend:
    """A backend process, where it listens, and what it wrote."""

    process: trio.Process
    target: Target
    lines: list[str] = field(default_factory=list)
    notices: list[bytes] = field(default_factory=list)
    more: trio.Event = field(default_factory=trio.Event)

    def wrote(self, line: str) -> None:
        """Keep a line and wake whoever waits for one."""
        self.lines.append(line)
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits."""
        self.more.set()
        self.more = trio.Event()

    async def wait_line(self, text: str) -> str:
        """Block until a line has this text in it."""
        while True:
            for line in self.lines:
                if text in line:
                    return line
            await self.more.wait()

    async def wait_notice(self, message: bytes) -> None:
        """Block until a notify message has this in it."""
        while not any(message in notice for notice in self.notices):
            await self.more.wait()

    async def stop(self) -> int:
        """SIGTERM it and wait; returns its exit code."""
        self.process.terminate()
        with trio.fail_after(10):
            return await self.process.wait()


@asynccontextmanager
async def run_backend(
    *arguments: str, directory: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[RunningBackend]:
    """Run `python ARGUMENTS` with an inherited listening socket as fd 3 and a notify socket, until the block ends."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
    ):
        path = directory / f"notify-{listener.getsockname()[1]}.sock"
        await notify.bind(str(path))
        target = Target(address=listener.getsockname())
        # A shell moves the socket to fd 3 without running code of ours between fork and exec.
        moved = f'exec "$@" 3<&{listener.fileno()}'
        process = await trio.lowlevel.open_process(
            ["/bin/bash", "-c", moved, "backend", sys.executable, *arguments],
            cwd=directory,
            env={**_VARIABLES, "NOTIFY_SOCKET": str(path), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
        # A dead backend must refuse at once, which it cannot while we hold its socket too.
        listener.close()
        backend = RunningBackend(process=process, target=target)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_read, backend)
                nursery.start_soon(_listen, backend, notify)
                yield backend
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.kill()
                await process.wait()


_VARIABLES = {
    **os.environ,
    "PYTHONPATH": SOURCES,
    "PYTHONDONTWRITEBYTECODE": "1",
    "LISTEN_FDS": "1",
    "HOTSWAP_POOL": "web",
    "HOTSWAP_SLOT": "1",
    "HOTSWAP_GENERATION": "7",
}


async def _listen(backend: RunningBackend, notify: trio.socket.SocketType) -> None:
    while True:
        backend.notices.append(await notify.recv(65536))
        backend.changed()


async def _read(backend: RunningBackend) -> None:
    assert backend.process.stdout is not None
    rest = b""
    async for data in backend.process.stdout:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            backend.wrote(line.decode("utf-8", "backslashreplace"))
