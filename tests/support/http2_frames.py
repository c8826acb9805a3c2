"""Frames of HTTP/2 written and read by hyperframe and hpack: a peer that may say anything in any order."""

from __future__ import annotations

from collections.abc import Sequence

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.org"),
    (b":path", b"/"),
)
POST = ((b":method", b"POST"), *GET[1:])

Fields = Sequence[tuple[bytes, bytes]]


def raw_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame, whatever its payload."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


class FrameWriter:
    """Writes frames; `encoder` may be turned to evil."""

    def __init__(self) -> None:
        self.encoder = Encoder()

    def block(self, fields: Fields, *, huffman: bool = True) -> bytes:
        """A field block."""
        return self.encoder.encode(fields, huffman=huffman)

    def headers(self, stream_id: int, fields: Fields = GET, *, end: bool = True) -> bytes:
        """A whole head."""
        frame = HeadersFrame(stream_id, self.block(fields), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        return frame.serialize()

    def cut_headers(self, stream_id: int, fields: Fields, sizes: Sequence[int], *, end: bool = True) -> list[bytes]:
        """A head in pieces of these sizes and a last one; the first is HEADERS."""
        block = self.block(fields)
        frames: list[Frame] = []
        for size in sizes:
            piece, block = block[:size], block[size:]
            frames.append(ContinuationFrame(stream_id, piece) if frames else HeadersFrame(stream_id, piece))
        frames.append(ContinuationFrame(stream_id, block, flags=["END_HEADERS"]))
        if end:
            frames[0].flags.add("END_STREAM")
        return [frame.serialize() for frame in frames]

    def data(self, stream_id: int, data: bytes = b"", *, end: bool = False, padding: int | None = None) -> bytes:
        """A piece of a body."""
        frame = DataFrame(stream_id, data)
        if end:
            frame.flags.add("END_STREAM")
        if padding is not None:
            frame.flags.add("PADDED")
            frame.pad_length = padding
        return frame.serialize()

    def settings(self, settings: dict[int, int] | None = None) -> bytes:
        """SETTINGS."""
        return SettingsFrame(0, settings or {}).serialize()

    def reset(self, stream_id: int, code: int = 8) -> bytes:
        """RST_STREAM."""
        return RstStreamFrame(stream_id, code).serialize()

    def window(self, stream_id: int, increment: int) -> bytes:
        """WINDOW_UPDATE."""
        return WindowUpdateFrame(stream_id, increment).serialize()


class FrameReader:
    """Reads what the proxy sent; `fields` are those of each stream, block by block."""

    def __init__(self) -> None:
        self._buffer = b""
        self._decoder = Decoder()
        self._block = b""
        self.frames: list[Frame] = []
        self.fields: dict[int, list[list[tuple[bytes, bytes]]]] = {}
        self.bodies: dict[int, bytearray] = {}

    def feed(self, data: bytes) -> list[Frame]:
        """Read; gives the frames that are new."""
        view = memoryview(self._buffer + data)
        new: list[Frame] = []
        while len(view) >= 9:
            frame, length = Frame.parse_frame_header(view[:9])
            if len(view) < 9 + length:
                break
            frame.parse_body(view[9 : 9 + length])
            view = view[9 + length :]
            new.append(frame)
            if isinstance(frame, HeadersFrame | ContinuationFrame):
                self._block += frame.data
                if "END_HEADERS" in frame.flags:
                    fields = [
                        (bytes(name), bytes(value)) for name, value in self._decoder.decode(self._block, raw=True)
                    ]
                    self.fields.setdefault(frame.stream_id, []).append(fields)
                    self._block = b""
            elif isinstance(frame, DataFrame):
                self.bodies.setdefault(frame.stream_id, bytearray()).extend(frame.data)
        self._buffer = bytes(view)
        self.frames += new
        return new

    def resets(self) -> dict[int, int]:
        """Codes of the streams that were reset."""
        return {frame.stream_id: frame.error_code for frame in self.frames if isinstance(frame, RstStreamFrame)}

    def goaways(self) -> list[tuple[int, int]]:
        """Last stream and code of each GOAWAY."""
        return [(frame.last_stream_id, frame.error_code) for frame in self.frames if isinstance(frame, GoAwayFrame)]

    def ended(self, stream_id: int) -> bool:
        """Whether the proxy has ended a stream in order."""
        return any(frame.stream_id == stream_id and "END_STREAM" in frame.flags for frame in self.frames)
