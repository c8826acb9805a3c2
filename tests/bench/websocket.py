"""WebSocket frames as the bench needs them, one short text message each; and the load of echoes.

Not a WebSocket library: both ends are ours, the proxy between them is what is looked at, and a real library
at either end would cost several times what the proxy does.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from dataclasses import dataclass

from tests.bench.outcome import Outcome, percentile

_TIMEOUT = 10.0
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# RFC 6455, section 1.3: the answer to the sample key.
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_FIN_TEXT = 0x81
_MASKED = 0x80
_LENGTH = 0x7F


class EchoBroken(Exception):
    """The upgrade was refused, or an echo differed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoLoad:
    """``connections`` WebSockets to ``path``; each sends ``message_bytes`` and waits for their echo."""

    path: str
    connections: int
    message_bytes: int = 64  # at most 125: longer ones have another head


def mask_frame(payload: bytes, key: bytes) -> bytes:
    """Return the frame of a client's short text message (RFC 6455, section 5.2)."""
    return bytes([_FIN_TEXT, _MASKED | len(payload)]) + key + _xor(payload, key)


def plain_frame(payload: bytes) -> bytes:
    """Return the frame of a server's short text message."""
    return bytes([_FIN_TEXT, len(payload)]) + payload


def split_masked(received: bytearray) -> list[bytes]:
    """Take the whole client frames off the front of ``received`` and return their payloads."""
    payloads = []
    while len(received) >= 2 and len(received) >= (end := 6 + (received[1] & _LENGTH)):
        payloads.append(_xor(bytes(received[6:end]), bytes(received[2:6])))
        del received[:end]
    return payloads


def run_echo(load: EchoLoad, *, port: int, seconds: float) -> Outcome:
    """Exchange messages on loopback ``port`` for ``seconds``.

    Raises:
        EchoBroken: a connection could not be upgraded.
    """
    payload = b"e" * load.message_bytes
    request = mask_frame(payload, os.urandom(4))
    answer = plain_frame(payload)
    latencies: list[float] = []
    errors = 0
    with contextlib.ExitStack() as held, selectors.DefaultSelector() as ready:
        for _ in range(load.connections):
            connection = held.enter_context(_open_websocket(load.path, port))
            ready.register(connection, selectors.EVENT_READ, [bytearray(), time.monotonic()])
            connection.sendall(request)
        started = now = time.monotonic()
        while now < started + seconds and ready.get_map():
            for key, _ in ready.select(timeout=_TIMEOUT):
                assert isinstance(key.fileobj, socket.socket)
                connection = key.fileobj
                received, sent_at = key.data
                more = connection.recv(4096)
                received += more
                if not more or not answer.startswith(received):
                    errors += 1
                    ready.unregister(connection)
                elif len(received) == len(answer):
                    now = time.monotonic()
                    latencies.append(now - sent_at)
                    received.clear()
                    key.data[1] = now
                    connection.sendall(request)
            now = time.monotonic()
    return Outcome(
        requests=len(latencies),
        seconds=now - started,
        body_bytes=2 * len(latencies) * load.message_bytes,
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        errors=errors,
    )


def _open_websocket(path: str, port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n".encode()
        )
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            more = connection.recv(4096)
            if not more:
                break
            received += more
        if not received.startswith(b"HTTP/1.1 101") or ACCEPT.encode() not in received:
            raise EchoBroken(f"the upgrade was answered with {received[:200]!r}")
    except BaseException:
        connection.close()
        raise
    return connection


def _xor(payload: bytes, key: bytes) -> bytes:
    length = len(payload)
    mask = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(length, "big")
