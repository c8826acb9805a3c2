"""The origin of what nginx cannot answer: counts uploads, and echoes WebSocket messages.

``python -m tests.bench.stream_origin PATH`` listens on the unix socket PATH until SIGTERM.
``GET /stream/echo`` with an upgrade becomes an echo, ``POST /stream/upload`` is answered with the number of
bytes of its body.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import sys
from types import FrameType

from tests.bench.websocket import ACCEPT, plain_frame, split_masked

_BUFFER_BYTES = 1024 * 1024
_UPGRADED = (
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()


class _Connection:
    """One connection: reading a head, counting a body, or echoing."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = bytearray()
        self.echoing = False
        self.size = 0
        self.left = 0

    def read(self, buffer: bytearray) -> bool:
        """Read what is there and answer; False when the connection is over."""
        count = self.socket.recv_into(buffer)
        if not count:
            return False
        if self.echoing:
            self.received += memoryview(buffer)[:count]
            echoes = b"".join(plain_frame(payload) for payload in split_masked(self.received))
            if echoes:
                self.socket.sendall(echoes)
        elif self.left:
            self._count(count)
        else:
            self.received += memoryview(buffer)[:count]
            if b"\r\n\r\n" in self.received:
                self._begin()
        return True

    def _begin(self) -> None:
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        self.received.clear()
        fields = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:])
        if b"upgrade" in fields:
            self.echoing = True
            self.socket.sendall(_UPGRADED)
        elif head.startswith(b"POST "):
            self.size = self.left = int(fields[b"content-length"])
            self._count(len(rest))
        else:
            self._answer(b"ok\n")

    def _count(self, count: int) -> None:
        self.left -= count
        if not self.left:
            self._answer(str(self.size).encode())

    def _answer(self, body: bytes) -> None:
        self.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def serve(path: str) -> None:
    """Serve on the unix socket ``path`` until the process is told to end."""
    buffer = bytearray(_BUFFER_BYTES)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as ready:
        listener.bind(path)
        listener.listen(4096)
        ready.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.data is None:
                    accepted = listener.accept()[0]
                    ready.register(accepted, selectors.EVENT_READ, _Connection(accepted))
                elif not _read(key.data, buffer):
                    ready.unregister(key.fileobj)
                    key.data.socket.close()


def _read(connection: _Connection, buffer: bytearray) -> bool:
    try:
        return connection.read(buffer)
    except (OSError, ValueError, KeyError):
        return False


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    with contextlib.suppress(KeyboardInterrupt):
        serve(sys.argv[1])
