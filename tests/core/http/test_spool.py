"""Bodies between a source and a sink: whatever their speeds, what comes out is what came in, and both have limits."""

from __future__ import annotations

import errno

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hotswap.core.http.spool import TAKEN_BYTES, Spool
from hotswap.core.http.spool_room import MEMORY_BYTES, SpoolRoom


class SlowStore:
    """A file whose calls end when a test says so."""

    def __init__(self) -> None:
        self.spool: Spool
        self.data = bytearray()
        self.writing: tuple[bytes, int] | None = None
        self.reading: tuple[int, int] | None = None
        self.cached = True
        self.unreadable = False
        self.closed = 0

    def write(self, data: bytes | bytearray, at: int) -> None:
        """Begin."""
        assert self.writing is None, "one at a time"
        assert at <= len(self.data), "no holes"
        self.writing = bytes(data), at

    def read(self, at: int, count: int) -> bytes | None:
        """Now, or later."""
        assert 0 < count <= len(self.data) - at
        if self.unreadable:
            raise OSError(errno.EIO, "broken")
        if self.cached:
            return bytes(self.data[at : at + count])
        assert self.reading is None, "one at a time"
        self.reading = at, count
        return None

    def close(self) -> None:
        """Count it."""
        self.closed += 1

    def end_write(self, *, fails: bool = False) -> None:
        """What was begun is done, or has failed after half of it."""
        if self.writing is None:
            return
        (data, at), self.writing = self.writing, None
        if fails:
            data = data[: len(data) // 2]
        self.data[at : at + len(data)] = data
        if fails:
            self.spool.on_write_failed(OSError(errno.ENOSPC, "No space left on device"))
        else:
            self.spool.on_written()

    def end_read(self) -> None:
        """What was asked for is here."""
        if self.reading is not None:
            (at, count), self.reading = self.reading, None
            self.spool.on_read(bytes(self.data[at : at + count]))


class Bench:
    """A spool with its store and its room."""

    def __init__(self, *, keeps: bool = False, limit: int = 1 << 40) -> None:
        self.full: list[str] = []
        self.changes = 0
        self.room = SpoolRoom(limit, self.full.append)
        self.store = SlowStore()
        self.spool = self.store.spool = Spool(self.room, self.store, self._note, keeps=keeps)

    def _note(self) -> None:
        self.changes += 1

    def stops(self) -> bool:
        """Whether the source has to stop."""
        return self.spool.saturated

    def is_full(self) -> bool:
        """Whether there is no room in the file."""
        return self.spool.full

    def take_all(self) -> bytes:
        """Whatever can be had now."""
        data = b""
        while piece := self.spool.take():
            data += piece
        return data


def letters(size: int, first: int = 0) -> bytes:
    """Bytes that tell their place."""
    return bytes((first + place * 7) % 251 for place in range(size))


def test_what_is_short_never_meets_the_file():
    """64 KiB are short."""
    bench = Bench()
    bench.spool.add(letters(MEMORY_BYTES))
    assert bench.store.writing is None
    assert bench.spool.in_memory
    assert not bench.stops()
    assert bench.take_all() == letters(MEMORY_BYTES)


def test_the_source_stops_while_something_is_written():
    """And goes on afterwards, when the owner is told."""
    bench = Bench()
    bench.spool.add(letters(MEMORY_BYTES + 1))
    assert bench.stops()
    assert bench.take_all() == b""
    bench.store.end_write()
    assert not bench.stops()
    assert bench.changes == 1
    assert bench.room.memory == 0
    assert bench.take_all() == letters(MEMORY_BYTES + 1)


def test_what_was_read_is_taken_again_after_a_rewind():
    """From the file and from memory, while it keeps what was taken."""
    bench = Bench(keeps=True)
    bench.spool.add(letters(100_000))
    bench.store.end_write()
    bench.spool.add(b"end")
    for _ in range(2):
        assert bench.take_all() == letters(100_000) + b"end"
        assert bench.spool.left == 0
        assert bench.spool.replayable
        bench.spool.rewind()
    bench.spool.let_go()
    assert bench.spool.replayable
    assert bench.take_all() == letters(100_000) + b"end"
    assert not bench.spool.replayable


def test_a_read_that_is_over_does_not_answer_the_next():
    """A retry begins while something is being fetched for the attempt before."""
    bench = Bench(keeps=True)
    bench.spool.add(letters(200_000))
    bench.store.end_write()
    assert bench.spool.take() == letters(200_000)[:TAKEN_BYTES]
    bench.store.cached = False
    assert bench.spool.take() == b""
    bench.spool.rewind()
    assert bench.spool.take() == b""
    bench.store.end_read()
    bench.store.cached = True
    assert bench.take_all() == letters(200_000)


def test_a_limit_is_kept_and_told_once():
    """What is beyond stays in memory, and the source stops there."""
    bench = Bench(limit=100_000)
    bench.spool.add(letters(90_000))
    bench.store.end_write()
    bench.spool.add(letters(MEMORY_BYTES + 1))
    assert bench.is_full()
    assert bench.stops()
    assert bench.full == ["the limit is reached"]
    bench.spool.add(b"more")
    assert bench.full == ["the limit is reached"]
    assert bench.take_all() == letters(90_000) + letters(MEMORY_BYTES + 1) + b"more"
    assert not bench.is_full(), "the file is free again"
    bench.spool.add(letters(90_000))
    assert bench.store.writing is not None
    assert bench.room.filed == 90_000, "in the same place"


def test_what_cannot_be_written_is_not_lost():
    """A full disk is as good as a limit."""
    bench = Bench()
    bench.spool.add(letters(90_000))
    bench.store.end_write()
    bench.spool.add(letters(80_000, 5))
    bench.spool.add(b"more")
    bench.store.end_write(fails=True)
    assert bench.full == ["No space left on device"]
    assert bench.room.filed == 90_000
    assert bench.take_all() == letters(90_000) + letters(80_000, 5) + b"more"


@pytest.mark.parametrize("later", [False, True])
def test_what_cannot_be_read_is_an_error(later):
    """Nobody is given something else in its place."""
    bench = Bench()
    bench.spool.add(letters(90_000))
    bench.store.end_write()
    if later:
        bench.store.cached = False
        assert bench.spool.take() == b""
        bench.spool.on_read_failed(OSError(errno.EIO, "broken"))
    else:
        bench.store.unreadable = True
        assert bench.spool.take() == b""
    assert bench.spool.error is not None
    assert bench.spool.take() == b""
    assert not bench.spool.replayable


@pytest.mark.parametrize("writing", [False, True])
def test_a_closed_one_gives_everything_back(writing):
    """Whatever is under way, and once."""
    bench = Bench()
    bench.spool.add(letters(90_000))
    if not writing:
        bench.store.end_write()
        bench.spool.add(b"more")
    bench.spool.close()
    bench.spool.close()
    assert bench.room.filed == bench.room.memory == 0
    assert bench.store.closed == 1
    changes = bench.changes
    bench.store.end_write()
    assert bench.changes == changes
    assert bench.spool.take() == b""


class SpoolModel(RuleBasedStateMachine):
    """A spool beside the bytes that went in: who is slow, and when, is anybody's guess."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(limit=400_000)
        self.sent = 0
        self.taken = 0

    @precondition(lambda self: not self.bench.spool.saturated)
    @rule(size=st.one_of(st.integers(1, 300), st.integers(1, 200_000)))
    def add(self, size: int) -> None:
        """The source gives a piece when it may."""
        self.bench.spool.add(letters(size, self.sent * 7 % 251))
        self.sent += size

    @rule()
    def take(self) -> None:
        """The sink takes one."""
        data = self.bench.spool.take()
        assert data == letters(len(data), self.taken * 7 % 251)
        self.taken += len(data)

    @rule(fails=st.booleans())
    def end_write(self, fails: bool) -> None:
        """The disk has done something."""
        self.bench.store.end_write(fails=fails)

    @rule()
    def end_read(self) -> None:
        """The disk has found something."""
        self.bench.store.end_read()

    @rule(cached=st.booleans())
    def cache(self, cached: bool) -> None:
        """What is read is in memory, or no more."""
        self.bench.store.cached = cached

    @invariant()
    def nothing_is_lost(self) -> None:
        """Nor doubled."""
        assert self.bench.spool.left == self.sent - self.taken

    @invariant()
    def limits_hold(self) -> None:
        """In memory one buffer and one piece, and another one that is being written; in files the pool's limit."""
        assert self.bench.room.filed <= 400_000
        assert 0 <= self.bench.room.memory <= 2 * (MEMORY_BYTES + 200_000)

    @invariant()
    def it_cannot_hang(self) -> None:
        """Whoever waits has something to wait for."""
        spool, store = self.bench.spool, self.bench.store
        if spool.saturated and store.writing is None:
            assert spool.left > 0, "the sink can take something, and the source goes on then"

    def teardown(self) -> None:
        """In the end all of it can be had, and nothing is left."""
        store, spool = self.bench.store, self.bench.spool
        while self.taken < self.sent:
            store.end_write()
            store.end_read()
            self.take()
        spool.close()
        assert self.bench.room.filed == self.bench.room.memory == 0


TestSpoolModel = SpoolModel.TestCase
