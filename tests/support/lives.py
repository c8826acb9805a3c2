"""Every state that a client connection can be in, each brought about on a stage.

A state is a function that is given the stage and a way to connect, and gives the lines that it opened, the client's
first. Its docstring says what the state is. `BEGINNINGS`, `HTTP1` and `HTTP2` have them by the kind of connection.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

from tests.support.http2_client import Http2Client
from tests.support.http2_frames import GET as GET_FIELDS
from tests.support.http2_frames import PREFACE
from tests.support.stage import GET, Line, Stage

Dial = Callable[[], Awaitable[Line]]
Lines = Sequence[Line | socket.socket]
State = Callable[[Stage, Dial], Awaitable[Lines]]

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n" % ACCEPT
)
UPLOAD = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1000000000\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"
DOWNLOAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
STREAMED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
POST_FIELDS = ((b":method", b"POST"), *GET_FIELDS[1:])
WEBSOCKET_FIELDS = (
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *GET_FIELDS[1:],
    (b"sec-websocket-version", b"13"),
)
PATIENCE = 0.05
"""Seconds in which a line that takes nothing is known to be full."""


async def fill(line: Line, piece: bytes = bytes(65536)) -> None:
    """Send until nothing is taken any more."""
    while True:
        with trio.move_on_after(PATIENCE) as scope:
            await line.send(piece)
        if scope.cancelled_caught:
            return


async def fill_until(line: Line, full: Callable[[], bool], piece: bytes) -> None:
    """Send one piece after the other until something holds."""
    while not full():
        await line.send(piece)
        await trio.sleep(0.001)


def unsent(stage: Stage) -> bool:
    """Whether the proxy keeps something for its client."""
    (connection,) = stage.plane.listeners["public"].connections
    return bool(connection.stream.unsent)  # type: ignore[attr-defined]  # whatever kind it is


# Before anything is known of it.


async def silent(stage: Stage, dial: Dial) -> Lines:
    """Nothing was said."""
    return [await dial()]


async def half_said(stage: Stage, dial: Dial) -> Lines:
    """The beginning of a PROXY header, or of a hello of TLS."""
    line = await dial()
    await line.send(b"PROXY TCP4 192.0.2.1" if stage.listener.table.proxy_protocol else b"\x16\x03\x01\x02\x00\x01")
    return [line]


# HTTP/1.1.


async def half_a_head(stage: Stage, dial: Dial) -> Lines:
    """A request has begun."""
    line = await dial()
    await line.send(GET[:10])
    return [line]


async def kept_alive(stage: Stage, dial: Dial) -> Lines:
    """It was answered once."""
    line = await dial()
    await line.send(GET)
    backend = await stage.backend.serve_one()
    await line.read_response()
    return [line, backend]


async def body_under_way(stage: Stage, dial: Dial) -> Lines:
    """A body of known length is to go on."""
    line = await dial()
    await line.send(UPLOAD + b"begun")
    backend = await stage.backend.accept()
    await backend.read_until(b"begun")
    return [line, backend]


async def chunks_under_way(stage: Stage, dial: Dial) -> Lines:
    """A body in chunks is to go on."""
    line = await dial()
    await line.send(CHUNKED + b"5\r\nbegun\r\n3\r\nx")
    backend = await stage.backend.accept()
    await backend.read_until(b"begun")
    return [line, backend]


async def body_not_taken(stage: Stage, dial: Dial) -> Lines:
    """A body that the backend does not read."""
    line = await dial()
    await line.send(UPLOAD)
    backend = await stage.backend.accept()
    await fill(line)
    return [line, backend]


async def held(stage: Stage, dial: Dial) -> Lines:
    """It waits for a backend."""
    stage.pool.pause()
    line = await dial()
    await line.send(GET)
    await stage.wait_held(1)
    return [line]


async def held_with_a_body(stage: Stage, dial: Dial) -> Lines:
    """It waits for a backend, its body for being read."""
    stage.pool.pause()
    line = await dial()
    await line.send(UPLOAD + b"begun")
    await stage.wait_held(1)
    return [line]


async def unanswered(stage: Stage, dial: Dial) -> Lines:
    """The backend thinks."""
    line = await dial()
    await line.send(GET)
    backend = await stage.backend.accept()
    await backend.read_head()
    return [line, backend]


async def connecting(stage: Stage, dial: Dial) -> Lines:
    """The queue of the backend is full."""
    crowd = fill_queue(stage)
    line = await dial()
    await line.send(GET)
    await stage.wait_in_flight(1)
    return [line, *crowd]


async def connecting_with_a_body(stage: Stage, dial: Dial) -> Lines:
    """The queue of the backend is full, and the body has not come."""
    crowd = fill_queue(stage)
    line = await dial()
    await line.send(UPLOAD)
    await stage.wait_in_flight(1)
    return [line, *crowd]


async def answer_under_way(stage: Stage, dial: Dial) -> Lines:
    """An answer is to go on, of which the client has all that came."""
    line = await dial()
    await line.send(GET)
    backend = await stage.backend.serve_one(STREAMED + b"5\r\nbegun\r\n")
    await line.read_until(b"begun\r\n")
    return [line, backend]


async def answer_not_read(stage: Stage, dial: Dial) -> Lines:
    """The client takes nothing more of its answer, so neither does the proxy."""
    line = await dial()
    await line.send(GET)
    backend = await stage.backend.serve_one(DOWNLOAD)
    await fill(backend)
    return [line, backend]


async def rest_not_read(stage: Stage, dial: Dial) -> Lines:
    """The answer is whole, and the client does not take the rest of it."""
    line = await dial()
    await line.send(GET)
    backend = await stage.backend.serve_one(STREAMED)
    await fill_until(backend, lambda: unsent(stage), b"1000\r\n" + bytes(4096) + b"\r\n")
    await backend.send(b"0\r\n\r\n")
    await stage.wait_in_flight(0)
    return [line, backend]


async def last_rest_not_read(stage: Stage, dial: Dial) -> Lines:
    """The same of a connection that is to be closed."""
    line = await dial()
    await line.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    backend = await stage.backend.serve_one(STREAMED)
    await fill_until(backend, lambda: unsent(stage), b"1000\r\n" + bytes(4096) + b"\r\n")
    await backend.send(b"0\r\n\r\n")
    await stage.wait_in_flight(0)
    return [line, backend]


async def lingering(stage: Stage, dial: Dial) -> Lines:
    """It was answered for the last time, and its end is waited for."""
    line = await dial()
    await line.send(b"NONSENSE\r\n\r\n")
    assert (await line.read_to_end()).startswith(b"HTTP/1.1 400 ")
    return [line]


async def upgrade_pending(stage: Stage, dial: Dial) -> tuple[Line, Line]:
    """It asked for a WebSocket."""
    line = await dial()
    await line.send(HANDSHAKE)
    backend = await stage.backend.accept()
    await backend.read_head()
    return line, backend


async def tunnel(stage: Stage, dial: Dial) -> tuple[Line, Line]:
    """A WebSocket at rest."""
    line, backend = await upgrade_pending(stage, dial)
    await backend.send(SWITCH)
    await line.read_head()
    return line, backend


async def tunnel_not_taken(stage: Stage, dial: Dial) -> Lines:
    """A WebSocket whose backend does not read."""
    line, backend = await tunnel(stage, dial)
    await fill(line)
    return [line, backend]


async def tunnel_not_read(stage: Stage, dial: Dial) -> Lines:
    """A WebSocket whose client does not read."""
    line, backend = await tunnel(stage, dial)
    await fill(backend)
    return [line, backend]


async def tunnel_half_closed(stage: Stage, dial: Dial) -> Lines:
    """A WebSocket whose backend has said all."""
    line, backend = await tunnel(stage, dial)
    await backend.end_writes()
    await line.read_to_end()
    return [line, backend]


async def tunnel_rest_not_read(stage: Stage, dial: Dial) -> Lines:
    """A WebSocket whose backend has left, and whose client does not take the rest."""
    line, backend = await tunnel(stage, dial)
    await fill_until(
        backend, lambda: next(iter(stage.plane.tunnels.values())).client_end.stream.unsent > 0, bytes(4096)
    )
    backend.close()
    await stage.settle()
    return [line, backend]


# HTTP/2.


async def half_a_preface(stage: Stage, dial: Dial) -> Lines:
    """HTTP/2 has begun."""
    line = await dial()
    await line.send(PREFACE[:20])
    return [line]


async def greet(dial: Dial, settings: dict[int, int] | None = None) -> Http2Client:
    """A client of HTTP/2 that opens no windows."""
    client = Http2Client(await dial(), opens=False)
    await client.greet(settings)
    await client.take()
    return client


async def greeted(stage: Stage, dial: Dial) -> Lines:
    """No stream was opened."""
    return [(await greet(dial)).line]


async def half_a_block(stage: Stage, dial: Dial) -> Lines:
    """A head is to go on in another frame."""
    client = await greet(dial)
    await client.send(client.write.cut_headers(1, GET_FIELDS, [5])[0])
    return [client.line]


async def streams_over(stage: Stage, dial: Dial) -> Lines:
    """It was answered once."""
    client = await greet(dial)
    await client.request(1)
    backend = await stage.backend.serve_one()
    await client.wait_end(1)
    return [client.line, backend]


async def stream_held(stage: Stage, dial: Dial) -> Lines:
    """A stream waits for a backend."""
    stage.pool.pause()
    client = await greet(dial)
    await client.request(1)
    await stage.wait_held(1)
    return [client.line]


async def stream_connecting(stage: Stage, dial: Dial) -> Lines:
    """The queue of a stream's backend is full."""
    crowd = fill_queue(stage)
    client = await greet(dial)
    await client.request(1)
    await stage.wait_in_flight(1)
    return [client.line, *crowd]


async def stream_unanswered(stage: Stage, dial: Dial) -> Lines:
    """The backend thinks about a stream."""
    client = await greet(dial)
    await client.request(1)
    backend = await stage.backend.accept()
    await backend.read_head()
    return [client.line, backend]


async def stream_body_under_way(stage: Stage, dial: Dial) -> Lines:
    """The body of a stream is to go on."""
    client = await greet(dial)
    await client.send(client.write.headers(1, POST_FIELDS, end=False), client.write.data(1, b"begun"))
    backend = await stage.backend.accept()
    await backend.read_until(b"begun")
    return [client.line, backend]


async def stream_not_read(stage: Stage, dial: Dial) -> Lines:
    """The window of a stream is used up."""
    client = await greet(dial)
    await client.request(1)
    backend = await stage.backend.serve_one(DOWNLOAD)
    await fill(backend)
    return [client.line, backend]


async def socket_not_read(stage: Stage, dial: Dial) -> Lines:
    """The windows are open, and the client reads nothing."""
    client = await greet(dial, {4: (1 << 31) - 1})
    await client.send(client.write.window(0, 1 << 30))
    await client.request(1)
    backend = await stage.backend.serve_one(DOWNLOAD)
    await fill(backend)
    assert unsent(stage)
    return [client.line, backend]


async def stream_tunnel(stage: Stage, dial: Dial) -> tuple[Line, Line]:
    """A WebSocket over a stream, at rest."""
    client = await greet(dial)
    await client.send(client.write.headers(1, WEBSOCKET_FIELDS, end=False))
    backend = await stage.backend.accept()
    key = re.search(rb"(?i)\r\nsec-websocket-key: (\S+)\r\n", await backend.read_head())
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    await backend.send(SWITCH.replace(ACCEPT, accept))
    await client.wait(lambda: 1 in client.read.fields)
    assert client.status(1) == 200
    return client.line, backend


async def stream_tunnel_not_read(stage: Stage, dial: Dial) -> Lines:
    """A WebSocket over a stream whose window is used up."""
    line, backend = await stream_tunnel(stage, dial)
    await fill(backend)
    return [line, backend]


# What the states have in common.


def fill_queue(stage: Stage) -> list[socket.socket]:
    """Connect to a backend behind a path until its queue takes nobody more; nobody accepts there."""
    address = stage.backend.listener.socket.getsockname()
    crowd = []
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        crowd.append(sock)
        if sock.connect_ex(address):
            return crowd


BEGINNINGS: tuple[State, ...] = (silent, half_said)
HTTP1: tuple[State, ...] = (
    silent,
    half_a_head,
    kept_alive,
    body_under_way,
    chunks_under_way,
    body_not_taken,
    held,
    held_with_a_body,
    connecting,
    connecting_with_a_body,
    unanswered,
    answer_under_way,
    answer_not_read,
    rest_not_read,
    last_rest_not_read,
    lingering,
    upgrade_pending,
    tunnel,
    tunnel_not_taken,
    tunnel_not_read,
    tunnel_half_closed,
    tunnel_rest_not_read,
)
HTTP2: tuple[State, ...] = (
    half_a_preface,
    greeted,
    half_a_block,
    streams_over,
    stream_held,
    stream_connecting,
    stream_unanswered,
    stream_body_under_way,
    stream_not_read,
    socket_not_read,
    stream_tunnel,
    stream_tunnel_not_read,
)
