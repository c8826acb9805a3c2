"""Session with an HTTP/2 backend (RFC 9113), the client's side of one connection, without I/O: bytes in, items out.

Who does what, as for clients (`hotswap.wire.http2.reader`). h2 keeps the connection: the preface, settings, pings.
Frames of streams are read here, each against the rules of its stream, because what h2 does about a response that is
malformed is to end the connection, and with it every other exchange that it carries: a stream error is the reset of one
stream (RFC 9113 5.4.2, 8.1.1) and comes out as `Lost`. GOAWAY is read here, because h2 takes it for the end of the
connection, while streams up to the one it names go on (6.8). And windows are opened here: the connection's at once, so
that a stream whose client is slow does not stop the others, and a stream's only by what has gone on, which bounds what
may wait for one client.

Small frames cost their readers little: a stream's pieces of one read come out as one `Body`, and of very many frames
only so many are read at a time (`more`).

A backend that breaks a rule of the connection is left: `error` says why, and nothing more can be fed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from h2.errors import ErrorCodes
from h2.events import RemoteSettingsChanged
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hpack.exceptions import HPACKError, OversizedHeaderListError

from hotswap.core.errors import UpstreamBroken
from hotswap.core.http.messages import MAX_INTERIMS, Field
from hotswap.wire.http2 import frames
from hotswap.wire.http2.backend_fields import read_response, read_trailers
from hotswap.wire.http2.client_stream import STREAM_WINDOW, ClientStream
from hotswap.wire.http2.field_compression import list_size
from hotswap.wire.http2.items import BackendItem, BackendLeaving, Body, Ended, Lost, Opened, Responded, Trailed
from hotswap.wire.http2.machine import ConnectionBroken, Http2Machine
from hotswap.wire.http2.partial_block import PartialBlock

MAX_STREAMS: Final = 100
"""Exchanges at a time on one connection, whatever the backend allows."""
GROWTH: Final = 112 * 1024
GROWING_STREAMS: Final = 16
"""A body that has been flowing gets so much more window, as long as not more streams of the connection have it: a
client that takes nothing of a hundred answers cannot have us keep a hundred large ones."""
CONNECTION_WINDOW: Final = 4 * 1024 * 1024
LAST_STREAM: Final = 1 << 30
"""After so many a new connection is better than an overflow."""
LIST_BYTES: Final = 64 * 1024
"""Limit on the fields of one response."""
OVERSIZE: Final = 2
"""So many times as large as allowed a head is still read, since later ones build on it; a larger one is the end of its
connection."""

EFFORT: Final = 512
"""What is read before others get their turn: so many small frames of bodies, or what is as much work as they are."""
PASSED_EFFORT: Final = 9
SETTINGS_BYTES: Final = 84
HEAD_EFFORT: Final = 6
HEAD_BYTES: Final = 64
"""A frame that h2 reads, so many bytes of settings, a head, and so many bytes of one, as against such a frame."""

Data = bytes | bytearray | memoryview


class Http2ClientSession:
    """The client's side of an HTTP/2 connection to one backend.

    Attributes:
        settled: the backend has shown that it speaks HTTP/2, and said what it allows.
        more: not all that was fed has been read; `feed` goes on, with or without something new.
        answered: bytes of answers to pings and settings that were put out; whoever sends them sets it back.
        leaving: the backend said that it takes nothing new.
        error: why the connection is at its end.
    """

    __slots__ = (
        "_block",
        "_decode",
        "_effort",
        "_encode",
        "_gathering",
        "_grown",
        "_inbound",
        "_items",
        "_last_stream",
        "_machine",
        "_out",
        "_rest",
        "_streams",
        "_unopened",
        "answered",
        "error",
        "leaving",
        "more",
        "settled",
    )

    def __init__(self) -> None:
        self._streams: dict[int, ClientStream] = {}
        self._machine = Http2Machine(
            client=True,
            settings={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: LIST_BYTES,
            },
            list_bytes=OVERSIZE * LIST_BYTES,
            streams=self._streams,
        )
        self._encode = self._machine.field_encoder.write
        self._decode = self._machine.field_decoder.read
        self._out = self._machine.greet(CONNECTION_WINDOW)
        self._last_stream = -1
        self._grown = 0  # streams with more window
        self._inbound = CONNECTION_WINDOW
        self._unopened = 0  # bytes of the connection's window that came and were not told yet
        self._block: PartialBlock | None = None
        self._rest = b""
        self.settled = self.leaving = self.more = False
        self.answered = 0
        self.error: str | None = None
        # Of one reading:
        self._effort = 0  # what is left of it
        self._items: list[BackendItem] = []
        self._gathering: list[tuple[int, ClientStream]] = []  # streams that have pieces

    @property
    def room(self) -> int:
        """How many streams may be open at a time, as the backend's settings say; unknown before `settled`."""
        if self.leaving or self.error is not None or self._last_stream > LAST_STREAM:
            return 0
        return min(MAX_STREAMS, self._machine.remote_settings.max_concurrent_streams)

    def take_output(self) -> bytes:
        """Take the bytes to send."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def send_head(self, fields: list[Field], *, end: bool) -> int:
        """Begin a stream with the head of a request; gives its number.

        Raises:
            UpstreamBroken: the backend allows no more streams; nothing was sent.
        """
        if len(self._streams) >= self.room:
            raise UpstreamBroken("the backend allows no more streams", retry_safe=True)
        stream = ClientStream(self._machine.remote_settings.initial_window_size, bodiless=fields[0][1] == b"HEAD")
        stream.local_ended = end
        self._last_stream += 2
        self._streams[self._last_stream] = stream
        self._out.append(frames.write_headers(self._last_stream, self._encode(fields), end=end))
        return self._last_stream

    def send_body(self, stream_id: int, data: Data) -> int:
        """Send as much of a body as the windows allow.

        Returns:
            How many bytes went; all of them if the stream is gone, where nobody wants them.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_ended:
            return len(data)
        machine = self._machine
        room = min(len(data), stream.outbound_flow_control_window, machine.outbound_flow_control_window)
        if room <= 0:
            return 0
        self._out += frames.write_data(stream_id, memoryview(data)[:room], frames.MAX_FRAME, end=False)
        stream.outbound_flow_control_window -= room
        machine.outbound_flow_control_window -= room
        return room

    def send_end(self, stream_id: int, trailers: Sequence[Field] = ()) -> None:
        """End the request, with its trailers where there are some."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_ended:
            return  # the stream is gone, and that was told
        if trailers:
            self._out.append(frames.write_headers(stream_id, self._encode(list(trailers)), end=True))
        else:
            self._out.append(frames.write_data_header(stream_id, 0, end=True))
        stream.local_ended = True
        if stream.remote_ended:
            self._drop(stream_id)

    def credit(self, stream_id: int, size: int) -> None:
        """Open the windows again by the bytes of a response body that were forwarded."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.remote_ended:
            return
        stream.owed += size
        if stream.owed >= stream.window // 2:
            if stream.window == STREAM_WINDOW and self._grown < GROWING_STREAMS:
                self._grown += 1
                stream.window += GROWTH
                stream.owed += GROWTH
            self._out.append(frames.write_window_update(stream_id, stream.owed))
            stream.inbound += stream.owed
            stream.owed = 0

    def reset(self, stream_id: int, code: int = ErrorCodes.CANCEL) -> None:
        """Reset a stream if it is still open."""
        if self._drop(stream_id) and self.error is None:
            self._out.append(frames.write_reset(stream_id, code))

    def send_goaway(self) -> None:
        """Send GOAWAY: no more requests follow."""
        if self.error is None:
            self._out.append(frames.write_goaway(0, ErrorCodes.NO_ERROR))

    def close(self) -> None:
        """Free the state; nothing may be fed afterwards."""
        self._machine.close()

    # What the backend says.

    def feed(self, data: Data = b"") -> list[BackendItem]:
        """Parse the next bytes of the backend."""
        items = self._items = []
        buffer = self._rest + bytes(data) if self._rest else bytes(data)
        place, end = 0, len(buffer)
        self._effort = EFFORT
        stream_id = 0
        unpack = frames.HEADER.unpack_from
        try:
            while self._effort > 0 and end - place >= frames.HEADER_BYTES:
                high, low, kind, flags, stream_id = unpack(buffer, place)
                length = high << 8 | low
                if length > frames.MAX_FRAME or (not self.settled and kind != frames.SETTINGS):
                    raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "what the backend speaks is not HTTP/2")
                start = place + frames.HEADER_BYTES
                if end - start < length:
                    break
                stream_id &= frames.MAX_STREAM
                self._read_frame(kind, flags, stream_id, buffer, start, start + length)
                place = start + length
                self._effort -= 1
        except ConnectionBroken as error:
            self._fail(error.error_code, str(error))
        except ProtocolError as error:  # of h2
            self._machine.clear_outbound_data_buffer()
            self._fail(error.error_code, type(error).__name__)
        self._rest = buffer[place:] if place < end else b""
        self.more = self._effort <= 0 and len(self._rest) >= frames.HEADER_BYTES and self.error is None
        self._put_out_bodies()
        if self.error is not None and stream_id in self._streams:
            items.append(Lost(stream_id, self.error, answered=True))
        elif self._unopened >= CONNECTION_WINDOW // 2:
            self._out.append(frames.write_window_update(0, self._unopened))
            self._inbound += self._unopened
            self._unopened = 0
        return items

    def _put_out_bodies(self) -> None:
        for stream_id, stream in self._gathering:
            if stream.pieces:
                self._items[stream.place] = Body(stream_id, b"".join(stream.pieces))
                stream.pieces = []
        self._gathering.clear()

    def _read_frame(self, kind: int, flags: int, stream_id: int, buffer: bytes, start: int, end: int) -> None:
        block = self._block
        if block is not None and (kind != frames.CONTINUATION or stream_id != block.stream_id):
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a frame inside of a head")
        if kind == frames.DATA:
            self._on_data(flags, stream_id, buffer, start, end)
        elif kind == frames.HEADERS:
            self._on_headers(flags, stream_id, buffer[start:end])
        elif kind == frames.CONTINUATION:
            self._on_continuation(flags, buffer[start:end])
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream_id, buffer[start:end])
        elif kind == frames.RST_STREAM:
            self._on_reset(stream_id, buffer[start:end])
        elif kind == frames.SETTINGS:
            self._on_settings(flags, stream_id, buffer[start:end])
        elif kind == frames.PING:
            self._pass_on(buffer[start - frames.HEADER_BYTES : end])
        elif kind == frames.GOAWAY:
            if stream_id or end - start < 8:
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "GOAWAY is malformed")
            self.leaving = True
            self._items.append(BackendLeaving(int.from_bytes(buffer[start : start + 4], "big") & frames.MAX_STREAM))
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a push that was not allowed")
        # What is left is PRIORITY, which binds nobody, and what nobody knows (RFC 9113 5.5).

    def _pass_on(self, frame: bytes) -> None:
        """Have h2 process a frame of the connection, and translate its events."""
        self._effort -= PASSED_EFFORT
        machine = self._machine
        changed = any(isinstance(event, RemoteSettingsChanged) for event in machine.receive_data(frame))
        said = machine.data_to_send()
        if said:
            self._out.append(said)
            self.answered += len(said)
        if changed:
            self._items.append(Opened(0))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self.settled and flags & frames.ACK:
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if flags & frames.ACK and payload:
            raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "an acknowledgement says nothing else")
        self._effort -= len(payload) // SETTINGS_BYTES
        self._pass_on(frames.write_frame(frames.SETTINGS, flags, stream_id, frames.known_settings(payload)))
        self.settled = True

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not stream_id:
            self._machine.open_window(increment)
            self._items.append(Opened(0))
            return
        stream = self._stream_of(stream_id)
        if stream is None:
            return
        stream.outbound_flow_control_window += increment
        if not increment:
            self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, "a window opens by nothing")
        elif stream.outbound_flow_control_window > frames.MAX_WINDOW:
            self._break_stream(stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "the window is too large")
        else:
            self._items.append(Opened(stream_id))

    def _on_reset(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionBroken(ErrorCodes.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        if self._stream_of(stream_id) is not None:
            self._drop(stream_id)
            code = int.from_bytes(payload, "big")
            name = ErrorCodes(code).name if code <= ErrorCodes.HTTP_1_1_REQUIRED else str(code)
            refused = code == ErrorCodes.REFUSED_STREAM
            self._items.append(Lost(stream_id, f"the backend reset the stream ({name})", processed=not refused))

    def _stream_of(self, stream_id: int) -> ClientStream | None:
        """Find the stream of a frame.

        What comes for one that has ended was perhaps under way, and concerns nobody else; one that never was is an
        error of the connection.
        """
        stream = self._streams.get(stream_id)
        if stream is None and (stream_id % 2 == 0 or stream_id > self._last_stream):
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a frame on a stream that never was")
        return stream

    def _on_data(self, flags: int, stream_id: int, buffer: bytes, start: int, end: int) -> None:
        length = end - start
        stream = self._streams.get(stream_id) or self._stream_of(stream_id)
        self._inbound -= length
        self._unopened += length
        if self._inbound < 0:
            raise ConnectionBroken(ErrorCodes.FLOW_CONTROL_ERROR, "more than the connection's window")
        if stream is None:
            return
        if flags & frames.PADDED:
            padding = buffer[start] if length else 0
            if padding >= length:
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "more padding than frame")
            start, end = start + 1, end - padding
        size = end - start
        stream.inbound -= length
        if stream.inbound < 0:
            self._break_stream(stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "more than the stream's window")
            return
        if length > size:
            self.credit(stream_id, length - size)
        ended = flags & frames.END_STREAM
        if stream.remote_ended:
            self._break_stream(stream_id, ErrorCodes.STREAM_CLOSED, "more after the end of the response")
            return
        if not stream.responded:
            self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, "a body before the response")
            return
        left = stream.left
        if left is not None:
            left = stream.left = left - size
            if left < 0 or (ended and left):
                detail = "a body where there is none" if stream.bodiless else "the body is not as long as announced"
                self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, detail)
                return
        if size:
            if not stream.pieces:
                stream.place = len(self._items)
                self._items.append(Opened(stream_id))  # keeps the place of what `_put_out_bodies` makes of the pieces
                self._gathering.append((stream_id, stream))
            stream.pieces.append(buffer[start:end])
        if ended:
            self._end_remote(stream_id, stream)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.PRIORITIZED):
            padding = payload[0] if flags & frames.PADDED and payload else 0
            start = bool(flags & frames.PADDED) + 5 * bool(flags & frames.PRIORITIZED)
            if len(payload) < start + padding:
                raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "HEADERS are too short")
            payload = payload[start : len(payload) - padding]
        if flags & frames.END_HEADERS:
            self._on_block(flags, stream_id, payload)
        else:
            self._block = PartialBlock(flags, stream_id, payload)

    def _on_continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block.add(payload, OVERSIZE * LIST_BYTES)
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(block.flags, block.stream_id, block.whole())

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        """Decode a whole field block, whatever becomes of its stream: later blocks depend on it."""
        self._effort -= HEAD_EFFORT + len(block) // HEAD_BYTES
        try:
            fields = self._decode(block)
        except OversizedHeaderListError:
            raise ConnectionBroken(ErrorCodes.ENHANCE_YOUR_CALM, "the fields are too large together") from None
        except (HPACKError, IndexError) as error:
            detail = f"unreadable fields ({type(error).__name__})"
            raise ConnectionBroken(ErrorCodes.COMPRESSION_ERROR, detail) from None
        stream = self._stream_of(stream_id)
        if stream is None:
            return
        if stream.remote_ended:
            self._break_stream(stream_id, ErrorCodes.STREAM_CLOSED, "more after the end of the response")
            return
        ended = bool(flags & frames.END_STREAM)
        try:
            if list_size(fields) > LIST_BYTES:
                raise UpstreamBroken("the fields are too large together")
            if stream.responded:
                self._on_trailers(stream_id, stream, fields, ended=ended)
            else:
                self._on_response(stream_id, stream, fields, ended=ended)
        except UpstreamBroken as error:
            self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, error.detail)

    def _on_trailers(self, stream_id: int, stream: ClientStream, fields: list[Field], *, ended: bool) -> None:
        if not ended:
            raise UpstreamBroken("trailers that do not end the stream")
        if stream.left:
            raise UpstreamBroken("the body is not as long as announced")
        self._items.append(Trailed(stream_id, read_trailers(fields)))
        self._end_remote(stream_id, stream)

    def _on_response(self, stream_id: int, stream: ClientStream, fields: list[Field], *, ended: bool) -> None:
        head = read_response(fields, ended=ended, bodiless=stream.bodiless)
        if head.status < 200:
            stream.interims += 1
            if stream.interims > MAX_INTERIMS:
                raise UpstreamBroken("too many informational responses")
        else:
            stream.responded = True
            stream.bodiless = stream.bodiless or head.status in (204, 304)
            stream.left = 0 if stream.bodiless else head.content_length
        self._items.append(Responded(stream_id, head))
        if ended:
            self._end_remote(stream_id, stream)

    def _end_remote(self, stream_id: int, stream: ClientStream) -> None:
        stream.remote_ended = True
        self._items.append(Ended(stream_id))
        if stream.local_ended:
            self._drop(stream_id)

    def _break_stream(self, stream_id: int, code: int, detail: str) -> None:
        """Reset a stream for a stream error, and discard what this read brought of its response."""
        stream = self._streams[stream_id]
        ended = stream.remote_ended
        stream.pieces = []
        self.reset(stream_id, code)
        if not ended:
            # In place, because the places of other streams' bodies are kept.
            for place, item in enumerate(self._items):
                if item.stream_id == stream_id:
                    self._items[place] = Opened(stream_id)
            self._items.append(Lost(stream_id, detail, answered=True))

    def _drop(self, stream_id: int) -> bool:
        """Forget a stream; tells whether there was one."""
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return False
        self._grown -= stream.window > STREAM_WINDOW
        return True

    def _fail(self, code: int, detail: str) -> None:
        """End the connection for a connection error (RFC 9113 5.4.1)."""
        if self.error is None:
            self.error = f"the backend broke HTTP/2: {detail}"
            self._out.append(frames.write_goaway(0, code))
