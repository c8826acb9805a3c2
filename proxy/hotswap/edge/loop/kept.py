"""Send buffer: a queue of bytes that the other side has not taken yet.

Small pieces are joined as they come: however many they are, they cost as much memory and as few system calls as the
same bytes in one piece.
"""

from __future__ import annotations

from typing import Final

JOINED_BYTES: Final = 64 * 1024
"""Pieces are joined up to so many bytes; larger ones are kept each by itself."""


class Kept:
    """Queue of bytes, first in, first out.

    Attributes:
        pieces: what is in it, for a call that gathers; few, since any two neighbours are more than `JOINED_BYTES`,
            unless the first of them is the rest of a piece.
        size: bytes in all.
    """

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytearray | memoryview] = []
        self.size = 0

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """Append a copy of some bytes."""
        self.size += len(data)
        pieces = self.pieces
        if pieces:
            last = pieces[-1]
            if type(last) is bytearray and len(last) + len(data) <= JOINED_BYTES:
                last += data
                return
        pieces.append(bytearray(data))

    def first(self, limit: int) -> memoryview:
        """A view of up to so many bytes from the front; release it before anything is added."""
        return memoryview(self.pieces[0])[:limit]

    def drop(self, count: int) -> None:
        """Remove so many bytes from the front."""
        self.size -= count
        pieces = self.pieces
        gone = 0
        while count:
            size = len(pieces[gone])
            if count < size:
                pieces[gone] = memoryview(pieces[gone])[count:]
                break
            count -= size
            gone += 1
        del pieces[:gone]

    def clear(self) -> None:
        """Remove everything."""
        self.pieces.clear()
        self.size = 0
