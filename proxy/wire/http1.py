"""HTTP/1.1 requests read from bytes: llhttp reads the heads, this module does what a strict edge adds to it.

Bytes go in by `feed`, a list of items comes out, in order: a head, pieces of its body (`bytes`), then `END`. A head
without a body has `complete` set and no `END` follows. What was read beyond the first message (pipelining) comes out
in the same list. An error does not hide what came before it: it is left in `error` once the items that precede it
are out, and nothing more can be fed.

llhttp gets each head by itself, up to the empty line that ends it. Bodies never pass through it: their framing is a
count, or `proxy.wire.chunked`, which know to the byte where a message ends. A long body of known length need not pass
through here either: `detach` gives the number of bytes that are still to come, and the caller moves them itself.

References: RFC 9112, RFC 9110; `F` and `L` numbers are rows of the strictness list in docs/reference/strictness.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
from proxy.wire.chunked import ChunkedReader, ChunkError
from proxy.wire.request_target import set_target

HEAD_END: Final = b"\r\n\r\n"
HTTP2_HEAD: Final = b"PRI * HTTP/2.0\r\n\r\n"
"""What a client's connection of HTTP/2 begins with, made so that it looks like a head (RFC 9113 3.4)."""
_LINE_END: Final = b"\r\n"


def find_head_end(tail: bytes, data: bytes) -> int:
    """Where in `data` the head ends that began with what ends in `tail` (its last three bytes); 0 if it does not."""
    place = (tail + data).find(HEAD_END)
    return 0 if place < 0 else place + 4 - len(tail)


class End:
    """The end of a body: `END`, or one with trailers, names in lower case."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: Sequence[Field] = ()) -> None:
        self.trailers = trailers

    def __repr__(self) -> str:
        return "END"


END: Final = End()
"""The item that ends a body without trailers."""

RequestItem = RequestHead | bytes | End

_CODING = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,23}(?: |$)")


class RequestParser:
    """Reads the requests of one client connection.

    Args:
        header_bytes: limit on the request line and all fields of one head together.
        headers: limit on the number of fields.
    """

    __slots__ = (
        "_chunks",
        "_fields",
        "_head",
        "_header_bytes",
        "_headers",
        "_items",
        "_left",
        "_parser",
        "_proxy_connection",
        "_raw",
        "_special",
        "_url",
        "error",
        "http2",
        "upgraded",
    )

    def __init__(self, *, header_bytes: int, headers: int) -> None:
        self._header_bytes = header_bytes
        self._headers = headers
        self._items: list[RequestItem] = []
        self.error: BadRequest | None = None
        self.upgraded: bytes | None = None
        self.http2: bytes | None = None  # what follows the head with which HTTP/2 begins
        self._parser: httptools.HttpRequestParser | None = None
        self._head: RequestHead | None = None
        self._fields: list[Field] = []
        self._special: list[Field] | None = None
        self._url = b""
        self._raw = b""
        self._proxy_connection = False  # seen in a head of this connection; llhttp takes it for Connection
        self._left = 0
        self._chunks: ChunkedReader | None = None

    @property
    def partial(self) -> bool:
        """Whether a head has begun and is not complete."""
        return bool(self._raw)

    def feed(self, data: bytes | memoryview) -> list[RequestItem]:
        """Read what the client sent next.

        After `error` is set nothing may be fed. When a request asked for an upgrade, `upgraded` holds the bytes that
        follow its head, and the parser waits for `resume_http` or is thrown away.
        """
        items = self._items = []
        if not self._raw and not self._left and self._chunks is None:
            # The common case, one head and nothing else, without the bookkeeping of the others.
            raw = bytes(data)
            if 0 < raw.find(HEAD_END) == len(raw) - 4 < self._header_bytes - 3 and raw[0] not in _LINE_END:
                self._feed_parser(raw)
                if self.error is None:
                    self._on_head(raw, raw, len(raw))
                return items
        rest = memoryview(data)
        while rest and self.error is None and self.upgraded is None:
            if self._left:
                piece = bytes(rest[: self._left])
                self._left -= len(piece)
                items.append(piece)
                if not self._left:
                    items.append(END)
                rest = rest[len(piece) :]
            elif self._chunks is not None:
                rest = rest[self._read_chunks(self._chunks, rest) :]
            else:
                rest = rest[self._read_head(bytes(rest)) :]
        return items

    def _read_chunks(self, chunks: ChunkedReader, data: memoryview) -> int:
        pieces: list[memoryview] = []
        used = len(data)
        try:
            used = chunks.feed(data, pieces)
        except ChunkError as error:
            self.error = BadRequest(str(error))
        if pieces:  # as one: they are written as one chunk, whatever there came of them at a time
            self._items.append(b"".join(pieces))
        if chunks.done:
            self._items.append(END)
            self._chunks = None
        return used

    def _read_head(self, data: bytes) -> int:
        """Give llhttp a head, or what there is of one.

        Returns:
            How many bytes were used.
        """
        before = self._raw
        if before == b"\r":  # perhaps the beginning of an empty line
            self._raw = b""
            return self._read_head(before + data) - 1
        skipped = 0
        if before:
            end = find_head_end(before[-3:], data)
        else:
            while data.startswith(_LINE_END, skipped):
                skipped += 2  # empty lines before a request line are nothing (RFC 9112 2.2)
            if skipped == len(data):
                return skipped
            if data[skipped:] == b"\r":
                self._raw = b"\r"
                return len(data)
            if data[skipped] in _LINE_END:
                self.error = BadRequest("a line ends without CR LF")  # F10
                return len(data)
            end = data.find(HEAD_END, skipped) + 4
            if end == 3:
                end = 0
        whole = end > 0
        if whole:
            head_bytes = len(before) + end - skipped
        else:
            end = len(data)
            self._raw = before + data[skipped:]
            head_bytes = len(self._raw)
        piece = data[skipped:end] if skipped or end < len(data) else data
        if head_bytes > self._header_bytes:
            target = (before + piece).partition(b" ")[2].partition(b" ")[0]
            status = 414 if len(target) > self._header_bytes // 2 else 431
            self.error = BadRequest("the head is too large", status=status)
            return end
        self._feed_parser(piece)
        if whole and self.error is None:
            self._on_head(before + piece if before else piece, data, end)
        return end

    def _feed_parser(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgraded = b""
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self.error = cause if isinstance(cause, BadRequest) else BadRequest("the request cannot be read")
        except httptools.HttpParserError as error:
            self._on_syntax_error(error, self._raw or data)

    def _on_head(self, raw: bytes, data: bytes, end: int) -> None:
        """A head is complete: frame what follows it, and hand it over."""
        head, self._head = self._head, None
        self._raw = b""
        if head is None:
            if raw == HTTP2_HEAD:
                self.http2 = data[end:]
                self.error = BadRequest("HTTP/2 is not spoken here", status=505)
            else:
                self.error = BadRequest("the request cannot be read")
            return
        place = len(head.method) + len(self._url) + 2
        if raw[place : place + 5] != b"HTTP/":
            self.error = BadRequest("the request line is not three words with a space between")  # L4
            return
        self._fields = []
        self._special = None
        self._url = b""
        if self.upgraded is not None:
            self.upgraded = data[end:]
            self._parser = None
            if head.has_body:
                # No WebSocket handshake has a body, and no other upgrade is taken (P8, D15).
                self.error = BadRequest("an upgrade with a body")
                return
        if head.chunked:
            self._chunks = ChunkedReader()
            self._parser = None
        elif head.content_length:
            self._left = head.content_length
            self._parser = None
        else:
            head.complete = True
            if not head.keep_alive or self._proxy_connection:
                self._parser = None  # llhttp takes the message for the connection's last
        self._items.append(head)

    def _on_syntax_error(self, error: httptools.HttpParserError, data: bytes) -> None:
        if isinstance(error, httptools.HttpParserInvalidMethodError):
            self.error = BadRequest("the method is not known", status=501 if _METHOD.match(data) else 400)
        elif "PRI" in str(error):
            self.error = BadRequest("HTTP/2 is not spoken here", status=505)
        elif str(error) == "Invalid HTTP version":
            self.error = BadRequest("the HTTP version is not spoken here", status=505)
        else:
            self.error = BadRequest(f"malformed request: {error}")

    def detach(self) -> int:
        """Take a counted body out of the parser's hands.

        Returns:
            How many bytes of the current body are still to come, or 0 when the body is chunked or complete. Unless
            it is 0 the caller reads that many bytes past this parser, which then expects the next head.
        """
        left, self._left = self._left, 0
        return left

    def resume_http(self) -> list[RequestItem]:
        """Go on with HTTP after a request whose upgrade was not taken; gives the items already received."""
        rest, self.upgraded = self.upgraded, None
        return self.feed(rest) if rest else []

    # Callbacks of httptools, in the order of a message.

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field, with the white space behind its value still on it."""
        value = value.rstrip(b" \t")
        lower = name.lower()
        if lower in REQUEST_SPECIAL:
            if self._special is None:
                self._special = [(lower, value)]
            else:
                self._special.append((lower, value))
            if lower == b"proxy-connection":
                self._proxy_connection = True
        elif b"_" not in name:  # CGI and WSGI fold "-" and "_" into one name (P4)
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """All fields of a head are read: check them."""
        parser = self._parser
        assert parser is not None
        fields = self._fields
        special = self._special
        head = RequestHead()
        head.method = parser.get_method()
        version = parser.get_http_version()
        head.fields = fields
        if len(fields) + len(special or ()) > self._headers:
            raise BadRequest("too many fields", status=431)
        if version != "1.1":
            if version != "1.0":
                raise BadRequest("the HTTP version is not spoken here", status=505 if version >= "1.1" else 400)
            head.version = 10
        _set_special(head, special)
        set_target(head, self._url)
        self._head = head


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
