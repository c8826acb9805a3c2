"""HTTP/2 without I/O: what a peer can break of RFC 9113 sections 3.4 to 8.3, broken with raw frames, and floods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame, PriorityFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.forwarding import Peer, write_request
from hotswap.core.http.messages import RequestHead
from hotswap.wire.http1.request_parser import RequestParser
from hotswap.wire.http2.fields import METHODS
from hotswap.wire.http2.items import Begun, Body, Ended, Item, Opened, RequestRefused, Reset
from hotswap.wire.http2.reader import EFFORT, Http2Reader
from hotswap.wire.http2.session import CONNECTION_WINDOW, GROWING_STREAMS, GROWTH, MAX_STREAMS, Http2Session
from tests.support.http2_frames import GET, POST, PREFACE, Fields, FrameReader, FrameWriter, raw_frame

PROTOCOL_ERROR = ErrorCodes.PROTOCOL_ERROR
FLOW_CONTROL_ERROR = ErrorCodes.FLOW_CONTROL_ERROR
FRAME_SIZE_ERROR = ErrorCodes.FRAME_SIZE_ERROR
STREAM_CLOSED = ErrorCodes.STREAM_CLOSED
COMPRESSION_ERROR = ErrorCodes.COMPRESSION_ERROR
CALM = ErrorCodes.ENHANCE_YOUR_CALM


class Talk:
    """A session, past its greeting, and a peer that says what a test wants."""

    def __init__(self, *, greet: bool = True, header_bytes: int = 16384, headers: int = 20) -> None:
        self.session = Http2Session(header_bytes=header_bytes, now=0.0)
        self.reader = Http2Reader(self.session, header_bytes=header_bytes, headers=headers)
        self.write = FrameWriter()
        self.read = FrameReader()
        self.items: list[Item] = []
        if greet:
            self.say(PREFACE + self.write.settings() + raw_frame(4, 1, 0))

    def say(self, *frames: bytes, now: float = 0.0) -> list[Item]:
        """Say it, and read the answer."""
        items = []
        for frame in frames:
            if self.session.error is None:
                items += self.reader.feed(frame, now)
            while self.reader.pending:
                items += self.reader.feed(b"", now)
        self.items += items
        self.hear()
        return items

    def hear(self) -> None:
        """Read what the session has to say."""
        self.read.feed(b"".join(bytes(piece) for piece in self.session.take_output()) + self.session.take_late())

    def begun(self) -> list[RequestHead]:
        """Heads of the requests so far."""
        return [item.head for item in self.items if isinstance(item, Begun)]

    @property
    def failed(self) -> int | None:
        """Code with which the connection was ended."""
        if self.session.error is None:
            return None
        return self.read.goaways()[-1][1]


def fields_of(base: Fields = GET, *more: tuple[bytes, bytes], **changed: bytes | None) -> list[tuple[bytes, bytes]]:
    """A request's fields with pseudo-header fields changed, or without those that are None."""
    fields = []
    for name, value in base:
        key = name[1:].decode()
        new = changed.pop(key) if key in changed else value
        if new is not None:
            fields.append((name, new))
    fields += [(b":" + name.encode(), value) for name, value in changed.items() if value is not None]
    return fields + list(more)


# What is right.


def test_a_request_becomes_a_head() -> None:
    """The authority is the host, cookies are one field, fields of our own kind are set apart."""
    talk = Talk()
    talk.say(
        talk.write.headers(
            1,
            fields_of(
                GET,
                (b"cookie", b"a=1"),
                (b"accept", b"*/*"),
                (b"cookie", b"b=2"),
                (b"te", b"trailers"),
                (b"x-forwarded-for", b"6.6.6.6"),
                (b"x_trick", b"1"),
                (b"proxy", b"evil"),
                path=b"/a?b",
            ),
        )
    )
    (head,) = talk.begun()
    assert (head.method, head.target, head.path, head.host, head.version) == (
        b"GET",
        b"/a?b",
        b"/a",
        b"example.org",
        20,
    )
    assert head.fields == ((b"accept", b"*/*"), (b"cookie", b"a=1; b=2"))
    assert head.forwarded == [(b"x-forwarded-for", b"6.6.6.6")]
    assert head.complete
    assert head.te_trailers
    assert not head.chunked
    assert talk.session.error is None


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_bytes_may_come_in_any_pieces(size: int) -> None:
    """A whole conversation cut anywhere gives the same items."""
    talk = Talk(greet=False)
    write = talk.write
    raw = PREFACE + write.settings({4: 100}) + raw_frame(4, 1, 0) + write.headers(1, POST, end=False)
    raw += write.data(1, b"hello", padding=3) + write.data(1, b" world", end=True) + write.headers(3)
    talk.say(*(raw[place : place + size] for place in range(0, len(raw), size)))
    kinds = [type(item) for item in talk.items if not isinstance(item, Opened)]
    assert kinds == [Begun, Body, Body, Ended, Begun]
    assert b"".join(item.data for item in talk.items if isinstance(item, Body)) == b"hello world"
    assert talk.begun()[0].chunked


def test_a_head_may_come_in_pieces() -> None:
    """CONTINUATION frames complete it."""
    talk = Talk()
    talk.say(*talk.write.cut_headers(1, fields_of(GET, (b"accept", b"*/*" * 50)), [10, 20]))
    assert talk.begun()[0].complete


def test_unknown_frames_and_flags_are_ignored() -> None:
    """RFC 9113 4.1 and 5.5."""
    talk = Talk()
    talk.say(raw_frame(0xFA, 0xFF, 7, b"?"), raw_frame(0xA, 0, 0, b"alt"), talk.write.settings({0xF00: 9}))
    talk.say(raw_frame(1, 0x5 | 0xC2 & ~0x8, 1, talk.write.block(GET)))
    assert len(talk.begun()) == 1
    assert talk.session.error is None


def test_priorities_are_ignored() -> None:
    """In HEADERS and on their own, on streams open, idle and closed (RFC 9113 5.3.2)."""
    talk = Talk()
    talk.say(PriorityFrame(5, depends_on=3).serialize())
    talk.say(raw_frame(1, 0x25, 1, b"\x80\x00\x00\x00\x10" + talk.write.block(GET)))
    talk.say(PriorityFrame(1).serialize())
    assert len(talk.begun()) == 1


def test_pings_and_settings_are_answered() -> None:
    """With the same eight bytes, and with an acknowledgement (RFC 9113 6.5.3 and 6.7)."""
    talk = Talk()
    talk.say(PingFrame(0, b"12345678").serialize())
    pongs = [frame for frame in talk.read.frames if isinstance(frame, PingFrame)]
    assert [(frame.opaque_data, "ACK" in frame.flags) for frame in pongs] == [(b"12345678", True)]
    acks = [frame for frame in talk.read.frames if isinstance(frame, SettingsFrame) and "ACK" in frame.flags]
    assert len(acks) == 1


def test_trailers_are_checked_and_told() -> None:
    """They end the stream."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False), talk.write.data(1, b"x"), talk.write.headers(1, [(b"a", b"b")]))
    assert [type(item) for item in talk.items[-3:]] == [Begun, Body, Ended]
    assert isinstance(talk.items[-1], Ended)
    assert talk.items[-1].trailers == [(b"a", b"b")]


def test_an_extended_connect_becomes_an_upgrade() -> None:
    """RFC 8441: GET with a key of ours, and what follows is not its body."""
    talk = Talk()
    fields = fields_of(
        GET,
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"theirs"),
        method=b"CONNECT",
        protocol=b"websocket",
    )
    talk.say(talk.write.headers(1, fields, end=False))
    (head,) = talk.begun()
    assert (head.method, head.upgrade, head.complete, head.chunked) == (b"GET", b"websocket", True, False)
    keys = [value for name, value in head.fields if name == b"sec-websocket-key"]
    assert len(keys) == 1
    assert len(keys[0]) == 24


def test_repeated_requests_come_from_one_block() -> None:
    """What is remembered of a block is forgotten when the table changes under it."""
    talk = Talk()
    for stream_id in (1, 3, 5):
        talk.say(talk.write.headers(stream_id, fields_of(GET, (b"x-a", b"1"))))
    talk.say(talk.write.headers(7, fields_of(GET, (b"x-a", b"2"))))
    for stream_id in (9, 11):
        talk.say(talk.write.headers(stream_id, fields_of(GET, (b"x-a", b"1"))))
    assert [head.field(b"x-a") for head in talk.begun()] == [b"1", b"1", b"1", b"2", b"1", b"1"]


# Malformed requests: the stream is reset, the connection goes on (RFC 9113 8.1.1).

MALFORMED: dict[str, Fields] = {
    "8.2.1 upper case": fields_of(GET, (b"Accept", b"x")),
    "8.2.1 space in a name": fields_of(GET, (b"a b", b"x")),
    "8.2.1 colon in a name": fields_of(GET, (b"a:b", b"x")),
    "8.2.1 empty name": fields_of(GET, (b"", b"x")),
    "8.2.1 non-ASCII name": fields_of(GET, (b"\xc3\xa9", b"x")),
    "8.2.1 NUL in a value": fields_of(GET, (b"a", b"x\0y")),
    "8.2.1 CR in a value": fields_of(GET, (b"a", b"x\ry")),
    "8.2.1 LF in a value": fields_of(GET, (b"a", b"x\r\nHost: evil")),
    "8.2.1 space before a value": fields_of(GET, (b"a", b" x")),
    "8.2.1 tab behind a value": fields_of(GET, (b"a", b"x\t")),
    "D1 control byte in a value": fields_of(GET, (b"a", b"x\x01y")),
    "D1 DEL in a value": fields_of(GET, (b"a", b"x\x7f")),
    "8.2.2 connection": fields_of(GET, (b"connection", b"close")),
    "8.2.2 keep-alive": fields_of(GET, (b"keep-alive", b"timeout=5")),
    "8.2.2 proxy-connection": fields_of(GET, (b"proxy-connection", b"close")),
    "8.2.2 transfer-encoding": fields_of(POST, (b"transfer-encoding", b"chunked")),
    "8.2.2 upgrade": fields_of(GET, (b"upgrade", b"h2c")),
    "8.2.2 te": fields_of(GET, (b"te", b"gzip")),
    "8.2.2 te with more": fields_of(GET, (b"te", b"trailers, gzip")),
    "8.3 pseudo behind regular": [*GET[:3], (b"a", b"b"), GET[3]],
    "8.3 unknown pseudo": fields_of(GET, extra=b"x"),
    "8.3 response pseudo": fields_of(GET, status=b"200"),
    "8.3 doubled method": [*GET, (b":method", b"GET")],
    "8.3 doubled path": [*GET, (b":path", b"/")],
    "8.3.1 no method": fields_of(GET, method=None),
    "8.3.1 no scheme": fields_of(GET, scheme=None),
    "8.3.1 no path": fields_of(GET, path=None),
    "8.3.1 empty path": fields_of(GET, path=b""),
    "D1 path with CRLF": fields_of(GET, path=b"/ HTTP/1.1\r\nHost: evil\r\n\r\n"),
    "D1 empty method": fields_of(GET, method=b""),
    "D1 method with space": fields_of(GET, method=b"GET /x"),
    "D1 method with control byte": fields_of(GET, method=b"GE\x01T"),
    "D3 content-length and no body": fields_of(POST, (b"content-length", b"5")),
    "D3 two content-lengths": fields_of(POST, (b"content-length", b"0"), (b"content-length", b"0")),
    "D3 content-length list": fields_of(POST, (b"content-length", b"0, 0")),
    "D3 signed content-length": fields_of(POST, (b"content-length", b"+0")),
    "8.5 CONNECT with path": fields_of(GET, method=b"CONNECT"),
    "8441 protocol without CONNECT": fields_of(GET, protocol=b"websocket"),
    "8441 protocol that ends": fields_of(
        GET, (b"sec-websocket-version", b"13"), method=b"CONNECT", protocol=b"websocket"
    ),
}


@pytest.mark.parametrize("row", MALFORMED)
def test_a_malformed_request_ends_its_stream_only(row: str) -> None:
    """RST_STREAM PROTOCOL_ERROR, nothing to forward, and the next request is served."""
    talk = Talk()
    talk.say(talk.write.headers(1, MALFORMED[row]), talk.write.headers(3))
    assert talk.read.resets() == {1: PROTOCOL_ERROR}
    assert [item.stream_id for item in talk.items if isinstance(item, Begun)] == [3]
    assert talk.session.error is None


REFUSED: dict[str, tuple[int, Fields]] = {
    "D1 path with space": (400, fields_of(GET, path=b"/a b")),
    "D1 path with tab": (400, fields_of(GET, path=b"/a\tb")),
    "D1 path with fragment": (400, fields_of(GET, path=b"/a#b")),
    "D1 path not ASCII": (400, fields_of(GET, path=b"/\xff\xc3\xa9")),
    "D1 path without slash": (400, fields_of(GET, path=b"a/b")),
    "D1 path is absolute": (400, fields_of(GET, path=b"http://evil.example/")),
    "D1 star with GET": (400, fields_of(GET, path=b"*")),
    "D1 scheme": (400, fields_of(GET, scheme=b"https://evil/")),
    "D1 scheme ftp": (400, fields_of(GET, scheme=b"ftp")),
    "D1 authority with userinfo": (400, fields_of(GET, authority=b"a@example.org")),
    "D1 authority with space": (400, fields_of(GET, authority=b"a b")),
    "D1 authority with slash": (400, fields_of(GET, authority=b"a/b")),
    "D1 empty authority": (400, fields_of(GET, authority=b"")),
    "D1 no authority": (400, fields_of(GET, authority=None)),
    "D1 two hosts": (400, fields_of(GET, (b"host", b"example.org"), (b"host", b"example.org"))),
    "D2 host differs": (400, fields_of(GET, (b"host", b"evil.example"))),
    "L6 CONNECT": (405, [(b":method", b"CONNECT"), (b":authority", b"example.org:443")]),
    "L6 TRACE": (405, fields_of(GET, method=b"TRACE")),
    "F17 expectation": (417, fields_of(GET, (b"expect", b"a miracle"))),
    "F17 method": (501, fields_of(GET, method=b"BREW")),
    "R1 fields": (431, fields_of(GET, *((b"a%d" % number, b"x") for number in range(21)))),
    "R1 bytes": (431, fields_of(GET, (b"a", b"x" * 17000))),
    "R1 target": (414, fields_of(GET, path=b"/" + b"x" * 17000)),
}


@pytest.mark.parametrize("row", REFUSED)
def test_a_request_that_is_understood_and_not_served_has_a_status(row: str) -> None:
    """It is answered, not reset."""
    status, fields = REFUSED[row]
    talk = Talk()
    items = talk.say(talk.write.headers(1, fields))
    (refused,) = [item for item in items if isinstance(item, RequestRefused)]
    assert (refused.stream_id, refused.error.status) == (1, status)
    told = dict(fields)
    assert refused.line == (told[b":method"], told.get(b":path", b"")[:2048], 20)
    assert talk.read.resets() == {}


def test_methods_are_those_of_http_1() -> None:
    """Whatever one version serves, the other does."""
    for method in METHODS - {b"CONNECT", b"TRACE"}:
        parser = RequestParser(header_bytes=1000, headers=10)
        parser.feed(b"%b / HTTP/1.1\r\nHost: x\r\n\r\n" % method)
        assert parser.error is None, method
    parser = RequestParser(header_bytes=1000, headers=10)
    parser.feed(b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert parser.error is not None
    assert parser.error.status == 501


def test_an_unknown_protocol_is_not_implemented() -> None:
    """RFC 8441 5: another protocol than websocket; RFC 6455 4.4: another version."""
    talk = Talk()
    connect = fields_of(GET, (b"sec-websocket-version", b"13"), method=b"CONNECT", protocol=b"connect-udp")
    old = fields_of(GET, (b"sec-websocket-version", b"8"), method=b"CONNECT", protocol=b"websocket")
    items = talk.say(talk.write.headers(1, connect, end=False), talk.write.headers(3, old, end=False))
    assert [item.error.status for item in items if isinstance(item, RequestRefused)] == [501, 400]


@pytest.mark.parametrize("sent", [[b"12345", b"6"], [b"1234"], [b""]], ids=["more", "less", "nothing"])
def test_a_body_of_another_length_than_announced_is_reset(sent: list[bytes]) -> None:
    """RFC 9113 8.1.1 (D3)."""
    talk = Talk()
    talk.say(talk.write.headers(1, fields_of(POST, (b"content-length", b"5")), end=False))
    talk.say(*(talk.write.data(1, data, end=data is sent[-1]) for data in sent))
    assert talk.read.resets() == {1: PROTOCOL_ERROR}
    assert not any(isinstance(item, Ended) for item in talk.items)
    assert isinstance(talk.items[-1], Reset)


@pytest.mark.parametrize(
    ("trailers", "end"),
    [
        ([(b":path", b"/")], True),
        ([(b"A", b"b")], True),
        ([(b"a", b"b\n")], True),
        ([(b"connection", b"close")], True),
        ([(b"a", b"b")], False),
    ],
    ids=["pseudo", "upper case", "line end", "connection", "not the end"],
)
def test_malformed_trailers_reset_the_stream(trailers: Fields, end: bool) -> None:
    """RFC 9113 8.1."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False), talk.write.headers(1, trailers, end=end))
    assert talk.read.resets() == {1: PROTOCOL_ERROR}


def test_trailers_before_the_announced_end_reset_the_stream() -> None:
    """The body is shorter than its Content-Length."""
    talk = Talk()
    talk.say(talk.write.headers(1, fields_of(POST, (b"content-length", b"5")), end=False))
    talk.say(talk.write.headers(1, [(b"a", b"b")]))
    assert talk.read.resets() == {1: PROTOCOL_ERROR}


# Stream errors of frames.


def test_frames_behind_the_end_of_a_stream_are_stream_errors() -> None:
    """RFC 9113 5.1, half-closed (remote): STREAM_CLOSED."""
    for late in ("data", "headers"):
        talk = Talk()
        talk.say(talk.write.headers(1))
        talk.say(talk.write.data(1, b"x") if late == "data" else talk.write.headers(1))
        assert talk.read.resets() == {1: STREAM_CLOSED}
        assert talk.session.error is None


def test_a_window_of_a_stream_opens_by_something_and_not_too_far() -> None:
    """RFC 9113 6.9 and 6.9.1."""
    talk = Talk()
    talk.say(talk.write.headers(1), talk.write.headers(3))
    talk.say(raw_frame(8, 0, 1, bytes(4)), talk.write.window(3, 2**31 - 1))
    assert talk.read.resets() == {1: PROTOCOL_ERROR, 3: FLOW_CONTROL_ERROR}
    assert talk.session.error is None


def test_more_than_a_streams_window_is_a_stream_error() -> None:
    """RFC 9113 6.9.1: one stream must not take what others are owed."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False))
    for _ in range(5):
        talk.say(talk.write.data(1, bytes(16384)))
    assert talk.read.resets() == {1: FLOW_CONTROL_ERROR}


def test_frames_for_a_stream_that_we_reset_are_ignored() -> None:
    """They were under way (RFC 9113 5.4.2)."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False))
    talk.session.reset(1, ErrorCodes.INTERNAL_ERROR)
    talk.say(
        talk.write.data(1, b"x"), talk.write.window(1, 5), talk.write.headers(1, [(b"a", b"b")]), talk.write.reset(1)
    )
    assert talk.session.error is None
    assert list(talk.read.resets()) == [1]


def test_a_stream_beyond_the_limit_is_refused() -> None:
    """REFUSED_STREAM says that it was not started (RFC 9113 8.7), and one that has ended makes room."""
    talk = Talk()
    for number in range(MAX_STREAMS + 1):
        talk.say(talk.write.headers(2 * number + 1))
    beyond = 2 * MAX_STREAMS + 1
    assert talk.read.resets() == {beyond: ErrorCodes.REFUSED_STREAM}
    assert len(talk.begun()) == MAX_STREAMS
    talk.session.send_head(1, [(b":status", b"200")], end=True)
    talk.session.release(1)
    talk.say(talk.write.headers(beyond + 2))
    assert len(talk.begun()) == MAX_STREAMS + 1


# Connection errors.


def _connection_errors() -> Iterator[tuple[str, ErrorCodes, list[bytes]]]:
    write = FrameWriter()
    head = FrameWriter().headers(1)
    open_head = FrameWriter().headers(1, POST, end=False)
    half = FrameWriter().cut_headers(1, GET, [3])[0]
    yield "4.2 oversize DATA", FRAME_SIZE_ERROR, [open_head, raw_frame(0, 0, 1, bytes(16385))]
    yield "4.2 oversize HEADERS", FRAME_SIZE_ERROR, [raw_frame(1, 4, 1, bytes(16385))]
    yield "4.3 unreadable block", COMPRESSION_ERROR, [raw_frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff")]
    yield "4.3 no such entry", COMPRESSION_ERROR, [raw_frame(1, 5, 1, b"\xc0")]
    yield "4.3 entry 0", COMPRESSION_ERROR, [raw_frame(1, 5, 1, b"\x80")]
    yield "4.3 truncated string", COMPRESSION_ERROR, [raw_frame(1, 5, 1, b"\x40\x0aabc")]
    yield "4.3 table too large", COMPRESSION_ERROR, [raw_frame(1, 5, 1, b"\x3f\xff\xff\x03")]
    yield "4.3 table update behind a field", COMPRESSION_ERROR, [raw_frame(1, 5, 1, b"\x82\x20")]
    literal = b"\x00\x85\xf2\xb2\x4a\x84\xff"  # a name in Huffman code; its value is to come
    yield "7541 5.2 padding of zeros", COMPRESSION_ERROR, [raw_frame(1, 5, 1, literal + b"\x83\x49\x50\x90")]
    yield "7541 5.2 padding of a byte", COMPRESSION_ERROR, [raw_frame(1, 5, 1, literal + b"\x84\x49\x50\x9f\xff")]
    yield "7541 5.2 EOS in a string", COMPRESSION_ERROR, [raw_frame(1, 5, 1, literal + b"\x84\xff\xff\xff\xff")]
    yield "7541 5.1 endless integer", COMPRESSION_ERROR, [raw_frame(1, 5, 1, b"\x7f" + b"\x80" * 20 + b"\x01")]
    yield "4.3 unreadable trailers", COMPRESSION_ERROR, [open_head, raw_frame(1, 5, 1, b"\x80")]
    yield "4.3 DATA inside of a head", PROTOCOL_ERROR, [half, write.data(1, b"x")]
    yield "4.3 PING inside of a head", PROTOCOL_ERROR, [half, raw_frame(6, 0, 0, bytes(8))]
    yield "4.3 unknown frame inside of a head", PROTOCOL_ERROR, [half, raw_frame(0xFA, 0, 0)]
    yield "4.3 HEADERS inside of a head", PROTOCOL_ERROR, [half, head]
    yield "5.1 DATA on an idle stream", PROTOCOL_ERROR, [write.data(1, b"x")]
    yield "5.1 RST_STREAM on an idle stream", PROTOCOL_ERROR, [write.reset(1)]
    yield "5.1 WINDOW_UPDATE on an idle stream", PROTOCOL_ERROR, [write.window(1, 1)]
    yield "5.1 CONTINUATION on an idle stream", PROTOCOL_ERROR, [raw_frame(9, 4, 1)]
    yield "5.1 HEADERS after a reset", STREAM_CLOSED, [head, write.reset(1), FrameWriter().headers(1)]
    yield "5.1 DATA after a reset", STREAM_CLOSED, [open_head, write.reset(1), write.data(1, b"x")]
    yield "5.1.1 even stream", PROTOCOL_ERROR, [FrameWriter().headers(2)]
    yield "5.1.1 lower stream", STREAM_CLOSED, [FrameWriter().headers(5), FrameWriter().headers(3)]
    yield "6.1 DATA on stream 0", PROTOCOL_ERROR, [raw_frame(0, 0, 0, b"x")]
    yield "6.1 padding beyond DATA", PROTOCOL_ERROR, [open_head, raw_frame(0, 8, 1, b"\x05abc")]
    yield "6.1 padded DATA without a length", PROTOCOL_ERROR, [open_head, raw_frame(0, 8, 1)]
    yield "6.2 HEADERS on stream 0", PROTOCOL_ERROR, [raw_frame(1, 5, 0, b"\x82")]
    yield "6.2 padding beyond HEADERS", PROTOCOL_ERROR, [raw_frame(1, 0xD, 1, b"\x09\x82\x84")]
    yield "6.2 HEADERS without their priority", FRAME_SIZE_ERROR, [raw_frame(1, 0x25, 1, b"\x00")]
    yield "6.3 PRIORITY on stream 0", PROTOCOL_ERROR, [raw_frame(2, 0, 0, bytes(5))]
    yield "7540 5.3.1 an idle stream that depends on itself", PROTOCOL_ERROR, [raw_frame(2, 0, 1, b"\0\0\0\x01\x0f")]
    yield "6.3 PRIORITY of four bytes", FRAME_SIZE_ERROR, [raw_frame(2, 0, 1, bytes(4))]
    yield "6.4 RST_STREAM on stream 0", PROTOCOL_ERROR, [raw_frame(3, 0, 0, bytes(4))]
    yield "6.4 RST_STREAM of three bytes", FRAME_SIZE_ERROR, [head, raw_frame(3, 0, 1, bytes(3))]
    yield "6.5 SETTINGS ACK with a payload", FRAME_SIZE_ERROR, [raw_frame(4, 1, 0, bytes(6))]
    yield "6.5 SETTINGS on a stream", PROTOCOL_ERROR, [raw_frame(4, 0, 1)]
    yield "6.5 SETTINGS of five bytes", FRAME_SIZE_ERROR, [raw_frame(4, 0, 0, bytes(5))]
    yield "6.5.2 ENABLE_PUSH 2", PROTOCOL_ERROR, [raw_frame(4, 0, 0, b"\x00\x02\x00\x00\x00\x02")]
    yield "6.5.2 window too large", FLOW_CONTROL_ERROR, [raw_frame(4, 0, 0, b"\x00\x04\x80\x00\x00\x00")]
    yield "6.5.2 frames too small", PROTOCOL_ERROR, [raw_frame(4, 0, 0, b"\x00\x05\x00\x00\x3f\xff")]
    yield "6.5.2 frames too large", PROTOCOL_ERROR, [raw_frame(4, 0, 0, b"\x00\x05\x01\x00\x00\x00")]
    yield "6.6 PUSH_PROMISE", PROTOCOL_ERROR, [head, raw_frame(5, 4, 1, b"\x00\x00\x00\x02\x82")]
    yield "6.7 PING on a stream", PROTOCOL_ERROR, [raw_frame(6, 0, 1, bytes(8))]
    yield "6.7 PING of seven bytes", FRAME_SIZE_ERROR, [raw_frame(6, 0, 0, bytes(7))]
    yield "6.8 GOAWAY on a stream", PROTOCOL_ERROR, [raw_frame(7, 0, 1, bytes(8))]
    yield "6.8 GOAWAY too short", FRAME_SIZE_ERROR, [raw_frame(7, 0, 0, bytes(7))]
    yield "6.9 WINDOW_UPDATE of 0", PROTOCOL_ERROR, [raw_frame(8, 0, 0, bytes(4))]
    yield "6.9 WINDOW_UPDATE of three bytes", FRAME_SIZE_ERROR, [raw_frame(8, 0, 0, bytes(3))]
    yield "6.9.1 the connection's window", FLOW_CONTROL_ERROR, [write.window(0, 2**31 - 1)]
    window = raw_frame(4, 0, 0, b"\x00\x04\x7f\xff\xff\xff")
    yield "6.9.2 SETTINGS overflow a window", FLOW_CONTROL_ERROR, [head, write.window(1, 100000), window]
    yield "6.10 CONTINUATION on stream 0", PROTOCOL_ERROR, [raw_frame(9, 4, 0)]
    yield "6.10 CONTINUATION of another stream", PROTOCOL_ERROR, [half, raw_frame(9, 4, 3, b"\x82")]
    yield "6.10 CONTINUATION behind a whole head", PROTOCOL_ERROR, [head, raw_frame(9, 4, 1, b"\x82")]


CONNECTION_ERRORS = {row: (code, raw) for row, code, raw in _connection_errors()}


@pytest.mark.parametrize("row", CONNECTION_ERRORS)
def test_a_broken_connection_is_told_so(row: str) -> None:
    """GOAWAY with the right code, and nothing more is read."""
    code, raw = CONNECTION_ERRORS[row]
    talk = Talk()
    talk.say(*raw)
    assert talk.failed == code
    assert len(talk.read.goaways()) == 1


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        PREFACE + FrameWriter().headers(1),
        PREFACE + raw_frame(4, 1, 0),
        PREFACE + raw_frame(6, 0, 0, bytes(8)),
    ],
    ids=["HTTP/1.1", "not quite", "HEADERS first", "ACK first", "PING first"],
)
def test_a_connection_begins_with_preface_and_settings(greeting: bytes) -> None:
    """RFC 9113 3.4."""
    talk = Talk(greet=False)
    talk.say(greeting)
    assert talk.failed == PROTOCOL_ERROR
    assert not talk.begun()


def test_a_stream_that_depends_on_itself_is_a_stream_error() -> None:
    """Priorities are ignored, and yet this one cannot be meant (RFC 7540 5.3.1); later blocks can be read."""
    talk = Talk()
    block = talk.write.block(GET)
    talk.say(raw_frame(1, 0x25, 1, b"\0\0\0\x01\x0f" + block))
    talk.say(talk.write.headers(3, POST, end=False), raw_frame(2, 0, 3, b"\x80\0\0\x03\x0f"))
    assert talk.read.resets() == {1: PROTOCOL_ERROR, 3: PROTOCOL_ERROR}
    talk.say(raw_frame(1, 0x25, 5, b"\0\0\0\x03\x0f" + talk.write.block(GET)))
    assert [head.method for head in talk.begun()] == [b"POST", b"GET"]
    assert talk.failed is None


@pytest.mark.parametrize("late", ["HEADERS", "DATA"])
def test_a_stream_that_has_ended_both_ways_is_closed(late: str) -> None:
    """RFC 9113 5.1: what comes for it then is a connection error, but for what may have been under way."""
    talk = Talk()
    talk.say(talk.write.headers(1))
    talk.session.send_head(1, [(b":status", b"204")], end=True)
    talk.session.release(1)
    talk.say(talk.write.window(1, 5), raw_frame(2, 0, 1, b"\0\0\0\x03\x0f"), talk.write.reset(1))
    assert talk.failed is None
    talk.say(talk.write.headers(1) if late == "HEADERS" else talk.write.data(1, b"x"))
    assert talk.failed == STREAM_CLOSED


def test_a_client_that_says_goodbye_keeps_its_streams() -> None:
    """RFC 9113 6.8: GOAWAY ends no stream."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False), GoAwayFrame(0, last_stream_id=0).serialize())
    talk.say(talk.write.data(1, b"x", end=True))
    talk.session.send_head(1, [(b":status", b"200")], end=True)
    talk.hear()
    assert talk.read.ended(1)
    assert talk.session.error is None


# Windows.


def test_a_body_waits_for_the_windows() -> None:
    """Nothing is sent beyond the stream's or the connection's window, padding and settings included."""
    talk = Talk(greet=False)
    talk.say(PREFACE + talk.write.settings({4: 10}))
    talk.say(talk.write.headers(1))
    session = talk.session
    session.send_head(1, [(b":status", b"200")])
    assert session.send_body(1, b"x" * 100, end=True) == 10
    assert session.send_body(1, b"x" * 90, end=True) == 0
    talk.say(talk.write.settings({4: 5}))
    talk.say(talk.write.window(1, 5))
    assert session.send_body(1, b"x" * 90, end=True) == 0
    items = talk.say(talk.write.window(1, 50))
    assert [item.stream_id for item in items if isinstance(item, Opened)] == [1]
    assert session.send_body(1, b"x" * 90, end=True) == 50
    talk.say(talk.write.settings({4: 65535}))
    assert session.send_body(1, b"x" * 40, end=True) == 40
    talk.hear()
    assert talk.read.bodies[1] == b"x" * 100
    assert talk.read.ended(1)


def test_the_connections_window_is_for_all_streams() -> None:
    """65,535 bytes until the client gives more."""
    talk = Talk(greet=False)
    talk.say(PREFACE + talk.write.settings({4: 1 << 20}), talk.write.headers(1), talk.write.headers(3))
    session = talk.session
    for stream_id in (1, 3):
        session.send_head(stream_id, [(b":status", b"200")])
    assert session.send_body(1, bytes(60000)) == 60000
    assert session.send_body(3, bytes(60000)) == 5535
    talk.say(talk.write.window(0, 1000))
    assert session.send_body(3, bytes(60000)) == 1000
    talk.hear()
    assert max(frame.body_len for frame in talk.read.frames if isinstance(frame, DataFrame)) <= 16384


def test_a_stream_is_credited_when_its_body_has_gone_on() -> None:
    """The connection at once, so that one stream that waits does not stop the others."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False))
    for _ in range(3):
        talk.say(talk.write.data(1, bytes(16384)))
    assert [frame for frame in talk.read.frames if isinstance(frame, WindowUpdateFrame) and frame.stream_id] == []
    talk.session.credit(1, 3 * 16384)
    talk.hear()
    updates = [frame for frame in talk.read.frames if isinstance(frame, WindowUpdateFrame) and frame.stream_id == 1]
    assert sum(frame.window_increment for frame in updates) == 3 * 16384 + GROWTH


def test_a_body_that_flows_gets_more_window_and_gives_it_back() -> None:
    """Few streams at a time, so that a client cannot make us keep much."""
    talk = Talk()
    streams = range(1, 2 * GROWING_STREAMS + 3, 2)

    def opened(stream_id: int) -> int:
        talk.say(talk.write.headers(stream_id, POST, end=False))
        for _ in range(3):
            talk.say(talk.write.data(stream_id, bytes(16384)))
        talk.session.credit(stream_id, 3 * 16384)
        talk.hear()
        updates = [frame for frame in talk.read.frames if isinstance(frame, WindowUpdateFrame)]
        return sum(frame.window_increment for frame in updates if frame.stream_id == stream_id)

    assert [opened(stream_id) - 3 * 16384 for stream_id in streams] == [*[GROWTH] * GROWING_STREAMS, 0]
    talk.say(talk.write.reset(1))
    assert opened(101) == 3 * 16384 + GROWTH


def test_the_connections_window_is_given_back_whatever_becomes_of_the_stream() -> None:
    """Bodies for streams that are gone must not use it up."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False))
    talk.session.reset(1, ErrorCodes.CANCEL)
    sent = 0
    while sent < 3 * CONNECTION_WINDOW:
        talk.say(talk.write.data(1, bytes(16384)))
        sent += 16384
    assert talk.session.error is None
    updates = [frame for frame in talk.read.frames if isinstance(frame, WindowUpdateFrame)]
    assert sum(frame.window_increment for frame in updates if not frame.stream_id) > 3 * CONNECTION_WINDOW - 65535


# The end.


def test_a_drain_takes_two_steps() -> None:
    """First a GOAWAY that refuses nothing, then the truth; what comes later is refused."""
    talk = Talk()
    talk.say(talk.write.headers(1))
    talk.session.begin_goaway()
    talk.hear()
    talk.say(talk.write.headers(3))
    ping = next(frame for frame in talk.read.frames if isinstance(frame, PingFrame))
    items = talk.say(PingFrame(0, ping.opaque_data, flags=["ACK"]).serialize())
    assert [type(item).__name__ for item in items] == ["Answered"]
    talk.session.finish_goaway()
    talk.say(talk.write.headers(5))
    assert talk.read.goaways() == [(2**31 - 1, 0), (3, 0)]
    assert talk.read.resets() == {5: ErrorCodes.REFUSED_STREAM}
    assert len(talk.begun()) == 2


def test_a_response_before_the_end_of_its_request_gives_the_rest_up() -> None:
    """RST_STREAM with NO_ERROR behind a whole response (RFC 9113 8.1), and not in one piece with it."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False))
    talk.session.send_head(1, [(b":status", b"413")], end=True)
    talk.session.release(1)
    talk.read.feed(b"".join(map(bytes, talk.session.take_output())))
    assert (talk.read.ended(1), talk.read.resets()) == (True, {})
    talk.hear()
    assert talk.read.resets() == {1: ErrorCodes.NO_ERROR}
    talk.say(talk.write.data(1, b"x"))
    assert talk.session.error is None


@pytest.mark.parametrize("trailers", [False, True])
def test_the_last_byte_of_a_known_length_waits_for_the_end_of_the_stream(trailers: bool) -> None:
    """Clients may send END_STREAM in a frame of its own: until then the request is not whole for anybody."""
    talk = Talk()
    head = talk.write.headers(1, (*POST, (b"content-length", b"6")), end=False)
    items = talk.say(head + talk.write.data(1, b"abc") + talk.write.data(1, b"def"))
    assert bodies(items) == [b"abc"]
    assert not any(isinstance(item, Ended) for item in items)
    items = talk.say(talk.write.headers(1, ((b"x-sum", b"1"),)) if trailers else talk.write.data(1, b"", end=True))
    assert bodies(items) == [b"def"]
    assert isinstance(items[-1], Ended)
    assert (talk.read.resets(), talk.failed) == ({}, None)


def bodies(items: list[Item]) -> list[bytes]:
    """The pieces of bodies among them."""
    return [item.data for item in items if isinstance(item, Body)]


# Small pieces cost what large ones do.


def test_small_pieces_become_one_for_each_stream() -> None:
    """However they are mixed with those of other streams, and with frames of other kinds."""
    talk = Talk()
    write = talk.write
    talk.say(write.headers(1, POST, end=False), write.headers(3, POST, end=False))
    mixed = b"".join(write.data(1, b"a") + write.window(0, 1) + write.data(3, b"b", padding=1) for _ in range(20))
    items = talk.reader.feed(mixed + write.data(1, b"c", end=True) + write.window(3, 1), 0.0)
    assert [type(item) for item in items] == [Body, Body, Ended, Opened, Opened]
    assert bodies(items) == [b"a" * 20 + b"c", b"b" * 20]
    assert [item.stream_id for item in items if isinstance(item, Opened)] == [0, 3]


@pytest.mark.parametrize("size", [1, 10, 100])
def test_a_reading_is_as_much_work_as_others_can_wait_for(size: int) -> None:
    """What was received is read a part at a time, and nothing of it is lost."""
    talk = Talk()
    talk.say(talk.write.headers(1, POST, end=False))
    count = 60_000 // (9 + size)
    data = talk.write.data(1, b"x" * size) * count
    got = [bodies(talk.reader.feed(data, 0.0))]
    while talk.reader.pending:
        got.append(bodies(talk.reader.feed(b"", 0.0)))
    assert [len(pieces) for pieces in got] == [1] * len(got)
    assert max(len(pieces[0]) for pieces in got) <= EFFORT * size
    assert sum(len(pieces[0]) for pieces in got) == count * size
    assert talk.session.error is None


def test_what_waits_to_be_read_is_read_before_what_comes_next() -> None:
    """In the order in which it was sent, when more is fed meanwhile."""
    talk = Talk()
    frames = [talk.write.headers(1, POST, end=False)]
    frames += [talk.write.data(1, b"%03d" % number) for number in range(1000)]
    raw = b"".join(frames)
    items = []
    for place in range(0, len(raw), 4000):
        items += talk.reader.feed(raw[place : place + 4000], 0.0)
    while talk.reader.pending:
        items += talk.reader.feed(b"", 0.0)
    assert b"".join(bodies(items)) == b"".join(b"%03d" % number for number in range(1000))


def test_settings_that_nobody_knows_are_not_kept() -> None:
    """RFC 9113 6.5.2: ignored, whatever their number, and those that are known count."""
    talk = Talk()
    known = talk.session.machine.remote_settings
    before = len(known)
    for first in range(0x10, 0x1000, 0x100):
        unknown = b"".join(code.to_bytes(2, "big") + bytes(4) for code in range(first, first + 0x100))
        talk.say(raw_frame(4, 0, 0, unknown + b"\0\4" + first.to_bytes(4, "big")), now=float(first))
    assert len(known) == before
    assert known.initial_window_size == 0xF10
    acknowledged = [f for f in talk.read.frames if isinstance(f, SettingsFrame) and "ACK" in f.flags]
    assert len(acknowledged) == 1 + 16
    assert talk.session.error is None


def test_pieces_of_a_cookie_are_one_field() -> None:
    """RFC 9113 8.2.3: browsers send each as a field of its own, which the limit of fields is not about."""
    talk = Talk(headers=20)
    pieces = [(b"cookie", b"c%d=%d" % (number, number)) for number in range(110)]
    others = [(b"a%d" % number, b"") for number in range(19)]
    talk.say(talk.write.headers(1, [*GET, *pieces, *others]))
    (head,) = talk.begun()
    assert head.field(b"cookie") == b"; ".join(value for _, value in pieces)
    talk.say(talk.write.headers(3, [*GET, *pieces, *others, (b"x", b""), (b"y", b"")]))
    assert [item.error.status for item in talk.items if isinstance(item, RequestRefused)] == [431]


@pytest.mark.parametrize("after", [0.0, 0.03])
def test_a_map_that_gives_up_its_tiles_is_not_a_flood(after: float) -> None:
    """Forty requests four times a second, of which fifteen are answered and the others cancelled, for minutes."""
    talk = Talk()
    stream_id = -1
    for turn in range(1000):
        now = turn / 4
        ids = [stream_id + 2 * number for number in range(1, 41)]
        stream_id = ids[-1]
        talk.say(b"".join(talk.write.headers(number) for number in ids), now=now)
        talk.say(b"".join(talk.write.reset(number) for number in ids[15:]), now=now + after)
        for number in ids[:15]:
            talk.session.send_head(number, [(b":status", b"200")], end=True)
        for number in ids:
            talk.session.release(number)
        talk.hear()
        talk.read.frames.clear()
    assert talk.session.error is None


def test_requests_that_are_given_up_as_fast_as_they_can_be_are_a_flood() -> None:
    """Rapid reset in two steps, in which requests have begun (CVE-2023-44487): a few thousand, and no more."""
    talk = Talk()
    begun = 0
    for turn in range(1000):
        ids = range(200 * turn + 1, 200 * turn + 201, 2)
        begun += len(talk.say(b"".join(talk.write.headers(number) for number in ids), now=turn / 100))
        talk.say(b"".join(talk.write.reset(number) for number in ids), now=turn / 100)
        for number in ids:
            talk.session.release(number)
        if talk.session.error is not None:
            break
    assert talk.failed == CALM
    assert begun <= 2500


def test_a_client_that_takes_a_body_in_small_pieces_runs_out() -> None:
    """Windows that open by a byte make us send frames of a byte, for which nothing is given back (CVE-2019-9511)."""
    talk = Talk(greet=False)
    talk.say(PREFACE + talk.write.settings({4: 0}), talk.write.headers(1))
    talk.session.send_head(1, [(b":status", b"200")])
    sent = 0
    while talk.session.error is None:
        talk.say(talk.write.window(1, 1))
        sent += talk.session.send_body(1, bytes(100_000))
        talk.session.take_output()
        assert sent < 2000
    assert sent > 900


# Floods: bounded work, then ENHANCE_YOUR_CALM.


def many(frames: Callable[[FrameWriter, int], bytes]) -> bytes:
    """Frames of ten thousand streams, one stream after the other, by one writer."""
    write = FrameWriter()
    return b"".join(frames(write, stream_id) for stream_id in range(1, 20001, 2))


def opened(fields: Fields = GET) -> bytes:
    """The first stream, left open."""
    return FrameWriter().headers(1, fields, end=False)


def cut_open() -> bytes:
    """The first frame of a head that goes on."""
    return FrameWriter().cut_headers(1, GET, [3])[0]


def small_pieces_of_a_body() -> Iterator[bytes]:
    """Three hundred thousand bytes, one at a time, the window of whose stream is opened when there is none left."""
    for _ in range(30):
        yield FrameWriter().data(1, b"x") * 10_000


def many_large(fields: Callable[[int], Fields]) -> bytes:
    """Four hundred heads that are work to read, all different; the connection's table is not used."""
    write = FrameWriter()
    write.encoder.header_table_size = 0
    return b"".join(b"".join(write.cut_headers(n, [*GET, *fields(n)], [8000])) for n in range(1, 801, 2))


BOMB = b"\x40\x01a\x7f\x81\x1e" + b"x" * 4000 + b"\xbe" * 10000

FLOODS: dict[str, Callable[[], bytes]] = {
    "D12 PING": lambda: raw_frame(6, 0, 0, bytes(8)) * 20000,
    "D12 PING ACK": lambda: raw_frame(6, 1, 0, bytes(8)) * 20000,
    "D12 SETTINGS": lambda: raw_frame(4, 0, 0, b"\x00\x03\x00\x00\x00\x64") * 20000,
    "D12 large SETTINGS": lambda: raw_frame(4, 0, 0, b"\x10\x03\x00\x00\x00\x64" * 2700) * 20,
    "D12 small pieces of a body": lambda: opened(POST) + b"".join(small_pieces_of_a_body()),
    "D11 large heads": lambda: many_large(lambda n: ((b"x%d" % n, bytes(range(33, 127)) * 150),)),
    "D11 heads of many fields": lambda: many_large(lambda n: ((b"x%d" % n, b""), *(((b"", b""),) * 350))),
    "D12 empty SETTINGS": lambda: raw_frame(4, 0, 0) * 20000,
    "D12 PRIORITY": lambda: PriorityFrame(1, depends_on=3).serialize() * 20000,
    "D12 unknown frames": lambda: raw_frame(0xFA, 0, 0) * 20000,
    "D12 WINDOW_UPDATE": lambda: FrameWriter().window(0, 1) * 20000,
    "D12 empty DATA": lambda: opened(POST) + FrameWriter().data(1) * 20000,
    "D12 GOAWAY": lambda: GoAwayFrame(0).serialize() * 20000,
    "D8 rapid reset": lambda: many(lambda write, n: write.headers(n) + write.reset(n)),
    "D14 streams beyond the limit": lambda: many(lambda write, n: write.headers(n)),
    "D10 CONTINUATION": lambda: cut_open() + raw_frame(9, 0, 1, b"\x82") * 20000,
    "D10 empty CONTINUATION": lambda: cut_open() + raw_frame(9, 0, 1) * 20000,
    "D10 large CONTINUATION": lambda: cut_open() + raw_frame(9, 0, 1, bytes(8000)) * 20,
    "D11 HPACK bomb": lambda: raw_frame(1, 5, 1, BOMB),
    "D9 windows of 0": lambda: many(lambda write, n: write.headers(n) + raw_frame(8, 0, n, bytes(4))),
    "D9 windows that overflow": lambda: many(lambda write, n: write.headers(n) + write.window(n, 2**31 - 1)),
    "D9 DATA behind the end": lambda: many(lambda write, n: write.headers(n) + write.data(n, b"x")),
    "D9 malformed": lambda: many(lambda write, n: write.headers(n, [(b":x", b"y")])),
}
"""What is sent, which takes a moment to write."""


@pytest.mark.parametrize("row", FLOODS)
def test_a_flood_is_cut_short(row: str) -> None:
    """ENHANCE_YOUR_CALM, few requests begun, little to say, and the work is done in a moment."""
    talk = Talk(header_bytes=65536)
    raw = FLOODS[row]()
    before = time.perf_counter()
    items = 0
    said = 0
    for place in range(0, len(raw), 65536):
        data = raw[place : place + 65536]
        while talk.session.error is None and (data or talk.reader.pending):
            for item in talk.reader.feed(data, 0.0):
                items += isinstance(item, Begun)
                if isinstance(item, Reset | RequestRefused):
                    talk.session.release(item.stream_id)
                elif isinstance(item, Body):
                    talk.session.credit(item.stream_id, len(item.data))
                elif isinstance(item, Begun) and row.startswith("D11"):
                    talk.session.send_head(item.stream_id, [(b":status", b"200")], end=True)
                    talk.session.release(item.stream_id)
            said += sum(map(len, output := talk.session.take_output()))
            talk.read.feed(b"".join(bytes(piece) for piece in output))
            data = b""
    assert talk.failed == CALM
    assert items <= 2 * MAX_STREAMS
    assert said < 32768
    assert time.perf_counter() - before < 2.0  # seconds, on any machine; a few milliseconds are usual


def test_a_stream_that_we_were_made_to_reset_counts_until_it_is_released() -> None:
    """CVE-2025-8671: resetting makes no room for another request."""
    talk = Talk()
    for number in range(90):
        stream_id = 2 * number + 1
        talk.say(talk.write.headers(stream_id), talk.write.data(stream_id, b"x"), now=10.0 * number)
    assert talk.session.error is None
    assert len(talk.session.busy) == 90
    for number in range(90, 110):
        talk.say(talk.write.headers(2 * number + 1), now=2000.0)
    assert len(talk.begun()) == MAX_STREAMS
    talk.session.release(1)
    talk.say(talk.write.headers(301))
    assert len(talk.begun()) == MAX_STREAMS + 1


def test_a_busy_honest_client_is_not_taken_for_a_flood() -> None:
    """Thousands of exchanges in no time, with a ping and two window updates for each response."""
    talk = Talk()
    for number in range(3000):
        stream_id = 2 * number + 1
        talk.say(talk.write.headers(stream_id), raw_frame(6, 0, 0, bytes(8)))
        talk.session.send_head(stream_id, [(b":status", b"200")])
        talk.session.send_body(stream_id, b"hello", end=True)
        talk.session.release(stream_id)
        talk.say(talk.write.window(0, 5), talk.write.window(stream_id, 5))
    assert talk.session.error is None
    assert len(talk.session.busy) == 0


# Whatever comes.

_FRAMES = st.builds(
    raw_frame,
    st.integers(0, 11),
    st.integers(0, 255),
    st.integers(0, 9),
    st.one_of(st.binary(max_size=40), st.sampled_from([FrameWriter().block(GET), FrameWriter().block(POST), bytes(8)])),
)


@given(st.lists(_FRAMES, max_size=30), st.integers(1, 50))
def test_no_frames_make_the_session_fail(sent: list[bytes], size: int) -> None:
    """Any kinds, flags, streams and payloads: items and answers that are well-formed, and never an exception."""
    talk = Talk()
    raw = b"".join(sent)
    talk.say(*(raw[place : place + size] for place in range(0, len(raw), size)))
    for item in talk.items:
        if isinstance(item, Begun):
            assert item.head.target.startswith(b"/")
            talk.session.send_head(item.stream_id, [(b":status", b"200")])
            talk.session.send_body(item.stream_id, b"hello", end=True)
            talk.session.release(item.stream_id)
    talk.hear()
    assert len(talk.read.goaways()) == (talk.session.error is not None)


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=6))
def test_no_fields_can_inject_into_http_1(more: list[tuple[bytes, bytes]]) -> None:
    """Whatever passes is read by llhttp as one request with the same method, target, host and fields."""
    talk = Talk()
    talk.say(talk.write.headers(1, [*GET, *more]))
    for head in talk.begun():
        peer = Peer(address="192.0.2.1", scheme=b"https", port=443, trusted=False)
        raw = write_request(head, peer, target=head.target, request_id=b"1")
        parser = RequestParser(header_bytes=65536, headers=100)
        (read,) = parser.feed(raw)
        assert parser.error is None
        assert isinstance(read, RequestHead)
        assert (read.method, read.target, read.host) == (head.method, head.target, head.host)
        assert tuple((name.lower(), value) for name, value in read.fields) == head.fields


def test_a_head_that_is_a_little_too_large_costs_its_own_stream_only() -> None:
    """431 for it, as over HTTP/1.1 (R1); the others go on, and what comes later can be read."""
    talk = Talk(header_bytes=4096)
    talk.say(talk.write.headers(1))
    items = talk.say(talk.write.headers(3, fields_of(GET, (b"cookie", b"x" * 5000))))
    assert [(item.stream_id, item.error.status) for item in items if isinstance(item, RequestRefused)] == [(3, 431)]
    assert talk.session.error is None
    assert [item.stream_id for item in talk.say(talk.write.headers(5)) if isinstance(item, Begun)] == [5]
    talk.say(*talk.write.cut_headers(7, fields_of(GET, (b"cookie", b"x" * 12000)), [4000, 4000]))
    assert talk.failed == CALM
