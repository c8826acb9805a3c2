"""Body that waits between a source and a sink of different speeds: in memory while it is short, else in a file.

What is in it is read in the order in which it came: first what the file has, then what is on its way there, then what
is in memory. The file itself is another's affair (`SpoolStore`), which may take its time: meanwhile the source has to
stop, so that no more than `MEMORY_BYTES` and one piece wait in memory, and as many are being written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from hotswap.core.http.spool_room import MEMORY_BYTES, SpoolRoom

TAKEN_BYTES: Final = 64 * 1024
"""Taken at a time."""


class SpoolStore(Protocol):
    """The file of a spool, with at most one write and one read under way."""

    def write(self, data: bytes | bytearray, at: int) -> None:
        """Begin to write; `Spool.on_written` follows, or `Spool.on_write_failed`, but not within this call."""

    def read(self, at: int, count: int) -> bytes | None:
        """Read what was written.

        Returns:
            Some of it, or None if it has to be fetched: `Spool.on_read` follows, or `Spool.on_read_failed`.

        Raises:
            OSError: it cannot be read.
        """

    def close(self) -> None:
        """Let go of the file; nothing follows any more. Called once."""


class Spool:
    """Bytes of one body.

    `full` says that there is no room in the file, until what is in it has been read; `error` that what was in it is
    lost. `left` are the bytes that have not been taken.
    """

    __slots__ = (
        "_ahead",
        "_changed",
        "_closed",
        "_fetching",
        "_keeps",
        "_memory",
        "_memory_place",
        "_place",
        "_reserved",
        "_room",
        "_store",
        "_told_full",
        "_writing",
        "_written",
        "error",
        "full",
        "left",
        "size",
    )

    def __init__(self, room: SpoolRoom, store: SpoolStore, changed: Callable[[], None], *, keeps: bool = False) -> None:
        """Make an empty one.

        Args:
            room: what it may take.
            store: its file.
            changed: called when the file has done something: look at everything anew.
            keeps: what was taken stays and can be taken again (`rewind`), until `let_go`.
        """
        self._room = room
        self._store = store
        self._changed: Callable[[], None] | None = changed
        self._keeps = keeps
        self._memory = bytearray()  # what has come last
        self._memory_place = 0
        self._writing: bytearray | None = None  # what came before that
        self._written = 0  # what came first, in the file from 0
        self._place = 0  # of what is to be taken next, in the file
        self._reserved = 0
        self._fetching = -1  # the place in the file from which something is being read
        self._ahead = b""  # what was
        self._closed = False
        self._told_full = False
        self.error: OSError | None = None
        self.full = False
        self.left = 0
        self.size = 0

    # The source.

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """Append a copy of some bytes; see `saturated`."""
        self._memory += data
        size = len(data)
        self._room.memory += size
        self.left += size
        self.size += size
        self._overflow()

    @property
    def saturated(self) -> bool:
        """Whether the source has to stop, until a `changed` or a `take` has made room."""
        return self._writing is not None or len(self._memory) > MEMORY_BYTES

    @property
    def in_memory(self) -> bool:
        """Whether all of it is in memory."""
        return not self._written and self._writing is None

    @property
    def writing(self) -> bool:
        """Whether some of it is on its way to the file."""
        return self._writing is not None

    def _overflow(self) -> None:
        memory = self._memory
        if self.full or self._closed or self._writing is not None or len(memory) <= self._room.memory_for_one:
            return
        more = max(0, self._written + len(memory) - self._reserved)
        if not self._room.reserve(more):
            self._find_full("the limit is reached")
            return
        self._reserved += more
        self._writing, self._memory = memory, bytearray()
        self._store.write(memory, self._written)

    def _find_full(self, why: str) -> None:
        self.full = True
        if not self._told_full:
            self._told_full = True
            self._room.note_full(why)

    # The sink.

    def take(self) -> bytes:
        """Take the next bytes; none if there are none now, and if some are `left`, `changed` follows."""
        if self._closed or self.error is not None:
            return b""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            self._place += len(data)
        elif self._place < self._written:
            data = self._read()
        elif self._writing is not None:
            return b""
        elif self._keeps:
            place = self._memory_place
            data = bytes(self._memory[place : place + TAKEN_BYTES])
            self._memory_place = place + len(data)
        else:
            data = bytes(self._memory[:TAKEN_BYTES])
            del self._memory[:TAKEN_BYTES]
            self._room.memory -= len(data)
        self.left -= len(data)
        if not self._keeps and self._written and self._place == self._written and self._writing is None:
            self._written = self._place = 0  # from its beginning again, in the room that it has
            self.full = False
        return data

    def _read(self) -> bytes:
        if self._fetching >= 0:
            return b""
        try:
            data = self._store.read(self._place, min(TAKEN_BYTES, self._written - self._place))
        except OSError as error:
            self.error = error
            return b""
        if data is None:
            self._fetching = self._place
            return b""
        self._place += len(data)
        return data

    @property
    def replayable(self) -> bool:
        """Whether all of it can be taken, again or for the first time."""
        return self.error is None and (self._keeps or self.left == self.size)

    def rewind(self) -> None:
        """Have all of it taken again, which is `replayable`."""
        self._place = self._memory_place = 0
        self._ahead = b""
        self.left = self.size

    def let_go(self) -> None:
        """Keep nothing any more that has been taken."""
        if self._keeps:
            self._keeps = False
            del self._memory[: self._memory_place]
            self._room.memory -= self._memory_place
            self._memory_place = 0

    def take_all(self) -> bytes:
        """Take what is in it at once, if it is all `in_memory`."""
        data = bytes(self._memory)
        self._room.memory -= len(data)
        self._memory.clear()
        self.left = 0
        return data

    def close(self) -> None:
        """Discard everything; idempotent. Nothing is called any more."""
        if self._closed:
            return
        self._closed = True
        self._changed = None
        self._room.memory -= len(self._memory) + len(self._writing or b"")
        self._room.give_back(self._reserved)
        self._memory = bytearray()
        self._writing = None
        self._ahead = b""
        self.left = self._reserved = 0
        self._store.close()

    # The file.

    def on_written(self) -> None:
        """What was to be written is in the file."""
        writing = self._writing
        if writing is None:
            return
        self._writing = None
        self._written += len(writing)
        self._room.memory -= len(writing)
        self._overflow()
        self._change()

    def on_write_failed(self, error: OSError) -> None:
        """It is not: what was to be written stays in memory."""
        writing = self._writing
        if writing is None:
            return
        self._writing = None
        writing += self._memory
        self._memory = writing
        unused = self._reserved - self._written
        self._reserved = self._written
        self._room.give_back(unused)
        self._find_full(error.strerror or str(error))
        self._change()

    def on_read(self, data: bytes) -> None:
        """What was to be fetched is here."""
        if self._fetching == self._place and not self._ahead:
            self._ahead = data
        self._fetching = -1  # or it was for one that is over
        self._change()

    def on_read_failed(self, error: OSError) -> None:
        """What was in the file cannot be read."""
        self._fetching = -1
        self.error = error
        self._change()

    def _change(self) -> None:
        if self._changed is not None:
            self._changed()
