"""The strict client of `tests.support.client` over HTTP/2, on the h2 library; and WebSocket on a stream.

h2 checks every frame; what a server does that is no answer (a reset, a GOAWAY that leaves the stream out, an end of the
connection) is an error here, so that a load counts it.
"""

from __future__ import annotations

import select
import ssl
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import trio
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol, State

from tests.support.client import Connection, Fields, Target, connect
from tests.support.trouble import BadStatus, CutShort, WrongBody


def http2_target(target: Target, *, trust: Path | None = None) -> Target:
    """The same place, spoken to in HTTP/2: by ALPN where there is an authority to trust, else by prior knowledge."""
    tls = None
    if target.tls is not None:
        tls = ssl.create_default_context(cafile=None if trust is None else str(trust))
        tls.set_alpn_protocols(["h2"])
    return replace(target, tls=tls, http2=True)


class Http2Connection(Connection):
    """One connection of HTTP/2; see the module."""

    def __init__(self, target: Target, stream: trio.abc.Stream, below: trio.SocketStream) -> None:
        super().__init__(target, stream, below)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._events: deque[h2.events.Event] = deque()
        self._stream_id = 0
        self._leaving = False  # GOAWAY came
        self._gone = False
        self._over = True  # the exchange is
        self._ended = True  # the other side's half of it is

    @classmethod
    async def open(cls, target: Target) -> Http2Connection:
        """Connect, and wait for the settings of the other side."""
        stream, below = await connect(target)
        if isinstance(stream, trio.SSLStream):
            assert stream.selected_alpn_protocol() == "h2"
        connection = cls(target, stream, below)
        connection._h2.initiate_connection()
        await connection._flush()
        while connection._h2.remote_settings.enable_connect_protocol != 1:
            await connection._read()
        return connection

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: the last is complete and no side announced the end."""
        return self._over and not self._leaving

    @property
    def fresh(self) -> bool:
        """Whether nothing was sent in this exchange yet."""
        return self._over

    async def ended(self) -> bool:
        """Whether the other side ended the idle connection, in order or not."""
        while not self._gone and select.select([self._below.socket.fileno()], [], [], 0)[0]:
            with trio.move_on_after(0.05):  # session tickets of TLS are readable, and yet nothing to the reader
                await self._read(expected=False)
                continue
            break
        return self._gone or self._leaving

    async def send_head(self, method: str, path: str, *, headers: Fields = (), protocol: str = "") -> None:
        """Send a request head, on a stream of its own."""
        self._stream_id = self._h2.get_next_available_stream_id()
        self._over = self._ended = False
        self._events.clear()
        fields = [(":method", method), (":scheme", "https" if self.target.tls else "http")]
        fields += [(":authority", self.target.host), (":path", path)]
        if protocol:
            fields.append((":protocol", protocol))
        fields += [(name.lower(), value) for name, value in headers if name.lower() != "transfer-encoding"]
        self._h2.send_headers(self._stream_id, fields)
        await self._flush()

    async def send_body(self, piece: bytes) -> None:
        """Send a piece of the request body, as the windows take it."""
        while piece:
            room = min(
                self._h2.local_flow_control_window(self._stream_id), self._h2.max_outbound_frame_size, len(piece)
            )
            if room:
                self._h2.send_data(self._stream_id, piece[:room])
                piece = piece[room:]
                await self._flush()
            else:
                await self._read()

    async def send_end(self) -> None:
        """Complete the request."""
        self._h2.end_stream(self._stream_id)
        await self._flush()

    async def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Wait for the head of the final response: its status and fields."""
        while True:
            event = await self.next_event()
            if isinstance(event, h2.events.ResponseReceived):
                fields = tuple((str(name), str(value)) for name, value in event.headers)
                return int(dict(fields)[":status"]), fields[1:]
            assert isinstance(event, h2.events.InformationalResponseReceived), event

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The response body as it arrives."""
        while True:
            event = await self.next_event()
            match event:
                case h2.events.DataReceived():
                    yield bytes(event.data)
                case h2.events.StreamEnded():
                    self._over = True
                    return
                case _:
                    assert isinstance(event, h2.events.TrailersReceived), event

    async def next_event(self) -> h2.events.Event:
        """What happens next on the stream under way."""
        while not self._events:
            await self._read()
        return self._events.popleft()

    async def _read(self, *, expected: bool = True) -> None:
        """Take what comes next.

        Raises:
            CutShort: The stream under way, or the connection, ended where more was due.
        """
        data = bytes(await self.stream.receive_some(65536))
        if not data:
            self._gone = True
            if expected:
                raise CutShort("the connection ended")
            return
        for event in self._h2.receive_data(data):
            match event:
                case h2.events.DataReceived(stream_id=stream_id):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
                case h2.events.ConnectionTerminated():
                    self._leaving = True
                    if event.error_code or (not self._over and (event.last_stream_id or 0) < self._stream_id):
                        raise CutShort(f"GOAWAY {event.error_code} after stream {event.last_stream_id}")
                case h2.events.StreamReset(stream_id=stream_id):
                    # Behind the end of an answer it only says that the rest of the request is not needed.
                    if stream_id == self._stream_id and not self._ended:
                        raise CutShort(f"the stream was reset: {event.error_code}")
                case h2.events.StreamEnded(stream_id=stream_id) if stream_id == self._stream_id:
                    self._ended = True
                case _:
                    pass
            if isinstance(event, _OF_STREAMS) and event.stream_id == self._stream_id:
                self._events.append(event)
        await self._flush()

    async def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            await self.stream.send_all(data)


_OF_STREAMS = (
    h2.events.ResponseReceived,
    h2.events.InformationalResponseReceived,
    h2.events.DataReceived,
    h2.events.TrailersReceived,
    h2.events.StreamEnded,
)


class StreamWebSocket:
    """A WebSocket on a stream of a connection (RFC 8441); its frames are those of the websockets library."""

    def __init__(self, connection: Http2Connection) -> None:
        self._connection = connection
        self._protocol = Protocol(CLIENT, state=State.OPEN, max_size=None)
        self._frames: deque[Frame] = deque()

    async def open(self, path: str) -> None:
        """Ask for it, and wait for the answer."""
        fields = [("sec-websocket-version", "13"), ("origin", f"https://{self._connection.target.host}")]
        await self._connection.send_head("CONNECT", path, headers=fields, protocol="websocket")
        status, _ = await self._connection.head()
        if status != 200:
            raise BadStatus(status, await self._connection.body())

    async def send(self, message: str | bytes) -> None:
        """Send one message."""
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        await self._flush()

    async def receive(self) -> str | bytes:
        """Wait for the next message; a large one may come in several frames."""
        message = bytearray()
        text = False
        while True:
            frame = await self._frame()
            text = text or frame.opcode is Opcode.TEXT
            message += frame.data
            if frame.fin:
                return message.decode() if text else bytes(message)

    async def close(self) -> None:
        """Close it, and wait until the other side has done so too.

        Raises:
            WrongBody: The other side closed it in another way.
        """
        self._protocol.send_close(1000)
        await self._flush()
        async for piece in self._connection.pieces():
            self._protocol.receive_data(piece)
        await self._connection.send_end()
        if self._protocol.close_rcvd is None or self._protocol.close_rcvd.code != 1000:
            raise WrongBody(f"closed with {self._protocol.close_rcvd}")

    async def _frame(self) -> Frame:
        """The next frame of a message; pings are answered meanwhile."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    return frame
                if frame.opcode is Opcode.CLOSE:
                    raise CutShort(f"closed: {frame}")
            event = await self._connection.next_event()
            if not isinstance(event, h2.events.DataReceived):
                raise CutShort(f"the tunnel ended: {event}")
            self._protocol.receive_data(bytes(event.data))
            self._frames += [frame for frame in self._protocol.events_received() if isinstance(frame, Frame)]
            await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                await self._connection.send_body(data)
