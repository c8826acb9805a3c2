"""The client's side of HTTP/2: what a malformed response costs, and what very many small frames cost."""

from __future__ import annotations

import hpack
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from hotswap.core.http.messages import MAX_INTERIMS, Field
from hotswap.wire.http2 import frames
from hotswap.wire.http2.client_session import EFFORT, GROWING_STREAMS, GROWTH, Http2ClientSession
from hotswap.wire.http2.client_stream import STREAM_WINDOW
from hotswap.wire.http2.items import BackendItem, Body, Ended, Lost, Responded, Trailed

REQUEST: list[Field] = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
OK: Field = (b":status", b"200")


def head(stream_id: int, *fields: Field, end: bool = False) -> bytes:
    """A field block that builds on no other."""
    return frames.write_headers(stream_id, hpack.Encoder().encode(fields), end=end)


def data(stream_id: int, payload: bytes, *, end: bool = False) -> bytes:
    """A piece of a body."""
    return frames.write_frame(frames.DATA, frames.END_STREAM if end else 0, stream_id, payload)


def settings(**values: int) -> bytes:
    """SETTINGS, by names of h2."""
    pairs = [SettingCodes[name].to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items()]
    return frames.write_frame(frames.SETTINGS, 0, 0, b"".join(pairs))


def begin(*requests: list[Field]) -> Http2ClientSession:
    """A session whose backend has greeted, with so many streams: 1, 3 …"""
    session = Http2ClientSession()
    session.feed(settings())
    for request in requests or (REQUEST, REQUEST):
        session.send_head(request, end=True)
    session.take_output()
    return session


def read_all(session: Http2ClientSession, said: bytes, step: int = 0) -> list[BackendItem]:
    """What comes of bytes that come a few at a time, or all at once."""
    items: list[BackendItem] = []
    for place in range(0, len(said), step or len(said)):
        items += session.feed(said[place : place + (step or len(said))])
        while session.more:
            items += session.feed()
    return items


MALFORMED: dict[str, bytes] = {
    "a field of HTTP/1.1": head(1, OK, (b"connection", b"close")),
    "another": head(1, OK, (b"transfer-encoding", b"chunked")),
    "an upper-case name": head(1, OK, (b"X-Foo", b"1")),
    "an empty name": head(1, OK, (b"", b"1")),
    "a line end in a value": head(1, OK, (b"x", b"a\r\nb: c")),
    "a NUL in a value": head(1, OK, (b"x", b"a\0")),
    "space around a value": head(1, OK, (b"x", b" a")),
    "no status": head(1, (b"x", b"a")),
    "two": head(1, OK, OK),
    "a late one": head(1, (b"x", b"a"), OK),
    "one of four digits": head(1, (b":status", b"2000")),
    "one that is none": head(1, (b":status", b"099")),
    "101": head(1, (b":status", b"101")),
    "a pseudo-field of requests": head(1, OK, (b":path", b"/")),
    "a length that is none": head(1, OK, (b"content-length", b"-1")),
    "two lengths": head(1, OK, (b"content-length", b"1"), (b"content-length", b"2")),
    "a longer body": head(1, OK, (b"content-length", b"1")) + data(1, b"ok", end=True),
    "a shorter body": head(1, OK, (b"content-length", b"3")) + data(1, b"ok", end=True),
    "a body that is missing": head(1, OK, (b"content-length", b"3"), end=True),
    "a body of a 204": head(1, (b":status", b"204")) + data(1, b"ok", end=True),
    "a body before the head": data(1, b"ok"),
    "an interim response that ends": head(1, (b":status", b"103"), end=True),
    "very many of them": head(1, (b":status", b"103")) * (MAX_INTERIMS + 1),
    "trailers that do not end": head(1, OK) + head(1, (b"x", b"a")),
    "trailers with a status": head(1, OK) + head(1, OK, end=True),
    "trailers of a connection": head(1, OK) + head(1, (b"connection", b"x"), end=True),
    "a field list that is too large": head(1, OK, (b"x", b"a" * 70_000)),
    "more than the window": head(1, OK) + data(1, bytes(1024)) * (STREAM_WINDOW // 1024 + 1),
    "a window of nothing": frames.write_window_update(1, 0),
    "a window that is too large": frames.write_window_update(1, frames.MAX_WINDOW),
}


@pytest.mark.parametrize("step", [0, 1, 7, 5000], ids=["whole", "bytes", "sevens", "pieces"])
@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_response_is_the_end_of_its_stream_and_of_no_other(kind: str, step: int):
    """RFC 9113 8.1.1 (found: h2 ends the connection, and every exchange that it carries)."""
    session = begin()
    said = MALFORMED[kind]
    items = read_all(session, said, step if len(said) < 5000 else max(step, 5000) if step else 0)
    lost = [item for item in items if isinstance(item, Lost)]
    assert [(item.stream_id, item.processed, item.answered) for item in lost] == [(1, True, True)]
    assert not any(isinstance(item, Ended) for item in items)
    assert session.error is None
    assert frames.write_frame(frames.RST_STREAM, 0, 1)[3:9] in session.take_output()
    items = read_all(session, head(3, OK, (b"content-length", b"2")) + data(3, b"ok", end=True), step)
    assert [item for item in items if isinstance(item, Ended)] == [Ended(3)]
    assert b"".join(item.data for item in items if isinstance(item, Body)) == b"ok"


@pytest.mark.parametrize(
    "late",
    [data(1, b"more"), head(1, (b"x", b"a"), end=True), frames.write_reset(1, 0), frames.write_window_update(1, 9)],
)
def test_what_comes_behind_a_response_concerns_nobody(late: bytes):
    """It belongs to no exchange any more."""
    session = begin()
    read_all(session, head(1, OK, end=True))
    assert [item for item in read_all(session, late) if isinstance(item, Lost)] == []
    assert session.error is None
    assert read_all(session, head(3, OK, end=True))[-1] == Ended(3)


@pytest.mark.parametrize(
    "said",
    [
        head(2, OK),
        head(5, OK),
        data(0, b"x"),
        frames.write_frame(frames.PUSH_PROMISE, 0, 1, bytes(4)),
        frames.write_frame(frames.CONTINUATION, 0, 1, b""),
        frames.write_frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
        frames.write_frame(frames.HEADERS, 0, 1, b"") + data(1, b""),
        frames.write_frame(frames.DATA, frames.PADDED, 1, b"\x09"),
        frames.write_frame(frames.SETTINGS, 0, 0, bytes(5)),
        frames.write_frame(frames.RST_STREAM, 0, 1, bytes(5)),
        frames.write_frame(frames.GOAWAY, 0, 0, bytes(5)),
        frames.write_window_update(0, 0),
    ],
)
def test_what_breaks_the_connection_ends_it_with_a_reason(said: bytes):
    """What follows cannot be read, or must not be believed."""
    session = begin()
    session.feed(said)
    assert session.error is not None
    assert len(session.error) < 200
    assert session.room == 0


def test_the_trailer_field_of_grpc_is_no_fault_of_its_response():
    """It says which fields come behind the body, and goes no further."""
    session = begin()
    items = read_all(session, head(1, OK, (b"trailer", b"Grpc-Status")) + head(1, (b"grpc-status", b"0"), end=True))
    assert isinstance(items[0], Responded)
    assert not items[0].head.fields
    assert items[1:] == [Trailed(1, [(b"grpc-status", b"0")]), Ended(1)]


def test_frames_of_a_byte_come_out_joined_and_a_few_at_a_time():
    """Found: 84,000 sends for 14 turns, while everybody else waited for a second."""
    session = begin()
    read_all(session, head(1, OK) + head(3, OK))
    count = EFFORT
    said = b"".join(data(1 + number % 2 * 2, b"%c" % (97 + number % 26)) for number in range(4 * count))
    first = session.feed(said)
    assert [type(item) for item in first] == [Body, Body]
    assert sum(len(item.data) for item in first if isinstance(item, Body)) == count
    items = first + read_all(session, b"\0")
    assert len(items) == 8
    for stream_id in (1, 3):
        body = b"".join(item.data for item in items if isinstance(item, Body) and item.stream_id == stream_id)
        assert body == bytes(97 + number % 26 for number in range(stream_id // 2, 4 * count, 2))


def test_settings_that_nobody_knows_are_not_kept():
    """A backend may name 65,000 of them (RFC 9113 6.5.2)."""
    session = begin()
    before = len(session._machine.remote_settings)
    payload = b"".join(number.to_bytes(2, "big") + bytes(4) for number in range(1000, 3000))
    session.feed(frames.write_frame(frames.SETTINGS, 0, 0, payload))
    assert session.error is None
    assert len(session._machine.remote_settings) == before


def test_what_the_backend_allows_is_kept_to():
    """Also when it allows less later; what is refused here was not sent."""
    session = begin()
    assert session.room == 100
    session.feed(settings(MAX_CONCURRENT_STREAMS=3))
    assert session.room == 3
    session.send_head(REQUEST, end=True)
    session.take_output()
    with pytest.raises(Exception, match="no more streams"):
        session.send_head(REQUEST, end=True)
    assert session.take_output() == b""
    session.feed(frames.write_reset(1, ErrorCodes.REFUSED_STREAM))
    assert session.send_head(REQUEST, end=True) == 7


def test_a_body_goes_as_far_as_the_windows_of_the_backend_allow():
    """Those of the stream change with its settings, those of the connection do not."""
    session = begin()
    session.feed(settings(INITIAL_WINDOW_SIZE=10))
    stream_id = session.send_head(REQUEST, end=False)
    assert session.send_body(stream_id, bytes(20)) == 10
    session.feed(settings(INITIAL_WINDOW_SIZE=12))
    assert session.send_body(stream_id, bytes(20)) == 2
    session.feed(frames.write_window_update(stream_id, 100_000))
    assert session.send_body(stream_id, bytes(100_000)) == 65535 - 12
    session.feed(frames.write_window_update(0, 5))
    assert session.send_body(stream_id, bytes(100_000)) == 5


def test_a_window_grows_when_its_body_flows_and_for_a_few_streams_only():
    """What waits for clients that take nothing is bounded by the first window."""
    session = begin(*[REQUEST] * (GROWING_STREAMS + 1))
    streams = range(1, 2 * GROWING_STREAMS + 2, 2)
    for stream_id in streams:
        read_all(session, head(stream_id, OK) + data(stream_id, bytes(STREAM_WINDOW // 2)))
        session.credit(stream_id, STREAM_WINDOW // 2)
    grown = STREAM_WINDOW // 2 + GROWTH
    opened = session.take_output()
    assert opened.count(frames.write_window_update(1, grown)[9:]) == GROWING_STREAMS
    assert opened.endswith(frames.write_window_update(streams[-1], STREAM_WINDOW // 2))
    session.reset(1)
    session.take_output()
    read_all(session, data(streams[-1], bytes(STREAM_WINDOW // 2)))
    session.credit(streams[-1], STREAM_WINDOW // 2)
    assert session.take_output() == frames.write_window_update(streams[-1], grown)
