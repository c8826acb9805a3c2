"""Heads as they come in over HTTP/2: put together, decoded, and checked; the session builds on it.

A field block is decoded whatever becomes of its stream, because later ones build on it. Heads that come again are not
built again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from h2.errors import ErrorCodes
from hpack.exceptions import HPACKError, OversizedHeaderListError

from hotswap.core.errors import BadRequest
from hotswap.core.messages import Field, RequestHead
from hotswap.wire.http2.budget import Cost
from hotswap.wire.http2.field_compression import list_size
from hotswap.wire.http2.fields import MalformedRequest, check_trailers, read_request, refused_line
from hotswap.wire.http2.items import Begun, Body, Ended, Item, Refused, Reset
from hotswap.wire.http2.session import frames as frames
from hotswap.wire.http2.writer import MAX_STREAMS, OVERSIZE, Http2Writer, Stream

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
"""Fields, crumbs of cookies among them, above which a head costs, and how much."""
KEPT_HEADS: Final = 32
KEPT_HEAD_BYTES: Final = 2048
"""How many heads are remembered, and how large, for requests that come again."""


class Http2Heads(Http2Writer):
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
        "_bodies",
        "_effort",
        "_header_bytes",
        "_headers",
        "_heads",
        "_heads_read",
        "_items",
        "_reading",
    )

    def __init__(self, *, header_bytes: int, headers: int, now: float) -> None:
        super().__init__(header_bytes=header_bytes, now=now)
        self._header_bytes = header_bytes
        self._headers = headers
        self._heads: dict[tuple[bytes, bool], tuple[list[Field], RequestHead]] = {}
        self._heads_read = 0
        self._items: list[Item] = []
        self._bodies: dict[int, tuple[Body, list[bytes]]] = {}  # that came in this reading
        self._reading = 0  # its number
        self._effort = 0  # what is left of it for this reading
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_flags = 0

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
            if flags & frames.PRIORITIZED and frames.dependency(payload, start - 5) == stream_id:
                flags |= frames.OWN_DEPENDENCY
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
        if len(block) > OVERSIZE * self._header_bytes:
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
        size = len(block)
        if size > LARGE:
            self.budget.take((size - LARGE) // LARGE_BYTES_A_POINT)
        self._effort -= HEAD_EFFORT + size // HEAD_BYTES
        try:
            fields = self._decoder.read(block)
        except OversizedHeaderListError:
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "the fields are too large together")
            return
        except (HPACKError, IndexError):
            # In our words: hpack's hold the bytes that it could not read, as many as there are.
            self._fail(ErrorCodes.COMPRESSION_ERROR, "the fields cannot be read")
            return
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._on_trailers(stream, fields, ended=bool(flags & frames.END_STREAM))
        elif not self._is_idle(stream_id):
            self._on_late_frame(stream_id, None)
        else:
            self._begin(flags, stream_id, fields, block)

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
            if list_size(fields) > self._header_bytes:
                raise MalformedRequest("the trailers are too large")
            check_trailers(fields)
        except MalformedRequest as error:
            self._break_stream(stream_id, ErrorCodes.PROTOCOL_ERROR, error.detail)
            return
        self._end_remote(stream, fields)

    def _begin(self, flags: int, stream_id: int, fields: list[Field], block: bytes) -> None:
        machine = self._machine
        machine.highest_inbound_stream_id = stream_id
        if stream_id > self._last_taken or len(self._busy) >= MAX_STREAMS:
            self._remember(stream_id)
            self._out.append(frames.write_reset(stream_id, ErrorCodes.REFUSED_STREAM))
            self.budget.take(Cost.REFUSED)
            return
        if flags & frames.OWN_DEPENDENCY:
            self._reset_unbegun(stream_id, fields, "the stream depends on itself")
            return
        ended = bool(flags & frames.END_STREAM)
        stream = Stream(stream_id, machine.remote_settings.initial_window_size)
        known = self._heads.get((block, ended))
        if known is not None and known[0] is fields:
            head = known[1]
        else:
            count = len(fields)
            self._effort -= FIELD_EFFORT * count
            if count > MANY:
                self.budget.take((count - MANY) // FIELDS_A_POINT)
            try:
                size = list_size(fields)
                if size > self._header_bytes:
                    target = dict(fields).get(b":path", b"")
                    status = 414 if len(target) > self._header_bytes // 2 else 431
                    raise BadRequest("the head is too large", status=status)
                head = read_request(fields, ended=ended, max_fields=self._headers)
            except MalformedRequest as error:
                self._reset_unbegun(stream_id, fields, error.detail)
                return
            except BadRequest as error:
                self.budget.take(Cost.REFUSED)
                stream.remote_ended = ended
                self._streams[stream_id] = stream
                self._busy.add(stream_id)
                error.__traceback__ = None  # whose frames have us
                self._items.append(Refused(stream_id, error, refused_line(fields)))
                return
            if head.upgrade is None and size <= KEPT_HEAD_BYTES:
                if len(self._heads) >= KEPT_HEADS:
                    self._heads.clear()
                self._heads[block, ended] = (fields, head)
        stream.remote_ended = ended
        stream.reading = self._reading
        stream.left = head.content_length
        self._streams[stream_id] = stream
        self._busy.add(stream_id)
        self._items.append(Begun(stream_id, head))

    def _reset_unbegun(self, stream_id: int, fields: list[Field], detail: str) -> None:
        """A new stream begins with what is malformed."""
        self._remember(stream_id)
        self._out.append(frames.write_reset(stream_id, ErrorCodes.PROTOCOL_ERROR))
        self._items.append(Reset(stream_id, detail, refused_line(fields)))
        self.budget.take(Cost.RESET)

    def _on_late_frame(self, stream_id: int, stream: Stream | None) -> None:
        """DATA or HEADERS on a stream whose client has ended it, or that is gone (RFC 9113 5.1)."""
        if stream is not None:
            self._break_stream(stream_id, ErrorCodes.STREAM_CLOSED, "more after the end of the stream")
        elif stream_id in self._reset:
            self.budget.take(Cost.IDLE_FRAME)  # it was under way when we reset the stream
        else:
            self._fail(ErrorCodes.STREAM_CLOSED, "a frame on a stream that is closed")

    def _end_remote(self, stream: Stream, trailers: Sequence[Field] = ()) -> None:
        stream.remote_ended = True
        last = stream.last
        if last is not None:
            stream.last = None
            self._take_piece(stream.stream_id, last)
        self._items.append(Ended(stream.stream_id, trailers))
        if stream.local_ended:
            self._drop(stream.stream_id)

    def _take_piece(self, stream_id: int, data: bytes) -> None:
        """A piece of a body, which goes on together with the others that this reading brings."""
        known = self._bodies.get(stream_id)
        if known is not None:
            known[1].append(data)
            return
        body = Body(stream_id, data)
        self._bodies[stream_id] = (body, [data])
        self._items.append(body)

    def _break_stream(self, stream_id: int, code: int, detail: str) -> None:
        """A stream error (RFC 9113 5.4.2): the client made us reset it, so it costs what its own reset would."""
        self.budget.take(Cost.RESET)
        self.reset(stream_id, code)
        self._items.append(Reset(stream_id, detail))
