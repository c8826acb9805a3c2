"""What is said on one HTTP/2 connection to a backend: requests, bodies within the backend's windows, credit, resets.

This is the half of a session that `hotswap.wire.http2.client_session` builds on: it keeps the streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from hotswap.core.errors import UpstreamBroken
from hotswap.core.messages import Field
from hotswap.wire.http2.field_compression import FieldDecoder, FieldEncoder
from hotswap.wire.http2.session import frames as frames

MAX_STREAMS: Final = 100
"""Exchanges at a time on one connection, whatever the backend allows."""
STREAM_WINDOW: Final = 16 * 1024
"""What a backend may send of a response that its client has taken nothing of: so much waits for each stream."""
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

Data = bytes | bytearray | memoryview


class Stream:
    """A stream that is open in at least one direction.

    `outbound_flow_control_window` is named as h2 names it, which adjusts it when the backend's settings change.
    """

    __slots__ = (
        "bodiless",
        "inbound",
        "interims",
        "left",
        "local_ended",
        "max_outbound_frame_size",
        "outbound_flow_control_window",
        "owed",
        "pieces",
        "place",
        "remote_ended",
        "responded",
        "window",
    )

    def __init__(self, window: int, *, bodiless: bool) -> None:
        self.outbound_flow_control_window = window
        self.max_outbound_frame_size = frames.MAX_FRAME
        self.inbound = STREAM_WINDOW
        self.window = STREAM_WINDOW
        self.owed = 0  # bytes that went on and were not told yet
        self.bodiless = bodiless  # asked for with HEAD
        self.responded = False
        self.interims = 0
        self.left: int | None = None  # of a body of known length
        self.pieces: list[bytes] = []  # of the body, of this read
        self.place = 0  # of their item
        self.local_ended = False
        self.remote_ended = False


class Http2ClientWriter:
    """See the module.

    Attributes:
        error: why the connection is at its end.
        leaving: the backend said that it takes nothing new.
    """

    __slots__ = (
        "_decoder",
        "_encoder",
        "_grown",
        "_last_stream",
        "_machine",
        "_out",
        "_streams",
        "error",
        "leaving",
    )

    def __init__(self) -> None:
        machine = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        machine.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: LIST_BYTES,
            },
        )
        self._encoder = FieldEncoder()
        self._decoder = FieldDecoder(OVERSIZE * LIST_BYTES)
        machine.encoder = self._encoder  # type: ignore[assignment]  # h2 sets its table size and nothing else
        machine.decoder = self._decoder
        machine.initiate_connection()
        self._machine = machine
        # h2 adjusts the windows of what is in its `streams` when the backend's settings change.
        self._streams: dict[int, Stream] = machine.streams  # type: ignore[assignment]
        self._out: list[bytes] = [
            machine.data_to_send(),
            frames.write_window_update(0, CONNECTION_WINDOW - frames.FIRST_WINDOW),
        ]
        self._grown = 0  # streams with more window
        self._last_stream = -1
        self.error: str | None = None
        self.leaving = False

    @property
    def room(self) -> int:
        """How many streams may be open at a time; nothing is known of it before the backend has `settled`."""
        if self.leaving or self.error is not None or self._last_stream > LAST_STREAM:
            return 0
        return min(MAX_STREAMS, self._machine.remote_settings.max_concurrent_streams)

    def take_output(self) -> bytes:
        """What is to be sent."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def send_head(self, fields: list[Field], *, end: bool) -> int:
        """Begin a stream with the head of a request.

        Returns:
            Its number.

        Raises:
            UpstreamBroken: the backend allows no more streams; nothing was sent.
        """
        if len(self._streams) >= self.room:
            raise UpstreamBroken("the backend allows no more streams", retry_safe=True)
        stream = Stream(self._machine.remote_settings.initial_window_size, bodiless=fields[0][1] == b"HEAD")
        stream.local_ended = end
        self._last_stream += 2
        self._streams[self._last_stream] = stream
        self._out.append(frames.write_headers(self._last_stream, self._encoder.write(fields), end=end))
        return self._last_stream

    def send_body(self, stream_id: int, data: Data) -> int:
        """Send of a body what the windows allow.

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
        view = memoryview(data)
        for place in range(0, room, frames.MAX_FRAME):
            piece = view[place : min(place + frames.MAX_FRAME, room)]
            self._out.append(b"".join((frames.write_data_header(stream_id, len(piece), end=False), piece)))
        stream.outbound_flow_control_window -= room
        machine.outbound_flow_control_window -= room
        return room

    def send_end(self, stream_id: int, trailers: Sequence[Field] = ()) -> None:
        """The request is whole; what comes behind its body goes with the end."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_ended:
            return  # the stream is gone, and that was told
        if trailers:
            self._out.append(frames.write_headers(stream_id, self._encoder.write(list(trailers)), end=True))
        else:
            self._out.append(frames.write_data_header(stream_id, 0, end=True))
        stream.local_ended = True
        if stream.remote_ended:
            self._drop(stream_id)

    def credit(self, stream_id: int, size: int) -> None:
        """Bytes of a response's body have gone on: the backend may send as many more."""
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
        """Reset a stream, if it is still there."""
        if self._drop(stream_id) and self.error is None:
            self._out.append(frames.write_reset(stream_id, code))

    def release(self, stream_id: int) -> None:
        """An exchange is over; a stream that did not end on both sides is reset."""
        self.reset(stream_id)

    def say_farewell(self) -> None:
        """Nothing more will be asked."""
        if self.error is None:
            self._out.append(frames.write_goaway(0, ErrorCodes.NO_ERROR))

    def close(self) -> None:
        """Nothing will be fed any more. h2 has a table of its own methods, and would wait for a search for garbage."""
        getattr(self._machine, "_frame_dispatch_table", {}).clear()

    # For those that read.

    def _drop(self, stream_id: int) -> bool:
        """Forget a stream; says whether there was one."""
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return False
        self._grown -= stream.window > STREAM_WINDOW
        return True

    def _fail(self, code: int, detail: str) -> None:
        """A connection error (RFC 9113 5.4.1)."""
        if self.error is None:
            self.error = f"the backend broke HTTP/2: {detail}"
            self._out.append(frames.write_goaway(0, code))
