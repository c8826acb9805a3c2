"""Work is bounded like bytes: what one turn costs for the worst input of each parser grows no faster than the input.

To add a row: write a function that takes a size and returns the work as a function without arguments, and put it into
`ROWS` with a quarter of the most that one turn may be given. What is made outside the returned function, such as the
input and the parser, is not measured, and is made anew each time, so that nothing is remembered from the time before.

Measured is the processor time of this thread, the least of several: what else the machine does adds to some, not to
all. Work that is linear takes four times as long for four times the size, quadratic work sixteen times; the bar is
between the two.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from proxy.wire.chunked import ChunkedReader, ChunkError
from proxy.wire.http1 import RequestParser
from proxy.wire.http1_response import ResponseParser

Work = Callable[[], object]

TIMES: Final = 5
"""Measurements of which the least counts; as many again while a row fails, up to `PATIENCE` times."""
PATIENCE: Final = 4
GROWTH: Final = 2.0
"""How many times the growth of the size the growth of the work may be."""
FLOOR: Final = 100e-6
"""Seconds of processor time that are none: what is quicker is not looked at."""
TURN: Final = 2e-3
"""Seconds of processor time that the worst input may take of one turn, for an input four times the row's size."""
SLACK: Final = 4.0
"""How much slower than the machine for which `TURN` was set another may be."""
HOPELESS: Final = 0.25
"""Seconds after which nothing is measured again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A parser, and the worst that is known for it.

    Attributes:
        row: what is special about it; unique.
        prepare: makes the input of a size, and the work on it.
        size: the smallest of the three sizes, in bytes unless `prepare` says otherwise; a turn gets four times as
            much at most.
        turn: seconds that four times the size may take; more than `TURN` where the row says why.
    """

    row: str
    prepare: Callable[[int], Work]
    size: int
    turn: float = TURN


def measure(row: Row, size: int) -> float:
    """The least processor time, of several, of the work of a size; of one where it is beyond all hope."""
    best = math.inf
    for _ in range(TIMES):
        work = row.prepare(size)
        begin = time.thread_time()
        work()
        best = min(best, time.thread_time() - begin)
        if best > HOPELESS:
            break
    return best


def read_chunks(data: bytes) -> Work:
    """A chunked body, in one piece."""
    reader = ChunkedReader(keep_trailers=True)

    def work() -> None:
        try:
            reader.feed(memoryview(data), [])
        except ChunkError:
            pass

    return work


def feed_request(data: bytes, *, piece: int = 1 << 20) -> Work:
    """Bytes of a client, in pieces of some size."""
    parser = RequestParser(header_bytes=64 * 1024, headers=100)
    pieces = [data[place : place + piece] for place in range(0, len(data), piece)]

    def work() -> None:
        for piece in pieces:
            if parser.error is None:
                parser.feed(piece)

    return work


def feed_response(data: bytes, *, piece: int = 1 << 20) -> Work:
    """Bytes of a backend, in pieces of some size."""
    parser = ResponseParser()
    parser.expect(no_body=False)
    pieces = [data[place : place + piece] for place in range(0, len(data), piece)]

    def work() -> None:
        for piece in pieces:
            if parser.error is None:
                parser.feed(piece)

    return work


def request_with(line: bytes) -> bytes:
    """A request with one line more."""
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n"


def filled(unit: bytes, size: int) -> bytes:
    """A unit again and again."""
    return unit * (size // len(unit) + 1)


ROWS: Final = [
    # Chunked bodies: at most a line of 4 KiB, or a read of 64 KiB from a backend.
    Row(row="trailer of spaces", prepare=lambda n: read_chunks(b"0\r\na:" + b" " * n + b"\x01\r\n\r\n"), size=1000),
    Row(row="trailer, spaces inside", prepare=lambda n: read_chunks(b"0\r\na:x" + b" " * n + b"y\r\n\r\n"), size=1000),
    Row(row="extension of spaces", prepare=lambda n: read_chunks(b"1;a" + b" " * n + b"x\r\n"), size=1000),
    Row(row="extensions, last bad", prepare=lambda n: read_chunks(b"1" + filled(b";a=b", n) + b"\x01\r\n"), size=1000),
    Row(row="extension, open quote", prepare=lambda n: read_chunks(b'1;a="' + filled(b"\\x", n) + b"\r\n"), size=1000),
    # Heads: 64 KiB at most.
    Row(
        row="Transfer-Encoding of spaces",
        prepare=lambda n: feed_request(request_with(b"Transfer-Encoding: x" + b" " * n + b"y")),
        size=16_000,
    ),
    Row(
        row="Transfer-Encoding, a long list",
        prepare=lambda n: feed_request(request_with(b"Transfer-Encoding: " + filled(b"a, ", n) + b"b")),
        size=16_000,
    ),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.row)
def test_the_worst_input_costs_what_its_size_says(row: Row) -> None:
    """Four times as much takes at most eight times as long, and never longer than a turn may."""
    sizes = (row.size, 2 * row.size, 4 * row.size)
    best = dict.fromkeys(sizes, math.inf)
    trouble = ""
    gc.disable()
    try:
        for _ in range(PATIENCE):
            for size in sizes:
                best[size] = min(best[size], measure(row, size))
                trouble = judge(row, size, best)
                if trouble:
                    break
            if not trouble or best[size] > HOPELESS:
                break
    finally:
        gc.enable()
    figures = ", ".join(f"{size}: {seconds * 1000:.2f} ms" for size, seconds in best.items())
    assert not trouble, f"{trouble}; {figures}"


def judge(row: Row, size: int, best: dict[int, float]) -> str:
    """What is wrong with the time of a size; nothing, when nothing is."""
    if best[size] > GROWTH * size / row.size * best[row.size] + FLOOR:
        return "it grows faster than its input"
    if best[size] > SLACK * row.turn:
        return f"it takes longer than {SLACK * row.turn * 1000:g} ms"
    return ""


def test_every_row_has_a_name_of_its_own() -> None:
    """So that a failure says which."""
    assert len({row.row for row in ROWS}) == len(ROWS)
