"""Room for the bodies of one pool that wait in memory or in files: how much there may be, and how much there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MEMORY_BYTES: Final = 64 * 1024
"""Of one body, that wait in memory; what is beyond goes to a file."""
SHARED_MEMORY_BYTES: Final = 64 * 1024 * 1024
"""Of all bodies of a pool, that wait in memory before each has to do with `SCARCE_BYTES`."""
SCARCE_BYTES: Final = 4 * 1024


class SpoolRoom:
    """Bytes that the bodies of a pool take.

    `filed` are those in files, at most `limit`; `memory` those in memory. `on_full` is told why a body found no room.
    """

    __slots__ = ("_on_full", "filed", "limit", "memory")

    def __init__(self, limit: int, on_full: Callable[[str], None]) -> None:
        self.limit = limit
        self.filed = 0
        self.memory = 0
        self._on_full = on_full

    @property
    def memory_for_one(self) -> int:
        """Bytes above which a body goes to its file."""
        return MEMORY_BYTES if self.memory <= SHARED_MEMORY_BYTES else SCARCE_BYTES

    def reserve(self, size: int) -> bool:
        """Take room in files, if there is so much."""
        if self.filed + size > self.limit:
            return False
        self.filed += size
        return True

    def give_back(self, size: int) -> None:
        """Return room in files."""
        self.filed -= size

    def note_full(self, why: str) -> None:
        """A body has found no room in files."""
        self._on_full(why)
