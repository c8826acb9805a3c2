"""HTTP/1.1 requests read from bytes: llhttp reads the heads, this module does what a strict edge adds to it.

Bytes go in by `feed`, a list of items comes out, in order: a head, pieces of its body (`bytes`), then `END`. A head
without a body has `complete` set and no `END` follows. What was read beyond the first message (pipelining) comes out
in the same list. An error does not hide what came before it: it is left in `error` once the items that precede it
are out, and nothing more can be fed.

llhttp gets each head by itself, up to the empty line that ends it, and says whether it is one; what its lines mean is
`proxy.wire.field_lines`. Bodies never pass through it: their framing is a
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
from proxy.core.field_names import is_request_special, may_be_nominated, nominated_fields, tells_of_client
from proxy.core.messages import Field, RequestHead, parse_tokens, valid_host
from proxy.wire.chunked import ChunkedReader, ChunkError
from proxy.wire.field_lines import FieldLines
from proxy.wire.request_target import set_target
from proxy.wire.transfer_encoding import set_transfer_encoding, told_codings, unknown_coding
from proxy.wire.websocket import is_handshake

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

_METHOD = re.compile(rb"[A-Z][A-Z-]{0,23}(?: |$)")
TOLD_BYTES: Final = 2048
"""As much of the target of a request that is refused is told."""
_LINES: Final = FieldLines(is_request_special, underscores=False)
NO_CALLBACKS: Final = object()
"""What llhttp is given to call: its verdict is all we ask for."""


class RequestParser:
    """Reads the requests of one client connection.

    Args:
        header_bytes: limit on the request line and all fields of one head together.
        headers: limit on the number of fields.

    Attributes:
        crumbs: a body comes in very small chunks, which are much work for few bytes.
    """

    __slots__ = (
        "_chunks",
        "_header_bytes",
        "_headers",
        "_items",
        "_left",
        "_parser",
        "_proxy_connection",
        "_raw",
        "crumbs",
        "error",
        "http2",
        "upgraded",
    )

    def __init__(self, *, header_bytes: int, headers: int) -> None:
        self._header_bytes = header_bytes
        self._headers = headers
        self._items: list[RequestItem] = []
        self.crumbs = False
        self.error: BadRequest | None = None
        self.upgraded: bytes | None = None
        self.http2: bytes | None = None  # what follows the head with which HTTP/2 begins
        self._parser: httptools.HttpRequestParser | None = None
        self._raw = b""
        self._proxy_connection = False  # seen in a head of this connection; llhttp takes it for Connection
        self._left = 0
        self._chunks: ChunkedReader | None = None

    @property
    def partial(self) -> bool:
        """Whether a head has begun and is not complete."""
        return bool(self._raw)

    def refused_line(self) -> tuple[bytes, bytes, int]:
        """Method, target and version of a head that was refused: of as much as came, as far as it can be told."""
        method, *rest = self._raw.partition(_LINE_END)[0].split(b" ")
        if not rest or not _METHOD.fullmatch(method):
            return b"", b"", 0
        version = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}.get(rest[-1], 0)
        return method, rest[0][:TOLD_BYTES], version

    def feed(self, data: bytes) -> list[RequestItem]:
        """Read what the client sent next.

        After `error` is set nothing may be fed. When a request asked for an upgrade, `upgraded` holds the bytes that
        follow its head, and the parser waits for `resume_http` or is thrown away.
        """
        items = self._items = []
        if (
            not self._raw
            and not self._left
            and self._chunks is None
            and 0 < data.find(HEAD_END) == len(data) - 4 < self._header_bytes - 3
            and data[0] not in _LINE_END
        ):
            # The common case, one head and nothing else, without the bookkeeping of the others.
            self._feed_parser(data, data)
            if self.error is None:
                self._on_head(data, data, len(data))
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
        self.crumbs = chunks.crumbs and not chunks.done
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
            self._raw = before + piece
            self.error = BadRequest("the head is too large", status=status)
            return end
        raw = before + piece if before else piece
        self._feed_parser(piece, raw)
        if whole and self.error is None:
            self._on_head(raw, data, end)
        return end

    def _feed_parser(self, data: bytes, raw: bytes) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(NO_CALLBACKS)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgraded = b""
        except httptools.HttpParserError as error:
            self._on_syntax_error(error, raw)

    def _on_head(self, raw: bytes, data: bytes, end: int) -> None:
        """A head is complete and well-formed: take it apart, frame what follows it, and hand it over."""
        self._raw = b""
        try:
            head = self._split(raw)
        except BadRequest as error:
            if raw == HTTP2_HEAD:
                self.http2 = data[end:]
            self._raw = raw
            self.error = error.with_traceback(None)  # whose frames have us
            return
        if self.upgraded is not None:
            self.upgraded = data[end:]
            self._parser = None
            if head.has_body:
                if is_handshake(head):
                    self._raw = raw
                    self.error = BadRequest("a handshake of WebSocket with a body")
                    return
                # No other upgrade is taken (P8, D15): an ordinary request, whose body follows.
                self.upgraded = head.upgrade = None
        if head.chunked:
            self._chunks = ChunkedReader(keep_trailers=False)
            self._parser = None
        elif head.content_length:
            self._left = head.content_length
            self._parser = None
        else:
            head.complete = True
            if not head.keep_alive or self._proxy_connection:
                self._parser = None  # llhttp takes the message for the connection's last
        self._items.append(head)

    def _split(self, raw: bytes) -> RequestHead:
        """Make a head of its bytes, which llhttp has found well-formed."""
        texts = raw.split(_LINE_END)
        words = texts[0].split(b" ")
        if len(words) != 3:
            raise BadRequest("the request line is not three words with a space between")  # L4
        head = RequestHead()
        head.method, target, version = words
        if version != b"HTTP/1.1":
            if version != b"HTTP/1.0":
                raise _wrong_version(version)
            head.version = 10
            head.keep_alive = False
        del texts[-2:], texts[0]
        if len(texts) > self._headers:
            raise BadRequest("too many fields", status=431)
        head.lines, special = _LINES.part(texts)
        self._set_special(head, special)
        set_target(head, target)
        return head

    def _set_special(self, head: RequestHead, special: list[Field]) -> None:
        """Interpret the fields that bind this connection, and refuse what must not be forwarded."""
        hosts = 0
        upgrade: bytes | None = None
        tokens: tuple[bytes, ...] = ()
        for name, value in special:
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
                set_transfer_encoding(head, value)
            elif name == b"upgrade":
                upgrade = value.lower()
            elif name == b"expect":
                if value.lower() != b"100-continue":
                    raise BadRequest("the expectation cannot be met", status=417)
                head.expect_continue = head.version == 11
            elif name == b"te":
                head.te_trailers = b"trailers" in parse_tokens(value)
            elif tells_of_client(name):
                if head.forwarded is None:
                    head.forwarded = []
                head.forwarded.append((name, value))
            elif name == b"proxy-connection":
                self._proxy_connection = True
        if hosts != 1 and (hosts or head.version == 11):
            raise BadRequest("the request has no Host, or several")
        if hosts and not valid_host(head.host):
            raise BadRequest("the Host is malformed")
        if tokens:
            _apply_connection(head, tokens, upgrade)
        if head.chunked and head.content_length is not None:
            raise BadRequest("Content-Length and Transfer-Encoding together")

    def _on_syntax_error(self, error: httptools.HttpParserError, raw: bytes) -> None:
        self._raw = raw
        if isinstance(error, httptools.HttpParserInvalidMethodError):
            self.error = BadRequest("the method is not known", status=501 if _METHOD.match(raw) else 400)
        elif "`Transfer-Encoding`" in str(error):
            self.error = unknown_coding(b",".join(told_codings(raw)))
        elif "PRI" in str(error):
            self.error = BadRequest("HTTP/2 is not spoken here", status=505)
        elif str(error) == "Invalid HTTP version":
            self.error = BadRequest("the HTTP version is not spoken here", status=505)
        else:
            self.error = BadRequest(f"malformed request: {error}")

    def close(self) -> None:
        """Nothing will be fed any more: llhttp's half has us and we have it, and apart both are gone at once."""
        self._parser = None

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


def _wrong_version(version: bytes) -> BadRequest:
    if version.startswith(b"HTTP/"):
        return BadRequest("the HTTP version is not spoken here", status=505 if version >= b"HTTP/1.1" else 400)
    return BadRequest("the request line is not three words with a space between")


def _apply_connection(head: RequestHead, tokens: tuple[bytes, ...], upgrade: bytes | None) -> None:
    if b"close" in tokens:
        head.keep_alive = False
    elif b"keep-alive" in tokens:
        head.keep_alive = True
    if b"upgrade" in tokens and upgrade is not None and head.version == 11:
        head.upgrade = upgrade
    nominated = nominated_fields(tokens)
    if nominated:
        if not all(map(may_be_nominated, nominated)):
            raise BadRequest("Connection names a field that is not its own")
        head.lines = [line for line in head.lines if line.partition(b":")[0].lower() not in nominated]
