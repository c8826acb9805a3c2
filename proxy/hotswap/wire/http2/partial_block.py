"""Assembles a field block from HEADERS without END_HEADERS and its CONTINUATION (RFC 9113 4.3, 6.10)."""

from __future__ import annotations

from h2.errors import ErrorCodes

from hotswap.wire.http2.machine import ConnectionBroken


class PartialBlock:
    """An incomplete field block; `flags` are those of the HEADERS."""

    __slots__ = ("_payload", "flags", "stream_id")

    def __init__(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.flags = flags
        self.stream_id = stream_id
        self._payload = bytearray(payload)

    def add(self, payload: bytes, limit: int) -> None:
        """Append the next fragment.

        Raises:
            ConnectionBroken: the block is longer than the limit.
        """
        self._payload += payload
        if len(self._payload) > limit:
            raise ConnectionBroken(ErrorCodes.ENHANCE_YOUR_CALM, "the head is too large")

    def whole(self) -> bytes:
        """The field block, once the last fragment has come."""
        return bytes(self._payload)
