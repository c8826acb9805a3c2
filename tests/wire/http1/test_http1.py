"""What llhttp remembers of one message is nothing to the next: a head means the same behind any other as by itself."""

from __future__ import annotations

import pytest

from hotswap.core.http.messages import ResponseHead
from hotswap.wire.http1.response_parser import ResponseParser
from tests.wire.feeding import Reading, read_requests
from tests.wire.payloads import accepted, framing, request_line
from tests.wire.payloads.case import Forwarded, Refused

BEFORE = (
    b"GET /before HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /before HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    b"GET /before HTTP/1.2\r\nHost: a\r\nAccept: */*\r\n\r\n",
    b"HEAD /before HTTP/1.1\r\nConnection: keep-alive\r\nHost: a\r\n\r\n",
    b"GET /before HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\n\r\n",
    b"GET /before HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n",
    b"GET /before HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n",
    b"GET /before HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"GET /before HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: keep-alive\r\n\r\n",
    b"POST /before HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
)
CASES = (*framing.CASES, *request_line.CASES, *accepted.CASES)


def told(reading: Reading, skip: int) -> list[tuple[object, ...]]:
    """All that is known of the messages behind the first ones."""
    return [
        (
            head.method,
            head.target,
            head.host,
            head.version,
            head.fields,
            head.keep_alive,
            message.body,
            message.complete,
        )
        for message in reading.messages[skip:]
        for head in (message.head,)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_what_came_before_changes_nothing(case: Forwarded | Refused) -> None:
    """Each case of the corpus is read behind another request as it is by itself, in pieces of its own and in one."""
    alone = read_requests([case.raw])
    for before in BEFORE:
        for pieces in ([before, case.raw], [before, before, case.raw], [before + case.raw]):
            behind = read_requests(pieces)
            assert told(behind, len(pieces) - 1 or 1) == told(alone, 0), pieces
            assert (behind.error and behind.error.status) == (alone.error and alone.error.status), pieces


RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    b"HTTP/1.7 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nProxy-Connection: close\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, x\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nUpgrade: x\r\n\r\nhello",
    b"HTTP/1.1 205 Reset\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 None\r\n\r\n",
    b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX\r\n\r\nhello",
    b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
)


def read_response(parser: ResponseParser, data: bytes) -> tuple[object, ...]:
    """All that a parser makes of a response."""
    parser.expect(no_body=False)
    items = [
        (item.version, item.status, item.fields, item.body, item.complete, item.keep_alive)
        if isinstance(item, ResponseHead)
        else item
        for item in parser.feed(data)
    ]
    return items, str(parser.error)


@pytest.mark.parametrize("response", RESPONSES)
def test_what_was_answered_before_changes_nothing(response: bytes) -> None:
    """A response is read behind another one as it is by itself."""
    for before in RESPONSES[:12]:
        parser = ResponseParser()
        read_response(parser, before)
        assert read_response(parser, response) == read_response(ResponseParser(), response), before
