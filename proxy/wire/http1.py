"""HTTP/1.1 requests read from bytes: llhttp does the grammar, this module does what a strict edge adds to it.

Bytes go in by `feed`, a list of items comes out, in order: a head, pieces of its body (`bytes`), then `END`. A head
without a body has `complete` set and no `END` follows. What was read beyond the first message (pipelining) comes out
in the same list. An error does not hide what came before it: it is left in `error` once the items that precede it
are out, and nothing more can be fed.

A long body of known length need not pass through the parser: `detach` gives the number of bytes that are still to
come, the caller moves them itself, and the next message starts afresh.

References: RFC 9112, RFC 9110; `F` and `L` numbers are rows of the strictness list in docs/reference/strictness.md.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from proxy.core.errors import BadRequest
from proxy.core.messages import (
    FORWARDED_FIELDS,
    NOT_NOMINATED,
    REQUEST_SPECIAL,
    Field,
    RequestHead,
    parse_tokens,
    valid_host,
)

MAX_LINE_OVERHEAD: Final = 64 * 1024
"""Bytes of chunk framing (sizes, extensions, trailers) that a body may cost beyond 16 for each of its bytes (F8)."""

class End:
    """The type of `END`."""

    def __repr__(self) -> str:
        return "END"


END: Final = End()
"""The item that ends a body."""

RequestItem = RequestHead | bytes | End

_BAD_TARGET = re.compile(rb"[^!-~]|[#\\]")
_CODING = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_METHOD = re.compile(rb"(?:\r\n)*[A-Z][A-Z-]{1,23} ")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)


class RequestParser:
    """Reads the requests of one client connection.

    Args:
        header_bytes: limit on the request line and all fields of one head together.
        headers: limit on the number of fields.
    """

    __slots__ = (
        "_body",
        "_done",
        "_fed",
        "_fields",
        "_framing",
        "_head",
        "_head_bytes",
        "_header_bytes",
        "_headers",
        "_items",
        "_left",
        "_parser",
        "_special",
        "_url",
        "error",
        "upgraded",
    )

    def __init__(self, *, header_bytes: int, headers: int) -> None:
        self._header_bytes = header_bytes
        self._headers = headers
        self._items: list[RequestItem] = []
        self.error: BadRequest | None = None
        self.upgraded: bytes | None = None
        self._fed = 0
        self._restart()

    def _restart(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._head: RequestHead | None = None
        self._fields: list[Field] = []
        self._special: list[Field] | None = None
        self._url = b""
        self._head_bytes = 0
        self._body = 0
        self._framing = 0
        self._left = 0
        self._done = False

    @property
    def partial(self) -> bool:
        """Whether a head has begun and is not complete."""
        return self._head is None and self._head_bytes > 0

    def feed(self, data: bytes | memoryview) -> list[RequestItem]:
        """Read what the client sent next.

        After `error` is set nothing may be fed. When a request asked for an upgrade, `upgraded` holds the bytes that
        follow its head, and the parser waits for `resume_http` or is thrown away.
        """
        items = self._items = []
        head_before = self._head
        self._fed = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            self._on_upgrade(bytes(data[error.args[0] :]))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self.error = cause if isinstance(cause, BadRequest) else BadRequest("the request cannot be read")
        except httptools.HttpParserError as error:
            self._on_syntax_error(error, data)
        head = self._head
        if head is None:
            self._head_bytes += len(data)
            if self.error is None and self._head_bytes > self._header_bytes:
                long_target = len(self._url) == 0 or len(self._url) > self._header_bytes // 2
                self.error = BadRequest("the head is too large", status=414 if long_target else 431)
        elif head.chunked and head is head_before and not self._done:
            self._count_framing(len(data), items)
        return items

    def _on_syntax_error(self, error: httptools.HttpParserError, data: bytes | memoryview) -> None:
        if isinstance(error, httptools.HttpParserInvalidMethodError):
            known = self._head_bytes or _METHOD.match(data)
            self.error = BadRequest("the method is not known", status=501 if known else 400)
        elif "PRI" in str(error):
            self.error = BadRequest("HTTP/2 is not spoken here", status=505)
        elif "version" in str(error):
            self.error = BadRequest("the HTTP version is not spoken here", status=505)
        else:
            self.error = BadRequest(f"malformed request: {error}")

    def _count_framing(self, fed: int, items: list[RequestItem]) -> None:
        body = sum(len(item) for item in items if isinstance(item, bytes))
        self._framing += fed - body
        self._body += body
        if self._framing > MAX_LINE_OVERHEAD + 16 * self._body:
            self.error = BadRequest("chunk framing outweighs the body")

    def detach(self) -> int:
        """Take a counted body out of the parser's hands.

        Returns:
            How many bytes of the current body are still to come, or 0 when the body is chunked or complete. Unless
            it is 0 the caller reads that many bytes past this parser, which then expects the next head.
        """
        head = self._head
        if head is None or self._done or head.content_length is None or not self._left:
            return 0
        left = self._left
        self._restart()
        return left

    def resume_http(self) -> list[RequestItem]:
        """Go on with HTTP after a request whose upgrade was not taken; gives the items already received."""
        rest, self.upgraded = self.upgraded, None
        self._restart()
        return self.feed(rest) if rest else []

    # Callbacks of httptools, in the order of a message.

    def on_url(self, url: bytes) -> None:
        """A piece of the request target; the first begins a message, and what was kept of the last is dropped."""
        if self._head is not None:
            self._head = None
            self._fields = []
            self._special = None
            self._head_bytes = 0
            self._done = False
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head, or of the trailers, which are dropped (F15)."""
        if self._head is not None:
            return
        lower = name.lower()
        if lower in REQUEST_SPECIAL:
            if self._special is None:
                self._special = [(lower, value)]
            else:
                self._special.append((lower, value))
        elif b"_" not in name:  # CGI and WSGI fold "-" and "_" into one name (P4)
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete: check it and hand it over."""
        parser = self._parser
        fields = self._fields
        special = self._special
        url, self._url = self._url, b""
        head = RequestHead()
        head.method = parser.get_method()
        version = parser.get_http_version()
        head.fields = fields
        count = len(fields)
        if special is not None:
            count += len(special)
        if count > self._headers:
            raise BadRequest("too many fields", status=431)
        if self._head_bytes + self._fed > self._header_bytes:
            self._check_size(len(url))
        if version != "1.1":
            if version != "1.0":
                raise BadRequest("the HTTP version is not spoken here", status=505 if version >= "1.1" else 400)
            head.version = 10
        _set_special(head, special)
        _set_target(head, url)
        self._head = head
        self._body = self._framing = 0
        self._left = head.content_length or 0
        self._items.append(head)

    def _check_size(self, url_bytes: int) -> None:
        """Count a head that may be too large: what was fed need not all belong to it."""
        size = url_bytes + sum(map(_field_size, self._fields)) + sum(map(_field_size, self._special or ()))
        if size > self._header_bytes:
            long_target = url_bytes > self._header_bytes // 2
            raise BadRequest("the head is too large", status=414 if long_target else 431)

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without its framing."""
        if self._left:
            self._left -= len(body)
        self._items.append(body)

    def on_message_complete(self) -> None:
        """The message ends."""
        head = self._head
        self._head_bytes = 0
        self._done = True
        if head is not None and self._items and self._items[-1] is head:
            head.complete = True
        else:
            self._items.append(END)

    def _on_upgrade(self, rest: bytes) -> None:
        """Httptools stops at every CONNECT and at every request that asks for an upgrade."""
        head = self._head
        self.upgraded = rest
        if head is None:
            self.error = BadRequest("the request cannot be read")
        elif head.has_body:
            # No WebSocket handshake has a body, and llhttp would not frame it for us (P8, D15).
            self._items.remove(head)
            self.error = BadRequest("an upgrade with a body")


def _field_size(field: Field) -> int:
    return len(field[0]) + len(field[1]) + 4


def _set_special(head: RequestHead, special: list[Field] | None) -> None:
    """Interpret the fields that bind this connection, and refuse what must not be forwarded."""
    hosts = 0
    upgrade: bytes | None = None
    tokens: tuple[bytes, ...] = ()
    if head.version != 11:
        head.keep_alive = False
    for name, value in special or ():
        if name == b"host":
            hosts += 1
            head.host = value
        elif name == b"connection":
            tokens += parse_tokens(value)
        elif name == b"content-length":
            if head.content_length is not None or len(value) > 18 or not value.isdigit():
                raise BadRequest("the Content-Length is not one number")
            head.content_length = int(value)
        elif name == b"transfer-encoding":
            _set_transfer_encoding(head, value)
        elif name == b"upgrade":
            upgrade = value.lower()
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BadRequest("the expectation cannot be met", status=417)
            head.expect_continue = head.version == 11
        elif name == b"te":
            head.te_trailers = b"trailers" in parse_tokens(value)
        elif name in FORWARDED_FIELDS:
            if head.forwarded is None:
                head.forwarded = []
            head.forwarded.append((name, value))
    if hosts != 1 and (hosts or head.version == 11):
        raise BadRequest("the request has no Host, or several")
    if hosts and not valid_host(head.host):
        raise BadRequest("the Host is malformed")
    if tokens:
        _apply_connection(head, tokens, upgrade)
    if head.chunked and head.content_length is not None:
        raise BadRequest("Content-Length and Transfer-Encoding together")


def _set_transfer_encoding(head: RequestHead, value: bytes) -> None:
    if head.version != 11:
        raise BadRequest("Transfer-Encoding in HTTP/1.0")
    if head.chunked:
        raise BadRequest("Transfer-Encoding twice")
    if value.lower() != b"chunked":
        known = _CODING.fullmatch(value) and b"chunked" not in parse_tokens(value)[:-1]
        raise BadRequest("Transfer-Encoding is not chunked", status=501 if known else 400)
    head.chunked = True


def _apply_connection(head: RequestHead, tokens: tuple[bytes, ...], upgrade: bytes | None) -> None:
    if b"close" in tokens:
        head.keep_alive = False
    elif b"keep-alive" in tokens:
        head.keep_alive = True
    if b"upgrade" in tokens and upgrade is not None and head.version == 11:
        head.upgrade = upgrade
    nominated = frozenset(tokens) - {b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"}
    if nominated:
        if not nominated.isdisjoint(NOT_NOMINATED):
            raise BadRequest("Connection names a field that is not its own")
        head.fields = [field for field in head.fields if field[0].lower() not in nominated]


def _set_target(head: RequestHead, url: bytes) -> None:
    """Bring the request target into origin form (RFC 9112 3.2), or refuse it (L3 to L6)."""
    method = head.method
    if method == b"CONNECT" or method == b"TRACE":
        raise BadRequest("the method is not allowed here", status=405)
    if _BAD_TARGET.search(url):
        raise BadRequest("the request target is malformed")
    if not url.startswith(b"/"):
        if url == b"*":
            if method != b"OPTIONS":
                raise BadRequest("only OPTIONS may ask for *")
        else:
            absolute = _ABSOLUTE.fullmatch(url)
            if absolute is None or not valid_host(absolute[1]):
                raise BadRequest("the request target is malformed")
            if head.host and head.host.lower() != absolute[1].lower():
                raise BadRequest("the Host differs from the request target")
            head.host = absolute[1]
            url = absolute[2]
            if not url.startswith(b"/"):
                url = b"*" if not url and method == b"OPTIONS" else b"/" + url
    head.target = url
    query = url.find(b"?")
    head.path = url if query < 0 else url[:query]
