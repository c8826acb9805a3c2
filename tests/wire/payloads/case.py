"""What a case of the corpus says: the bytes, the row of the strictness list it is for, and what must come of them.

A refused case is answered with one of its statuses and the connection is closed, whatever follows the bytes; the
backend sees nothing. A forwarded case reaches the backend as one request that says what `method`, `target`, `host`,
`fields` and `body` say, and nothing that `absent` names.
"""

from __future__ import annotations

from dataclasses import dataclass

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: example.org\r\n\r\n"
"""What is sent behind a case, to see whether it is ever taken for a request of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Bytes that are answered by the proxy.

    Attributes:
        row: which row of the list the case is for, and what is special about it; unique.
        raw: what the client sends.
        statuses: the answers that are right.
        in_body: the head is good and what is wrong comes in the body, so that a backend may have seen the head of
            the request, but never its end.
        by_route: the message is whole and well-formed, and only its target cannot be routed: the connection may go
            on, and what follows is a request of its own.
    """

    row: str
    raw: bytes
    statuses: tuple[int, ...] = (400,)
    in_body: bool = False
    by_route: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """Bytes that reach a backend.

    Attributes:
        row: which row of the list the case is for, and what is special about it; unique.
        raw: what the client sends.
        method: what the backend sees.
        target: what the backend sees.
        host: what the backend sees.
        fields: names and values that the backend must see, the names in lower case.
        absent: lower-case names of fields that the backend must not see.
        body: what the backend gets.
        or_refused: the proxy may as well answer with one of these and close.
        closes: the connection ends after the answer.
    """

    row: str
    raw: bytes
    method: bytes = b"GET"
    target: bytes = b"/"
    host: bytes = b"example.org"
    fields: tuple[tuple[bytes, bytes], ...] = ()
    absent: tuple[bytes, ...] = ()
    body: bytes = b""
    or_refused: tuple[int, ...] = ()
    closes: bool = False


def request(
    *lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes | None = b"example.org", body: bytes = b""
) -> bytes:
    """Put a request together: the lines follow the request line and `Host` exactly as they are given.

    Args:
        lines: without their line ends.
        start: the request line.
        host: the value of `Host`, or None to leave it out.
        body: what follows the empty line.
    """
    first = (start,) if host is None else (start, b"Host: " + host)
    return b"\r\n".join((*first, *lines, b"", body))


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """Put a POST together, as `request` does."""
    return request(*lines, start=b"POST / HTTP/1.1", body=body)
