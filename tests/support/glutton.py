"""A client that takes all it can get, over one connection, in one of several ways; a process of its own.

`python -m tests.support.glutton KIND PORT` prints a line when its first bytes are out, and goes on until it is killed.
What it sends was made before, so that it costs the machine little; what it receives it throws away.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count, repeat
from typing import Final

from tests.support.http2_frames import PREFACE, raw_frame
from tests.support.torrent import IMMENSE

_BLOCK: Final = bytes(256 * 1024)
_SHORT: Final = b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n"
_UPGRADE: Final = (
    b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_STREAMS: Final = 100
_GET_BLOCK: Final = b"\x82\x86\x84\x01\x01a"
"""RFC 7541: GET, http and / of the static table, and the authority "a" without a place in the dynamic one."""
_DATA: Final = 0
_HEADERS: Final = 1
_RST_STREAM: Final = 3
_SETTINGS: Final = 4
_WINDOW_UPDATE: Final = 8
_ACK = END_STREAM = 1
_END_HEADERS: Final = 4
_FRAME_BYTES: Final = 9


def _get(path: bytes, *, host: bytes = b"a") -> bytes:
    return _SHORT % (path, host)


def _post(fields: bytes) -> bytes:
    return b"POST /up HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % fields


def _pipelined(request: bytes) -> Iterable[bytes]:
    return repeat(request * (len(_BLOCK) // len(request)))


def _then(first: bytes, others: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


KINDS: Final[dict[str, Callable[[], Iterable[bytes]]]] = {
    "pipelined": lambda: _pipelined(_get(b"/")),
    "pipelined, no route": lambda: _pipelined(_get(b"/", host=b"nobody")),
    "upload": lambda: _then(_post(b"Content-Length: %d" % IMMENSE), repeat(_BLOCK)),
    "upload in pieces": lambda: _then(_post(b"Transfer-Encoding: chunked"), repeat(b"1\r\nx\r\n" * 40_000)),
    "download": lambda: [_get(b"/endless")],
    "download of pieces": lambda: [_get(b"/pieces")],
    "tunnel": lambda: _then(_get(b"/").replace(b"\r\n\r\n", _UPGRADE), repeat(_BLOCK)),
}
"""What each kind sends, piece by piece."""

HTTP2 = "http2"
"""A hundred streams at once, again and again; it has to read what it gets."""

_POST_BLOCK: Final = b"\x83\x86\x04\x03/up\x01\x01a"
_TUNNEL_BLOCK: Final = (
    b"\x02\x07CONNECT\x00\x09:protocol\x09websocket\x86\x84\x01\x01a\x00\x15sec-websocket-version\x0213"
)
HTTP2_PIECES: Final = {"http2, upload in pieces": _POST_BLOCK, "http2, tunnel in pieces": _TUNNEL_BLOCK}
"""One stream, in frames of a few bytes, as its window allows; what the tunnel gets back it reads."""
_PIECE: Final = bytes(20)
_PIECES: Final = 500


def _devour(sock: socket.socket, pieces: Iterator[bytes]) -> None:
    """Send all the time and read all the time."""
    sock.setblocking(False)
    scratch = bytearray(1 << 20)
    unsent = memoryview(next(pieces))
    sending = True
    said = False
    while True:
        readable, writable, _ = select.select([sock], [sock] if sending else [], [])
        if readable and not sock.recv_into(scratch):
            raise ConnectionError("the proxy has ended the connection")
        if writable:
            unsent = unsent[sock.send(unsent) :]
            if not said:
                said = True
                print("begun", flush=True)
            if not unsent:
                following = next(pieces, None)
                sending = following is not None
                unsent = memoryview(following or b"")


def _devour_http2(sock: socket.socket) -> None:
    """Keep as many streams busy as the proxy allows."""
    _greet(sock)
    numbers = count(1, 2)
    received = bytearray()
    left = 0
    while True:
        if not left:
            batch = [raw_frame(_HEADERS, _END_HEADERS | END_STREAM, next(numbers), _GET_BLOCK) for _ in range(_STREAMS)]
            sock.sendall(b"".join(batch))
            if not received:
                print("begun", flush=True)
            left = _STREAMS
        more = sock.recv(1 << 18)
        if not more:
            raise ConnectionError("the proxy has ended the connection")
        received += more
        for kind, flags, _stream, _payload in _frames(received):
            if kind == _SETTINGS and not flags & _ACK:
                sock.sendall(raw_frame(_SETTINGS, _ACK, 0))
            elif kind in (_DATA, _HEADERS) and flags & END_STREAM:
                left -= 1


def _greet(sock: socket.socket) -> None:
    window = raw_frame(_WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big"))
    sock.sendall(PREFACE + raw_frame(_SETTINGS, 0, 0, b"\0\x04\x3f\xff\xff\xff") + window)


def _frames(received: bytearray) -> Iterator[tuple[int, int, int, bytes]]:
    """Take the whole frames: kind, flags, stream, payload."""
    place = 0
    while len(received) - place >= _FRAME_BYTES:
        length = int.from_bytes(received[place : place + 3], "big")
        end = place + _FRAME_BYTES + length
        if len(received) < end:
            break
        stream = int.from_bytes(received[place + 5 : place + 9], "big")
        yield received[place + 3], received[place + 4], stream, bytes(received[place + _FRAME_BYTES : end])
        place = end
    del received[:place]


def _devour_in_pieces(sock: socket.socket, block: bytes) -> None:
    """Send on one stream as its window allows, and read what comes."""
    _greet(sock)
    sock.sendall(raw_frame(_HEADERS, _END_HEADERS, 1, block))
    pieces = raw_frame(_DATA, 0, 1, _PIECE) * _PIECES
    size = len(_PIECE) * _PIECES
    sock.setblocking(False)
    received = bytearray()
    unsent = memoryview(b"")
    room = 65535
    said = False
    while True:
        sending = bool(unsent) or room >= size
        readable, writable, _ = select.select([sock], [sock] if sending else [], [])
        if readable:
            more = sock.recv(1 << 18)
            if not more:
                raise ConnectionError("the proxy has ended the connection")
            received += more
            for kind, _flags, stream, payload in _frames(received):
                if kind == _WINDOW_UPDATE and stream == 1:
                    room += int.from_bytes(payload, "big")
                elif kind == _RST_STREAM:
                    raise ConnectionError("the proxy has ended the stream")
        if writable:
            if not unsent:
                unsent = memoryview(pieces)
                room -= size
            unsent = unsent[sock.send(unsent) :]
            if not said:
                said = True
                print("begun", flush=True)


def main(kind: str, port: int) -> None:
    """Go on until killed."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kind == HTTP2:
            _devour_http2(sock)
        elif kind in HTTP2_PIECES:
            _devour_in_pieces(sock, HTTP2_PIECES[kind])
        else:
            _devour(sock, iter(KINDS[kind]()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
