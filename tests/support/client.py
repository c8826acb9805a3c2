"""A strict HTTP/1.1 client on trio and h11, which shares no code with what it tests.

h11 checks the framing of every response; a connection that ends too early is an error, a byte that nobody
asked for too. One `Connection` carries one exchange after the other; the pieces of an exchange can be driven
one by one, so that a test can be slow wherever it wants.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import trio

from tests.support.trouble import BadStatus, CutShort

Fields = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a client connects, and how: a unix path or host and port, plain or TLS, HTTP/1.1 or 2."""

    address: Path | tuple[str, int]
    tls: ssl.SSLContext | None = None
    host: str = "localhost"
    http2: bool = False

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        assert not isinstance(self.address, Path)
        return f"{'http' if self.tls is None else 'https'}://{self.host}:{self.address[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first field of this name (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def expect(self, status: int = 200) -> Response:
        """This response, if it has the status that was due.

        Raises:
            BadStatus: It has another one.
        """
        if self.status != status:
            raise BadStatus(self.status, self.body)
        return self


async def connect(target: Target) -> tuple[trio.abc.Stream, trio.SocketStream]:
    """Connect; returns the stream to speak over and the plain one below it (the same without TLS).

    Raises:
        OSError: Nobody listens there, or the peer hung up during the TLS handshake.
    """
    if isinstance(target.address, Path):
        plain = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        place: Any = str(target.address)
    else:
        family = socket.AF_INET6 if ":" in target.address[0] else socket.AF_INET
        plain = trio.socket.socket(family, socket.SOCK_STREAM)
        place = target.address
    try:
        await plain.connect(place)
    except BaseException:
        plain.close()
        raise
    below = trio.SocketStream(plain)
    if target.tls is None:
        return below, below
    stream = trio.SSLStream(below, target.tls, server_hostname=target.host, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream, below


async def hang_up(stream: trio.SocketStream) -> None:
    """Close our half of a connection, read what still comes, and close the rest."""
    try:
        await stream.send_eof()
        with trio.move_on_after(5):
            while await stream.receive_some(65536):
                pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        stream.socket.close()


class Connection:
    """One connection and the exchange on it. `Connection.open` makes one; use it as a context manager or `close` it."""

    def __init__(self, target: Target, stream: trio.abc.Stream, below: trio.SocketStream) -> None:
        self.target = target
        self.stream = stream
        self._below = below
        self._h11 = h11.Connection(h11.CLIENT)
        self._over = False

    @classmethod
    async def open(cls, target: Target) -> Connection:
        """Connect to the target."""
        return cls(target, *await connect(target))

    def close(self) -> None:
        """Hang up at once."""
        self._below.socket.close()

    async def part(self) -> None:
        """Hang up in order, so that no reset is ours: our half is closed, and what still comes is read to its end."""
        await hang_up(self._below)

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: the last is complete and no side announced the end."""
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    @property
    def fresh(self) -> bool:
        """Whether nothing was sent in this exchange yet."""
        return self._h11.our_state is h11.IDLE

    async def ended(self) -> bool:
        """Whether the other side closed the idle connection.

        Raises:
            AssertionError: It sent bytes that nobody asked for.
        """
        readable, _, _ = select.select([self._below.socket.fileno()], [], [], 0)
        if not readable:
            return False
        with trio.move_on_after(0.05):  # session tickets of TLS are readable, and yet nothing to the reader
            received = await self.stream.receive_some(1)
            assert not received, f"bytes on an idle connection: {received!r}"
            return True
        return False

    async def request(self, method: str, path: str, *, body: bytes | None = None, headers: Fields = ()) -> Response:
        """Perform one whole exchange."""
        fields = list(headers)
        if body is not None:
            fields.append(("Content-Length", str(len(body))))
        await self.send_head(method, path, headers=fields)
        if body:
            await self.send_body(body)
        await self.send_end()
        status, received = await self.head()
        return Response(status=status, headers=received, body=await self.body())

    async def send_head(self, method: str, path: str, *, headers: Fields = ()) -> None:
        """Send a request head; the exchange before it must be complete."""
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        fields = [("Host", self.target.host), *headers]
        await self._send(h11.Request(method=method, target=path, headers=fields))

    async def send_body(self, piece: bytes) -> None:
        """Send a piece of the request body."""
        await self._send(h11.Data(data=piece))

    async def send_end(self) -> None:
        """Complete the request."""
        await self._send(h11.EndOfMessage())

    async def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Wait for the head of the final response: its status and fields (names in lower case)."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                fields = tuple((name.decode(), value.decode("latin-1")) for name, value in event.headers)
                names = [name for name, _ in fields]
                if "content-length" in names and "transfer-encoding" in names:
                    raise h11.RemoteProtocolError("both a length and a transfer coding")  # h11 lets it pass
                return event.status_code, fields
            assert isinstance(event, h11.InformationalResponse), event

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The response body as it arrives."""
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event

    async def body(self) -> bytes:
        """The whole response body."""
        return b"".join([piece async for piece in self.pieces()])

    async def _send(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            await self.stream.send_all(data)

    async def _next(self) -> h11.Event:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                if self._over:
                    raise CutShort(str(error)) from error
                raise
            if event is h11.NEED_DATA:
                data = bytes(await self.stream.receive_some(65536))
                self._over = not data
                self._h11.receive_data(data)
            elif isinstance(event, h11.ConnectionClosed):
                raise CutShort("closed before a response")
            else:
                assert not isinstance(event, type), event
                return event


@asynccontextmanager
async def open_connection(target: Target) -> AsyncIterator[Connection]:
    """A connection that is closed at the end."""
    connection = await Connection.open(target)
    try:
        yield connection
    finally:
        connection.close()


async def fetch(
    target: Target, path: str, *, method: str = "GET", body: bytes | None = None, headers: Fields = ()
) -> Response:
    """One exchange over a connection of its own."""
    async with open_connection(target) as connection:
        return await connection.request(method, path, body=body, headers=headers)
