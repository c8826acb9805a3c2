"""One HTTP/2 connection to a backend (RFC 9113), the client's side, without I/O: bytes in, items out.

h2 keeps the connection and its streams. Two things are done here. GOAWAY is read before h2 sees it, because h2 takes
it for the end of the connection, while streams up to the one it names go on (RFC 9113 6.8). And windows are opened
here: the connection's at once, so that a stream whose client is slow does not stop the others, and a stream's only by
what has gone on, which bounds what may wait for one client.

A backend that breaks a rule of the connection is left: `error` says why, and nothing more can be fed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError

from proxy.core.errors import UpstreamBroken
from proxy.core.messages import Field, ResponseHead
from proxy.wire import http2_frames as frames
from proxy.wire.http2_backend_fields import read_response, read_trailers

MAX_STREAMS: Final = 100
"""Exchanges at a time on one connection, whatever the backend allows."""
FIRST_STREAMS: Final = 32
"""As long as the backend has not said how many it allows."""
STREAM_WINDOW: Final = 128 * 1024
CONNECTION_WINDOW: Final = 4 * 1024 * 1024
LAST_STREAM: Final = 1 << 30
"""After so many a new connection is better than an overflow."""

Data = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Responded:
    """A response begins, or an informational one came."""

    stream_id: int
    head: ResponseHead


@dataclass(frozen=True, slots=True)
class Body:
    """A piece of a response's body; to be credited once it has gone on."""

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """A response is whole."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The backend takes more: on one stream, or, with stream 0, on any."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Trailed:
    """The fields behind a response's body; its end follows."""

    stream_id: int
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Lost:
    """A stream is gone. `processed` is false where the backend says that it did not begin with the request; `answered`
    is true where it had begun to answer, in whatever way."""

    stream_id: int
    detail: str
    processed: bool = True
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Leaving:
    """The backend takes no new streams here; those above `last` it did not begin with."""

    last: int


Item = Responded | Body | Trailed | Ended | Lost | Opened | Leaving


class Http2ClientSession:
    """See the module."""

    __slots__ = ("_bodiless", "_items", "_machine", "_owed", "_rest", "_settled", "_unopened", "error", "leaving")

    def __init__(self) -> None:
        machine = H2Connection(H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False))
        machine.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
            },
        )
        machine.initiate_connection()
        machine.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self._machine = machine
        self._items: list[Item] = []
        self._bodiless: set[int] = set()  # streams whose response has no body: asked for with HEAD, or of such a status
        self._owed: dict[int, int] = {}  # bytes of each stream that went on and are not told yet
        self._unopened = 0  # the same of the connection
        self._rest = b""
        self._settled = False
        self.error: str | None = None
        self.leaving = False

    # What the backend said.

    @property
    def settled(self) -> bool:
        """Whether the backend has shown that it speaks HTTP/2."""
        return self._settled

    @property
    def room(self) -> int:
        """How many streams may be open at a time."""
        if self.leaving or self.error is not None or self._machine.highest_outbound_stream_id > LAST_STREAM:
            return 0
        if not self._settled:
            return FIRST_STREAMS
        return min(MAX_STREAMS, self._machine.remote_settings.max_concurrent_streams)

    def feed(self, data: Data) -> list[Item]:
        """Read what the backend sent next."""
        items = self._items = []
        buffer = self._rest + bytes(data)
        place, end = 0, len(buffer)
        spoken_on = 0
        try:
            while self.error is None and end - place >= frames.HEADER_BYTES:
                high, low, kind, _flags, spoken_on = frames.HEADER.unpack_from(buffer, place)
                length = high << 8 | low
                start = place + frames.HEADER_BYTES
                if length > frames.MAX_FRAME or (not self._settled and kind != frames.SETTINGS):
                    self._fail("what the backend speaks is not HTTP/2")
                    break
                if end - start < length:
                    break
                if kind == frames.GOAWAY:
                    self._on_goaway(buffer[start : start + length])
                else:
                    self._settled = True
                    for event in self._machine.receive_data(buffer[place : start + length]):
                        self._on_event(event)
                place = start + length
        except (ProtocolError, HPACKError, IndexError) as error:
            self.error = f"the backend broke HTTP/2: {error}"
            if spoken_on:
                self._items.append(Lost(spoken_on, self.error, answered=True))
        self._rest = buffer[place:]
        if self._unopened >= CONNECTION_WINDOW // 2 and self.error is None:
            self._machine.increment_flow_control_window(self._unopened)
            self._unopened = 0
        return items

    def _fail(self, detail: str) -> None:
        self.error = detail
        self._machine.close_connection(ErrorCodes.PROTOCOL_ERROR)

    def _on_goaway(self, payload: bytes) -> None:
        if len(payload) < 8:
            self._fail("GOAWAY is too short")
            return
        self.leaving = True
        self._items.append(Leaving(int.from_bytes(payload[:4], "big") & 0x7FFFFFFF))

    def _on_event(self, event: Event) -> None:
        items = self._items
        match event:
            case DataReceived(stream_id=stream_id, data=data, flow_controlled_length=length):
                assert stream_id is not None
                self._unopened += length or 0
                if data and stream_id in self._bodiless:
                    self._break_stream(stream_id, UpstreamBroken("a body where there is none"))
                elif data:
                    items.append(Body(stream_id, data))
                if length and length > len(data or b""):
                    self.credit(stream_id, length - len(data or b""))
            case ResponseReceived() | InformationalResponseReceived():
                self._on_response(event)
            case TrailersReceived(stream_id=stream_id, headers=headers):
                assert stream_id is not None
                try:
                    items.append(Trailed(stream_id, read_trailers(headers or ())))
                except UpstreamBroken as error:
                    self._break_stream(stream_id, error)
            case StreamEnded(stream_id=stream_id):
                assert stream_id is not None
                self._owed.pop(stream_id, None)
                items.append(Ended(stream_id))
            case StreamReset(stream_id=stream_id, error_code=code):
                assert stream_id is not None
                self._forget(stream_id)
                refused = code == ErrorCodes.REFUSED_STREAM
                items.append(Lost(stream_id, f"the backend reset the stream ({code!s})", processed=not refused))
            case WindowUpdated(stream_id=stream_id):
                items.append(Opened(stream_id or 0))
            case RemoteSettingsChanged():
                items.append(Opened(0))
            case _:
                pass

    def _on_response(self, event: ResponseReceived | InformationalResponseReceived) -> None:
        stream_id = event.stream_id
        assert stream_id is not None
        ended = isinstance(event, ResponseReceived) and event.stream_ended is not None
        try:
            head = read_response(
                event.headers or (),
                ended=ended,
                bodiless=stream_id in self._bodiless,
            )
        except UpstreamBroken as error:
            self._break_stream(stream_id, error)
        else:
            if head.status in (204, 304):
                self._bodiless.add(stream_id)
            self._items.append(Responded(stream_id, head))

    def _break_stream(self, stream_id: int, error: UpstreamBroken) -> None:
        self.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
        self._items.append(Lost(stream_id, error.detail, answered=True))

    def _forget(self, stream_id: int) -> None:
        self._bodiless.discard(stream_id)
        self._owed.pop(stream_id, None)

    # What we say.

    def take_output(self) -> bytes:
        """What is to be sent."""
        return self._machine.data_to_send()

    def send_head(self, fields: list[Field], *, end: bool) -> int:
        """Begin a stream with the head of a request.

        Returns:
            Its number.

        Raises:
            UpstreamBroken: the backend allows no more streams; nothing was sent.
        """
        try:
            stream_id = self._machine.get_next_available_stream_id()
            self._machine.send_headers(stream_id, fields, end_stream=end)
        except ProtocolError as error:
            raise UpstreamBroken(f"no stream: {error}") from error
        if fields[0][1] == b"HEAD":
            self._bodiless.add(stream_id)
        return stream_id

    def send_body(self, stream_id: int, data: Data) -> int:
        """Send of a body what the windows allow.

        Returns:
            How many bytes went; all of them if the stream is gone, where nobody wants them.
        """
        machine = self._machine
        view = memoryview(data)
        sent = 0
        try:
            room = min(len(view), machine.local_flow_control_window(stream_id))
            while sent < room:
                piece = view[sent : min(sent + frames.MAX_FRAME, room)]
                machine.send_data(stream_id, bytes(piece))
                sent += len(piece)
        except ProtocolError:
            return len(view)
        return sent

    def send_end(self, stream_id: int, trailers: Sequence[Field] = ()) -> None:
        """The request is whole; what comes behind its body goes with the end."""
        try:
            if trailers:
                self._machine.send_headers(stream_id, trailers, end_stream=True)
            else:
                self._machine.end_stream(stream_id)
        except ProtocolError:
            pass  # the stream is gone, and that was told

    def credit(self, stream_id: int, size: int) -> None:
        """Bytes of a response's body have gone on: the backend may send as many more."""
        owed = self._owed.get(stream_id, 0) + size
        if owed < STREAM_WINDOW // 2:
            self._owed[stream_id] = owed
            return
        self._owed[stream_id] = 0
        try:
            self._machine.increment_flow_control_window(owed, stream_id)
        except (ProtocolError, KeyError):
            self._owed.pop(stream_id, None)  # the stream has ended

    def reset(self, stream_id: int, code: int = ErrorCodes.CANCEL) -> None:
        """Reset a stream, if it is still there."""
        self._forget(stream_id)
        try:
            self._machine.reset_stream(stream_id, code)
        except ProtocolError:
            pass  # it has ended

    def release(self, stream_id: int) -> None:
        """An exchange is over; a stream that did not end on both sides is reset."""
        stream = self._machine.streams.get(stream_id)
        if stream is not None and not stream.closed and self.error is None:
            self.reset(stream_id)
        else:
            self._forget(stream_id)

    def say_farewell(self) -> None:
        """Nothing more will be asked."""
        if self.error is None:
            self._machine.close_connection()
