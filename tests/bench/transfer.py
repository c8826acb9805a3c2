"""Loads of large bodies: whole downloads and uploads, one after another on kept connections.

The client must cost little, or it is what gets measured: a download throws the bytes away inside the kernel
(``MSG_TRUNC`` on TCP), an upload is a ``sendfile``. ``check_download`` compares every byte, before the load.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.outcome import Outcome, percentile

_TIMEOUT = 30.0
_BUFFER_BYTES = 1024 * 1024
_HEAD_LIMIT = 64 * 1024


class TransferBroken(Exception):
    """A body came short, changed, or with another status than 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLoad:
    """GET ``path``, whose body is the file called ``file``, on each of ``connections``."""

    path: str
    file: str
    connections: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLoad:
    """POST the file called ``file`` to ``path`` on each of ``connections``."""

    path: str
    file: str
    connections: int = 1


@dataclass(slots=True)
class _Tally:
    """What the threads of a load have done; list.append is atomic."""

    durations: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def run_transfer(load: DownloadLoad | UploadLoad, *, port: int, seconds: float, files: Path) -> Outcome:
    """Repeat the transfer on loopback ``port`` until ``seconds`` have passed, once at least."""
    content = files / load.file
    size = content.stat().st_size
    started = time.monotonic()
    tally = _Tally()

    def work() -> None:
        try:
            with open_client(port) as connection, content.open("rb") as file:
                transfer = _transfer_of(load, connection, file.fileno(), size)
                while True:
                    before = time.monotonic()
                    transfer()
                    after = time.monotonic()
                    tally.durations.append(after - before)
                    if after >= started + seconds:
                        return
        except (OSError, TransferBroken) as error:
            tally.errors.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(load.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Outcome(
        requests=len(tally.durations),
        seconds=time.monotonic() - started,
        body_bytes=len(tally.durations) * size,
        p50=percentile(tally.durations, 0.5),
        p99=percentile(tally.durations, 0.99),
        errors=len(tally.errors),
    )


def check_download(load: DownloadLoad, *, port: int, files: Path) -> None:
    """Fetch once and compare every byte.

    Raises:
        TransferBroken: the body differs from the file.
    """
    with open_client(port) as connection, (files / load.file).open("rb") as file:
        connection.sendall(_request("GET", load.path))
        length, rest = _read_head(connection)
        if rest != file.read(len(rest)):
            raise TransferBroken(f"{load.path}: another body")
        left = length - len(rest)
        while left:
            received = connection.recv(min(left, _BUFFER_BYTES))
            if not received or received != file.read(len(received)):
                raise TransferBroken(f"{load.path}: the body ends or differs {left} bytes before its end")
            left -= len(received)
        if file.read(1):
            raise TransferBroken(f"{load.path}: the body is too short")


def open_client(port: int) -> socket.socket:
    """Connect to loopback ``port``, with a timeout of 30 seconds on each call."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _transfer_of(
    load: DownloadLoad | UploadLoad, connection: socket.socket, file: int, size: int
) -> Callable[[], None]:
    if isinstance(load, UploadLoad):
        head = _request("POST", load.path, f"Content-Length: {size}\r\n")
        return lambda: _upload(connection, head, file, size)
    head = _request("GET", load.path)
    discard = bytearray(_BUFFER_BYTES)
    return lambda: _download(connection, head, size, discard)


def _download(connection: socket.socket, head: bytes, size: int, discard: bytearray) -> None:
    connection.sendall(head)
    length, rest = _read_head(connection)
    if length != size:
        raise TransferBroken(f"a body of {length} bytes instead of {size}")
    left = size - len(rest)
    while left:
        received = connection.recv_into(discard, min(left, _BUFFER_BYTES), socket.MSG_TRUNC)
        if not received:
            raise TransferBroken(f"the body ends {left} bytes before its end")
        left -= received


def _upload(connection: socket.socket, head: bytes, file: int, size: int) -> None:
    connection.sendall(head)
    sent = 0
    while sent < size:
        try:
            sent += os.sendfile(connection.fileno(), file, sent, size - sent)
        except BlockingIOError:
            _wait_writable(connection)
    length, rest = _read_head(connection)
    while len(rest) < length:
        more = connection.recv(length - len(rest))
        if not more:
            break
        rest += more
    if rest != str(size).encode() or length != len(rest):
        raise TransferBroken(f"the origin counted {rest!r} bytes instead of {size}")


def _wait_writable(connection: socket.socket) -> None:
    # A socket with a timeout is non-blocking below, and os.sendfile does not know of the timeout.
    if not select.select([], [connection], [], _TIMEOUT)[1]:
        raise TimeoutError("the upload stalls")


def _request(method: str, path: str, fields: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()


def _read_head(connection: socket.socket) -> tuple[int, bytes]:
    """Return the length of the body and what of it came with the head."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(4096)
        if not more or len(received) > _HEAD_LIMIT:
            raise TransferBroken(f"no head in {received[:200]!r}")
        received += more
    head, rest = received.split(b"\r\n\r\n", 1)
    lines = head.lower().split(b"\r\n")
    if not lines[0].startswith(b"http/1.1 200"):
        raise TransferBroken(f"answered with {lines[0]!r}")
    for line in lines[1:]:
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2]), rest
    raise TransferBroken("no Content-Length")
