"""One HTTP/2 connection with a client (RFC 9113), without I/O: bytes in, items out; what is said, in `take_output`.

Who does what. h2 keeps the connection: settings and their acknowledgements, pings, and the arithmetic of windows.
Frames of streams are read here, each against the rules of its stream, because what h2 does about a stream that breaks a
rule is to end the connection, and because a proxy under attack counts a frame before it works on it. Fields pass
through `hotswap.wire.http2.field_compression` and `hotswap.wire.http2.fields`.

A stream error resets the stream and comes out as `Reset`; a connection error is left in `error`, its GOAWAY is in the
output, and nothing more can be fed. Work that nobody benefits from takes from a `Budget`.

Small frames cost what large ones do: those of one reading become one piece for each stream, and a reading ends when it
was work enough (`EFFORT`), whatever is still there, which `pending` says.
"""

from __future__ import annotations

from typing import Final

from h2.errors import ErrorCodes
from h2.events import Event, PingAckReceived, RemoteSettingsChanged, WindowUpdated
from h2.exceptions import FlowControlError, ProtocolError
from h2.windows import WindowManager

from hotswap.wire.http2.budget import CRUMB, SETTINGS_BYTES_A_POINT, Cost
from hotswap.wire.http2.heads import Http2Heads
from hotswap.wire.http2.items import Answered, Item, Opened, Reset
from hotswap.wire.http2.session import frames as frames
from hotswap.wire.http2.writer import CONNECTION_WINDOW, DRAIN_PING, STREAM_WINDOW, Data, Stream

_OF_HEADS: Final = (frames.HEADERS, frames.CONTINUATION)

EFFORT: Final = 256
"""What is read before others have their turn: so many small pieces of bodies, or what is as much work as they are."""
RESET_EFFORT: Final = 16
"""A stream that ends in the middle, as against a small piece of a body: its exchange is given up and logged."""
PASSED_EFFORT: Final = 9
SETTINGS_BYTES: Final = 84
"""A frame that h2 reads, and so many bytes of settings, as against a small piece of a body."""
_CRUMB_BYTES: Final = frames.HEADER_BYTES
"""A piece of a body that is smaller than this is less than what carries it, and is paid for."""


class Http2Session(Http2Heads):
    """See the module; the arguments are those of `Http2Heads`."""

    __slots__ = ("_inbound", "_opened", "_place", "_preface_left", "_rest", "_settled", "pending")

    def __init__(self, *, header_bytes: int, headers: int, now: float) -> None:
        super().__init__(header_bytes=header_bytes, headers=headers, now=now)
        self._inbound = WindowManager(CONNECTION_WINDOW)
        self._rest = b""
        self._place = 0  # in it, where it goes on
        self.pending = False  # frames wait to be read: feed nothing, and again
        self._opened: dict[int, None] = {}  # windows that were opened in this reading
        self._preface_left = frames.PREFACE
        self._settled = False  # the client's first SETTINGS came

    @property
    def partial(self) -> int:
        """The number of the head whose rest the client owes, counting its preface as one; 0 when it owes none."""
        rest = self._rest
        if not self._settled or self._block is not None:
            return self._heads_read + 1
        if not self.pending and len(rest) > 3 and rest[3] in _OF_HEADS:
            return self._heads_read + 1
        return 0

    def feed(self, data: Data, now: float) -> list[Item]:
        """Read what the client sent next; without data, what is `pending`."""
        items = self._items = []
        self.budget.pass_time(now)
        place = 0
        if data:
            self._reading += 1
            buffer = self._rest[self._place :] + data if self._rest else bytes(data)
        else:
            buffer, place = self._rest, self._place
        if self._preface_left:
            place = self._read_preface(buffer)
        end = len(buffer)
        unpack = frames.HEADER.unpack_from
        self._effort = EFFORT
        try:
            while self.error is None and self._effort > 0 and end - place >= frames.HEADER_BYTES:
                high, low, kind, flags, stream_id = unpack(buffer, place)
                length = high << 8 | low
                if length > frames.MAX_FRAME:
                    self._fail(ErrorCodes.FRAME_SIZE_ERROR, "a frame is too large")
                    break
                start = place + frames.HEADER_BYTES
                if end - start < length:
                    break
                self._read_frame(kind, flags, stream_id & 0x7FFFFFFF, buffer, start, start + length)
                place = start + length
                self._effort -= 1
                if self.budget.exhausted:
                    self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "too much work for nothing")
        except ProtocolError as error:
            self._machine.clear_outbound_data_buffer()
            self._fail(error.error_code, str(error))
        if place < end or self._rest:
            self.pending = self._effort <= 0 and self.error is None and place < end
            self._rest, self._place = (buffer, place) if self.pending else (buffer[place:], 0)
        if self._bodies:
            for body, pieces in self._bodies.values():
                if len(pieces) > 1:
                    body.data = b"".join(pieces)
            self._bodies.clear()
        if self._opened:
            items += map(Opened, self._opened)
            self._opened.clear()
        return items

    def _read_preface(self, buffer: bytes) -> int:
        expected = self._preface_left
        count = min(len(expected), len(buffer))
        if buffer[:count] != expected[:count]:
            self._fail(ErrorCodes.PROTOCOL_ERROR, "not the preface of HTTP/2")
            return len(buffer)
        self._preface_left = expected[count:]
        if not self._preface_left:
            self._machine.receive_data(frames.PREFACE)
        return count

    def _read_frame(self, kind: int, flags: int, stream_id: int, buffer: bytes, start: int, end: int) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block_stream):
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a frame inside of a head")
        elif kind == frames.HEADERS and self._settled:
            self._on_headers(flags, stream_id, buffer[start:end])
        elif kind == frames.DATA and self._settled:
            self._on_data(flags, stream_id, buffer[start:end])
        elif kind == frames.SETTINGS or not self._settled:
            self._on_settings(kind, flags, stream_id, buffer[start:end])
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream_id, buffer[start:end])
        elif kind == frames.RST_STREAM:
            self._on_reset(stream_id, end - start)
        elif kind == frames.PING:
            # Our own ping is answered without being asked about: an ACK that nobody waits for costs as well.
            self.budget.take(Cost.ANSWERED_FRAME)
            self._pass_on(buffer[start - frames.HEADER_BYTES : end])
        elif kind == frames.CONTINUATION:
            self._on_continuation(flags, buffer[start:end])
        elif kind == frames.GOAWAY:
            if stream_id:
                self._fail(ErrorCodes.PROTOCOL_ERROR, "GOAWAY on a stream")
            elif end - start < 8:
                self._fail(ErrorCodes.FRAME_SIZE_ERROR, "GOAWAY is too short")
            # Streams under way go on (RFC 9113 6.8); no new ones will come.
            self.budget.take(Cost.IDLE_FRAME)
        elif kind == frames.PUSH_PROMISE:
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a client pushes")
        else:
            self.budget.take(Cost.IDLE_FRAME)
            if kind == frames.PRIORITY:
                if not stream_id:
                    self._fail(ErrorCodes.PROTOCOL_ERROR, "PRIORITY without a stream")
                elif end - start != 5:
                    self._fail(ErrorCodes.FRAME_SIZE_ERROR, "PRIORITY has five bytes")
                elif frames.dependency(buffer, start) == stream_id:
                    self._on_own_dependency(stream_id)

    def _on_own_dependency(self, stream_id: int) -> None:
        """A stream depends on itself, which is nonsense, though priorities are ignored (RFC 7540 5.3.1)."""
        if stream_id in self._streams:
            self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, "the stream depends on itself")
        else:
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a stream depends on itself")

    def _pass_on(self, frame: bytes) -> None:
        """Have h2 read a frame, and tell what came of it."""
        machine = self._machine
        self._effort -= PASSED_EFFORT
        events: list[Event] = machine.receive_data(frame)
        said = machine.data_to_send()
        if said:
            self._out.append(said)
        for event in events:
            if isinstance(event, WindowUpdated | RemoteSettingsChanged):
                self._opened[0] = None
            elif isinstance(event, PingAckReceived) and event.ping_data == DRAIN_PING:
                self._items.append(Answered())

    def _on_settings(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._settled:
            if kind != frames.SETTINGS or flags & frames.ACK:
                self._fail(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
                return
            self._settled = True
            self._heads_read += 1
        length = len(payload)
        self._effort -= length // SETTINGS_BYTES
        self.budget.take(Cost.ANSWERED_FRAME + length // SETTINGS_BYTES_A_POINT)
        if flags & frames.ACK and length:
            self._fail(ErrorCodes.FRAME_SIZE_ERROR, "an acknowledgement says nothing else")
            return
        self._pass_on(frames.write_frame(frames.SETTINGS, flags, stream_id, frames.known_settings(payload)))

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        self.budget.take(Cost.IDLE_FRAME)
        if len(payload) != 4:
            self._fail(ErrorCodes.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
            return
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not stream_id:
            window = self._machine.outbound_flow_control_window + increment
            if not increment:
                self._fail(ErrorCodes.PROTOCOL_ERROR, "a window opens by nothing")
            elif window > frames.MAX_WINDOW:
                self._fail(ErrorCodes.FLOW_CONTROL_ERROR, "the connection's window is too large")
            else:
                self._machine.outbound_flow_control_window = window
                self._opened[0] = None
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                self._fail(ErrorCodes.PROTOCOL_ERROR, "a window of a stream that never was")
            return
        stream.outbound_flow_control_window += increment
        if not increment:
            self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, "a window opens by nothing")
        elif stream.outbound_flow_control_window > frames.MAX_WINDOW:
            self._break_stream(stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "the window is too large")
        else:
            self._opened[stream_id] = None

    def _on_reset(self, stream_id: int, length: int) -> None:
        if length != 4:
            self._fail(ErrorCodes.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        elif not stream_id or self._is_idle(stream_id):
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a stream is reset that never was")
        else:
            stream = self._streams.get(stream_id)
            if stream is None:
                self.budget.take(Cost.IDLE_FRAME)
                return
            self._drop(stream_id)
            self._effort -= RESET_EFFORT
            # What comes together with its own end was never meant; what is given up after a while is somebody's right.
            self.budget.take(Cost.RESET if stream.reading == self._reading else Cost.CANCEL)
            self._items.append(Reset(stream_id, "the client reset the stream"))

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        length = len(payload)
        try:
            self._inbound.window_consumed(length)
        except FlowControlError:
            self._fail(ErrorCodes.FLOW_CONTROL_ERROR, "more than the connection's window")
            return
        stream = self._streams.get(stream_id)
        if stream is None and self._is_idle(stream_id):
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a body on a stream that never was")
            return
        # The connection's window is for all streams: one that waits must not stop the others. What a stream may keep
        # here is bounded by its own window.
        increment = self._inbound.process_bytes(length)
        if increment:
            self._out.append(frames.write_window_update(0, increment))
        if flags & frames.PADDED:
            if not length or payload[0] >= length:
                self._fail(ErrorCodes.PROTOCOL_ERROR, "more padding than frame")
                return
            payload = payload[1 : length - payload[0]]
        if stream is None or stream.remote_ended:
            self._on_late_frame(stream_id, stream)
            return
        self._take_body(stream, payload, length, ended=bool(flags & frames.END_STREAM))

    def _take_body(self, stream: Stream, data: bytes, length: int, *, ended: bool) -> None:
        stream_id = stream.stream_id
        if length:
            window = stream.inbound
            if window is None:
                window = stream.inbound = WindowManager(STREAM_WINDOW)
            try:
                window.window_consumed(length)
            except FlowControlError:
                self._break_stream(stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "more than the stream's window")
                return
            if length > len(data):
                self.credit(stream_id, length - len(data))
        if not ended and (length < _CRUMB_BYTES or not data):
            self.budget.take(CRUMB if data else Cost.EMPTY_FRAME)
        left = stream.left
        if left is not None:
            left = stream.left = left - len(data)
            if left < 0 or (ended and left):
                self._break_stream(
                    stream_id, ErrorCodes.PROTOCOL_ERROR, "the body is not as long as its Content-Length"
                )
                return
        if left == 0 and data and not ended:
            # Kept until the stream ends: a backend that is told the length would take the request for whole by it, and
            # yet more may come, which spoils it (D3); or it would answer, and the end of the stream come too late.
            stream.last = data
        elif data:
            self._take_piece(stream_id, data)
        if ended:
            self._end_remote(stream)
