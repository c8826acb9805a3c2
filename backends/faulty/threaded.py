"""Small HTTP/1.1 server with one thread for each connection, for the plain and the faulty backends.

It does little, and that little in the open: a handler gets an `OpenRequest` and may answer properly (`respond`),
write whatever bytes it likes (`send`), or hang up (`close`). Starting it costs one interpreter and a few
milliseconds, and nothing but the standard library.

Stopping (SIGTERM or SIGINT): no more accepts, connections that are idle are closed at once, those with an
exchange inside are closed behind it, then `ThreadedServer.serve` returns. The lines it prints tell a test what it
found at each step.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from types import FrameType
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

INHERITED_FD = 3
"""Where the proxy puts the listening socket it passes on."""

HEAD_LIMIT = 256 * 1024
"""Bytes of a request head that are read at most."""


def add_socket_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the listening socket; without any of them it is the inherited one."""
    parser.add_argument("--fd", type=int, default=INHERITED_FD, help="inherited listening socket")
    parser.add_argument("--unix", default="", help="listen on this path")
    parser.add_argument("--host", default="127.0.0.1", help="listen on this address")
    parser.add_argument("--port", type=int, help="listen on this port (0: any)")


def open_listener(options: argparse.Namespace) -> socket.socket:
    """The listening socket that the options name.

    Raises:
        OSError: The address cannot be bound, or nothing was inherited.
    """
    if options.unix:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(options.unix)
    elif options.port is not None:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
    else:
        return socket.socket(fileno=options.fd)
    listener.listen(4096)
    return listener


def tell_supervisor(message: bytes) -> None:
    """Send one datagram to `NOTIFY_SOCKET`; does nothing when there is none."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, "\0" + path[1:] if path.startswith("@") else path)


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def whoami() -> dict[str, object]:
    """Which backend this process is, as far as it was told."""
    return {
        "pid": os.getpid(),
        "pool": os.environ.get("HOTSWAP_POOL"),
        "slot": int(os.environ.get("HOTSWAP_SLOT") or 0),
        "generation": int(os.environ.get("HOTSWAP_GENERATION") or 0),
    }


@dataclass(slots=True, kw_only=True)
class OpenRequest:
    """One request with its response."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    reader: BinaryIO
    socket: socket.socket
    keep_alive: bool
    answered: bool = False
    _body: bytes | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """The path of the target, as it was sent."""
        return urlsplit(self.target).path

    def query(self, name: str, default: str = "") -> str:
        """One value from the query string."""
        return parse_qs(urlsplit(self.target).query).get(name, [default])[-1]

    def header(self, name: str) -> str:
        """The value of the first field called `name`, or the empty text."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def body(self) -> bytes:
        """The whole request body, read at the first call."""
        if self._body is None:
            if self.header("expect").lower() == "100-continue" and not self.answered:
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self.header("transfer-encoding").lower() == "chunked":
                self._body = self._chunked_body()
            else:
                self._body = self.reader.read(int(self.header("content-length") or 0))
        return self._body

    def _chunked_body(self) -> bytes:
        body = bytearray()
        while size := int(self.reader.readline().split(b";")[0] or b"0", 16):
            body += self.reader.read(size)
            self.reader.readline()
        while self.reader.readline().strip():
            pass
        return bytes(body)

    def send(self, data: bytes) -> None:
        """Write these bytes as they are."""
        self.answered = True
        self.socket.sendall(data)

    def respond(self, body: bytes = b"", *, status: int = 200, content_type: str = "text/plain") -> None:
        """Answer properly, with a counted body."""
        self.send(
            self.head(f"Content-Type: {content_type}", f"Content-Length: {len(body)}", status=status)
            + (b"" if self.method == "HEAD" else body)
        )

    def respond_json(self, value: object) -> None:
        """Answer with `value` as JSON."""
        self.respond(json.dumps(value).encode(), content_type="application/json")

    def head(self, *fields: str, status: int = 200) -> bytes:
        """The bytes of a response head with these fields."""
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *fields]
        if not self.keep_alive:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode()

    def close(self) -> None:
        """Hang up after this exchange, announced or not."""
        self.keep_alive = False


Handler = Callable[[OpenRequest], None]


class ThreadedServer:
    """Serves a listening socket until SIGTERM or SIGINT; to be used from the main thread."""

    def __init__(self, listener: socket.socket, handler: Handler, *, name: str) -> None:
        self._listener = listener
        self._handler = handler
        self._name = name
        self._lock = threading.Lock()
        self._open: dict[socket.socket, bool] = {}  # connection -> an exchange is inside
        self._stopping = False
        self._frozen = False
        self._changed = threading.Condition(self._lock)
        self.ignore_stop = False
        self.idle_timeout: float | None = None
        # From here on, so that a program may say that it is ready before it calls `serve`.
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def serve(self) -> None:
        """Accept and serve; returns when it was told to stop and the last exchange is done."""
        # The blocking flag belongs to the open socket, which other processes may share.
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wakened, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select():
                    self.wait_unfrozen()
                    if key.fileobj is self._wakened:
                        self._wakened.recv(64)
                    else:
                        self._accept()
        self._listener.close()
        self._finish()

    def freeze(self) -> None:
        """Stand still, as a blocked event loop does: everything stays open, nothing answers."""
        self._frozen = True

    def wait_unfrozen(self) -> None:
        """Never returns once the server is frozen; signals change nothing about it."""
        while self._frozen:
            time.sleep(3600)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._frozen or self.ignore_stop:
            say(f"{self._name}: ignoring {signal.Signals(number).name}")
            return
        self._stopping = True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        connection.setblocking(True)
        connection.settimeout(self.idle_timeout)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open[connection] = False
        threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _finish(self) -> None:
        with self._lock:
            inside, held = sum(self._open.values()), sum(map(_held, self._open))
            say(f"{self._name}: stopping with {inside} in flight, {held} connections")
            for connection, busy in self._open.items():
                if not busy:
                    connection.shutdown(socket.SHUT_RDWR)
            while any(self._open.values()):
                self._changed.wait()
        say(f"{self._name}: last request done")
        say(f"{self._name}: exit")

    def _converse(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        try:
            while self._one(connection, reader):
                pass
        except (OSError, ValueError) as error:
            if not isinstance(error, (ConnectionError, TimeoutError)):
                say(f"{self._name}: {error!r}")
        finally:
            with self._lock:
                del self._open[connection]
                self._changed.notify_all()
            reader.close()
            connection.close()

    def _one(self, connection: socket.socket, reader: BinaryIO) -> bool:
        head = _read_head(reader)
        if head is None:
            return False
        with self._lock:
            self._open[connection] = True
        try:
            exchange = _parse_head(head, connection, reader)
            self._handler(exchange)
            self.wait_unfrozen()
            if exchange.keep_alive:
                exchange.body()
            return exchange.keep_alive and not self._stopping
        finally:
            with self._lock:
                self._open[connection] = False
                self._changed.notify_all()


def _held(connection: socket.socket) -> bool:
    """Whether the other side still has this connection; one that it closed may wait here to be noticed."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        if not selector.select(0):
            return True
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except OSError:
        return False


def _read_head(reader: BinaryIO) -> list[bytes] | None:
    lines: list[bytes] = []
    size = 0
    while line := reader.readline(HEAD_LIMIT):
        size += len(line)
        if size > HEAD_LIMIT:
            raise ValueError("the head of the request is too large")
        if line == b"\r\n":
            return lines
        lines.append(line)
    return None


def _parse_head(lines: list[bytes], connection: socket.socket, reader: BinaryIO) -> OpenRequest:
    method, target, version = lines[0].decode("latin-1").split()
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    exchange = OpenRequest(
        method=method,
        target=target,
        version=version,
        headers=headers,
        reader=reader,
        socket=connection,
        keep_alive=version == "HTTP/1.1",
    )
    if exchange.header("connection").lower() == "close":
        exchange.keep_alive = False
    return exchange
