"""Our request parser against h11: what both take for a request must be the same request.

Two parsers that agree on every message that they both accept leave nothing to smuggle between them. Inputs are good
and hostile requests of the corpus, cut, spliced and mutated by Hypothesis with the bytes that parsers differ about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.field_names import is_request_special
from hotswap.core.http.messages import RequestHead, parse_tokens
from tests.wire.feeding import Message, cut, read_requests
from tests.wire.payloads import accepted, framing, request_line
from tests.wire.payloads.case import SMUGGLED, Forwarded

RAW = [
    *(case.raw for case in accepted.CASES),
    *(case.raw for case in (*framing.CASES, *request_line.CASES)),
]
SEEDS = [raw for raw in RAW if len(raw) < 1000]

FRAGMENTS = st.sampled_from(
    [
        *(bytes((byte,)) for byte in b"\r\n\t\x00\x0b\x0c\x7f\x80\x85\xa0 :;,\"'0159afx+-_/?#*[]@"),
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\r\n ",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"transfer-encoding:chunked\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive, X\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Host: example.net\r\n",
        b"Expect: 100-continue\r\n",
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"HEAD",
        SMUGGLED,
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A few requests, with a few places changed."""
    data = b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((0, 0, 0, 1, 1, 2, 4, 16)))
        data = data[:start] + draw(FRAGMENTS | st.binary(max_size=3)) + data[start + length :]
    return data


@dataclass(slots=True)
class Theirs:
    """What h11 made of some bytes."""

    messages: list[TheirMessage] = field(default_factory=list)
    stopped: bool = False  # it refused, or would read no further on this connection


@dataclass(slots=True)
class TheirMessage:
    """One request as h11 reads it."""

    request: h11.Request
    body: bytes = b""
    complete: bool = False


def read_with_h11(data: bytes) -> Theirs:
    """Let h11 read everything, answering each request so that it goes on to the next."""
    theirs = Theirs()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    try:
        while True:
            match connection.next_event():
                case h11.Request() as request:
                    theirs.messages.append(TheirMessage(request))
                case h11.Data(data=piece):
                    theirs.messages[-1].body += bytes(piece)
                case h11.EndOfMessage():
                    theirs.messages[-1].complete = True
                    if not answer(connection):
                        theirs.stopped = True
                        return theirs
                case h11.PAUSED | h11.ConnectionClosed():
                    theirs.stopped = True
                    return theirs
                case _:
                    return theirs
    except h11.RemoteProtocolError:
        theirs.stopped = True
        return theirs


def answer(connection: h11.Connection) -> bool:
    """Answer a request with h11; False when the connection carries no other."""
    connection.send(h11.Response(status_code=405, headers=[]))
    connection.send(h11.EndOfMessage())
    if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
        return False
    connection.start_next_cycle()
    return True


def assert_same(ours: Message, theirs: TheirMessage) -> None:
    """Fail unless both read the same request."""
    head, request = ours.head, theirs.request
    assert head.method == request.method
    assert_same_target(head, request)
    tokens = {token for name, value in request.headers if name == b"connection" for token in parse_tokens(value)}
    end_to_end = [
        (name, value)
        for name, value in request.headers
        if not is_request_special(name) and b"_" not in name and name not in tokens
    ]
    assert [(name.lower(), value) for name, value in head.fields] == end_to_end
    if ours.complete and theirs.complete:
        assert ours.body == theirs.body


def assert_same_target(head: RequestHead, request: h11.Request) -> None:
    """Ours is in origin-form, with the authority of an absolute-form in `host`."""
    target = request.target
    hosts = [value for name, value in request.headers if name == b"host"]
    if not target.startswith((b"/", b"*")):
        _, _, rest = target.partition(b"://")
        assert rest.startswith(head.host)
        target = rest[len(head.host) :]
        if not target.startswith(b"/"):
            target = b"*" if not target and head.method == b"OPTIONS" else b"/" + target
    else:
        assert [head.host] == (hosts or [b""])
    assert head.target == target


@given(data=mutated())
def test_what_both_accept_is_the_same_request(data: bytes) -> None:
    """Method, target, host, end-to-end fields, body and where the message ends are what h11 says."""
    ours, theirs = read_requests([data]), read_with_h11(data)
    for mine, other in zip(ours.messages, theirs.messages, strict=False):
        assert_same(mine, other)
        if mine.complete != other.complete:
            assert ours.error is not None or theirs.stopped, "one sees an end where the other waits for more"
            return
    if len(ours.messages) > len(theirs.messages):
        assert theirs.stopped, "a request that h11 does not see"
    if len(theirs.messages) > len(ours.messages):
        assert ours.error is not None, "h11 sees a request that is not there"


@given(data=mutated(), seed=st.randoms(use_true_random=False))
def test_where_the_bytes_are_cut_changes_nothing(data: bytes, seed: Random) -> None:
    """The same messages come out of a stream however it is cut, and it is refused or not."""
    at_once = read_requests([data])
    bytewise = read_requests(cut(data))
    places = sorted(seed.randrange(len(data) + 1) for _ in range(3))
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    for other in (bytewise, read_requests([piece for piece in pieces if piece])):
        assert (other.error is None) == (at_once.error is None)
        assert [summary(message) for message in other.messages] == [summary(message) for message in at_once.messages]


def summary(message: Message) -> tuple[object, ...]:
    """What makes a message."""
    head = message.head
    body = message.body if message.complete else b""
    return (head.method, head.target, head.host, head.version, head.fields, body, message.complete)


STRICTER_H11 = {"F14 empty line before the request"}  # RFC 9112 2.2 wants it ignored


@pytest.mark.parametrize(
    "case", [case for case in accepted.CASES if case.row not in STRICTER_H11], ids=lambda case: case.row
)
def test_h11_agrees_about_every_good_case(case: Forwarded) -> None:
    """The corpus of good requests, by both, with a request behind."""
    ours, theirs = read_requests([case.raw + SMUGGLED]), read_with_h11(case.raw + SMUGGLED)
    if ours.error is None or not case.or_refused:
        assert_same(ours.messages[0], theirs.messages[0])
        assert ours.messages[0].complete
        assert theirs.messages[0].complete
