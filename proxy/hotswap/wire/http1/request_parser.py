"""Parser of HTTP/1.1 requests: llhttp parses the heads, this module adds the checks of a strict edge.

Bytes go in by `feed`, a list of items comes out, in order: a head, pieces of its body (`bytes`), then `END`. A head
without a body has `complete` set and no `END` follows. What was read beyond the first message (pipelining) comes out
in the same list. An error does not hide what came before it: it is left in `error` once the items that precede it
are out, and nothing more can be fed.

llhttp gets each head by itself, up to the empty line that ends it, and says whether it is one; what its lines mean is
`hotswap.wire.http1.field_lines`. Bodies of requests never pass through it: their framing is a count, or
`hotswap.wire.http1.chunked`, which know to the byte where a message ends. A long body of known length need not pass
through here either: `detach` gives the number of bytes that are still to come, and the caller moves them itself.

References: RFC 9112, RFC 9110; `F` and `L` numbers are rows of the strictness list in docs/reference/strictness.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import httptools

from hotswap.core.errors import BadRequest
from hotswap.core.http.field_names import is_request_special, may_be_nominated, nominated_fields, tells_of_client
from hotswap.core.http.html_preference import told_accept
from hotswap.core.http.messages import MAX_LIST, MAX_TOKENS, Field, RequestHead, parse_tokens, valid_host
from hotswap.wire.http1.chunked import ChunkedReader, ChunkError
from hotswap.wire.http1.field_lines import FieldLines
from hotswap.wire.http1.transfer_encoding import set_transfer_encoding, told_codings, unknown_coding
from hotswap.wire.request_target import TOLD_BYTES, set_target
from hotswap.wire.websocket import is_handshake

HEAD_END: Final = b"\r\n\r\n"
HTTP2_HEAD: Final = b"PRI * HTTP/2.0\r\n\r\n"
"""What a client's connection of HTTP/2 begins with, made so that it looks like a head (RFC 9113 3.4)."""
_LINE_END: Final = b"\r\n"


def find_head_end(before: bytes | bytearray, data: bytes, place: int) -> int:
    """Find the end of a head that began with `before` and goes on at a place in `data`; 0 if it is not there."""
    if before:
        tail = before[-3:]
        end = (tail + data[place : place + 3]).find(HEAD_END)
        if end >= 0:
            return place + end + 4 - len(tail)
    end = data.find(HEAD_END, place)
    return 0 if end < 0 else end + 4


class End:
    """End of a body: `END`, or one with trailers, whose names are in lower case."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: Sequence[Field] = ()) -> None:
        self.trailers = trailers

    def __repr__(self) -> str:
        return "END"


END: Final = End()
"""The item that ends a body without trailers."""

RequestItem = RequestHead | bytes | End

_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++(?: |\Z)")
_HIGHER: Final = frozenset(b"HTTP/1.%d" % minor for minor in range(2, 10))
"""Versions that are understood as the highest that we know (RFC 9110 6.2)."""
TOLD_METHOD_BYTES: Final = 24
_LINES: Final = FieldLines(is_request_special, underscores=False)
KEEP_ALIVE: Final = (b"connection", b"keep-alive")
"""What many clients say beside the host, and what is so anyway (RFC 9112 9.3)."""
_TLS_RECORD: Final = b"\x16\x03"
"""What a handshake of TLS begins with (RFC 8446 5.1)."""
NO_CALLBACKS: Final = object()
"""What llhttp is given to call: its verdict is all we ask for."""


def told_line(line: bytes) -> tuple[bytes, bytes, int]:
    """Method, target and version of a request line that is refused, as far as they can be parsed."""
    method, space, rest = line.partition(b" ")
    if not space or len(method) > TOLD_METHOD_BYTES or not method.isupper() or not _METHOD.fullmatch(method):
        return b"", b"", 0
    version = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}.get(rest.rpartition(b" ")[2], 0)
    return method, rest.partition(b" ")[0][:TOLD_BYTES], version


class RequestParser:
    """Parser of the requests of one client connection.

    Args:
        header_bytes: limit on the request line and all fields of one head together.
        headers: limit on the number of fields.

    Attributes:
        tiny_pieces: a body comes in very small chunks, which are much work for few bytes.
    """

    __slots__ = (
        "_chunks",
        "_header_bytes",
        "_headers",
        "_items",
        "_left",
        "_parser",
        "_raw",
        "error",
        "http2",
        "tiny_pieces",
        "upgraded",
    )

    def __init__(self, *, header_bytes: int, headers: int) -> None:
        self._header_bytes = header_bytes
        self._headers = headers
        self._items: list[RequestItem] = []
        self.tiny_pieces = False
        self.error: BadRequest | None = None
        self.upgraded: bytes | None = None
        self.http2: bytes | None = None  # what follows the head with which HTTP/2 begins
        self._parser: httptools.HttpRequestParser | None = None  # of the head under way, or for the next
        self._raw: bytes | bytearray = b""
        self._left = 0
        self._chunks: ChunkedReader | None = None

    @property
    def partial(self) -> bool:
        """Whether a head is incomplete."""
        return bool(self._raw)

    def refused_line(self) -> tuple[bytes, bytes, int]:
        """Method, target and version of a refused head, as far as they can be parsed."""
        return told_line(bytes(self._raw.partition(_LINE_END)[0]))

    def refused_accept(self) -> bytes:
        """`Accept` of a refused head, as far as it came."""
        return told_accept(bytes(self._raw.partition(HEAD_END)[0]) + _LINE_END)

    def feed(self, data: bytes) -> list[RequestItem]:
        """Parse the next bytes of the client.

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
            self._judge(data, data)
            if self.error is None:
                self._on_head(data, data, len(data))
            return items
        place, size = 0, len(data)
        while place < size and self.error is None and self.upgraded is None:
            if self._left:
                piece = data[place : place + self._left]
                self._left -= len(piece)
                items.append(piece)
                if not self._left:
                    items.append(END)
                place += len(piece)
            elif self._chunks is not None:
                place += self._read_chunks(self._chunks, memoryview(data)[place:])
            else:
                place = self._read_head(data, place)
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
        self.tiny_pieces = chunks.tiny_pieces and not chunks.done
        if chunks.done:
            self._items.append(END)
            self._chunks = None
        return used

    def _read_head(self, data: bytes, place: int) -> int:
        """Collect a head until it is complete, then parse it; gives the place where what was used ends."""
        before = self._raw
        if before == b"\r":  # perhaps the beginning of an empty line
            self._raw = b""
            return place + self._read_head(b"\r" + data[place:], 0) - 1
        if not before:
            while data.startswith(_LINE_END, place):
                place += 2  # empty lines before a request line are nothing (RFC 9112 2.2)
            if place == len(data):
                return place
            if data[place] in _LINE_END:
                if place == len(data) - 1 and data[place] == _LINE_END[0]:
                    self._raw = b"\r"
                else:
                    self.error = BadRequest("a line ends without CR LF")  # F10
                return len(data)
        end = find_head_end(before, data, place)
        piece = data[place : end or len(data)] if place or end < len(data) else data
        if len(before) + len(piece) > self._header_bytes:
            self._raw = raw = bytes(before + piece)
            target = raw.partition(b" ")[2].partition(b" ")[0]
            status = 414 if len(target) > self._header_bytes // 2 else 431
            self.error = BadRequest("the head is too large", status=status)
        elif end:
            raw = bytes(before + piece) if before else piece
            self._judge(piece, raw)
            if self.error is None:
                self._on_head(raw, data, end)
        else:
            self._raw = kept = before if isinstance(before, bytearray) else bytearray(before)
            kept += piece
            self._judge(piece, kept)
        return end or len(data)

    def _judge(self, data: bytes, raw: bytes | bytearray) -> None:
        """Validate a head with llhttp, or as much of it as there is.

        That is all it is asked. What it thinks of connections, upgrades, versions and bodies would have to be what we
        think, field by field, so no parser sees anything behind a head that has something to say of them.
        """
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(NO_CALLBACKS)
            parser.set_dangerous_leniencies(lenient_version=True)  # which `_split` reads
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            self._on_syntax_error(error, bytes(raw))

    def _on_head(self, raw: bytes, data: bytes, end: int) -> None:
        """Parse a complete, valid head, and determine the framing of its body."""
        self._raw = b""
        try:
            head = self._split(raw)
        except BadRequest as error:
            if raw == HTTP2_HEAD:
                self.http2 = data[end:]
            self._raw = raw
            self.error = error.with_traceback(None)  # whose frames have us
            return
        if head.upgrade is not None:
            if not is_handshake(head):
                head.upgrade = None  # no other is taken (P8, D15): an ordinary request
            elif head.has_body:
                self._raw = raw
                self.error = BadRequest("a handshake of WebSocket with a body")
                return
            else:
                self.upgraded = data[end:]
        if head.chunked:
            self._chunks = ChunkedReader(keep_trailers=False)
        elif head.content_length:
            self._left = head.content_length
        else:
            head.complete = True
        self._items.append(head)

    def _split(self, raw: bytes) -> RequestHead:
        """Build a head from bytes that llhttp has validated."""
        texts = raw.split(_LINE_END)
        words = texts[0].split(b" ")
        if len(words) != 3:
            raise BadRequest("the request line is not three words with a space between")  # L4
        head = RequestHead()
        head.method, target, version = words
        if version != b"HTTP/1.1" and version not in _HIGHER:
            if version != b"HTTP/1.0":
                raise _wrong_version(version)
            head.version = 10
            head.keep_alive = False
        del texts[-2:], texts[0]
        if len(texts) > self._headers:
            raise BadRequest("too many fields", status=431)
        head.lines, special = _LINES.part(texts)
        if len(special) == 1 and special[0][0] == b"host" and head.version == 11:
            # All that most heads say. llhttp has nothing to think of it, so its parser is as good as new for the next.
            head.host = special[0][1]
            if not valid_host(head.host):
                raise BadRequest("the Host is malformed")
        else:
            if len(special) != 2 or KEEP_ALIVE not in special or head.version != 11:
                self._parser = None
            self._set_special(head, special)
        set_target(head, target)
        return head

    def _set_special(self, head: RequestHead, special: list[Field]) -> None:
        """Interpret the hop-by-hop fields, and refuse what must not be forwarded."""
        hosts = 0
        upgrade: bytes | None = None
        tokens: tuple[bytes, ...] = ()
        for name, value in special:
            if name == b"host":
                hosts += 1
                head.host = value
            elif name == b"connection":
                if len(value) > MAX_LIST or len(tokens) > MAX_TOKENS:
                    raise BadRequest("Connection says too much")
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
                head.te_trailers = len(value) <= MAX_LIST and b"trailers" in parse_tokens(value)
            elif tells_of_client(name):
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

    def _on_syntax_error(self, error: httptools.HttpParserError, raw: bytes) -> None:
        self._raw = raw
        said = str(error)
        if raw.startswith(_TLS_RECORD):
            self.error = BadRequest("TLS on a listener without it")
        elif isinstance(error, httptools.HttpParserInvalidMethodError) or said.startswith("Invalid method for"):
            self.error = BadRequest("the method is not known", status=501 if _METHOD.match(raw) else 400)
        elif "`Transfer-Encoding`" in said:
            self.error = unknown_coding(b",".join(told_codings(raw)))
        elif "PRI" in said:
            self.error = BadRequest("HTTP/2 is not spoken here", status=505)
        else:
            self.error = BadRequest(f"malformed request: {said}")

    def detach(self) -> int:
        """Hand the rest of a counted body over to the caller, which then reads it without the parser.

        Returns:
            How many bytes of the current body are still to come, or 0 when the body is chunked or complete. Unless
            it is 0 the caller reads that many bytes past this parser, which then expects the next head.
        """
        left, self._left = self._left, 0
        return left

    def resume_http(self) -> list[RequestItem]:
        """Resume parsing after a request whose upgrade was not taken; gives the items already received."""
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
