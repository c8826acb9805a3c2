"""Converts HTTP/2 field lists to heads and back, and checks them against RFC 9113 section 8.

A `MalformedRequest` is no message of HTTP/2 and ends its stream with PROTOCOL_ERROR (RFC 9113 8.1.1). A plain
`BadRequest` can be read and is not served: it is answered with its status, as over HTTP/1.1. Nothing that passes here
can mean another thing in HTTP/1.1: names are tokens, values hold no line ends, the target is checked as in HTTP/1.1
(`D` numbers: the strictness list).
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from typing import Final

from hotswap.core.errors import BadRequest
from hotswap.core.http.field_names import FILE_FIELDS, is_request_special, tells_of_client
from hotswap.core.http.messages import Field, RequestHead, ResponseHead, valid_host
from hotswap.wire.request_target import TOLD_BYTES, set_target

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOLD_METHOD = re.compile(rb"[A-Z][A-Z-]{0,23}")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

METHODS: Final = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY "
    b"OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK "
    b"UNLOCK UNSUBSCRIBE".split()
)
"""Those that llhttp knows, so that both versions serve the same, and no client makes up names for our counters."""

FORBIDDEN: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings")
)
"""Fields of HTTP/1.1 connections (RFC 9113 8.2.2); a request that has one is malformed."""

_CREDENTIALS: Final = frozenset((b"authorization", b"cookie", b"set-cookie"))


class MalformedRequest(BadRequest):
    """A malformed HTTP/2 request (RFC 9113 8.1.1): its stream is reset."""


def read_request(fields: list[Field], *, ended: bool, max_fields: int) -> RequestHead:
    """Build a head from the field list of a request.

    An extended CONNECT (RFC 8441) comes out as the HTTP/1.1 upgrade that asks a backend for the same.

    Args:
        fields: as decoded.
        ended: END_STREAM came with them.
        max_fields: limit on their number.

    Raises:
        MalformedRequest: reset the stream.
        BadRequest: answer with its status.
    """
    if len(fields) > max_fields + 4:
        # Cookies are one field, which is cut in pieces for its compression only (RFC 9113 8.2.3).
        pieces = sum(name == b"cookie" for name, _ in fields)
        if len(fields) - max(0, pieces - 1) > max_fields + 4:
            raise BadRequest("too many fields", status=431)
    head = RequestHead()
    head.version = 20
    pseudo: dict[bytes, bytes] = {}
    regular: list[Field] = []
    cookies: list[bytes] | None = None
    host: bytes | None = None
    for field in fields:
        name, value = field
        if _CONTROL.search(value) or value != value.strip(b" \t"):
            raise MalformedRequest("a field value is malformed")
        if name.startswith(b":"):
            if regular or cookies or host is not None or name in pseudo:
                raise MalformedRequest("a pseudo-header field is misplaced or doubled")
            if name not in _PSEUDO:
                raise MalformedRequest("a pseudo-header field is not known")
            pseudo[name] = value
        elif not _NAME.fullmatch(name):
            raise MalformedRequest("a field name is malformed")
        elif is_request_special(name):
            if name == b"host":
                if host is not None:
                    raise BadRequest("Host is doubled")
                host = value
            _set_special(head, name, value)
            regular = regular or _SEEN
        elif name == b"cookie":
            if cookies is None:
                cookies = []
            cookies.append(value)
        elif b"_" not in name:
            if regular is _SEEN or not regular:
                regular = []
            regular.append(field)
    if regular is _SEEN:
        regular = []
    if cookies is not None:
        # One field in HTTP/1.1 (RFC 9113 8.2.3).
        regular.append((b"cookie", b"; ".join(cookies)))
    head.fields = regular
    _set_pseudo(head, pseudo, host, ended=ended)
    if ended:
        head.complete = True
        if head.content_length:
            raise MalformedRequest("the request ends before its Content-Length")
    elif head.content_length is None and not head.complete:
        head.chunked = True
    return head


_PSEUDO: Final = frozenset((b":method", b":path", b":scheme", b":authority", b":protocol"))
_SEEN: Final[list[Field]] = [(b"", b"")]
"""Stands for regular fields of which none is kept so far."""


def _set_special(head: RequestHead, name: bytes, value: bytes) -> None:
    if name in FORBIDDEN:
        raise MalformedRequest("a field of HTTP/1.1 connections")
    if name == b"te":
        if value.lower() != b"trailers":
            raise MalformedRequest("TE says more than trailers")
        head.te_trailers = True
    elif name == b"content-length":
        if head.content_length is not None or len(value) > 18 or not value.isdigit():
            raise MalformedRequest("the Content-Length is not one number")
        head.content_length = int(value)
    elif name == b"expect":
        if value.lower() != b"100-continue":
            raise BadRequest("the expectation cannot be met", status=417)
        head.expect_continue = True
    elif tells_of_client(name):
        if head.forwarded is None:
            head.forwarded = []
        head.forwarded.append((name, value))


def _set_pseudo(head: RequestHead, pseudo: dict[bytes, bytes], host: bytes | None, *, ended: bool) -> None:
    method = pseudo.get(b":method")
    path = pseudo.get(b":path")
    authority = pseudo.get(b":authority")
    protocol = pseudo.get(b":protocol")
    if method is None or not _METHOD.fullmatch(method):
        raise MalformedRequest("the method is missing or malformed")
    if method not in METHODS:
        raise BadRequest("the method is not known", status=501)
    if method == b"CONNECT" and protocol is None:
        if path is not None or b":scheme" in pseudo or not authority:
            raise MalformedRequest("a CONNECT with a path")
        head.method = method
        raise BadRequest("the method is not allowed here", status=405)
    scheme = pseudo.get(b":scheme")
    if not path or not scheme:
        raise MalformedRequest("a pseudo-header field is missing")
    if scheme not in (b"http", b"https"):
        raise BadRequest("the scheme is not served here")
    head.host = authority if authority is not None else host or b""
    if not valid_host(head.host):
        raise BadRequest("the authority is missing or malformed")
    if host is not None and host.lower() != head.host.lower():
        raise BadRequest("the Host differs from the authority")
    head.method = method
    if protocol is not None:
        _set_protocol(head, method, protocol, ended=ended)
    if not path.startswith(b"/") and not (path == b"*" and method == b"OPTIONS"):
        raise BadRequest("the path is malformed")
    set_target(head, path)


def _set_protocol(head: RequestHead, method: bytes, protocol: bytes, *, ended: bool) -> None:
    """Convert an extended CONNECT to the WebSocket handshake that a backend knows (RFC 8441 5; P8)."""
    if method != b"CONNECT" or ended:
        raise MalformedRequest("a protocol without a CONNECT that stays open")
    if protocol.lower() != b"websocket":
        raise BadRequest("the protocol is not known here", status=501)
    if head.field(b"sec-websocket-version") != b"13":
        raise BadRequest("only version 13 of WebSocket is spoken here")
    if head.content_length is not None:
        raise MalformedRequest("a CONNECT with a Content-Length")
    head.method = b"GET"
    head.upgrade = b"websocket"
    head.complete = True  # what follows belongs to the tunnel
    key = base64.b64encode(secrets.token_bytes(16))
    fields = [field for field in head.fields if field[0] != b"sec-websocket-key"]
    head.fields = [*fields, (b"sec-websocket-key", key)]


def refused_line(fields: list[Field]) -> tuple[bytes, bytes, int]:
    """Method, target and version of a refused request, as far as they can be told."""
    told = dict(reversed(fields))  # the first of each name, which is no less right than another
    method = told.get(b":method", b"")
    if not _TOLD_METHOD.fullmatch(method):
        method = b""
    return method, told.get(b":path", b"")[:TOLD_BYTES], 20


def check_trailers(fields: list[Field]) -> None:
    """Validate the trailers of a request; `write_trailers` selects those that may be forwarded (F15).

    Raises:
        MalformedRequest: reset the stream.
    """
    for name, value in fields:
        if not _NAME.fullmatch(name) or name in FORBIDDEN:
            raise MalformedRequest("a trailer field is malformed")
        if _CONTROL.search(value) or value != value.strip(b" \t"):
            raise MalformedRequest("a trailer value is malformed")


_STATUSES: Final = {status: (b":status", b"%d" % status) for status in range(100, 600)}


def write_response(head: ResponseHead, *, status: int | None = None) -> list[Field]:
    """Field list of a response, which may get another status; its head has no connection fields (D7)."""
    code = status or head.status
    fields = [_STATUSES.get(code) or (b":status", b"%d" % code)]
    fields += [(name.lower(), value[:-2]) for name, _, value in [line.partition(b": ") for line in head.lines]]
    if head.content_length is not None and code >= 200 and code != 204:
        fields.append((b"content-length", b"%d" % head.content_length))
    return fields


def write_trailers(fields: Sequence[Field]) -> list[Field]:
    """Field list of trailers, without those that belong to heads and those that CGI would fold (F15, P4)."""
    return [
        (lower, value)
        for name, value in fields
        if not is_request_special(lower := name.lower())
        and lower not in _CREDENTIALS
        and lower not in FILE_FIELDS
        and b"_" not in lower
    ]
