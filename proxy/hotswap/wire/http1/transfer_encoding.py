"""`Transfer-Encoding` of requests: only `chunked`, alone, is accepted (F4, F5).

References: RFC 9112 6.1; `F` numbers are rows of the strictness list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hotswap.core.errors import BadRequest
from hotswap.core.http.messages import TOKEN, RequestHead

MAX_CODINGS: Final = 256
"""Bytes of a list of transfer codings above which nobody looks whether it is one."""


def set_transfer_encoding(head: RequestHead, value: bytes) -> None:
    """Mark the body of a head as chunked.

    Raises:
        BadRequest: its framing is not one that two readers understand alike.
    """
    if head.version != 11:
        raise BadRequest("Transfer-Encoding in HTTP/1.0")
    if head.chunked:
        raise BadRequest("Transfer-Encoding twice")
    if value.lower() != b"chunked":
        raise unknown_coding(value)
    head.chunked = True


def told_codings(raw: bytes) -> Iterator[bytes]:
    """Values of `Transfer-Encoding` in a head, complete or not."""
    for line in raw.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"transfer-encoding":
            yield value


def unknown_coding(value: bytes) -> BadRequest:
    """Error for a coding other than `chunked` alone: 501 if it is a transfer coding at all, else 400 (F4)."""
    tokens = [token.strip(b" \t").lower() for token in value[:MAX_CODINGS].split(b",")]
    known = all(tokens) and not b"".join(tokens).translate(None, TOKEN) and len(value) <= MAX_CODINGS
    if tokens == [b"chunked"] or b"chunked" in tokens[:-1]:
        known = False
    return BadRequest("Transfer-Encoding is not chunked", status=501 if known else 400)
