"""Session with an HTTP/2 client (RFC 9113), without I/O: the streams of one connection, and the frames sent on them.

Heads, bodies within the client's windows, credit for what came, resets, and GOAWAY are written here and collected in
`take_output`; what the client says is read by `hotswap.wire.http2.reader`.

A stream counts against the limit of concurrent ones from its first frame until `release`, whoever reset it: a client
that makes us reset streams gains no more work than any other (CVE-2025-8671).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from hotswap.core.http.messages import Field
from hotswap.wire.http2 import frames
from hotswap.wire.http2.budget import Budget, Cost
from hotswap.wire.http2.machine import Http2Machine
from hotswap.wire.http2.server_stream import ServerStream

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
DATA_BYTES: Final = frames.MAX_FRAME - frames.HEADER_BYTES
"""Of a body in one frame, so that a frame fills one record of TLS."""
CRUMB_BYTES: Final = 64
"""Who takes a body in smaller pieces than this is no better for it: nothing is given back for them (CVE-2019-9511)."""
DRAIN_PING: Final = b"draining"

Data = bytes | bytearray | memoryview


OVERSIZE: Final = 2
"""So many times as large as allowed a head is still read, since later ones build on it, and answered 431; a larger one
is the end of its connection."""


class Http2Session:
    """The server's side of an HTTP/2 connection with one client.

    Args:
        header_bytes: limit on the fields of one request, which the client is told.
        now: the time, in seconds of any beginning.

    Attributes:
        machine: what h2 keeps.
        streams: those that are open in at least one direction.
        busy: streams that were begun and not released.
        budget: what the client may cost.
        error: why the connection is at its end; its GOAWAY is in the output, and nothing more can be read.
        late: what must not leave together with the output.
        output_bytes: of bodies that wait to be taken.
        last_taken: streams above are not taken any more.
    """

    __slots__ = (
        "_encoder",
        "_grown",
        "_out",
        "_reset",
        "budget",
        "busy",
        "error",
        "last_taken",
        "late",
        "machine",
        "output_bytes",
        "streams",
    )

    def __init__(self, *, header_bytes: int, now: float) -> None:
        self.streams: dict[int, ServerStream] = {}
        self.machine = machine = Http2Machine(
            client=False,
            settings={
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
            list_bytes=OVERSIZE * header_bytes,
            streams=self.streams,
        )
        self._encoder = machine.field_encoder
        self._out: list[Data] = [*machine.greet(CONNECTION_WINDOW)]
        self._reset: OrderedDict[int, None] = OrderedDict()
        self._grown = 0
        self.late: list[bytes] = []
        self.busy: set[int] = set()
        self.last_taken = frames.MAX_STREAM
        self.budget = Budget(now)
        self.error: str | None = None
        self.output_bytes = 0

    def take_output(self) -> list[Data]:
        """Take the bytes to send."""
        out, self._out = self._out, []
        self.output_bytes = 0
        return out

    def take_late(self) -> bytes:
        """Take what is sent in a write of its own behind the output: resets of streams that are answered.

        A client that reads its answer and the reset at once may take the answer for lost (curl 7.88).
        """
        late, self.late = self.late, []
        return b"".join(late)

    @property
    def has_output(self) -> bool:
        """Whether there is something to send."""
        return bool(self._out or self.late)

    @property
    def window(self) -> int:
        """The client's window for the whole connection, in bytes."""
        return self.machine.outbound_flow_control_window

    def send_head(self, stream_id: int, fields: list[Field], *, end: bool = False) -> None:
        """Send a head, an interim head, or trailers."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.local_ended:
            return
        self._out.append(frames.write_headers(stream_id, self._encoder.write(fields), end=end))
        if end:
            self._end_local(stream)

    def send_body(self, stream_id: int, data: Data, *, end: bool = False) -> int:
        """Send as much of a body as the windows allow.

        Args:
            stream_id: the stream.
            data: copied as far as it goes.
            end: the body ends with it, if all of it goes.

        Returns:
            How many bytes went.
        """
        stream = self.streams.get(stream_id)
        if stream is None or stream.local_ended:
            return len(data)
        machine = self.machine
        size = len(data)
        if not size:
            if end:
                self._out.append(frames.write_data_header(stream_id, 0, end=True))
                self._end_local(stream)
            return 0
        room = min(size, stream.outbound_flow_control_window, machine.outbound_flow_control_window)
        gain = Cost.DATA_SENT * (1 + room // DATA_BYTES)
        if room < size:
            end = False
            if room <= 0:
                return 0
            if room < CRUMB_BYTES:
                gain = 0  # the client has opened its window by so little
        out = self._out
        if room == size <= DATA_BYTES:
            out.append(b"".join((frames.write_data_header(stream_id, size, end=end), data)))
        else:
            out += frames.write_data(stream_id, memoryview(data)[:room], DATA_BYTES, end=end)
        self.output_bytes += room
        stream.outbound_flow_control_window -= room
        machine.outbound_flow_control_window -= room
        self.budget.take(gain)
        if end:
            self._end_local(stream)
        return room

    def _end_local(self, stream: ServerStream) -> None:
        stream.local_ended = True
        self.budget.take(Cost.EXCHANGE)
        if stream.remote_ended:
            self.drop(stream)

    def credit(self, stream_id: int, size: int) -> None:
        """Open the windows again by the bytes of a request body that were forwarded."""
        stream = self.streams.get(stream_id)
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

    def room(self, stream_id: int) -> int:
        """How many bytes of a body the windows allow on a stream now."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return 0
        return max(0, min(stream.outbound_flow_control_window, self.machine.outbound_flow_control_window))

    def reset(self, stream_id: int, code: int) -> None:
        """Reset a stream if it is still open."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.drop(stream)
            self._remember(stream_id)
            (self.late if stream.local_ended else self._out).append(frames.write_reset(stream_id, code))

    def release(self, stream_id: int) -> None:
        """Release the stream of a finished exchange: it no longer counts against the limit.

        What the client has not ended by then is given up without blame (RFC 9113 8.1).
        """
        self.busy.discard(stream_id)
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.reset(stream_id, ErrorCodes.NO_ERROR if stream.local_ended else ErrorCodes.INTERNAL_ERROR)

    def begin_goaway(self) -> None:
        """Announce the end of the connection with a GOAWAY and a ping; `Answered` follows (RFC 9113 6.8)."""
        self._out.append(frames.write_goaway(frames.MAX_STREAM, ErrorCodes.NO_ERROR))
        self._out.append(frames.write_frame(frames.PING, 0, 0, DRAIN_PING))

    def finish_goaway(self) -> None:
        """Send the final GOAWAY: streams after those that came are not accepted."""
        self.last_taken = self.machine.highest_inbound_stream_id
        self._out.append(frames.write_goaway(self.last_taken, ErrorCodes.NO_ERROR))

    def give_up(self, code: int, detail: str) -> None:
        """End the connection with GOAWAY: for a reason of our own, or a connection error (RFC 9113 5.4.1)."""
        if self.error is None:
            self.error = detail
            self._out.append(frames.write_goaway(self.machine.highest_inbound_stream_id, code))

    def close(self) -> None:
        """Free the state; nothing may be fed afterwards."""
        self.machine.close()

    # For the reader.

    def say(self, frame: bytes) -> None:
        """Queue frames of the connection."""
        self._out.append(frame)

    def turn_down(self, stream_id: int, code: int) -> None:
        """Reset a stream that was not accepted."""
        self._remember(stream_id)
        self._out.append(frames.write_reset(stream_id, code))

    def was_reset(self, stream_id: int) -> bool:
        """Whether we reset a stream recently, so that frames of it may still arrive."""
        return stream_id in self._reset

    def is_idle(self, stream_id: int) -> bool:
        """Whether a stream was never opened."""
        return stream_id % 2 == 0 or stream_id > self.machine.highest_inbound_stream_id

    def drop(self, stream: ServerStream) -> None:
        """Forget a stream that has ended."""
        del self.streams[stream.stream_id]
        self._grown -= stream.grown

    def _remember(self, stream_id: int) -> None:
        self._reset[stream_id] = None
        if len(self._reset) > REMEMBERED:
            self._reset.popitem(last=False)
