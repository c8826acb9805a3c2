"""Strict parser of the chunked transfer coding (RFC 9112 7.1).

llhttp reads heads, and could read this too, but it tells neither where a body ended nor what its framing cost: it
takes extensions and trailers of any length, and runs on into the next pipelined request. So bodies are framed here, on
views of what was read, without a copy; the lines that are not data are small, and bounded.
"""

from __future__ import annotations

import re
from typing import Final

from hotswap.core.http.messages import TOKEN, VALUE

MAX_LINE: Final = 4096
"""Bytes of one chunk line, its extension included, or of one trailer line (F8)."""
TINY: Final = 64
"""Bytes of a chunk with its framing below which it is tiny."""
MAX_OVERHEAD: Final = 16 * 1024
"""Bytes of framing a body may cost beyond `OVERHEAD_RATIO` for each of its bytes (CVE-2023-39326)."""
OVERHEAD_RATIO: Final = 16
MAX_TRAILERS: Final = 100
MAX_TRAILER_BYTES: Final = 16 * 1024
"""How many trailers a body may have, and their bytes (F15): they are fields, and fields of a head are bounded too."""

# Each repeat is possessive, and what may follow it is none of its own: no line is read more than once.
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_EXTENSION: Final = rb";[ \t]*+%b[ \t]*+(?:=[ \t]*+(?:%b|%b)[ \t]*+)?" % (_TOKEN, _TOKEN, _QUOTED)
_NEXT: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,8})\r\n")
"""What lies between two chunks, when it is plain and whole."""
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*+(?:%b)*+" % _EXTENSION)


class ChunkError(ValueError):
    """Malformed chunked framing, or framing whose overhead exceeds its limit."""


class ChunkedReader:
    """Parser of one chunked body.

    Args:
        keep_trailers: whether somebody wants the fields behind the last chunk. They are checked and bounded anyway.

    Attributes:
        tiny_pieces: what was fed last came in very small chunks, which are much work for few bytes.
        done: the last chunk and the trailers have been read.
        trailers: the fields behind the last chunk, in order, names in lower case; none unless they are kept.
    """

    __slots__ = (
        "_after_data",
        "_body",
        "_keep_trailers",
        "_last",
        "_left",
        "_line",
        "_overhead",
        "_trailer_bytes",
        "_trailers",
        "done",
        "tiny_pieces",
        "trailers",
    )

    def __init__(self, *, keep_trailers: bool) -> None:
        self.tiny_pieces = False
        self.done = False
        self.trailers: list[tuple[bytes, bytes]] = []
        self._line = b""
        self._left = 0
        self._after_data = False
        self._last = False
        self._body = 0
        self._overhead = 0
        self._keep_trailers = keep_trailers
        self._trailers = self._trailer_bytes = 0

    def feed(self, data: memoryview, pieces: list[memoryview]) -> int:
        """Parse the next bytes.

        Args:
            data: what was received.
            pieces: gets the pieces of the body, as views of `data`.

        Returns:
            How many bytes were used: all, unless the body ended before.

        Raises:
            ChunkError: nothing more can be read; pieces before the fault are in `pieces`.
        """
        used = 0
        size = len(data)
        before = len(pieces)
        while used < size and not self.done:
            left = self._left
            if left:
                piece = data[used : used + left]
                used += len(piece)
                self._body += len(piece)
                self._left = left - len(piece)
                self._after_data = not self._left
                pieces.append(piece)
            elif self._after_data and not self._line and (plain := self._read_plain(data, used, pieces)):
                used = plain
            else:
                used += self._read_line(data[used : used + MAX_LINE + 2])
        self.tiny_pieces = (len(pieces) - before) * TINY > used
        return used

    def _read_plain(self, data: memoryview, used: int, pieces: list[memoryview]) -> int:
        """Parse whole chunks without extensions: the usual case, for a fourth of the cost.

        Somebody may send a chunk for every byte, and others wait meanwhile.

        Returns:
            How many bytes of `data` are used now, or 0 when there is no such chunk.
        """
        find = _NEXT.match
        size = len(data)
        body, framing = self._body, self._overhead
        place = used
        while match := find(data, place):
            begin = match.end()
            end = begin + int(match[1], 16)
            if end > size or end == begin or framing > MAX_OVERHEAD + OVERHEAD_RATIO * body:
                break  # the other way of reading sees to it
            framing += begin - place
            body += end - begin
            pieces.append(data[begin:end])
            place = end
        self._body, self._overhead = body, framing
        return place if place > used else 0

    def _read_line(self, data: memoryview) -> int:
        """Parse one line, or buffer an incomplete one."""
        raw = bytes(data)
        end = raw.find(b"\n") + 1
        part = raw[:end] if end else raw
        self._overhead += len(part)
        line = self._line + part
        if len(line) > MAX_LINE:
            raise ChunkError("a line of the chunk framing is too long")
        if self._overhead > MAX_OVERHEAD + OVERHEAD_RATIO * self._body:
            raise ChunkError("the chunk framing outweighs the body")
        if not end:
            self._line = line
            if self._after_data and line != b"\r":
                raise ChunkError("a chunk is longer than its size")
            if b"\r" in line[:-1]:
                raise ChunkError("a line of the chunk framing ends without CR LF")
            return len(part)
        self._line = b""
        if not line.endswith(b"\r\n"):
            raise ChunkError("a line of the chunk framing ends without CR LF")
        self._on_line(line[:-2])
        return len(part)

    def _on_line(self, line: bytes) -> None:
        if self._after_data:
            if line:
                raise ChunkError("a chunk is longer than its size")
            self._after_data = False
        elif self._last:
            if not line:
                self.done = True
                return
            self._on_trailer(line)
        else:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise ChunkError("a chunk size is malformed")
            self._left = int(match[1], 16)
            if self._left >= 1 << 62:
                raise ChunkError("a chunk size is too large")
            self._last = not self._left

    def _on_trailer(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if not name or not colon or name.translate(None, TOKEN) or value.translate(None, VALUE):
            raise ChunkError("a trailer is malformed")
        self._trailers += 1
        self._trailer_bytes += len(line)
        if self._trailers > MAX_TRAILERS or self._trailer_bytes > MAX_TRAILER_BYTES:
            raise ChunkError("too many trailers")
        if self._keep_trailers:
            self.trailers.append((name.lower(), value.strip(b" \t")))
