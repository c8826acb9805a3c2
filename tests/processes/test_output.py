"""What a backend writes."""

from __future__ import annotations

import os
from collections import deque

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from hotswap.processes.output import (
    LINES_A_TURN,
    MAX_LINE_BYTES,
    MAX_LINES_A_SECOND,
    TAIL_LINES,
    LineSplitter,
    OutputRelay,
)


@given(st.lists(st.binary(max_size=40), max_size=20), st.binary(max_size=40))
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines, rest):
    """Whole, byte by byte: the same lines come out."""
    data = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines) + rest
    whole, bytewise = LineSplitter(), LineSplitter()
    expected = whole.feed(data) + whole.flush()
    found = [line for byte in data for line in bytewise.feed(bytes([byte]))] + bytewise.flush()
    assert found == expected
    assert len(expected) == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


@given(st.binary(max_size=300))
def test_no_line_can_move_a_terminal(data):
    """Whatever the bytes, what is passed on has no control characters but tab."""
    splitter = LineSplitter()
    for line in splitter.feed(data) + splitter.flush():
        assert all(character == "\t" or not (ord(character) < 32 or 127 <= ord(character) < 160) for character in line)


def test_a_long_line_is_cut_and_says_so():
    """The line keeps its beginning, and what follows it is a line of its own."""
    first, second = LineSplitter().feed(b"a" * (MAX_LINE_BYTES + 7) + b"\nb\n")
    assert first == "a" * MAX_LINE_BYTES + " … [7 bytes cut]"
    assert second == "b"


def test_a_line_without_end_does_not_fill_memory():
    """However long it goes on, one line's worth is held."""
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 65536) == []
    (line,) = splitter.feed(b"\n")
    assert len(line) < MAX_LINE_BYTES + 50


def test_bytes_that_are_no_text_are_written_as_escapes():
    """Invalid UTF-8 and escape sequences stay readable and harmless."""
    assert LineSplitter().feed(b"\xff\x1b[31mred\x07 caf\xc3\xa9\r\n") == ["\\xff\\x1b[31mred\\x07 café"]


@given(st.lists(st.binary(max_size=5), max_size=200))
def test_skipping_keeps_the_last_lines(pieces):
    """`skip` counts every line and gives the last of those that `feed` would give."""
    data = b"\n".join(pieces)
    count, last = LineSplitter().skip(data, keep=10)
    every = LineSplitter().feed(data)
    assert count == len(every)
    assert last == every[-10:]


@pytest.fixture
def pipe():
    """A pipe: the reading end is the test's to close, the writing end is closed here if it still is open."""
    reading, writing = os.pipe()
    end = os.fdopen(writing, "wb", buffering=0)
    yield reading, end
    end.close()


async def test_everything_is_relayed_up_to_the_last_byte(pipe):
    """What stands behind the last line end is a line too."""
    reading, end = pipe
    seen: list[str] = []
    relay = OutputRelay(reading, seen.append)
    end.write(b"one\ntwo")
    end.close()
    await relay.serve()
    relay.close()
    assert seen == ["one", "two"]
    assert tuple(relay.tail) == ("one", "two")


async def test_the_tail_keeps_the_last_lines_in_order(pipe):
    """The oldest line goes first, and those that were kept elsewhere before them."""
    reading, end = pipe
    relay = OutputRelay(reading, lambda line: None, tail=deque(("-2", "-1"), maxlen=TAIL_LINES))
    end.write(b"".join(b"%d\n" % number for number in range(TAIL_LINES - 1)))
    end.close()
    await relay.serve()
    relay.close()
    assert tuple(relay.tail) == ("-1", *(str(number) for number in range(TAIL_LINES - 1)))


async def test_a_sink_that_raises_does_not_stop_the_relay(pipe):
    """Every line is read, and kept in the tail."""
    reading, end = pipe

    def sink(line):
        raise ValueError(line)

    relay = OutputRelay(reading, sink)
    end.write(b"one\ntwo\n")
    end.close()
    await relay.serve()
    relay.close()
    assert tuple(relay.tail) == ("one", "two")


async def test_a_cancelled_relay_can_go_on(pipe):
    """Half a line that was read before the cancellation is not lost."""
    reading, end = pipe
    seen: list[str] = []
    relay = OutputRelay(reading, seen.append)
    end.write(b"first\nhal")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.serve)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    end.write(b"f\n")
    end.close()
    await relay.serve()
    relay.close()
    assert seen == ["first", "half"]


async def test_a_flood_is_dropped_and_told_while_its_writer_goes_on(pipe):
    """A writer of a million lines is read to its end; a bounded number is passed on, the rest is counted."""
    reading, end = pipe
    total = 1_000_000
    seen: list[str] = []
    relay = OutputRelay(reading, seen.append)

    def flood() -> None:
        for start in range(0, total, 10_000):
            end.write(b"".join(b"line %d\n" % number for number in range(start, start + 10_000)))
        end.close()

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.serve)
        await trio.to_thread.run_sync(flood)
    seconds = trio.current_time() - began
    relay.close()
    assert relay.tail[-1] == f"line {total - 1}"
    shown = [line for line in seen if line.startswith("line")]
    dropped = sum(int(line.split()[0].removeprefix("[")) for line in seen if line.startswith("["))
    assert len(shown) + dropped == total
    assert len(shown) <= MAX_LINES_A_SECOND * (seconds + 1)


async def test_others_have_their_turn_among_many_lines(pipe):
    """Each line is a record of the log; a read may bring thousands. Who is cancelled among them loses none."""
    reading, end = pipe
    seen: list[str] = []
    relay = OutputRelay(reading, seen.append)
    end.write(b"x\n" * 1000)
    end.close()
    most = before = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.serve)
        while len(seen) < 500:
            await trio.lowlevel.checkpoint()
            most, before = max(most, len(seen) - before), len(seen)
        nursery.cancel_scope.cancel()
    assert most <= 2 * LINES_A_TURN  # of two turns that follow each other
    relay.close()
    assert seen == ["x"] * 1000
