"""P7: what backends answer, well or badly, and what of it a client may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed:
    """An answer that reaches the client, framed for it.

    Attributes:
        row: what is special about it; unique.
        raw: what the backend sends; the connection ends behind it.
        method: of the request.
        status: what the client sees.
        body: what the client sees.
        interim: informational responses that the client sees before.
        fields: names in lower case, and values, that the client must see.
        absent: lower-case names that the client must not see.
    """

    row: str
    raw: bytes
    method: bytes = b"GET"
    status: int = 200
    body: bytes = b""
    interim: tuple[int, ...] = ()
    fields: tuple[tuple[bytes, bytes], ...] = ()
    absent: tuple[bytes, ...] = ()


OK: Final = b"HTTP/1.1 200 OK\r\n"
SWITCHING: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

RELAYED: Final = (
    Relayed(
        row="counted", raw=OK + b"Content-Length: 5\r\n\r\nhello", body=b"hello", fields=((b"content-length", b"5"),)
    ),
    Relayed(
        row="chunked",
        raw=OK + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        body=b"hello",
        absent=(b"x", b"content-length"),
    ),
    Relayed(row="until the end", raw=OK + b"\r\nhello", body=b"hello"),
    Relayed(row="HTTP/1.0 until the end", raw=b"HTTP/1.0 200 OK\r\n\r\nhello", body=b"hello"),
    Relayed(row="empty", raw=OK + b"Content-Length: 0\r\n\r\n"),
    Relayed(row="no reason", raw=b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
    Relayed(
        row="204", raw=b"HTTP/1.1 204 No Content\r\n\r\n", status=204, absent=(b"content-length", b"transfer-encoding")
    ),
    Relayed(
        row="204 with a length",
        raw=b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        status=204,
        absent=(b"content-length", b"transfer-encoding"),
    ),
    Relayed(
        row="204 with chunks",
        raw=b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        status=204,
        absent=(b"content-length", b"transfer-encoding"),
    ),
    Relayed(
        row="304 with a length",
        raw=b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "x"\r\n\r\n',
        status=304,
        fields=((b"etag", b'"x"'),),
        absent=(b"transfer-encoding",),
    ),
    Relayed(
        row="304 with chunks",
        raw=b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        status=304,
        absent=(b"transfer-encoding",),
    ),
    Relayed(
        row="HEAD with a length",
        raw=OK + b"Content-Length: 5\r\n\r\n",
        method=b"HEAD",
        fields=((b"content-length", b"5"),),
    ),
    Relayed(row="HEAD with a body", raw=OK + b"Content-Length: 5\r\n\r\nhello", method=b"HEAD"),
    Relayed(row="HEAD with chunks", raw=OK + b"Transfer-Encoding: chunked\r\n\r\n", method=b"HEAD"),
    Relayed(row="HEAD without a length", raw=OK + b"\r\n", method=b"HEAD"),
    Relayed(
        row="hop-by-hop fields",
        raw=OK
        + b"Connection: close, X-One\r\nX-One: 1\r\nX-Two: 2\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n"
        + b"Proxy-Authenticate: Basic\r\nProxy-Connection: close\r\nContent-Length: 0\r\n\r\n",
        fields=((b"x-two", b"2"),),
        absent=(b"connection", b"x-one", b"keep-alive", b"upgrade", b"proxy-connection", b"proxy-authenticate"),
    ),
    Relayed(
        row="103",
        raw=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
        interim=(103,),
    ),
    Relayed(row="100 that nobody asked for", raw=b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"),
    Relayed(
        row="several cookies",
        raw=OK + b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n",
        fields=((b"set-cookie", b"a=b"), (b"set-cookie", b"c=d")),
    ),
    Relayed(row="HTTP/1.2", raw=b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", body=b"ok"),
    Relayed(row="reason of other letters", raw="HTTP/1.1 200 Schön\t!\r\nContent-Length: 0\r\n\r\n".encode()),
    Relayed(
        row="103 that closes",
        raw=b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
        interim=(103,),
        body=b"ok",
    ),
    Relayed(row="status of no class", raw=b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", status=799),
)

UNREADABLE: Final = {
    "nothing": b"",
    "interims without an end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 33 + OK + b"Content-Length: 0\r\n\r\n",
    "half a head": OK + b"Content-Length: 5",
    "not HTTP": b"hello\r\n",
    "both lengths": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length with a sign": OK + b"Content-Length: +5\r\n\r\nhello",
    "unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "NUL in a value": OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "CR in a value": OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": OK + b"X : a\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "101 that nobody asked for": SWITCHING,
    "101 to nothing": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "escape in the reason": b"HTTP/1.1 200 \x1b[31mOK\r\nContent-Length: 0\r\n\r\n",
    "DEL in the reason": b"HTTP/1.1 200 OK\x7f\r\nContent-Length: 0\r\n\r\n",
    "a long Connection": OK + b"Connection: " + b"a," * 600 + b"\r\nContent-Length: 0\r\n\r\n",
    "a head without end": OK + b"X: " + b"a" * 300_000,
}
"""Answers whose head cannot be used: the client gets 502, and not a byte of them."""

CUT_SHORT: Final = {
    "counted": OK + b"Content-Length: 10\r\n\r\nhello",
    "chunked, between chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "chunked, in a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\na\r\nhello",
    "chunked, before the last line": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "bad chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxx\r\n",
}
"""Answers that begin well and end badly: the client must be able to see that they are not whole."""
