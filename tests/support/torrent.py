"""A backend that never tires: it answers at once, takes bodies without end and gives them, as fast as it is let.

`python -m tests.support.torrent [PATH]` listens on the unix socket PATH, or on the socket it was started with, until it
is killed; it says when it does.
`/endless` is a body of known, immense length, `/pieces` one in chunks of a byte, without end; an upgrade makes it send
what it receives; a POST is read and not answered; everything else is "ok".
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
import sys

IMMENSE = 1 << 50
"""Bytes of a body that will not end during a test."""

_BLOCK = bytes(256 * 1024)
_PIECES = b"1\r\nx\r\n" * 10_000
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % IMMENSE
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
_KEY = re.compile(rb"\r\nsec-websocket-key: ([^\r]+)", re.IGNORECASE)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Torrent(asyncio.Protocol):
    """One connection of the proxy."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection begins with a head."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._unread = b""
        self._swallows = False
        self._echoes = False
        self._block = b""
        self._paused = False
        self._scheduled = False

    def data_received(self, data: bytes) -> None:
        """Answer every head that is whole."""
        if self._echoes:
            self._transport.write(data)
        elif not self._swallows:
            *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
            for head in heads:
                if not self._answer(head):
                    self._unread = b""
                    return

    def _answer(self, head: bytes) -> bool:
        """Answer one; False when what follows is no head."""
        if head.startswith(b"POST "):
            self._swallows = True
        elif b"\r\nupgrade:" in head.lower():
            self._echoes = True
            key = _KEY.search(head)
            assert key is not None
            accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
            self._transport.write(_SWITCHED % accept)
        elif head.startswith(b"GET /endless "):
            self._pour(_ENDLESS, _BLOCK)
        elif head.startswith(b"GET /pieces "):
            self._pour(_CHUNKED, _PIECES)
        else:
            self._transport.write(_OK)
        return not self._swallows and not self._echoes

    def _pour(self, head: bytes, block: bytes) -> None:
        self._block = block
        self._transport.write(head)
        self._go_on()

    def _more(self) -> None:
        self._scheduled = False
        if not self._transport.is_closing():
            self._transport.write(self._block)
            self._go_on()

    def _go_on(self) -> None:
        # As long as the socket takes it, but one block at a time: there are other connections.
        if not self._paused and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._more)

    def pause_writing(self) -> None:
        """The proxy does not read: for an echo that means not to read either."""
        self._paused = True
        if self._echoes:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._paused = False
        if self._echoes:
            self._transport.resume_reading()
        if self._block:
            self._go_on()


async def _serve(path: str | None) -> None:
    loop = asyncio.get_running_loop()
    if path is None:
        server = await loop.create_server(Torrent, sock=socket.socket(fileno=3))
    else:
        server = await loop.create_unix_server(Torrent, path, backlog=1024)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1] if len(sys.argv) > 1 else None))
