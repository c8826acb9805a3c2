"""Converts requests to HTTP/2 field lists for backends, and validates the field lists of their responses.

What a backend says is not believed more over HTTP/2 than over HTTP/1.1: it may go on to a client of HTTP/1.1, where a
line end in a value would be the beginning of something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hotswap.core.errors import UpstreamBroken
from hotswap.core.http.field_names import FILE_FIELDS, is_response_special
from hotswap.core.http.forwarding import REASONS, Peer
from hotswap.core.http.messages import BUFFERING, Field, RequestHead, ResponseHead

NO_HOST: Final = b"localhost"
"""The authority of a request whose client named no host, as one of HTTP/1.0 may.

An empty one is malformed (RFC 9113 8.3.1), and common servers end the whole connection where there is none.
"""
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_OF_HTTP1: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""What binds a connection of HTTP/1.1 has no meaning here, and makes a message malformed (RFC 9113 8.2.2)."""


def write_request(
    head: RequestHead, peer: Peer, *, target: bytes, prefix: bytes = b"", request_id: bytes, retried: bool = False
) -> list[Field]:
    """Field list of a request for a backend; `hotswap.core.http.forwarding` says what each field means."""
    fields: list[Field] = [
        (b":method", head.method),
        (b":scheme", peer.scheme),
        (b":authority", head.host or NO_HOST),
        (b":path", target),
    ]
    fields += [(name.lower(), value) for name, value in head.fields]
    for line in peer.lines(head, prefix).split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name:
            fields.append((name.lower(), value))
    if head.content_length is not None:
        fields.append((b"content-length", b"%d" % head.content_length))
    if head.expect_continue:
        fields.append((b"expect", b"100-continue"))
    if head.te_trailers:
        fields.append((b"te", b"trailers"))
    if retried:
        fields.append((b"x-hotswap-retry", b"1"))
    fields.append((b"x-request-id", request_id))
    return fields


def read_response(fields: Sequence[Field], *, ended: bool, bodiless: bool) -> ResponseHead:
    """Build a head from the field list of a response.

    Args:
        fields: as decoded.
        ended: END_STREAM came with them.
        bodiless: the request was a HEAD, so that a length without a body is no contradiction.

    Raises:
        UpstreamBroken: they are not a response.
    """
    head = ResponseHead()
    regular: list[Field] = []
    for name, value in fields:
        if _CONTROL.search(value) or value != value.strip(b" \t"):
            raise UpstreamBroken("a field value of the response is malformed")
        if name == b":status":
            if len(value) != 3 or not value.isdigit() or head.status or regular:
                raise UpstreamBroken("the response's status is malformed")
            head.status = int(value)
        elif not _NAME.fullmatch(name):
            raise UpstreamBroken("a field name of the response is malformed")
        elif name == b"content-length":
            if head.content_length is not None or len(value) > 18 or not value.isdigit():
                raise UpstreamBroken("the response's Content-Length is not one number")
            head.content_length = int(value)
        elif name in _OF_HTTP1:
            raise UpstreamBroken("the response has a field of HTTP/1.1 connections")
        elif name == b"x-accel-buffering":
            head.buffering = BUFFERING.get(value.lower())
        elif name in FILE_FIELDS:
            if head.file_fields is None:
                head.file_fields = []
            head.file_fields.append((name, value))
        elif not is_response_special(name):  # such as the Trailer of gRPC, which speaks of this connection's framing
            regular.append((name, value))
    head.fields = regular
    head.dated = any(name == b"date" for name, _ in regular)
    status = head.status
    head.reason = REASONS.get(status, b"")
    if status < 100 or status == 101:
        raise UpstreamBroken(f"status {status}")
    if status < 200:
        if ended:
            raise UpstreamBroken("an informational response ends the stream")
        return head
    head.complete = ended
    if ended and not bodiless and status != 204 and status != 304:
        if head.content_length:
            raise UpstreamBroken("the response ends before its Content-Length")
        head.content_length = 0  # so that nobody waits for a body: of gRPC, an answer of trailers only
    return head


def read_trailers(fields: Sequence[Field]) -> list[Field]:
    """Validate the trailers of a response.

    Raises:
        UpstreamBroken: they could be taken for something else.
    """
    for name, value in fields:
        if not _NAME.fullmatch(name) or name in _OF_HTTP1 or _CONTROL.search(value):
            raise UpstreamBroken("a trailer field of the response is malformed")
    return list(fields)
