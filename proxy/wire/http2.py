"""One HTTP/2 connection with a client (RFC 9113), without I/O: bytes in, items out; what is said, in `take_output`.

Who does what. h2 keeps the connection: settings and their acknowledgements, pings, the connection's window, and the
arithmetic of all windows. Frames of streams are read here, each against the rules of its stream, because what h2 does
about a stream that breaks a rule is to end the connection, and because a proxy under attack counts a frame before it
works on it. Fields pass through `proxy.wire.field_compression` and `proxy.wire.http2_fields`.

A stream error resets the stream and comes out as `Reset`; a connection error is left in `error`, its GOAWAY is in the
output, and nothing more can be fed. Work that nobody benefits from takes from a `Budget`.

A stream counts against the limit of concurrent ones from its first frame until `release`, whoever reset it: a client
that makes us reset streams gains no more work than any other (CVE-2025-8671).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, PingAckReceived, RemoteSettingsChanged, WindowUpdated
from h2.exceptions import FlowControlError, ProtocolError
from h2.settings import SettingCodes, Settings
from h2.windows import WindowManager
from hpack.exceptions import HPACKError, OversizedHeaderListError

from proxy.core.errors import BadRequest
from proxy.core.messages import Field, RequestHead
from proxy.wire import http2_frames as frames
from proxy.wire.field_compression import FieldDecoder, FieldEncoder
from proxy.wire.http2_budget import Budget, Cost
from proxy.wire.http2_fields import MalformedRequest, check_trailers, read_request

MAX_STREAMS: Final = 100
STREAM_WINDOW: Final = 64 * 1024 - 1
CONNECTION_WINDOW: Final = 1024 * 1024
"""What a client may send before it is told to go on (D14)."""
GROWTH: Final = 192 * 1024
GROWING_STREAMS: Final = 4
"""A body that has been flowing gets so much more window, as long as not more streams of the connection have it: 64 KiB
are too little for an upload from far away, and too much to be given to every stream."""
REMEMBERED: Final = 256
"""Streams that we reset and for which frames may still be under way."""
SMALL: Final = 64
"""Bytes below which a piece of a head, that is not its last, costs."""
DATA_BYTES: Final = frames.MAX_FRAME - frames.HEADER_BYTES
"""Of a body in one frame, so that a frame fills one record of TLS."""
DRAIN_PING: Final = b"draining"
KEPT_HEADS: Final = 32
KEPT_HEAD_BYTES: Final = 2048
"""How many heads are remembered, and how large, for requests that come again."""
_OF_HEADS: Final = (frames.HEADERS, frames.CONTINUATION)

Data = bytes | bytearray | memoryview


class Stream:
    """A stream that is open in at least one direction.

    `outbound_flow_control_window` is named as h2 names it, which adjusts it when the client's settings change.
    """

    __slots__ = (
        "grown",
        "inbound",
        "left",
        "local_ended",
        "max_outbound_frame_size",
        "outbound_flow_control_window",
        "remote_ended",
        "stream_id",
    )

    def __init__(self, stream_id: int, window: int) -> None:
        self.stream_id = stream_id
        self.outbound_flow_control_window = window
        self.max_outbound_frame_size = frames.MAX_FRAME
        self.inbound: WindowManager | None = None  # made with the first DATA
        self.grown = False
        self.left: int | None = None  # of a body of known length
        self.remote_ended = False
        self.local_ended = False


class Begun:
    """A request came."""

    __slots__ = ("head", "stream_id")

    def __init__(self, stream_id: int, head: RequestHead) -> None:
        self.stream_id = stream_id
        self.head = head


class Refused:
    """A request came that is to be answered with the error's status, and goes no further."""

    __slots__ = ("error", "stream_id")

    def __init__(self, stream_id: int, error: BadRequest) -> None:
        self.stream_id = stream_id
        self.error = error


class Body:
    """A piece of a request's body; to be credited once it has gone on."""

    __slots__ = ("data", "stream_id")

    def __init__(self, stream_id: int, data: bytes) -> None:
        self.stream_id = stream_id
        self.data = data


class Ended:
    """A request's body is complete."""

    __slots__ = ("stream_id",)

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id


class Reset:
    """A stream is gone: the client reset it, or broke a rule and was told."""

    __slots__ = ("detail", "stream_id")

    def __init__(self, stream_id: int, detail: str) -> None:
        self.stream_id = stream_id
        self.detail = detail


class Opened:
    """The client takes more: on one stream, or, with stream 0, on any."""

    __slots__ = ("stream_id",)

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id


class Answered:
    """The ping of `ping` came back."""

    __slots__ = ()


Item = Begun | Refused | Body | Ended | Reset | Opened | Answered


class Http2Session:
    """See the module.

    Args:
        header_bytes: limit on the fields of one request, compressed and decoded.
        headers: limit on their number.
        now: the time, in seconds of any beginning.
    """

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_stream",
        "_busy",
        "_decoder",
        "_encoder",
        "_grown",
        "_header_bytes",
        "_headers",
        "_heads",
        "_heads_read",
        "_items",
        "_last_taken",
        "_machine",
        "_out",
        "_preface_left",
        "_reset",
        "_rest",
        "_settled",
        "_streams",
        "budget",
        "error",
        "output_bytes",
    )

    def __init__(self, *, header_bytes: int, headers: int, now: float) -> None:
        machine = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        machine.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        self._encoder = FieldEncoder()
        self._decoder = FieldDecoder(header_bytes)
        machine.encoder = self._encoder  # type: ignore[assignment]  # h2 sets its table size and nothing else
        machine.decoder = self._decoder
        machine.initiate_connection()
        machine.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self._machine = machine
        # h2 adjusts the windows of what is in its `streams` when the client's settings change.
        self._streams: dict[int, Stream] = machine.streams  # type: ignore[assignment]
        self._busy: set[int] = set()
        self._reset: OrderedDict[int, None] = OrderedDict()
        self._header_bytes = header_bytes
        self._headers = headers
        self._heads: dict[tuple[bytes, bool], tuple[list[Field], RequestHead]] = {}
        self._heads_read = 0
        self._items: list[Item] = []
        self._out: list[Data] = [machine.data_to_send()]
        self._grown = 0
        self._rest = b""
        self._preface_left = frames.PREFACE
        self._settled = False  # the client's first SETTINGS came
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_flags = 0
        self._last_taken = frames.MAX_STREAM  # streams above are not taken any more
        self.budget = Budget(now)
        self.error: str | None = None
        self.output_bytes = 0  # of bodies that wait to be taken

    # What the client said.

    @property
    def partial(self) -> int:
        """The number of the head whose rest the client owes, counting its preface as one; 0 when it owes none."""
        rest = self._rest
        if not self._settled or self._block is not None or (len(rest) > 3 and rest[3] in _OF_HEADS):
            return self._heads_read + 1
        return 0

    @property
    def window(self) -> int:
        """How much the client takes on all streams together."""
        return self._machine.outbound_flow_control_window

    def feed(self, data: Data, now: float) -> list[Item]:
        """Read what the client sent next."""
        items = self._items = []
        self.budget.pass_time(now)
        buffer = self._rest + data if self._rest else bytes(data)
        place = 0
        if self._preface_left:
            place = self._read_preface(buffer)
        end = len(buffer)
        unpack = frames.HEADER.unpack_from
        try:
            while self.error is None and end - place >= frames.HEADER_BYTES:
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
                if self.budget.exhausted:
                    self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "too much work for nothing")
        except ProtocolError as error:
            self._machine.clear_outbound_data_buffer()
            self._fail(error.error_code, str(error))
        self._rest = buffer[place:] if place < end else b""
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
            self._on_settings(kind, flags, buffer[start - frames.HEADER_BYTES : end])
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

    def _pass_on(self, frame: bytes) -> None:
        """Have h2 read a frame, and tell what came of it."""
        machine = self._machine
        events: list[Event] = machine.receive_data(frame)
        said = machine.data_to_send()
        if said:
            self._out.append(said)
        for event in events:
            if isinstance(event, WindowUpdated | RemoteSettingsChanged):
                self._items.append(Opened(0))
            elif isinstance(event, PingAckReceived) and event.ping_data == DRAIN_PING:
                self._items.append(Answered())

    def _on_settings(self, kind: int, flags: int, frame: bytes) -> None:
        if not self._settled:
            if kind != frames.SETTINGS or flags & frames.ACK:
                self._fail(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
                return
            self._settled = True
            self._heads_read += 1
        self.budget.take(Cost.ANSWERED_FRAME)
        if flags & frames.ACK and len(frame) > frames.HEADER_BYTES:
            self._fail(ErrorCodes.FRAME_SIZE_ERROR, "an acknowledgement says nothing else")
            return
        self._pass_on(frame)

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
                self._items.append(Opened(0))
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
            self._items.append(Opened(stream_id))

    def _on_reset(self, stream_id: int, length: int) -> None:
        if length != 4:
            self._fail(ErrorCodes.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        elif not stream_id or self._is_idle(stream_id):
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a stream is reset that never was")
        elif not self._drop(stream_id):
            self.budget.take(Cost.IDLE_FRAME)
        else:
            self.budget.take(Cost.RESET)
            self._items.append(Reset(stream_id, "the client reset the stream"))

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        machine = self._machine
        length = len(payload)
        try:
            machine._inbound_flow_control_window_manager.window_consumed(length)
        except FlowControlError:
            self._fail(ErrorCodes.FLOW_CONTROL_ERROR, "more than the connection's window")
            return
        stream = self._streams.get(stream_id)
        if stream is None and self._is_idle(stream_id):
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a body on a stream that never was")
            return
        # The connection's window is for all streams: one that waits must not stop the others. What a stream may keep
        # here is bounded by its own window.
        increment = machine._inbound_flow_control_window_manager.process_bytes(length)
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
        if not data and not ended:
            self.budget.take(Cost.EMPTY_FRAME)
        left = stream.left
        if left is not None:
            left = stream.left = left - len(data)
            if left < 0 or (ended and left):
                self._break_stream(
                    stream_id, ErrorCodes.PROTOCOL_ERROR, "the body is not as long as its Content-Length"
                )
                return
        if data:
            self._items.append(Body(stream_id, data))
        if ended:
            self._end_remote(stream)

    def _end_remote(self, stream: Stream) -> None:
        stream.remote_ended = True
        self._items.append(Ended(stream.stream_id))
        if stream.local_ended:
            self._drop(stream.stream_id)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id % 2:
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a request on a stream that is not the client's")
            return
        if flags & (frames.PADDED | frames.PRIORITIZED):
            padding = payload[0] if flags & frames.PADDED and payload else 0
            start = bool(flags & frames.PADDED) + 5 * bool(flags & frames.PRIORITIZED)
            if len(payload) < start:
                self._fail(ErrorCodes.FRAME_SIZE_ERROR, "HEADERS are too short")
                return
            if padding > len(payload) - start:
                self._fail(ErrorCodes.PROTOCOL_ERROR, "more padding than frame")
                return
            payload = payload[start : len(payload) - padding]
        if flags & frames.END_HEADERS:
            self._on_block(flags, stream_id, payload)
            return
        self._block = bytearray(payload)
        self._block_stream = stream_id
        self._block_flags = flags
        self._count_piece(len(payload))

    def _on_continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            self._fail(ErrorCodes.PROTOCOL_ERROR, "CONTINUATION of nothing")
            return
        block += payload
        if len(block) > self._header_bytes:
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "the head is too large")
        elif flags & frames.END_HEADERS:
            self._block = None
            self._on_block(self._block_flags, self._block_stream, bytes(block))
        else:
            self._count_piece(len(payload))

    def _count_piece(self, length: int) -> None:
        if length < SMALL:
            self.budget.take(Cost.IDLE_FRAME if length else Cost.EMPTY_FRAME)

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        """A whole field block; it is decoded whatever becomes of it, because later ones build on it."""
        self._heads_read += 1
        try:
            fields = self._decoder.read(block)
        except OversizedHeaderListError:
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "the fields are too large together")
            return
        except (HPACKError, IndexError) as error:
            self._fail(ErrorCodes.COMPRESSION_ERROR, f"unreadable fields: {error}")
            return
        ended = bool(flags & frames.END_STREAM)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._on_trailers(stream, fields, ended=ended)
        elif not self._is_idle(stream_id):
            self._on_late_frame(stream_id, None)
        else:
            self._begin(stream_id, fields, block, ended=ended)

    def _on_trailers(self, stream: Stream, fields: list[Field], *, ended: bool) -> None:
        stream_id = stream.stream_id
        if stream.remote_ended:
            self._on_late_frame(stream_id, stream)
            return
        try:
            if not ended:
                raise MalformedRequest("trailers that do not end the stream")
            if stream.left:
                raise MalformedRequest("the body is shorter than its Content-Length")
            check_trailers(fields)
        except MalformedRequest as error:
            self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, error.detail)
            return
        self._end_remote(stream)

    def _begin(self, stream_id: int, fields: list[Field], block: bytes, *, ended: bool) -> None:
        machine = self._machine
        machine.highest_inbound_stream_id = stream_id
        if stream_id > self._last_taken or len(self._busy) >= MAX_STREAMS:
            self._remember(stream_id)
            self._out.append(frames.write_reset(stream_id, ErrorCodes.REFUSED_STREAM))
            self.budget.take(Cost.REFUSED)
            return
        stream = Stream(stream_id, machine.remote_settings.initial_window_size)
        known = self._heads.get((block, ended))
        if known is not None and known[0] is fields:
            head = known[1]
        else:
            try:
                head = read_request(fields, ended=ended, max_fields=self._headers)
            except MalformedRequest as error:
                self._remember(stream_id)
                self._out.append(frames.write_reset(stream_id, ErrorCodes.PROTOCOL_ERROR))
                self._items.append(Reset(stream_id, error.detail))
                self.budget.take(Cost.RESET)
                return
            except BadRequest as error:
                self.budget.take(Cost.REFUSED)
                stream.remote_ended = ended
                self._streams[stream_id] = stream
                self._busy.add(stream_id)
                self._items.append(Refused(stream_id, error))
                return
            if head.upgrade is None and sum(len(name) + len(value) for name, value in fields) <= KEPT_HEAD_BYTES:
                if len(self._heads) >= KEPT_HEADS:
                    self._heads.clear()
                self._heads[block, ended] = (fields, head)
        stream.remote_ended = ended
        stream.left = head.content_length
        self._streams[stream_id] = stream
        self._busy.add(stream_id)
        self._items.append(Begun(stream_id, head))

    def _on_late_frame(self, stream_id: int, stream: Stream | None) -> None:
        """DATA or HEADERS on a stream whose client has ended it, or that is gone (RFC 9113 5.1)."""
        if stream is not None:
            self._break_stream(stream_id, ErrorCodes.STREAM_CLOSED, "more after the end of the stream")
        elif stream_id in self._reset:
            self.budget.take(Cost.IDLE_FRAME)  # it was under way when we reset the stream
        else:
            self._fail(ErrorCodes.STREAM_CLOSED, "a frame on a stream that is closed")

    def _drop(self, stream_id: int) -> bool:
        """Forget a stream; says whether there was one."""
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return False
        self._grown -= stream.grown
        return True

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id % 2 == 0 or stream_id > self._machine.highest_inbound_stream_id

    # Errors.

    def _fail(self, code: int, detail: str) -> None:
        """A connection error (RFC 9113 5.4.1)."""
        if self.error is None:
            self.error = detail
            self._out.append(frames.write_goaway(self._machine.highest_inbound_stream_id, code))

    def give_up(self, code: int, detail: str) -> None:
        """End the connection for a reason of our own."""
        self._fail(code, detail)

    def _break_stream(self, stream_id: int, code: int, detail: str) -> None:
        """A stream error (RFC 9113 5.4.2): the client made us reset it, so it costs what its own reset would."""
        self.budget.take(Cost.RESET)
        self.reset(stream_id, code)
        self._items.append(Reset(stream_id, detail))

    def _remember(self, stream_id: int) -> None:
        self._reset[stream_id] = None
        if len(self._reset) > REMEMBERED:
            self._reset.popitem(last=False)

    # What we say.

    def take_output(self) -> list[Data]:
        """What is to be sent."""
        out, self._out = self._out, []
        self.output_bytes = 0
        return out

    @property
    def has_output(self) -> bool:
        """Whether there is something to send."""
        return bool(self._out)

    @property
    def busy(self) -> int:
        """Streams that were begun and not released."""
        return len(self._busy)

    def is_open(self, stream_id: int) -> bool:
        """Whether something can still be said on a stream."""
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.local_ended

    def send_head(self, stream_id: int, fields: list[Field], *, end: bool = False) -> None:
        """Send a head, an interim head, or trailers."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_ended:
            return
        self._out.append(frames.write_headers(stream_id, self._encoder.write(fields), end=end))
        if end:
            self._end_local(stream)

    def send_body(self, stream_id: int, data: Data, *, end: bool = False) -> int:
        """Send of a body what the windows allow.

        Args:
            stream_id: the stream.
            data: copied as far as it goes.
            end: the body ends with it, if all of it goes.

        Returns:
            How many bytes went.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_ended:
            return len(data)
        machine = self._machine
        size = len(data)
        if not size:
            if end:
                self._out.append(frames.write_data_header(stream_id, 0, end=True))
                self._end_local(stream)
            return 0
        room = min(size, stream.outbound_flow_control_window, machine.outbound_flow_control_window)
        if room < size:
            end = False
            if room <= 0:
                return 0
        out = self._out
        view = data if room == size <= DATA_BYTES else memoryview(data)
        for place in range(0, room, DATA_BYTES):
            piece = view[place : min(place + DATA_BYTES, room)]
            header = frames.write_data_header(stream_id, len(piece), end=end and place + len(piece) == room)
            out.append(b"".join((header, piece)))
        self.output_bytes += room
        stream.outbound_flow_control_window -= room
        machine.outbound_flow_control_window -= room
        self.budget.take(Cost.DATA_SENT * (1 + room // DATA_BYTES))
        if end:
            self._end_local(stream)
        return room

    def _end_local(self, stream: Stream) -> None:
        stream.local_ended = True
        self.budget.take(Cost.EXCHANGE)
        if stream.remote_ended:
            self._drop(stream.stream_id)

    def credit(self, stream_id: int, size: int) -> None:
        """Bytes of a request's body have gone on: the client may send as many more."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.inbound is None or stream.remote_ended:
            return
        window = stream.inbound
        increment = window.process_bytes(size) or 0
        if increment and not stream.grown and self._grown < GROWING_STREAMS:
            stream.grown = True
            self._grown += 1
            window.window_opened(GROWTH)
            increment += GROWTH
        if increment:
            self._out.append(frames.write_window_update(stream_id, increment))

    def reset(self, stream_id: int, code: int) -> None:
        """Reset a stream, if it is still there."""
        if self._drop(stream_id):
            self._remember(stream_id)
            self._out.append(frames.write_reset(stream_id, code))

    def release(self, stream_id: int) -> None:
        """Nothing is done for a stream any more: it counts no longer against the limit.

        What the client has not ended by then is given up without blame (RFC 9113 8.1).
        """
        self._busy.discard(stream_id)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.reset(stream_id, ErrorCodes.NO_ERROR if stream.local_ended else ErrorCodes.INTERNAL_ERROR)

    def begin_goaway(self) -> None:
        """Say that the end is near, and ask for a sign that it was heard (`Answered`; RFC 9113 6.8)."""
        self._out.append(frames.write_goaway(frames.MAX_STREAM, ErrorCodes.NO_ERROR))
        self._out.append(frames.write_frame(frames.PING, 0, 0, DRAIN_PING))

    def finish_goaway(self) -> None:
        """Take no more streams than those that came."""
        self._last_taken = self._machine.highest_inbound_stream_id
        self._out.append(frames.write_goaway(self._last_taken, ErrorCodes.NO_ERROR))
