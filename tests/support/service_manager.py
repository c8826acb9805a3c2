"""A stand-in for systemd: the other end of NOTIFY_SOCKET, and sockets that are passed on as LISTEN_FDS."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

Message = dict[str, str]

PASS_SOCKET = ("/bin/bash", "-c", 'fd=$1; shift; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&"$fd"', "systemd")
"""Runs a program with the descriptor that its first argument names as the one socket that was passed."""


class ServiceManager:
    """What a process has said so far, one entry a message."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self.messages: list[Message] = []
        self._more = trio.Event()

    async def wait(self, condition: Callable[[Message], bool], *, after: int = 0) -> Message:
        """The first message that fulfils a condition, which is waited for; `after` skips that many."""
        while True:
            for message in self.messages[after:]:
                if condition(message):
                    return message
            await self._more.wait()

    async def listen(self, receiving: trio.socket.SocketType) -> None:
        """Take messages in, until cancelled."""
        while True:
            text = (await receiving.recv(65536)).decode()
            self.messages.append(dict(line.split("=", 1) for line in text.splitlines()))
            self._more.set()
            self._more = trio.Event()


@asynccontextmanager
async def open_service_manager(directory: Path) -> AsyncIterator[ServiceManager]:
    """Listen in a directory for the time of the block."""
    path = directory / "notify.sock"
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        await receiving.bind(str(path))
        manager = ServiceManager(path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.listen, receiving)
            yield manager
            nursery.cancel_scope.cancel()
