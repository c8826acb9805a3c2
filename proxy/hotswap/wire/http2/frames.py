"""HTTP/2 frames as bytes (RFC 9113 section 4 and 6): kinds, flags, and encoders of those that we send."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client's connection begins with (RFC 9113 3.4)."""

HEADER: Final = struct.Struct(">HBBBL")
"""Length in 16 and 8 bits, kind, flags, stream."""
HEADER_BYTES: Final = 9

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20
OWN_DEPENDENCY: Final = 0x100
"""A mark of ours beyond the eight bits of a frame: the stream of this head depends on itself."""

MAX_FRAME: Final = 16384
"""Bytes of a frame's payload, both ways: what every peer must take, and all that we take."""
FIRST_WINDOW: Final = 65535
"""Bytes that a connection takes before anything was said about it (RFC 9113 6.9.2)."""
MAX_WINDOW: Final = (1 << 31) - 1
MAX_STREAM: Final = (1 << 31) - 1


_KNOWN_SETTINGS: Final = frozenset(code.to_bytes(2, "big") for code in (1, 2, 3, 4, 5, 6, 8))
_SETTING_BYTES: Final = 6


def known_settings(payload: bytes) -> bytes:
    """Reduce a payload of SETTINGS to the settings that h2 acts on, the last value of each.

    It would keep any other as well, for each connection, and never sees them (RFC 9113 6.5.2). A payload of the wrong
    length is left as it is.
    """
    length = len(payload)
    if length % _SETTING_BYTES:
        return payload
    known = {}
    for place in range(0, length, _SETTING_BYTES):
        code = payload[place : place + 2]
        if code in _KNOWN_SETTINGS:
            known[code] = payload[place : place + _SETTING_BYTES]
    return b"".join(known.values())


def dependency(payload: bytes, place: int) -> int:
    """Read the stream dependency at an offset (RFC 7540 6.3)."""
    return int.from_bytes(payload[place : place + 4], "big") & MAX_STREAM


def write_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Encode a frame."""
    length = len(payload)
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def write_headers(stream_id: int, block: bytes, *, end: bool) -> bytes:
    """Encode a field block as HEADERS, and CONTINUATION where it is longer than a frame."""
    flags = END_STREAM if end else 0
    if len(block) <= MAX_FRAME:
        return write_frame(HEADERS, flags | END_HEADERS, stream_id, block)
    pieces = [block[place : place + MAX_FRAME] for place in range(0, len(block), MAX_FRAME)]
    frames = [write_frame(HEADERS, flags, stream_id, pieces[0])]
    frames += [write_frame(CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    frames.append(write_frame(CONTINUATION, END_HEADERS, stream_id, pieces[-1]))
    return b"".join(frames)


def write_data_header(stream_id: int, length: int, *, end: bool) -> bytes:
    """Encode the header of a DATA frame of so many bytes."""
    return HEADER.pack(length >> 8, length & 0xFF, DATA, END_STREAM if end else 0, stream_id)


def write_data(stream_id: int, data: memoryview, piece_bytes: int, *, end: bool) -> list[bytes]:
    """Encode a piece of a body as DATA frames of at most so many bytes each."""
    size = len(data)
    out = []
    for place in range(0, size, piece_bytes):
        piece = data[place : place + piece_bytes]
        header = write_data_header(stream_id, len(piece), end=end and place + len(piece) == size)
        out.append(b"".join((header, piece)))
    return out


def write_reset(stream_id: int, code: int) -> bytes:
    """Encode RST_STREAM."""
    return write_frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def write_window_update(stream_id: int, increment: int) -> bytes:
    """Encode WINDOW_UPDATE; stream 0 is the connection."""
    return write_frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def write_goaway(last_stream_id: int, code: int) -> bytes:
    """Encode GOAWAY."""
    return write_frame(GOAWAY, 0, 0, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big"))
