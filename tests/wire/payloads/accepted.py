"""What has to reach the backend, cleaned and framed afresh: F8 and F15 to F17, L3, L5, L8, P1 to P4, P8.

Strictness that refuses these would be a failure of its own.
"""

from __future__ import annotations

from typing import Final

from tests.wire.payloads.case import Forwarded, post, request

CHUNKED: Final = b"Transfer-Encoding: chunked"


def _framing() -> list[Forwarded]:
    chunked = {
        "F7 space after the size": b"5 \r\nhello\r\n0 \t\r\n\r\n",
        "F8 extension": b"5;a=b\r\nhello\r\n0\r\n\r\n",
        "F8 extension with a quoted value": b'5;a="b c"\r\nhello\r\n0\r\n\r\n',
        "F8 spaces around an extension": b'5; a\t= "b" ;c \r\nhello\r\n0\r\n\r\n',
        "F8 two extensions": b"5;a;b=c\r\nhello\r\n0;d\r\n\r\n",
        "F8 capitals and zeros": b"00000005\r\nhello\r\n000\r\n\r\n",
        "F8 many chunks": b"1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n",
        "F15 a trailer": b"5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n",
        "F15 a hundred trailers": b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        "F15 Content-Length": b"5\r\nhello\r\n0\r\nContent-Length: 100\r\n\r\n",
        "F15 Transfer-Encoding": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "F15 Host": b"5\r\nhello\r\n0\r\nHost: example.net\r\n\r\n",
        "F15 Authorization": b"5\r\nhello\r\n0\r\nAuthorization: Basic eA==\r\n\r\n",
        "F15 Cookie": b"5\r\nhello\r\n0\r\nCookie: a=b\r\n\r\n",
        "F15 Connection": b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n",
    }
    return [
        *(
            Forwarded(
                row=row,
                raw=post(CHUNKED, body=body),
                method=b"POST",
                body=b"hello",
                absent=(b"x-trailer", b"authorization", b"cookie", b"content-length", b"connection", b"trailer"),
                # RFC 9110 6.5.1 forbids these in trailers, so to refuse them is right as well.
                or_refused=(400,) if row in ("F15 Content-Length", "F15 Transfer-Encoding") else (),
            )
            for row, body in chunked.items()
        ),
        Forwarded(row="F3 length", raw=post(b"Content-Length: 5", body=b"hello"), method=b"POST", body=b"hello"),
        Forwarded(
            row="F3 zeros first", raw=post(b"Content-Length: 0005", body=b"hello"), method=b"POST", body=b"hello"
        ),
        Forwarded(
            row="F3 white space around",
            raw=post(b"Content-Length:\t 5 \t", body=b"hello"),
            method=b"POST",
            body=b"hello",
        ),
        Forwarded(row="F3 zero", raw=post(b"Content-Length: 0"), method=b"POST", fields=((b"content-length", b"0"),)),
        Forwarded(row="F4 empty body", raw=post(CHUNKED, body=b"0\r\n\r\n"), method=b"POST"),
        Forwarded(
            row="F4 another case",
            raw=post(b"TRANSFER-encoding: Chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
            method=b"POST",
            body=b"hello",
        ),
        Forwarded(
            row="F6 tab after the colon",
            raw=post(b"Transfer-Encoding:\tchunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
            method=b"POST",
            body=b"hello",
            or_refused=(400,),
        ),
        Forwarded(
            row="F8 more framing than body, within bounds",
            raw=post(CHUNKED, body=(b"1;" + b"a" * 200 + b"\r\nx\r\n") * 20 + b"0\r\n\r\n"),
            method=b"POST",
            body=b"x" * 20,
        ),
        Forwarded(row="F14 empty line before the request", raw=b"\r\n" + request()),
        Forwarded(row="F16 GET with a body", raw=request(b"Content-Length: 5", body=b"hello"), body=b"hello"),
        Forwarded(row="F16 GET with chunks", raw=request(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), body=b"hello"),
        Forwarded(
            row="F16 DELETE with a body",
            raw=request(b"Content-Length: 5", start=b"DELETE /a HTTP/1.1", body=b"hello"),
            method=b"DELETE",
            target=b"/a",
            body=b"hello",
        ),
        Forwarded(
            row="F16 HEAD with a body",
            raw=request(b"Content-Length: 5", start=b"HEAD / HTTP/1.1", body=b"hello"),
            method=b"HEAD",
            body=b"hello",
        ),
        Forwarded(
            row="F16 a body that looks like a request",
            raw=post(b"Content-Length: 40", body=b"GET /x HTTP/1.1\r\nHost: example.net\r\n\r\n\r\n"),
            method=b"POST",
            body=b"GET /x HTTP/1.1\r\nHost: example.net\r\n\r\n\r\n",
        ),
        Forwarded(
            row="F17 another expectation",
            raw=post(b"Expect: 200-maybe", b"Content-Length: 0"),
            method=b"POST",
            absent=(b"expect",),
            or_refused=(417,),
        ),
    ]


def _targets() -> list[Forwarded]:
    long_target = b"/" + b"a" * 7_000
    targets = {
        "L3 absolute-form": (b"http://example.org/a", b"/a"),
        "L3 absolute-form without a path": (b"http://example.org", b"/"),
        "L3 absolute-form with a query alone": (b"http://example.org?a=b", b"/?a=b"),
        "L3 absolute-form in capitals": (b"HTTP://EXAMPLE.ORG/a", b"/a"),
        "L4 empty query": (b"/?", b"/?"),
        "L4 backslash in the query": (b"/find?q=C:\\temp\\x", b"/find?q=C:\\temp\\x"),
        "L4 every unreserved and reserved byte": (
            b"/-._~!$&'()*+,;=:@/?-._~!$&'()*+,;=:@/?",
            b"/-._~!$&'()*+,;=:@/?-._~!$&'()*+,;=:@/?",
        ),
        "L4 escapes stay as they are": (b"/%7e%41%2F?%zz", b"/%7e%41%2F?%zz"),
        "L4 dot segments stay as they are": (b"/a/../b/./c", b"/a/../b/./c"),
        "L4 slashes stay as they are": (b"//a///b", b"//a///b"),
        "L10 7 KiB": (long_target, long_target),
    }
    return [
        *(
            Forwarded(
                row=row,
                raw=request(start=b"GET %b HTTP/1.1" % sent),
                target=seen,
                host=b"EXAMPLE.ORG" if b"EXAMPLE" in sent else b"example.org",
            )
            for row, (sent, seen) in targets.items()
        ),
        Forwarded(
            row="L3 target against Host",
            raw=request(start=b"GET http://example.org/a HTTP/1.1", host=b"example.net"),
            target=b"/a",
            or_refused=(400,),
        ),
        Forwarded(row="L5 OPTIONS *", raw=request(start=b"OPTIONS * HTTP/1.1"), method=b"OPTIONS", target=b"*"),
        Forwarded(row="L2 port", raw=request(host=b"example.org:8443"), host=b"example.org:8443"),
        Forwarded(row="L2 IPv6", raw=request(host=b"[2001:db8::1]:8443"), host=b"[2001:db8::1]:8443"),
        Forwarded(row="L2 white space around", raw=request(host=b"  example.org\t ")),
        Forwarded(row="L2 capitals", raw=request(host=b"Example.ORG"), host=b"Example.ORG"),
        Forwarded(row="L8 HTTP/1.0", raw=request(start=b"GET / HTTP/1.0"), closes=True),
        Forwarded(
            row="L8 HTTP/1.0 with keep-alive",
            raw=request(b"Connection: keep-alive", start=b"GET / HTTP/1.0"),
            absent=(b"connection",),
        ),
        Forwarded(
            row="L8 HTTP/1.0 with a body",
            raw=request(b"Content-Length: 5", start=b"POST / HTTP/1.0", body=b"hello"),
            method=b"POST",
            body=b"hello",
            closes=True,
        ),
        *(
            Forwarded(row=f"L7 HTTP/1.{minor} is read as 1.1", raw=request(start=f"GET / HTTP/1.{minor}".encode()))
            for minor in (2, 9)
        ),
        Forwarded(
            row="L4 backslash in a query", raw=request(start=rb"GET /a?b=C:\d\\ HTTP/1.1"), target=rb"/a?b=C:\d\\"
        ),
        Forwarded(row="L2 an empty port", raw=request(host=b"example.org:"), host=b"example.org:"),
        Forwarded(row="L10 100 fields", raw=request(*[b"X: y"] * 99)),
        *(
            Forwarded(row=f"L7 {method}", raw=request(start=method.encode() + b" / HTTP/1.1"), method=method.encode())
            for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "PROPFIND", "REPORT", "PURGE")
        ),
    ]


def _fields() -> list[Forwarded]:
    named = {
        "Host": b"example.org",
        "Cookie": b"a=b",
        "Authorization": b"Basic eA==",
        "X-Forwarded-For": b"127.0.0.1",
        "X-Forwarded-Proto": b"http",
        "Forwarded": b"",
        "X-Request-ID": b"",
    }
    return [
        Forwarded(row="P1 close", raw=request(b"Connection: close"), absent=(b"connection",), closes=True),
        Forwarded(
            row="P1 a nominated field",
            raw=request(b"Connection: X-One, keep-alive ,x-TWO", b"X-One: 1", b"X-Two: 2", b"X-Three: 3"),
            absent=(b"connection", b"x-one", b"x-two"),
            fields=((b"x-three", b"3"),),
        ),
        Forwarded(
            row="P1 two Connection fields",
            raw=request(b"Connection: X-One", b"X-One: 1", b"Connection: X-Two", b"X-Two: 2"),
            absent=(b"connection", b"x-one", b"x-two"),
        ),
        Forwarded(
            row="P1 the nominated field first",
            raw=request(b"X-One: 1", b"Connection: X-One"),
            absent=(b"connection", b"x-one"),
        ),
        Forwarded(
            row="P1 Keep-Alive and Proxy-Connection",
            raw=request(b"Keep-Alive: timeout=5", b"Proxy-Connection: close"),
            absent=(b"keep-alive", b"proxy-connection", b"connection"),
        ),
        Forwarded(
            row="P1 TE",
            raw=request(b"TE: trailers, gzip;q=0.5", b"Connection: TE"),
            fields=((b"te", b"trailers"),),
        ),
        Forwarded(row="P1 TE without trailers", raw=request(b"TE: gzip", b"Connection: TE"), absent=(b"te",)),
        Forwarded(
            row="P1 Upgrade to what is not taken",
            raw=request(b"Connection: Upgrade", b"Upgrade: foo/2"),
            absent=(b"connection", b"upgrade"),
        ),
        Forwarded(
            row="P1 h2c",
            raw=request(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
            absent=(b"connection", b"upgrade", b"http2-settings"),
        ),
        Forwarded(
            row="P1 h2c with a body",
            raw=post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5", body=b"hello"),
            method=b"POST",
            absent=(b"connection", b"upgrade"),
            body=b"hello",
            or_refused=(400,),
        ),
        Forwarded(
            row="P8 Upgrade to nothing",
            raw=request(b"Connection: Upgrade", b"Upgrade: "),
            absent=(b"connection", b"upgrade"),
        ),
        Forwarded(
            row="P8 Upgrade without a handshake",
            raw=request(b"Connection: Upgrade", b"Upgrade: websocket"),
            absent=(b"connection", b"upgrade"),
        ),
        Forwarded(row="P1 Proxy-Connection", raw=request(b"Proxy-Connection: close"), absent=(b"proxy-connection",)),
        Forwarded(row="P1 Upgrade not named in Connection", raw=request(b"Upgrade: websocket"), absent=(b"upgrade",)),
        Forwarded(
            row="P1 Proxy-Authorization",
            raw=request(b"Proxy-Authorization: Basic eA=="),
            absent=(b"proxy-authorization",),
        ),
        *(
            Forwarded(
                row=f"P2 {name}",
                raw=request(b"Connection: close, %b" % name.encode(), b"Cookie: a=b", b"Authorization: Basic eA=="),
                fields=((name.lower().encode(), value),) if value else (),
                or_refused=(400,),
                closes=True,
            )
            for name, value in named.items()
        ),
        Forwarded(
            row="P2 Content-Length",
            raw=post(b"Connection: Content-Length", b"Content-Length: 5", body=b"hello"),
            method=b"POST",
            body=b"hello",
            or_refused=(400,),
        ),
        Forwarded(
            row="P2 Transfer-Encoding",
            raw=post(b"Connection: Transfer-Encoding", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
            method=b"POST",
            body=b"hello",
            or_refused=(400,),
        ),
        Forwarded(
            row="P3 forged",
            raw=request(
                b"X-Forwarded-For: 192.0.2.66",
                b"X-Forwarded-For: 192.0.2.67",
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Host: example.net",
                b"X-Forwarded-Port: 1",
                b"Forwarded: for=192.0.2.66",
                b"X-Real-IP: 192.0.2.66",
                b"X-Hotswap-Client: 192.0.2.66",
                b"X-Forwarded-Prefix: /admin",
                b"x-forwarded-SSL: on",
                b"X-Forwarded-User: root",
            ),
            fields=(
                (b"x-forwarded-for", b"127.0.0.1"),
                (b"x-forwarded-proto", b"http"),
                (b"x-forwarded-host", b"example.org"),
            ),
            absent=(b"x-real-ip", b"x-hotswap-client", b"x-forwarded-prefix", b"x-forwarded-ssl", b"x-forwarded-user"),
        ),
        Forwarded(
            row="P3 forged with underscores",
            raw=request(b"X_Forwarded_For: 192.0.2.66", b"X-Forwarded_For: 192.0.2.67", b"X_Real_IP: 192.0.2.66"),
            absent=(b"x_forwarded_for", b"x-forwarded_for", b"x_real_ip"),
            or_refused=(400,),
        ),
        Forwarded(row="P4 Daphne-Root-Path", raw=request(b"Daphne-Root-Path: /evil"), absent=(b"daphne-root-path",)),
        Forwarded(row="P4 Proxy", raw=request(b"Proxy: http://192.0.2.66/", b"pRoXy: x"), absent=(b"proxy",)),
        Forwarded(
            row="P4 underscores",
            raw=request(b"X_Y: z", b"Content_Length: 5", b"Transfer_Encoding: chunked"),
            absent=(b"x_y", b"content_length", b"transfer_encoding"),
            or_refused=(400,),
        ),
        Forwarded(
            row="F20 spacing",
            raw=request(b"X-One:1", b"X-Two: \t 2 \t ", b"X-Three:", b"X-Four: a  b"),
            fields=((b"x-one", b"1"), (b"x-two", b"2"), (b"x-three", b""), (b"x-four", b"a  b")),
        ),
        Forwarded(
            row="F20 every byte a value may have",
            raw=request(b"X: " + bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)),
            fields=((b"x", bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)),),
        ),
        Forwarded(
            row="F20 every byte a name may have",
            raw=request(b"!#$%&'*+-.^`|~09azAZ: y"),
            fields=((b"!#$%&'*+-.^`|~09azaz", b"y"),),
        ),
        Forwarded(
            row="F20 equal names stay in order",
            raw=request(b"X: 1", b"Y: 2", b"X: 3"),
            fields=((b"x", b"1"), (b"y", b"2"), (b"x", b"3")),
        ),
    ]


CASES: Final = (*_framing(), *_targets(), *_fields())
