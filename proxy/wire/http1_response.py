"""HTTP/1.1 responses read from bytes, as strictly as requests: a backend that contradicts itself is not believed.

Items come out as from `proxy.wire.http1`: heads (informational ones first), pieces of the body, `END`. A body that
came whole, together with its head, is in the head's `body` instead. What is wrong is left in `error` once the items
that precede it are out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import httptools

from proxy.core.errors import UpstreamBroken
from proxy.core.field_names import is_response_special, nominated_fields
from proxy.core.messages import Field, ResponseHead, parse_tokens
from proxy.wire.chunked import ChunkedReader, ChunkError
from proxy.wire.field_lines import FieldLines
from proxy.wire.http1 import END, HEAD_END, NO_CALLBACKS, End, find_head_end

UNTIL_CLOSE: Final = 1 << 62
"""Given by `ResponseParser.detach` for a body that only the end of the connection ends."""

MAX_HEAD: Final = 256 * 1024
"""Bytes a backend's head may have."""
MAX_FIELDS: Final = 1000

ResponseItem = ResponseHead | bytes | End

_LINES: Final = FieldLines(is_response_special, underscores=True)
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (.*))?", re.DOTALL)


class ResponseParser:
    """Reads the responses of one backend connection, one for each request that was sent on it.

    Raises nothing: like `RequestParser`, it leaves what is wrong in `error` (an `UpstreamBroken`). `crumbs` says
    that the body comes in very small chunks, which are much work for few bytes.
    """

    __slots__ = (
        "_chunks",
        "_ended",
        "_items",
        "_left",
        "_no_body",
        "_parser",
        "_raw",
        "crumbs",
        "error",
        "upgraded",
    )

    def __init__(self) -> None:
        self._items: list[ResponseItem] = []
        self.error: UpstreamBroken | None = None
        self.upgraded: bytes | None = None
        self.crumbs = False
        self._no_body = False
        self._ended = False
        self._parser: httptools.HttpResponseParser | None = None
        self._raw = b""
        self._left = 0
        self._chunks: ChunkedReader | None = None

    def expect(self, *, no_body: bool) -> None:
        """Say what was asked: the answer to HEAD has a length and no body, which its bytes do not tell."""
        self._no_body = no_body
        self._ended = False

    def feed(self, data: bytes) -> list[ResponseItem]:
        """Read what the backend sent next; see the module for what comes out."""
        items = self._items = []
        if not self._raw and not self._left and self._chunks is None and not self._ended:
            # The common case, a head at the beginning, and perhaps all of a body behind it.
            used = self._read_head(data)
            if used == len(data):
                return items
            data = data[used:]
        rest = memoryview(data)
        while rest and self.error is None and self.upgraded is None:
            if self._left:
                piece = bytes(rest[: self._left])
                items.append(piece)
                rest = rest[len(piece) :]
                if self._left != UNTIL_CLOSE:
                    self._left -= len(piece)
                    if not self._left:
                        self._ended = True
                        items.append(END)
            elif self._chunks is not None:
                rest = rest[self._read_chunks(self._chunks, rest) :]
            elif self._ended:
                self.error = UpstreamBroken("the backend said more than it was asked")
            else:
                rest = rest[self._read_head(bytes(rest)) :]
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
        self.crumbs = chunks.crumbs and not chunks.done
        if chunks.done:
            self._items.append(End(chunks.trailers) if chunks.trailers else END)
            self._ended = True
            self._chunks = None
        return used

    def _read_head(self, data: bytes) -> int:
        """Give llhttp a head, or what there is of one; returns how many bytes were used."""
        before = self._raw
        end = find_head_end(before[-3:], data) if before else data.find(HEAD_END) + 4
        whole = end > 0 if before else end != 3
        if not whole:
            end = len(data)
            self._raw = before + data
            if len(self._raw) > MAX_HEAD:
                self.error = UpstreamBroken("the response's head is too large")
        piece = data[:end] if end < len(data) else data
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(NO_CALLBACKS)
        try:
            parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self.upgraded = data[end:]
        except httptools.HttpParserError as error:
            self.error = UpstreamBroken(f"malformed response: {error}")
        if whole and self.error is None:
            return self._on_head(before + piece if before else piece, data, end)
        return end

    def _on_head(self, raw: bytes, data: bytes, end: int) -> int:
        """A head is complete and well-formed: take it apart, frame what follows it, and hand it over.

        Returns:
            How many bytes of `data` were used: to the end of the head, or of a body that came whole.
        """
        self._raw = b""
        try:
            head = _split(raw)
        except UpstreamBroken as error:
            self.error = error
            return end
        status = head.status
        self._items.append(head)
        if status < 200:
            return end
        length = head.content_length
        if self._no_body or status == 204 or status == 304:
            head.complete = self._ended = True
            if length != 0 or head.chunked:
                self._parser = None  # llhttp waits for a body, or the end of the connection, that does not come
        elif head.chunked:
            self._chunks = ChunkedReader(keep_trailers=True)
            self._parser = None
        elif length is None:
            head.keep_alive = False
            self._left = UNTIL_CLOSE
            self._parser = None
        elif not length:
            head.complete = self._ended = True
        elif end + length <= len(data):
            body = head.body = data[end : end + length]
            head.complete = self._ended = True
            if head.keep_alive and self._parser is not None:
                self._parser.feed_data(body)  # so that it is ready for the next head
            else:
                self._parser = None
            return end + length
        else:
            self._left = length
            self._parser = None
        return end

    def detach(self) -> int:
        """Take a counted body, or one that the end of the connection ends, out of the parser's hands.

        Returns:
            Bytes still to come, `UNTIL_CLOSE`, or 0 when the body is chunked or complete.
        """
        left, self._left = self._left, 0
        return left


@lru_cache(maxsize=128)
def _read_status_line(line: bytes) -> tuple[int, int, bytes]:
    """Version, status and reason."""
    match = _STATUS.fullmatch(line)
    if match is None:
        raise UpstreamBroken(f"a status line that is none: {line[:40]!r}")
    minor, code, reason = match.groups(b"")
    return 10 + int(minor), int(code), reason


def _split(raw: bytes) -> ResponseHead:
    """Make a head of its bytes, which llhttp has found well-formed."""
    texts = raw.split(b"\r\n")
    head = ResponseHead()
    head.version, head.status, head.reason = _read_status_line(texts[0])
    del texts[-2:], texts[0]
    if len(texts) > MAX_FIELDS:
        raise UpstreamBroken("too many fields in the response")
    head.lines, special = _LINES.part(texts)
    head.dated = b"\r\ndate: " in raw or b"\r\nDate: " in raw or b"\r\ndate:" in raw.lower()
    if head.version == 10:
        head.keep_alive = False
    if special:
        _set_response_special(head, special)
    return head


def _set_response_special(head: ResponseHead, special: list[Field]) -> None:
    upgrade: bytes | None = None
    tokens: tuple[bytes, ...] = ()
    for name, value in special:
        if name == b"connection":
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
