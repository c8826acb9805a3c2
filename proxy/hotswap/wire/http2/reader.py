"""Reader of the frames of an HTTP/2 client (RFC 9113), without I/O: bytes in, items out.

Who does what. h2 keeps the connection: settings and their acknowledgements, pings, and the arithmetic of windows.
Frames of streams are read here, each against the rules of its stream, because what h2 does about a stream that breaks a
rule is to end the connection, and because a proxy under attack counts a frame before it works on it. Fields pass
through `hotswap.wire.http2.field_compression` and `hotswap.wire.http2.fields`. A field block is decoded whatever
becomes of its stream, because later ones build on it. Heads that come again are not built again.

A stream error resets the stream and comes out as `Reset`; a connection error is left in the session's `error`, its
GOAWAY is in the output, and nothing more can be fed. Work that nobody benefits from takes from a `Budget`.

Small frames cost what large ones do: those of one reading become one piece for each stream, and a reading ends when it
was work enough (`EFFORT`), whatever is still there, which `pending` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from h2.errors import ErrorCodes
from h2.events import PingAckReceived, RemoteSettingsChanged, WindowUpdated
from h2.exceptions import FlowControlError, ProtocolError
from h2.windows import WindowManager
from hpack.exceptions import HPACKError, OversizedHeaderListError

from hotswap.core.errors import BadRequest
from hotswap.core.http.messages import Field
from hotswap.wire.http2 import frames
from hotswap.wire.http2.budget import CRUMB, SETTINGS_BYTES_A_POINT, Cost
from hotswap.wire.http2.fields import MalformedRequest, refused_line
from hotswap.wire.http2.items import Answered, Begun, Body, Ended, Item, Opened, RequestRefused, Reset
from hotswap.wire.http2.machine import ConnectionBroken
from hotswap.wire.http2.partial_block import PartialBlock
from hotswap.wire.http2.request_heads import RequestHeads
from hotswap.wire.http2.server_stream import ServerStream
from hotswap.wire.http2.session import (
    CONNECTION_WINDOW,
    DRAIN_PING,
    MAX_STREAMS,
    OVERSIZE,
    STREAM_WINDOW,
    Data,
    Http2Session,
)

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
SMALL: Final = 64
"""Bytes below which a piece of a head, that is not its last, costs."""
HEAD_EFFORT: Final = 8
HEAD_BYTES: Final = 11
FIELD_EFFORT: Final = 4
"""A head that is known, so many bytes of another, and each of its fields, as against a small piece of a body."""
LARGE: Final = 4 * 1024
LARGE_BYTES_A_POINT: Final = 256
"""Compressed bytes above which a head costs, and how much: an answer gives back what twice as many cost."""
MANY: Final = 200
FIELDS_A_POINT: Final = 8
"""Fields, each piece of a split cookie counted, above which a head costs, and how much."""


class Http2Reader:
    """Parser of the frames of one client.

    The limits are on the fields of one request, compressed and decoded, and on their number. When frames are `pending`,
    feed nothing, and again.
    """

    __slots__ = (
        "_block",
        "_block_limit",
        "_bodies",
        "_budget",
        "_decoder",
        "_effort",
        "_heads",
        "_heads_read",
        "_inbound",
        "_items",
        "_machine",
        "_opened",
        "_place",
        "_preface_left",
        "_reading",
        "_rest",
        "_session",
        "_settled",
        "_streams",
        "pending",
    )

    def __init__(self, session: Http2Session, *, header_bytes: int, headers: int) -> None:
        self._session = session
        self._streams = session.streams
        self._budget = session.budget
        self._machine = session.machine
        self._decoder = session.machine.field_decoder
        self._heads = RequestHeads(header_bytes=header_bytes, headers=headers)
        self._block_limit = OVERSIZE * header_bytes
        self._heads_read = 0
        self._block: PartialBlock | None = None
        self._inbound = WindowManager(CONNECTION_WINDOW)
        self._preface_left = frames.PREFACE
        self._settled = False  # the client's first SETTINGS came
        self._rest = b""
        self._place = 0  # in it, where it goes on
        self.pending = False
        # Of one reading:
        self._reading = 0  # its number
        self._effort = 0  # what is left of it
        self._items: list[Item] = []
        self._bodies: dict[int, tuple[Body, list[bytes]]] = {}
        self._opened: dict[int, None] = {}  # windows

    @property
    def partial(self) -> int:
        """Number of the head that is incomplete, the preface counted as one; 0 when none is."""
        rest = self._rest
        if not self._settled or self._block is not None:
            return self._heads_read + 1
        return self._heads_read + 1 if not self.pending and len(rest) > 3 and rest[3] in _OF_HEADS else 0

    def feed(self, data: Data, now: float) -> list[Item]:
        """Parse the next bytes of the client; without data, go on with what is `pending`."""
        items = self._items = []
        budget = self._budget
        budget.pass_time(now)
        place = 0
        if data:
            self._reading += 1
            buffer = self._rest[self._place :] + data if self._rest else bytes(data)
        else:
            buffer, place = self._rest, self._place
        end = len(buffer)
        unpack = frames.HEADER.unpack_from
        self._effort = EFFORT
        try:
            if self._preface_left:
                place = self._read_preface(buffer)
            while self._effort > 0 and end - place >= frames.HEADER_BYTES:
                high, low, kind, flags, stream_id = unpack(buffer, place)
                length = high << 8 | low
                if length > frames.MAX_FRAME:
                    raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "a frame is too large")
                start = place + frames.HEADER_BYTES
                if end - start < length:
                    break
                self._read_frame(kind, flags, stream_id & 0x7FFFFFFF, buffer, start, start + length)
                place = start + length
                self._effort -= 1
                if budget.exhausted:
                    raise ConnectionBroken(ErrorCodes.ENHANCE_YOUR_CALM, "too much work for nothing")
        except ProtocolError as error:
            self._machine.clear_outbound_data_buffer()
            self._session.give_up(error.error_code, str(error))
            place = end
        if place < end or self._rest:
            self.pending = self._effort <= 0 and place < end
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
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "not the preface of HTTP/2")
        self._preface_left = expected[count:]
        if not self._preface_left:
            self._machine.receive_data(frames.PREFACE)
        return count

    def _read_frame(self, kind: int, flags: int, stream_id: int, buffer: bytes, start: int, end: int) -> None:
        block = self._block
        if block is not None and (kind != frames.CONTINUATION or stream_id != block.stream_id):
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a frame inside of a head")
        if kind == frames.HEADERS and self._settled:
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
            self._budget.take(Cost.ANSWERED_FRAME)
            self._pass_on(buffer[start - frames.HEADER_BYTES : end])
        elif kind == frames.CONTINUATION:
            self._on_continuation(flags, buffer[start:end])
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a client pushes")
        else:
            self._on_idle_frame(kind, stream_id, buffer, start, end)

    def _on_idle_frame(self, kind: int, stream_id: int, buffer: bytes, start: int, end: int) -> None:
        """Count a frame without effect: GOAWAY, PRIORITY, or an unknown type (RFC 9113 5.5)."""
        self._budget.take(Cost.IDLE_FRAME)
        if kind == frames.GOAWAY:
            # Streams under way go on (RFC 9113 6.8); no new ones will come.
            if stream_id:
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "GOAWAY on a stream")
            if end - start < 8:
                raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "GOAWAY is too short")
        elif kind == frames.PRIORITY:
            if not stream_id:
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "PRIORITY without a stream")
            if end - start != 5:
                raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "PRIORITY has five bytes")
            if frames.dependency(buffer, start) == stream_id:
                self._on_own_dependency(stream_id)

    def _on_own_dependency(self, stream_id: int) -> None:
        """Refuse a stream that depends on itself, though priorities are ignored (RFC 7540 5.3.1)."""
        if stream_id not in self._streams:
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a stream depends on itself")
        self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, "the stream depends on itself")

    def _pass_on(self, frame: bytes) -> None:
        """Have h2 process a frame of the connection, and translate its events."""
        self._effort -= PASSED_EFFORT
        events = self._machine.receive_data(frame)
        said = self._machine.data_to_send()
        if said:
            self._session.say(said)
        for event in events:
            if isinstance(event, WindowUpdated | RemoteSettingsChanged):
                self._opened[0] = None
            elif isinstance(event, PingAckReceived) and event.ping_data == DRAIN_PING:
                self._items.append(Answered())

    def _on_settings(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._settled:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._settled = True
            self._heads_read += 1
        length = len(payload)
        self._effort -= length // SETTINGS_BYTES
        self._budget.take(Cost.ANSWERED_FRAME + length // SETTINGS_BYTES_A_POINT)
        if flags & frames.ACK and length:
            raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "an acknowledgement says nothing else")
        self._pass_on(frames.write_frame(frames.SETTINGS, flags, stream_id, frames.known_settings(payload)))

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        self._budget.take(Cost.IDLE_FRAME)
        if len(payload) != 4:
            raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not stream_id:
            self._machine.open_window(increment)
            self._opened[0] = None
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if self._session.is_idle(stream_id):
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a window of a stream that never was")
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
            raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        if not stream_id or self._session.is_idle(stream_id):
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a stream is reset that never was")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._budget.take(Cost.IDLE_FRAME)
            return
        self._session.drop(stream)
        self._effort -= RESET_EFFORT
        # What comes together with its own end was never meant; what is given up after a while is somebody's right.
        self._budget.take(Cost.RESET if stream.reading == self._reading else Cost.CANCEL)
        self._items.append(Reset(stream_id, "the client reset the stream"))

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        length = len(payload)
        try:
            self._inbound.window_consumed(length)
        except FlowControlError:
            raise ConnectionBroken(ErrorCodes.FLOW_CONTROL_ERROR, "more than the connection's window") from None
        stream = self._streams.get(stream_id)
        if stream is None and self._session.is_idle(stream_id):
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a body on a stream that never was")
        # The connection's window is for all streams: one that waits must not stop the others. What a stream may keep
        # here is bounded by its own window.
        increment = self._inbound.process_bytes(length)
        if increment:
            self._session.say(frames.write_window_update(0, increment))
        if flags & frames.PADDED:
            if not length or payload[0] >= length:
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "more padding than frame")
            payload = payload[1 : length - payload[0]]
        if stream is None or stream.remote_ended:
            self._on_late_frame(stream_id, stream)
            return
        self._take_body(stream, payload, length, ended=bool(flags & frames.END_STREAM))

    def _take_body(self, stream: ServerStream, data: bytes, length: int, *, ended: bool) -> None:
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
                self._session.credit(stream_id, length - len(data))
        if not ended and (length < _CRUMB_BYTES or not data):
            self._budget.take(CRUMB if data else Cost.EMPTY_FRAME)
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

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id % 2:
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a request on a stream that is not the client's")
        if flags & (frames.PADDED | frames.PRIORITIZED):
            padding = payload[0] if flags & frames.PADDED and payload else 0
            start = bool(flags & frames.PADDED) + 5 * bool(flags & frames.PRIORITIZED)
            if len(payload) < start:
                raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "HEADERS are too short")
            if padding > len(payload) - start:
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "more padding than frame")
            if flags & frames.PRIORITIZED and frames.dependency(payload, start - 5) == stream_id:
                flags |= frames.OWN_DEPENDENCY
            payload = payload[start : len(payload) - padding]
        if flags & frames.END_HEADERS:
            self._on_block(flags, stream_id, payload)
            return
        self._block = PartialBlock(flags, stream_id, payload)
        self._count_piece(len(payload))

    def _on_continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block.add(payload, self._block_limit)
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(block.flags, block.stream_id, block.whole())
        else:
            self._count_piece(len(payload))

    def _count_piece(self, length: int) -> None:
        if length < SMALL:
            self._budget.take(Cost.IDLE_FRAME if length else Cost.EMPTY_FRAME)

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        """Decode a whole field block, whatever becomes of its stream: later blocks depend on it."""
        self._heads_read += 1
        size = len(block)
        if size > LARGE:
            self._budget.take((size - LARGE) // LARGE_BYTES_A_POINT)
        self._effort -= HEAD_EFFORT + size // HEAD_BYTES
        try:
            fields = self._decoder.read(block)
        except OversizedHeaderListError:
            raise ConnectionBroken(ErrorCodes.ENHANCE_YOUR_CALM, "the fields are too large together") from None
        except (HPACKError, IndexError):
            # In our words: hpack's hold the bytes that it could not read, as many as there are.
            raise ConnectionBroken(ErrorCodes.COMPRESSION_ERROR, "the fields cannot be read") from None
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._on_trailers(stream, fields, ended=bool(flags & frames.END_STREAM))
        elif not self._session.is_idle(stream_id):
            self._on_late_frame(stream_id, None)
        else:
            self._begin(flags, stream_id, fields, block)

    def _on_trailers(self, stream: ServerStream, fields: list[Field], *, ended: bool) -> None:
        stream_id = stream.stream_id
        if stream.remote_ended:
            self._on_late_frame(stream_id, stream)
            return
        try:
            if not ended:
                raise MalformedRequest("trailers that do not end the stream")
            if stream.left:
                raise MalformedRequest("the body is shorter than its Content-Length")
            self._heads.check_trailers(fields)
        except MalformedRequest as error:
            self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, error.detail)
            return
        self._end_remote(stream, fields)

    def _begin(self, flags: int, stream_id: int, fields: list[Field], block: bytes) -> None:
        session = self._session
        machine = self._machine
        machine.highest_inbound_stream_id = stream_id
        if stream_id > session.last_taken or len(session.busy) >= MAX_STREAMS:
            session.turn_down(stream_id, ErrorCodes.REFUSED_STREAM)
            self._budget.take(Cost.REFUSED)
            return
        if flags & frames.OWN_DEPENDENCY:
            self._reset_unbegun(stream_id, fields, "the stream depends on itself")
            return
        ended = bool(flags & frames.END_STREAM)
        stream = ServerStream(stream_id, machine.remote_settings.initial_window_size)
        head = self._heads.recall(block, fields, ended=ended)
        if head is None:
            count = len(fields)
            self._effort -= FIELD_EFFORT * count
            if count > MANY:
                self._budget.take((count - MANY) // FIELDS_A_POINT)
            try:
                head = self._heads.read(block, fields, ended=ended)
            except MalformedRequest as error:
                self._reset_unbegun(stream_id, fields, error.detail)
                return
            except BadRequest as error:
                self._budget.take(Cost.REFUSED)
                stream.remote_ended = ended
                self._streams[stream_id] = stream
                session.busy.add(stream_id)
                error.__traceback__ = None  # whose frames have us
                accept = b",".join(value for name, value in fields if name == b"accept")
                self._items.append(RequestRefused(stream_id, error, refused_line(fields), accept))
                return
        stream.remote_ended = ended
        stream.reading = self._reading
        stream.left = head.content_length
        self._streams[stream_id] = stream
        session.busy.add(stream_id)
        self._items.append(Begun(stream_id, head))

    def _reset_unbegun(self, stream_id: int, fields: list[Field], detail: str) -> None:
        """Reset a new stream whose head is malformed."""
        self._session.turn_down(stream_id, ErrorCodes.PROTOCOL_ERROR)
        self._items.append(Reset(stream_id, detail, refused_line(fields)))
        self._budget.take(Cost.RESET)

    def _on_late_frame(self, stream_id: int, stream: ServerStream | None) -> None:
        """Handle DATA or HEADERS on a stream that its client has ended, or that is gone (RFC 9113 5.1)."""
        if stream is not None:
            self._break_stream(stream_id, ErrorCodes.STREAM_CLOSED, "more after the end of the stream")
        elif self._session.was_reset(stream_id):
            self._budget.take(Cost.IDLE_FRAME)  # it was under way when we reset the stream
        else:
            raise ConnectionBroken(ErrorCodes.STREAM_CLOSED, "a frame on a stream that is closed")

    def _end_remote(self, stream: ServerStream, trailers: Sequence[Field] = ()) -> None:
        stream.remote_ended = True
        last = stream.last
        if last is not None:
            stream.last = None
            self._take_piece(stream.stream_id, last)
        self._items.append(Ended(stream.stream_id, trailers))
        if stream.local_ended:
            self._session.drop(stream)

    def _take_piece(self, stream_id: int, data: bytes) -> None:
        """Collect a piece of a body, to be given out with the others of this read."""
        known = self._bodies.get(stream_id)
        if known is not None:
            known[1].append(data)
            return
        body = Body(stream_id, data)
        self._bodies[stream_id] = (body, [data])
        self._items.append(body)

    def _break_stream(self, stream_id: int, code: int, detail: str) -> None:
        """Reset a stream for a stream error (RFC 9113 5.4.2); it costs what the client's own reset would."""
        self._budget.take(Cost.RESET)
        self._session.reset(stream_id, code)
        self._items.append(Reset(stream_id, detail))
