"""A crowd of connections in a process of its own: whoever measures shares neither descriptors nor time with it.

`python -m tests.support.crowd PORT COUNT KIND` opens them and writes `open`, and a line for each one that the server
ends; at the end of its input it closes them. Of kind `idle`, each has had one exchange and then says nothing. Of kind
`slow`, each sends the head of a request a byte at a time, and one that is told 408 is opened anew; any other answer
ends the crowd.
"""

from __future__ import annotations

import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.support.hotswap import REPOSITORY

REQUEST = b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n"
BEAT = 1.0
"""Seconds between two bytes of one slow connection."""


def open_connection(port: int, *, idle: bool) -> socket.socket:
    """Connect; an idle one has its exchange."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    if idle:
        sock.sendall(REQUEST)
        received = b""
        while b"\r\n\r\n" not in received or not received.rstrip().endswith(b"}"):
            data = sock.recv(65536)
            assert data, f"ended after {received!r}"
            received += data
    sock.setblocking(False)
    return sock


def main(port: int, count: int, *, idle: bool) -> None:
    """Be the crowd."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = selectors.DefaultSelector()
    connections = [open_connection(port, idle=idle) for _ in range(count)]
    for number, sock in enumerate(connections):
        selector.register(sock, selectors.EVENT_READ, number)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("open", flush=True)
    said = 0
    sent = [0] * count  # bytes of its head, by each connection
    began = time.monotonic()
    while True:
        for key, _ in selector.select(None if idle else 0.005):
            if key.fileobj is sys.stdin:
                return
            number = key.data
            selector.unregister(connections[number])
            assert idle or connections[number].recv(100).startswith(b"HTTP/1.1 408 ")
            print("ended", flush=True)
            connections[number].close()
            if not idle:
                sent[number] = 0
                connections[number] = open_connection(port, idle=False)
                selector.register(connections[number], selectors.EVENT_READ, number)
        if not idle:
            due = int((time.monotonic() - began) / BEAT * count)
            for turn in range(said, due):
                number = turn % count
                try:
                    sent[number] += connections[number].send(REQUEST[sent[number] :][:1])
                except OSError:
                    pass  # ended; it is readable as well
            said = due


class Crowd:
    """A running crowd.

    Attributes:
        ended: How many of its connections the server has ended.
    """

    def __init__(self) -> None:
        self.ended = 0
        self._more = trio.Event()

    async def wait_ended(self, count: int) -> None:
        """Block until the server has ended so many."""
        while self.ended < count:
            await self._more.wait()

    async def _read(self, stream: trio.abc.ReceiveStream, *, task_status: trio.TaskStatus[None]) -> None:
        rest = b""
        async for data in stream:
            *lines, rest = (rest + data).split(b"\n")
            if b"open" in lines:
                task_status.started()
            self.ended += lines.count(b"ended")
            self._more.set()
            self._more = trio.Event()


@asynccontextmanager
async def run_crowd(port: int, count: int, kind: str) -> AsyncIterator[Crowd]:
    """Run a crowd; the block begins when all its connections are open."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.support.crowd", str(port), str(count), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    crowd = Crowd()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(crowd._read, process.stdout)
            yield crowd
            await process.stdin.aclose()
            await process.wait()
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), idle=sys.argv[3] == "idle")
