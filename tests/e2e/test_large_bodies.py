"""A gibibyte each way, in both versions of HTTP, with a side that stops reading in the middle: memory stays flat."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from tests.support.hotswap import run_hotswap
from tests.support.pools import table
from tests.support.tools import require_tool

SIZE = 1 << 30
PIECE = bytes(1 << 20)
LIMIT = 150 << 20
"""Bytes that the proxy may have had in memory at its peak, the interpreter and all modules included."""
STALL_AT = 64 << 20
"""Bytes after which somebody stops reading."""
STALL_SECONDS = 0.4
"""How long nothing may move until the stall is taken to have reached the other end."""


@dataclass(slots=True)
class Origin:
    """A server of bodies; it counts bytes, and stops reading for a while in the middle of an upload."""

    moved: int = 0
    finished: list[int] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        async with stream:
            rest = b""
            while True:
                while b"\r\n\r\n" not in rest:
                    try:
                        data = await stream.receive_some(65536)
                    except trio.BrokenResourceError:
                        return  # a probe that waited too long, on a busy machine
                    if not data:
                        return
                    rest += data
                head, _, rest = rest.partition(b"\r\n\r\n")
                if head.startswith(b"GET /healthz "):
                    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                elif head.startswith(b"GET "):
                    await self._send(stream)
                else:
                    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                    assert length is not None, head
                    await self._receive(stream, int(length[1]), len(rest))
                    rest = b""

    async def _send(self, stream: trio.SocketStream) -> None:
        self.moved = 0
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        while self.moved < SIZE:
            await stream.send_all(PIECE)
            self.moved += len(PIECE)
        self.finished.append(self.moved)

    async def _receive(self, stream: trio.SocketStream, size: int, received: int) -> None:
        self.moved = received
        stalled = False
        while self.moved < size:
            if self.moved > STALL_AT and not stalled:
                stalled = True
                await trio.sleep(2 * STALL_SECONDS)
            self.moved += len(await stream.receive_some(len(PIECE)))
        self.finished.append(self.moved)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def wait_stalled(self) -> None:
        """Wait until so much has moved, and then until nothing moves any more."""
        while self.moved < STALL_AT:
            await trio.sleep(0.01)
        before = -1
        while self.moved != before:
            before = self.moved
            await trio.sleep(STALL_SECONDS)


@asynccontextmanager
async def open_origin() -> AsyncIterator[tuple[Origin, int]]:
    """Run one, and give its port."""
    origin = Origin()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, origin.serve, 0)
        yield origin, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def peak_of(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.fail_after(100)
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"], ids=["http1", "http2"])
async def test_a_gibibyte_each_way_costs_no_memory(tmp_path: Path, version: str):
    """Down to a client that stops in the middle, up to a backend that does; every byte arrives."""
    curl = require_tool("curl", package="curl")
    upload = tmp_path / "upload"
    with upload.open("wb") as file:
        os.truncate(file.fileno(), SIZE)  # a hole: it takes no room
    async with open_origin() as (origin, port):
        config = table("listeners.public", {"bind": ["127.0.0.1:0"], "http2": True})
        config += '[[routes]]\npath = "/"\npool = "web"\n' + table("pools.web", {"addresses": [f"127.0.0.1:{port}"]})
        async with run_hotswap(config, tmp_path) as hotswap:
            target = await hotswap.target()
            command = [curl, "-s", "-S", "--fail", "--max-time", "80", version, "-w", "%{http_code} %{size_download}"]
            async with trio.open_nursery() as nursery:
                down = await nursery.start(trio.run_process, [*command, "-o", "/dev/null", target.url])
                while origin.moved < STALL_AT:
                    await trio.sleep(0.01)
                down.send_signal(signal.SIGSTOP)
                await origin.wait_stalled()
                stalled_at = origin.moved
                assert stalled_at < SIZE
                down.send_signal(signal.SIGCONT)
            assert origin.finished == [SIZE]
            done = await trio.run_process(
                [*command, "-T", str(upload), f"{target.url}/upload"], capture_stdout=True, stderr=subprocess.STDOUT
            )
            assert done.stdout == b"ok200 2"
            assert origin.finished == [SIZE, SIZE]
            peak = peak_of(hotswap.pid)
            print(f"{version}: peak {peak >> 20} MiB, stalled at {stalled_at >> 20} MiB")
            assert peak < LIMIT
