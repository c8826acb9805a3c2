"""WebSocket as far as a proxy needs it (RFC 6455): the handshake, and the boundaries of frames.

The proxy does not read messages. It follows the frames of one direction, so that it can put a close frame of its own
between two of them when a backend's time is over.
"""

from __future__ import annotations

import base64
import hashlib
import re

from hotswap.core.http.messages import RequestHead

_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
"""Sixteen bytes in base64."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OPCODE_CLOSE = 0x8
_TINY = 16
"""Bytes of a frame below which it is tiny."""
_SHORT = 125
"""The longest payload whose length is in the second byte; above it that byte says something else."""
_WIDE_LENGTHS = {126: 2, 127: 8}


def is_handshake(head: RequestHead) -> bool:
    """Whether a request is an HTTP/1.1 handshake that may be passed on (RFC 6455 4.1; P8)."""
    if head.upgrade != b"websocket" or head.method != b"GET":
        return False
    keys = [value for name, value in head.fields if name.lower() == b"sec-websocket-key"]
    versions = [value for name, value in head.fields if name.lower() == b"sec-websocket-version"]
    return versions == [b"13"] and len(keys) == 1 and _KEY.fullmatch(keys[0]) is not None


def accept_of(key: bytes) -> bytes:
    """`Sec-WebSocket-Accept` for a key (RFC 6455 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def close_frame(code: int) -> bytes:
    """Unmasked close frame without a reason, as a server sends it (RFC 6455 5.5.1).

    Args:
        code: such as 1001 (going away) or 1012 (service restart).
    """
    return b"\x88\x02" + code.to_bytes(2, "big")


class FrameTracker:
    """Tracks frame boundaries of one direction; costs a few operations a frame and nothing for its payload.

    Attributes:
        closed: a close frame has gone by, after which no other may (RFC 6455 5.5.1).
        tiny_pieces: what was followed last were very short frames, which are much work for few bytes.
    """

    __slots__ = ("_frames", "_head", "_left", "closed", "tiny_pieces")

    def __init__(self) -> None:
        self.closed = False
        self.tiny_pieces = False
        self._frames = 0  # whose heads came with what is followed
        self._left = 0  # bytes of the payload under way
        self._head = b""  # of a head that is not complete

    @property
    def between_frames(self) -> bool:
        """Whether the next byte begins a frame."""
        return not self._left and not self._head

    def follow(self, data: bytes | memoryview, *, stop: bool = False) -> int:
        """Advance by the bytes that came next.

        Args:
            data: they.
            stop: whether to stop where the frame under way ends.

        Returns:
            How many bytes were followed: all of them, or with `stop` those up to the first place between two frames.
        """
        place, size = 0, len(data)
        self._frames = 0
        while True:
            if self._left:
                step = min(self._left, size - place)
                self._left -= step
                place += step
            if not self._head and not self._left and not stop:
                place = self._skip_short(data, place)
            if place == size or (stop and self.between_frames):
                break
            place = self._read_head(data, place)
        self.tiny_pieces = self._frames * _TINY > size
        return place

    def _skip_short(self, data: bytes | memoryview, place: int) -> int:
        """Skip short unmasked frames that are whole: the usual case, for a fourth of the cost.

        A frame may be as short as two bytes, and others wait meanwhile.
        """
        last = len(data) - 1
        short = 0
        while place < last:
            length = data[place + 1]
            end = place + 2 + length
            if length > _SHORT or end > last + 1:
                break
            if data[place] & 0x0F == _OPCODE_CLOSE:
                self.closed = True
            place = end
            short += 1
        self._frames += short
        return place

    def _read_head(self, data: bytes | memoryview, place: int) -> int:
        """Parse as much of a frame's head as there is."""
        before = len(self._head)
        head = self._head + bytes(data[place : place + 14 - before])
        if len(head) >= 2:
            length = head[1] & 0x7F
            wide = _WIDE_LENGTHS.get(length, 0)
            size = 2 + wide + (4 if head[1] & 0x80 else 0)
            if len(head) >= size:
                self._head = b""
                self._frames += 1
                self._left = int.from_bytes(head[2 : 2 + wide], "big") if wide else length
                if head[0] & 0x0F == _OPCODE_CLOSE:
                    self.closed = True
                return place + size - before
        self._head = head
        return len(data)
