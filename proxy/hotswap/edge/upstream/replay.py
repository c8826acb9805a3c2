"""Buffer of a request body for a retry.

Kept up to `REPLAY_BYTES`: a request whose body is longer is sent once.
"""

from __future__ import annotations

from typing import Final

from hotswap.edge.loop.stream import Data

REPLAY_BYTES: Final = 64 * 1024
"""As in Pingora; HAProxy keeps one buffer."""
MAX_PIECES: Final = 64
"""Pieces above which they are joined."""


class Replay:
    """The body of one request so far.

    Attributes:
        pieces: all of it, in order; empty once it has grown too long.
        size: bytes that came, kept or not.
    """

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    @property
    def whole(self) -> bool:
        """Whether everything that arrived is buffered."""
        return bool(self.pieces) or not self.size

    def add(self, data: Data) -> None:
        """Buffer a piece that was not sent yet, whatever its size: one read bounds it."""
        self.pieces.append(bytes(data))
        if len(self.pieces) > MAX_PIECES:  # a piece may be a byte, and each costs its object
            self.pieces = [b"".join(self.pieces)]
        self.size += len(data)

    def add_sent(self, data: Data) -> None:
        """Buffer a piece that was sent, unless the body exceeds the limit."""
        if self.whole:
            self.add(data)
            self.trim()

    def trim(self) -> None:
        """Drop a body that exceeds the limit, once it was sent."""
        if self.size > REPLAY_BYTES:
            self.pieces.clear()
