"""A client of server-sent events over a plain trio stream.

httpx leaves its generators to the garbage collector when a stream is left early, which trio warns of; here
nothing is left over.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from hotswap.core.address import Address, TcpAddress


class EventStream:
    """The lines of an open stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def line(self) -> str:
        """Take the next line.

        Raises:
            EOFError: the other side has closed.
        """
        while b"\n" not in self._buffer:
            chunk = await self._stream.receive_some()
            if not chunk:
                raise EOFError
            self._buffer.extend(chunk)
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        return line.decode().rstrip("\r")

    async def event(self) -> dict[str, Any]:
        """Skip to the next event and give its data."""
        while not (line := await self.line()).startswith("data: "):
            pass
        document: dict[str, Any] = json.loads(line.removeprefix("data: "))
        return document

    async def rest(self) -> None:
        """Read until the other side closes."""
        async for chunk in self._stream:
            self._buffer.extend(chunk)


@asynccontextmanager
async def open_event_stream(address: Address, path: str = "/v1/events", **fields: str) -> AsyncIterator[EventStream]:
    """Ask for events, and wait until the server listens for us."""
    assert isinstance(address, TcpAddress)
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode())
        events = EventStream(stream)
        status = await events.line()
        assert status.startswith("HTTP/1.1 200"), status
        while not (await events.line()).startswith(": listening"):
            pass
        yield events
