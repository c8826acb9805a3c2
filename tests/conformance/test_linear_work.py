"""Work is bounded like bytes: what one turn costs for the worst input of each parser grows no faster than the input.

To add a row: write a function that takes a size and returns the work as a function without arguments, and put it into
`ROWS` with a quarter of the most that one turn may be given. What is made outside the returned function, such as the
input and the parser, is not measured, and is made anew each time, so that nothing is remembered from the time before.

Measured is the processor time of this thread, the least of several: what else the machine does adds to some, not to
all. Work that is linear takes four times as long for four times the size, quadratic work sixteen times; the bar is
between the two.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from itertools import count
from typing import Final

import pytest
from hpack import Encoder
from hpack.exceptions import HPACKError
from hpack.hpack import encode_integer

from hotswap.core.config import RouteTable
from hotswap.core.errors import BadRequest
from hotswap.core.http.access_log import combined_line, json_line
from hotswap.core.http.forwarding import Peer, write_request
from hotswap.core.http.html_preference import prefers_html
from hotswap.core.http.messages import Field, RequestHead
from hotswap.core.http.routing import Router
from hotswap.core.printable import escape_controls
from hotswap.core.quantities import parse_duration, parse_size
from hotswap.edge.upstream.replay import Replay
from hotswap.processes.notification import parse_notification
from hotswap.processes.output import LineSplitter
from hotswap.wire.handover import HEAD_BYTES, FrameReader, FrameType, FrameWriter, HandoverBroken
from hotswap.wire.http1.chunked import ChunkedReader, ChunkError
from hotswap.wire.http1.request_parser import RequestParser
from hotswap.wire.http1.response_parser import ResponseParser
from hotswap.wire.http2.field_compression import FieldDecoder
from hotswap.wire.http2.fields import read_request
from hotswap.wire.proxy_protocol import ProxyProtocolError, parse_proxy_header
from hotswap.wire.websocket import FrameTracker

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


def refused_line(data: bytes) -> Work:
    """What is told of a head that was refused."""
    parser = RequestParser(header_bytes=64 * 1024, headers=100)
    parser.feed(data)
    return parser.refused_line


def refused_accept(data: bytes) -> Work:
    """What is found in a head that was refused, to choose its answer."""
    parser = RequestParser(header_bytes=64 * 1024, headers=100)
    parser.feed(data)
    return lambda: prefers_html(parser.refused_accept())


def proxy_header(data: bytes) -> Work:
    """The first bytes of a balancer."""

    def work() -> None:
        with contextlib.suppress(ProxyProtocolError):
            parse_proxy_header(data)

    return work


def read_block(block: bytes) -> Work:
    """A field block of HTTP/2."""
    decoder = FieldDecoder(64 * 1024)

    def work() -> None:
        with contextlib.suppress(HPACKError, IndexError):
            decoder.read(block)

    return work


def string(data: bytes) -> bytes:
    """A string of HPACK in codes, or with its first byte taken off its length in the place of one without."""
    return b"\xff" + encode_integer(len(data), 7)[1:] + data


def huffman(value: bytes) -> bytes:
    """A block with one field, in codes."""
    return Encoder().encode([(b"a", value)], huffman=True)


def read_fields(fields: list[Field]) -> Work:
    """Fields of a request of HTTP/2."""
    pseudo = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]

    def work() -> None:
        with contextlib.suppress(BadRequest):
            read_request([*pseudo, *fields], ended=True, max_fields=100)

    return work


def route(unit: bytes, size: int) -> Work:
    """A path, for several routes."""
    return partial(Router(ROUTES).match, b"a", b"/" + filled(unit, size))


def forward(name: str, unit: bytes, size: int) -> Work:
    """What a proxy that is trusted passes on of its client, read and written on."""
    peer = Peer(address="10.0.0.1", scheme=b"http", port=80, trusted=True, proxies=[ip_network("10.0.0.0/8")])
    head = RequestHead()
    head.method, head.target, head.host, head.lines = b"GET", b"/", b"a", []
    head.forwarded = [(name.lower().encode(), filled(unit, size))]

    def work() -> None:
        peer.client_of(head)
        write_request(head, peer, target=b"/", request_id=b"x")

    return work


def tell(unit: bytes, size: int) -> Work:
    """A query, as lines of both logs tell it."""
    target = b"/?" + filled(unit, size)

    def work() -> None:
        json_line(b"", "l", b"1.2.3.4", b"GET", b"a", target, 11, 200, 0, 0, 0.1)
        combined_line("", b"1.2.3.4", b"GET", b"/", 11, 200, 0, target, target)

    return work


def decode_frame(body: bytes) -> Work:
    """A frame of the other process, whose object is spoilt."""
    text = b'{"a":' + body + b"}"
    frame = FrameWriter().encode(FrameType.HELLO)
    packet = frame[: HEAD_BYTES - 4] + len(text).to_bytes(4, "big") + text

    def work() -> None:
        with contextlib.suppress(HandoverBroken):
            FrameReader().decode(packet)

    return work


def replay(size: int) -> Work:
    """A body of so many bytes, each by itself."""
    kept = Replay()

    def work() -> None:
        for _ in range(size):
            kept.add_sent(b"x")

    return work


def refused(parse: Callable[[str], object], text: str) -> Work:
    """A value of the configuration that is none."""

    def work() -> None:
        with contextlib.suppress(ValueError):
            parse(text)

    return work


OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
CHUNKED: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

FRESH: Final = count()
"""Numbers for what must not be remembered from the time before."""
ROUTES: Final = [
    RouteTable(pool="a"),
    RouteTable(path="/admin", pool="b"),
    RouteTable(path="/api", pool="c", strip_prefix=True),
    RouteTable(hosts=("*.example.org",), pool="d"),
]

ROWS: Final = [
    # Chunked bodies: at most a line of 4 KiB, or a read of 64 KiB from a backend.
    Row(row="trailer of spaces", prepare=lambda n: read_chunks(b"0\r\na:" + b" " * n + b"\x01\r\n\r\n"), size=1000),
    Row(row="trailer, spaces inside", prepare=lambda n: read_chunks(b"0\r\na:x" + b" " * n + b"y\r\n\r\n"), size=1000),
    Row(row="extension of spaces", prepare=lambda n: read_chunks(b"1;a" + b" " * n + b"x\r\n"), size=1000),
    Row(row="extensions, last bad", prepare=lambda n: read_chunks(b"1" + filled(b";a=b", n) + b"\x01\r\n"), size=1000),
    Row(row="extension, open quote", prepare=lambda n: read_chunks(b'1;a="' + filled(b"\\x", n) + b"\r\n"), size=1000),
    # Once for each response, before the reads are made shorter.
    Row(row="chunks of a byte", prepare=lambda n: read_chunks(filled(b"1\r\nx\r\n", n)), size=16_000, turn=8e-3),
    Row(
        row="chunks of a byte, extended",
        prepare=lambda n: read_chunks(filled(b"1;a=b\r\nx\r\n", n)),
        size=4000,
        turn=8e-3,
    ),
    Row(row="trailers, many", prepare=lambda n: read_chunks(b"0\r\n" + filled(b"a:\r\n", n)), size=16_000),
    Row(
        row="chunks, byte by byte",
        prepare=lambda n: feed_request(CHUNKED + b"1;a=" + b"b" * n, piece=1),
        size=1000,
        turn=20e-3,  # of as many turns
    ),
    # Heads: 64 KiB of a client, 256 KiB of a backend.
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
    Row(
        row="Connection, many members",
        prepare=lambda n: feed_request(request_with(b"Connection: " + filled(b"a,", n))),
        size=16_000,
    ),
    Row(
        row="Connection, many lines of many members",
        prepare=lambda n: feed_request(request_with(filled(b"Connection: " + b"a," * 300 + b"\r\n", n)[:-2])),
        size=16_000,
    ),
    Row(row="TE, many members", prepare=lambda n: feed_request(request_with(b"TE: " + filled(b"a,", n))), size=16_000),
    Row(
        row="Host of 64 KiB",
        prepare=lambda n: feed_request(b"GET / HTTP/1.1\r\nHost: " + b"%61" * (n // 3) + b"\r\n\r\n"),
        size=16_000,
    ),
    Row(
        row="Host that is nearly one",
        prepare=lambda n: feed_request(b"GET / HTTP/1.1\r\nHost: " + b"a" * n + b"/\r\n\r\n"),
        size=250,
    ),
    Row(
        row="target in absolute form",
        prepare=lambda n: feed_request(b"GET http://" + b"a" * n + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        size=16_000,
    ),
    Row(
        row="target of backslashes",
        prepare=lambda n: feed_request(b"GET /?" + b"\\" * n + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        size=16_000,
    ),
    Row(
        row="Accept, many ranges",
        prepare=lambda n: refused_accept(b"GET / HTTP/1.1\r\nAccept: " + filled(b"a/b;q=1,", n) + b"\r\n\x01"),
        size=16_000,
    ),
    Row(
        row="Accept, many parameters",
        prepare=lambda n: refused_accept(b"GET / HTTP/1.1\r\nAccept: a/b" + filled(b";q=x", n) + b"\r\n\x01"),
        size=16_000,
    ),
    Row(
        row="Accept, nearly",
        prepare=lambda n: refused_accept(b"GET / HTTP/1.1\r\n" + filled(b"\naccept", n) + b"\r\n\x01"),
        size=16_000,
    ),
    Row(row="request line of spaces", prepare=lambda n: refused_line(b"GET " + b" " * n), size=16_000),
    Row(
        row="empty lines before a request",
        prepare=lambda n: feed_request(filled(b"\r\n", n) + request_with(b"a:")),
        size=4000,
    ),
    Row(row="one field of 64 KiB", prepare=lambda n: feed_request(request_with(b"a: " + b"b" * n)), size=16_000),
    Row(row="lines, too many", prepare=lambda n: feed_request(request_with(filled(b"a:\r\n", n) + b"a:")), size=16_000),
    Row(
        row="a nominated field among a hundred",
        prepare=lambda n: feed_request(
            request_with(b"Connection: a\r\n" + b"\r\n".join([b"b:" + b"c" * (n // 98)] * 98))
        ),
        size=16_000,
    ),
    Row(
        row="a head, byte by byte",
        prepare=lambda n: feed_request(request_with(b"a: " + b"b" * n), piece=1),
        size=4000,
        turn=40e-3,  # of as many turns
    ),
    Row(
        row="requests in one read",
        prepare=lambda n: feed_request(filled(b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", n)),
        size=4000,
        turn=5e-3,
    ),
    Row(
        row="response's head of 256 KiB",
        prepare=lambda n: feed_response(OK + b"a: " + b"b" * n + b"\r\n\r\n"),
        size=62_000,
    ),
    Row(
        row="response's fields, a thousand",
        prepare=lambda n: feed_response(OK + b"".join(b"x-%d: %d\r\n" % (i, i) for i in range(n // 256)) + b"\r\n"),
        size=62_000,
    ),
    Row(
        row="response's Connection",
        prepare=lambda n: feed_response(OK + b"Connection: " + filled(b"a,", n) + b"\r\n\r\n"),
        size=62_000,
    ),
    Row(
        row="response's head, byte by byte",
        prepare=lambda n: feed_response(OK + b"a: " + b"b" * n + b"\r\n\r\n", piece=1),
        size=8000,
        turn=60e-3,  # of as many turns
    ),
    Row(
        row="reason of spaces",
        prepare=lambda n: feed_response(b"HTTP/1.1 200 " + b" " * n + b"\x01\r\n\r\n"),
        size=62_000,
    ),
    # What comes before HTTP, and after it.
    Row(row="PROXY header", prepare=lambda n: proxy_header(b"PROXY TCP4 " + b"1" * n + b" 1 1 1\r\n"), size=24),
    Row(
        row="WebSocket frames without payload",
        prepare=lambda n: partial(FrameTracker().follow, filled(b"\x81\x00", n)),
        size=1000,
    ),
    Row(
        row="WebSocket frames of a byte, masked",
        prepare=lambda n: partial(FrameTracker().follow, filled(b"\x81\x81abcdx", n)),
        size=4000,
    ),
    Row(row="a body in small pieces, to be sent again", prepare=lambda n: replay(n), size=16_000, turn=30e-3),
    # Heads of HTTP/2.
    Row(row="HPACK, sizes of the table", prepare=lambda n: read_block(b"\x20" * n), size=32_000),
    Row(
        row="HPACK, a value in the shortest codes",
        prepare=lambda n: read_block(huffman(b"0" * n)),
        size=16_000,
        turn=6e-3,
    ),
    Row(
        row="HPACK, a value in the longest codes",
        prepare=lambda n: read_block(b"\x00\x01a" + string(bytes.fromhex("ffffffec") * (n // 4))),
        size=16_000,
        turn=10e-3,
    ),
    Row(row="HPACK, many literals", prepare=lambda n: read_block(filled(b"\x00\x01a\x01b", n)), size=16_000),
    Row(
        row="HPACK, many insertions", prepare=lambda n: read_block(filled(b"\x40\x01a\x01b", n)), size=16_000, turn=4e-3
    ),
    Row(
        row="HPACK, literals before a long one",
        prepare=lambda n: read_block(b"\x00\x01a\x01b" * (n // 80) + b"\x00\x01a" + string(b"x" * (n // 2))[1:]),
        size=16_000,
    ),
    Row(row="HPACK, references", prepare=lambda n: read_block(b"\x82" * n), size=16_000),
    Row(row="HPACK, a number without end", prepare=lambda n: read_block(b"\xff" + b"\x80" * n), size=16_000),
    Row(row="HTTP/2, split cookies", prepare=lambda n: read_fields([(b"cookie", b"a")] * (n // 40)), size=16_000),
    Row(row="HTTP/2, a value of spaces", prepare=lambda n: read_fields([(b"a", b" " * n)]), size=16_000),
    Row(row="HTTP/2, a long name", prepare=lambda n: read_fields([(b"a" * n + b":", b"b")]), size=16_000),
    # What is made of a head: where it goes, who sent it, what is told of it.
    *(
        Row(row=f"a path of {unit!r}", prepare=partial(route, unit), size=16_000, turn=6e-3)
        for unit in (b"a", b"/", b"/..", b"/a;", b"%61", b"%2f", b"%2f..;/", b"%5c../;a//.%2e/")
    ),
    Row(row="a host of dots", prepare=lambda n: partial(Router(ROUTES).match, b"a." * (n // 2), b"/"), size=250),
    *(
        Row(row=f"{name} of {unit!r}", prepare=partial(forward, name, unit), size=16_000)
        for name, unit in (
            ("X-Forwarded-For", b"10.0.0.2, "),
            ("X-Forwarded-For", b","),
            ("X-Forwarded-For", b"["),
            ("X-Forwarded-Host", b","),
            ("X-Forwarded-Other", b"a"),
            ("Forwarded", b"for=10.0.0.2,"),
            ("Forwarded", b"; "),
            ("Forwarded", b'"'),
            ("Forwarded", b'\\"'),
        )
    ),
    *(
        Row(row=f"a query of {unit!r}", prepare=partial(tell, unit), size=16_000, turn=4e-3)
        for unit in (b"a", b"&", b"&_", b"&token=a", b"&%74%6fken=a", b"a[", b"\\")
    ),
    Row(
        row="a query of many names",
        prepare=lambda n: tell(b"".join(b"&%0128d=1" % next(FRESH) for _ in range(n // 131)), 1),
        size=16_000,
        turn=8e-3,  # of three lines
    ),
    # A takeover, from a process that may be another version.
    Row(row="a frame of nested lists", prepare=lambda n: decode_frame(b"[" * n), size=16_000),
    Row(row="a frame of many keys", prepare=lambda n: decode_frame(filled(b'"a":1,', n)), size=16_000),
    # What backends write: lines of 16 KiB, messages of 4.
    Row(row="lines without text", prepare=lambda n: partial(LineSplitter().feed, b"\n" * n), size=4000, turn=5e-3),
    Row(
        row="output that is no text",
        prepare=lambda n: partial(LineSplitter().feed, filled(b"\xff" * 99 + b"\n", n)),
        size=4000,
        turn=4e-3,
    ),
    Row(row="a message of empty names", prepare=lambda n: partial(parse_notification, filled(b"=\n", n)), size=1000),
    Row(row="a message that is not known", prepare=lambda n: partial(parse_notification, filled(b"A\n", n)), size=1000),
    # What operators write.
    Row(row="a duration of digits", prepare=lambda n: refused(parse_duration, "1" * n + "x"), size=4000),
    Row(row="a size of digits and spaces", prepare=lambda n: refused(parse_size, "1" * n + " " * n + "x"), size=8_000),
    Row(row="a header's size of many digits", prepare=lambda n: refused(parse_size, "1" * n + "B"), size=16_000),
    Row(row="control characters for a terminal", prepare=lambda n: partial(escape_controls, "\x1b" * n), size=1000),
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
