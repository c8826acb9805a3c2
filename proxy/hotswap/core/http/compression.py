"""Decides which responses are compressed, with what, and how that is said in their heads.

A response is compressible by what it is, and compressed where the client asks for it. Whoever caches must know in both
cases that the other exists, so every compressible one has `Vary: Accept-Encoding`.
"""

from __future__ import annotations

from typing import Final

from hotswap.core.http.accept_encoding import accepted_codings, choose_coding
from hotswap.core.http.messages import RequestHead, ResponseHead, parse_tokens
from hotswap.core.memory import Memory

LEAST_BYTES: Final = 1024
"""A shorter body is not compressed: it fits into one packet as it is."""
JITTER: Final = 100
"""Random bytes that a compressed body has at most, so that its length does not tell what is in it (BREACH)."""

ZSTD: Final = b"zstd"
GZIP: Final = b"gzip"
CODINGS: Final = (ZSTD, GZIP)
"""What is compressed with, the better one first."""

_TEXTS: Final = frozenset(
    (
        b"application/ecmascript",
        b"application/graphql",
        b"application/javascript",
        b"application/json",
        b"application/json-seq",
        b"application/jsonl",
        b"application/jsonlines",
        b"application/rtf",
        b"application/sql",
        b"application/toml",
        b"application/vnd.ms-fontobject",
        b"application/wasm",
        b"application/x-javascript",
        b"application/x-ndjson",
        b"application/x-sh",
        b"application/x-yaml",
        b"application/xml",
        b"application/xml-dtd",
        b"application/yaml",
        b"font/otf",
        b"font/ttf",
        b"image/bmp",
        b"image/vnd.microsoft.icon",
        b"image/x-icon",
    )
)
_SUFFIXES: Final = (b"+json", b"+xml", b"+yaml")
_BODILESS: Final = frozenset((204, 205, 206, 304))
"""Statuses without a body, and that of a part, which is one of what was not compressed."""


def _is_text(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type.startswith(b"text/"):
        return media_type != b"text/event-stream"  # its events are small, and whoever waits for one must get it
    return media_type in _TEXTS or media_type.endswith(_SUFFIXES)


is_text: Final = Memory(_is_text, entries=256, key_bytes=128).__getitem__
"""Whether what has a `Content-Type` becomes smaller by being compressed."""

_AGAINST: Final = frozenset((b"content-range", b"content-md5", b"digest", b"repr-digest", b"content-digest"))
"""Fields that hold for the very bytes of the backend: a part's place, and digests of the content as it is coded now
(RFC 9530 2 and 3), which a signature may cover."""


def is_compressible(head: ResponseHead) -> bool:
    """Whether a response may be compressed, by its own head alone."""
    if head.status in _BODILESS or head.status < 200:
        return False
    length = head.content_length
    if length is not None and length < LEAST_BYTES:
        return False
    content_type = head.field(b"content-type")
    if content_type is None or not is_text(content_type):
        return False
    for line in head.lines:
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name in _AGAINST:
            return False
        if name == b"content-encoding":
            if value.strip().lower() not in (b"", b"identity"):
                return False
        elif name == b"cache-control" and b"no-transform" in value.lower():
            return False
    return True


def coding_for(request: RequestHead) -> bytes | None:
    """The coding that a client asks for, of those there are; None: it gets bodies as they are.

    So does a client of HTTP/1.0, which could not tell whether a body of unknown length is whole, and one that asks
    for bodies that nobody transformed (RFC 9111 5.2.1.6).
    """
    if request.version < 11:
        return None
    coding = choose_coding(accepted_codings(request), CODINGS)
    if coding is not None:
        control = request.field(b"cache-control")
        if control is not None and b"no-transform" in control.lower():
            return None
    return coding


def add_vary(head: ResponseHead) -> None:
    """Say in a head that the response depends on `Accept-Encoding`, if it does not say so."""
    place = -1
    for index, line in enumerate(head.lines):
        if line[:6].lower() == b"vary: ":
            members = parse_tokens(line[6:-2])
            if b"*" in members or b"accept-encoding" in members:
                return
            place = index
    if place < 0:
        head.lines.append(b"Vary: Accept-Encoding\r\n")
    else:
        value = head.lines[place][6:-2].rstrip(b" \t,")
        head.lines[place] = b"Vary: %b, Accept-Encoding\r\n" % value if value else b"Vary: Accept-Encoding\r\n"


def declare_coding(head: ResponseHead, coding: bytes, length: int | None) -> None:
    """Say in a head that the body is compressed.

    The validator of the bytes that were becomes a weak one, which holds for both (RFC 9110 8.8.1); ranges are none of
    them.

    Args:
        head: of a compressible response.
        coding: of its body.
        length: of its body, if it is known.
    """
    lines = []
    for line in head.lines:
        name = line.partition(b":")[0].lower()
        if name == b"etag" and line[6:7] == b'"':
            line = b"ETag: W/" + line[6:]
        if name not in (b"accept-ranges", b"content-encoding"):
            lines.append(line)
    lines.append(b"Content-Encoding: %b\r\n" % coding)
    head.lines = lines
    head.content_length = length
