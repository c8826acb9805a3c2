"""Parser of HTTP/1.1 responses of backends, as strict as that of requests.

Items come out as from `hotswap.wire.http1.request_parser`: heads (informational ones first), pieces of the body, `END`.
A body that came whole, together with its head, is in the head's `body` instead. What is wrong is left in `error` once
the items that precede it are out.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from hotswap.core.errors import UpstreamBroken
from hotswap.core.http.field_names import FILE_FIELDS, is_response_special, nominated_fields
from hotswap.core.http.messages import BUFFERING, MAX_INTERIMS, MAX_LIST, MAX_TOKENS, Field, ResponseHead, parse_tokens
from hotswap.core.memory import Memory
from hotswap.wire.http1.chunked import ChunkedReader, ChunkError
from hotswap.wire.http1.field_lines import FieldLines
from hotswap.wire.http1.request_parser import END, HEAD_END, KEEP_ALIVE, NO_CALLBACKS, End, find_head_end

UNTIL_CLOSE: Final = 1 << 62
"""Given by `ResponseParser.detach` for a body that only the end of the connection ends."""

MAX_HEAD: Final = 256 * 1024
"""Bytes a backend's head may have."""
MAX_FIELDS: Final = 1000
MAX_STATUS_LINE: Final = 1024

ResponseItem = ResponseHead | bytes | End

_LINES: Final = FieldLines(is_response_special, underscores=True)
_STATUS: Final = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")


class ResponseParser:
    """Parser of the responses of one backend connection, one for each request sent on it.

    Raises nothing: like `RequestParser`, it leaves what is wrong in `error` (an `UpstreamBroken`). `tiny_pieces` says
    that the body comes in very small chunks, which are much work for few bytes.
    """

    __slots__ = (
        "_chunks",
        "_ended",
        "_interims",
        "_items",
        "_left",
        "_no_body",
        "_parser",
        "_raw",
        "error",
        "tiny_pieces",
        "upgraded",
    )

    def __init__(self) -> None:
        self._items: list[ResponseItem] = []
        self.error: UpstreamBroken | None = None
        self.upgraded: bytes | None = None
        self.tiny_pieces = False
        self._no_body = False
        self._ended = False
        self._interims = 0
        self._parser: httptools.HttpResponseParser | None = None  # of the head under way, or for the next
        self._raw: bytes | bytearray = b""
        self._left = 0
        self._chunks: ChunkedReader | None = None

    def expect(self, *, no_body: bool) -> None:
        """Set the request that the next response answers: one to HEAD has a length and no body."""
        self._no_body = no_body
        self._ended = False
        self._interims = 0

    def feed(self, data: bytes) -> list[ResponseItem]:
        """Parse the next bytes of the backend; the module says what comes out."""
        items = self._items = []
        place, size = 0, len(data)
        if not self._raw and not self._left and self._chunks is None and not self._ended and self.upgraded is None:
            # The common case, a head at the beginning, and perhaps all of a body behind it.
            place = self._read_head(data, 0)
            if place == size:
                return items
        while place < size and self.error is None and self.upgraded is None:
            if self._left:
                piece = data[place : place + self._left]
                items.append(piece)
                place += len(piece)
                if self._left != UNTIL_CLOSE:
                    self._left -= len(piece)
                    if not self._left:
                        self._ended = True
                        items.append(END)
            elif self._chunks is not None:
                place += self._read_chunks(self._chunks, memoryview(data)[place:])
            elif self._ended:
                self.error = UpstreamBroken("the backend said more than it was asked")
            else:
                place = self._read_head(data, place)
        return items

    def _read_chunks(self, chunks: ChunkedReader, data: memoryview) -> int:
        pieces: list[memoryview] = []
        used = len(data)
        try:
            used = chunks.feed(data, pieces)
        except ChunkError as error:
            self.error = UpstreamBroken(f"malformed response: {error}")
        if pieces:  # as one: they are written as one chunk, whatever there came of them at a time
            self._items.append(b"".join(pieces))
        self.tiny_pieces = chunks.tiny_pieces and not chunks.done
        if chunks.done:
            self._items.append(End(chunks.trailers) if chunks.trailers else END)
            self._ended = True
            self._chunks = None
        return used

    def _read_head(self, data: bytes, place: int) -> int:
        """Collect a head until it is complete, then parse it.

        That sees nothing behind a head that says something of the connection (see `RequestParser`), and of what else
        is behind a head only a body that is counted and here, so that the next response meets it as good as new.

        Returns:
            The place where what was used ends: a head, or a body that came whole behind it.
        """
        before = self._raw
        end = 3 if before else data.find(HEAD_END, place) + 4
        if end > 3:
            raw = piece = data[place:end]
        else:
            end = find_head_end(before, data, place)
            piece = data[place : end or len(data)]
            self._raw = kept = before if isinstance(before, bytearray) else bytearray(before)
            kept += piece
            raw = bytes(kept) if end else b""
            if len(kept) > MAX_HEAD:
                self.error = UpstreamBroken("the response's head is too large")
                return len(data)
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(NO_CALLBACKS)
            parser.set_dangerous_leniencies(lenient_version=True)  # which the status line's expression judges
        try:
            parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            self.error = UpstreamBroken(f"malformed response: {error}")
        if end and self.error is None:
            return self._on_head(raw, data, end)
        return end or len(data)

    def _on_head(self, raw: bytes, data: bytes, end: int) -> int:
        """Parse a complete, valid head, and determine the framing of its body.

        Returns:
            The place where what was used ends: the head, or a body that came whole.
        """
        self._raw = b""
        parser, self._parser = self._parser, None
        try:
            head, plain = _split(raw)
        except UpstreamBroken as error:
            self.error = error.with_traceback(None)
            return end
        status = head.status
        if status < 200:
            if status == 101:
                self.upgraded = data[end:]  # whatever it is, it is not HTTP/1.1
            elif self._interims == MAX_INTERIMS:
                self.error = UpstreamBroken("too many informational responses")
                return end
            self._interims += 1
            self._items.append(head)
            return end
        self._items.append(head)
        length = head.content_length
        if self._no_body or status == 204 or status == 304:
            head.complete = self._ended = True
            if status == 204 and (length or head.chunked):
                head.keep_alive = False  # it must not tell of a body (RFC 9110 8.6, RFC 9112 6.1), and may send it yet
        elif head.chunked:
            self._chunks = ChunkedReader(keep_trailers=True)
        elif length is None:
            head.keep_alive = False
            self._left = UNTIL_CLOSE
        elif not length:
            head.complete = self._ended = True
        elif end + length <= len(data):
            head.body = body = data[end : end + length]
            head.complete = self._ended = True
            if plain and parser is not None:
                parser.feed_data(body)
                self._parser = parser
            return end + length
        else:
            self._left = length
        return end

    def detach(self) -> int:
        """Hand a counted body, or one that ends with the connection, over to the caller.

        Returns:
            Bytes still to come, `UNTIL_CLOSE`, or 0 when the body is chunked or complete.
        """
        left, self._left = self._left, 0
        return left


def _parse_status_line(line: bytes) -> tuple[int, int, bytes]:
    """Version, status and reason."""
    match = _STATUS.fullmatch(line) if len(line) <= MAX_STATUS_LINE else None
    if match is None:
        raise UpstreamBroken(f"a status line that is none: {line[:40]!r}")
    minor, code, reason = match.groups(b"")
    return 11 if minor != b"0" else 10, int(code), reason


_STATUS_LINES: Final = Memory(_parse_status_line, entries=128, key_bytes=128)


def _split(raw: bytes) -> tuple[ResponseHead, bool]:
    """Build a head from bytes that llhttp has validated.

    Returns:
        The head, and whether it says of the connection and the body nothing but a length: all that llhttp has to think
        of it is when the body ends.
    """
    texts = raw.split(b"\r\n")
    head = ResponseHead()
    head.version, head.status, head.reason = _STATUS_LINES[texts[0]]
    del texts[-2:], texts[0]
    if len(texts) > MAX_FIELDS:
        raise UpstreamBroken("too many fields in the response")
    head.lines, special = _LINES.part(texts)
    head.dated = b"\r\ndate: " in raw or b"\r\nDate: " in raw or b"\r\ndate:" in raw.lower()
    if head.version == 10:
        head.keep_alive = False
    if special:
        _set_response_special(head, special)
    plain = len(special) == 1 or (len(special) == 2 and KEEP_ALIVE in special)
    return head, plain and head.content_length is not None and head.version == 11


def _set_response_special(head: ResponseHead, special: list[Field]) -> None:
    upgrade: bytes | None = None
    tokens: tuple[bytes, ...] = ()
    for name, value in special:
        if name == b"connection":
            if len(value) > MAX_LIST or len(tokens) > MAX_TOKENS:
                raise UpstreamBroken("the response's Connection says too much")
            tokens += parse_tokens(value)
        elif name == b"content-length":
            if head.content_length is not None or len(value) > 18 or not value.isdigit():
                raise UpstreamBroken("the response's Content-Length is not one number")
            head.content_length = int(value)
        elif name == b"transfer-encoding":
            if head.chunked or value.lower() != b"chunked" or head.version == 10:
                raise UpstreamBroken("the response's Transfer-Encoding is not chunked")
            head.chunked = True
        elif name == b"upgrade":
            upgrade = value.lower()
        elif name == b"x-accel-buffering":
            head.buffering = BUFFERING.get(value.lower())
        elif name in FILE_FIELDS:
            if head.file_fields is None:
                head.file_fields = []
            head.file_fields.append((name, value))
    if head.chunked and head.content_length is not None:
        raise UpstreamBroken("the response has Content-Length and Transfer-Encoding")
    if tokens:
        if b"close" in tokens:
            head.keep_alive = False
        elif b"keep-alive" in tokens:
            head.keep_alive = True
        if b"upgrade" in tokens:
            head.upgrade = upgrade
        nominated = nominated_fields(tokens)
        if nominated:
            head.lines = [line for line in head.lines if line.partition(b":")[0].lower() not in nominated]
