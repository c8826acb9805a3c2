"""L1 to L10: request line, Host and version, and a listener that is spoken to in another protocol."""

from __future__ import annotations

from typing import Final

from tests.wire.payloads.case import Refused, request


def _hosts() -> list[Refused]:
    """L1 and L2: exactly one Host that is a host and perhaps a port."""
    values = {
        "L1 list": b"example.org, example.net",
        "L1 list without space": b"example.org,example.net",
        "L1 empty": b"",
        "L2 userinfo": b"user@example.org",
        "L2 userinfo with password": b"user:secret@example.org",
        "L2 path": b"example.org/path",
        "L2 query": b"example.org?x",
        "L2 fragment": b"example.org#x",
        "L2 backslash": b"example.org\\x",
        "L2 space": b"exam ple.org",
        "L2 tab": b"exam\tple.org",
        "L2 scheme": b"http://example.org",
        "L2 port with letters": b"example.org:80x",
        "L2 port above 65535": b"example.org:65536",
        "L2 port with a sign": b"example.org:+80",
        "L2 two ports": b"example.org:80:80",
        "L2 port alone": b":80",
        "L2 IPv6 without brackets": b"::1",
        "L2 IPv6 that does not end": b"[::1",
        "L2 IPv6 with letters": b"[::xyz]",
        "L2 IPv6 with a tail": b"[::1]x",
        "L2 IPv6 that is none": b"[1:2:3]",
        "L2 empty brackets": b"[]",
        "L2 quote": b'"example.org"',
        "L2 angle brackets": b"<example.org>",
        "L2 non-ASCII": "exämple.org".encode(),
        "L2 bad escape": b"example%zz.org",
    }
    return [
        Refused(row="L1 none", raw=request(host=None)),
        Refused(row="L1 none, with fields", raw=request(b"X: y", host=None)),
        Refused(row="L1 two, equal", raw=request(b"Host: example.org")),
        Refused(row="L1 two, different", raw=request(b"Host: example.net")),
        Refused(row="L2 of more than 1 KiB", raw=request(host=b"a" * 1025)),
        Refused(row="L1 two, in HTTP/1.0", raw=request(b"Host: example.net", start=b"GET / HTTP/1.0")),
        *(Refused(row=row, raw=request(host=value)) for row, value in values.items()),
    ]


def _targets() -> list[Refused]:
    """L3 to L6: a target in origin-form, or one of the three other forms where it belongs."""
    targets = {
        "L3 another scheme": b"ftp://example.org/",
        "L3 no authority": b"http:///",
        "L3 userinfo": b"http://user@example.org/",
        "L3 bad port": b"http://example.org:80x/",
        "L3 list": b"http://example.org,example.net/",
        "L4 relative": b"foo/bar",
        "L4 a word": b"!",
        "L4 query alone": b"?x=y",
        "L4 fragment": b"/a#b",
        "L4 fragment in the query": b"/a?b#c",
        "L4 tab": b"/a\tb",
        "L4 control byte": b"/a\x01b",
        "L4 DEL": b"/a\x7fb",
        "L4 backslash": b"/a\\b",
        "L4 backslash before a query": b"/a\\b?c",
        "L4 backslash and a fragment": b"/a?b\\c#d",
        "L4 leading backslash": b"\\a",
        "L4 non-ASCII": "/é".encode(),
        "L4 colon form": b"example.org:80/",
        "L5 *": b"*",
        "L5 * and a path": b"*/a",
        "L5 authority": b"example.org:80",
    }
    unroutable = {
        "L12 encoded NUL": b"/a%00b",
        "L12 escape without digits": b"/a%zz",
        "L12 escape that does not end": b"/a%2",
    }
    refused_methods = (405, 501)
    return [
        *(Refused(row=row, raw=request(start=b"GET %b HTTP/1.1" % target)) for row, target in targets.items()),
        *(
            Refused(row=row, raw=request(start=b"GET %b HTTP/1.1" % target), by_route=True)
            for row, target in unroutable.items()
        ),
        Refused(row="L4 space", raw=request(start=b"GET /a b HTTP/1.1")),
        Refused(row="L4 two spaces", raw=request(start=b"GET  / HTTP/1.1")),
        Refused(row="L4 tab for a space", raw=request(start=b"GET\t/ HTTP/1.1"), statuses=(400, 501)),
        Refused(row="L4 no target", raw=request(start=b"GET HTTP/1.1")),
        Refused(row="L5 * with POST", raw=request(b"Content-Length: 0", start=b"POST * HTTP/1.1")),
        Refused(row="L5 authority with OPTIONS", raw=request(start=b"OPTIONS example.org:80 HTTP/1.1")),
        Refused(row="L6 CONNECT", raw=request(start=b"CONNECT example.org:443 HTTP/1.1"), statuses=refused_methods),
        Refused(row="L6 CONNECT with a path", raw=request(start=b"CONNECT / HTTP/1.1"), statuses=(400, 405, 501)),
        Refused(
            row="L6 CONNECT with a length",
            raw=request(b"Content-Length: 47", start=b"CONNECT example.org:443 HTTP/1.1", host=b"example.org:443"),
            statuses=(400, 405, 501),
        ),
        Refused(row="L6 TRACE", raw=request(start=b"TRACE / HTTP/1.1"), statuses=refused_methods),
    ]


def _versions() -> list[Refused]:
    """L7 and L9: HTTP/1.0 and HTTP/1.1, written as the grammar writes them."""
    other = (400, 505)
    versions: dict[str, tuple[bytes, tuple[int, ...]]] = {
        "L7 a letter": (b"HTTP/1.x", (400,)),
        "L7 no minor": (b"HTTP/1", (400,)),
        "L7 no minor digit": (b"HTTP/1.", (400,)),
        "L7 two digits": (b"HTTP/1.10", (400,)),
        "L7 leading zero": (b"HTTP/01.1", (400,)),
        "L7 lower-case name": (b"http/1.1", (400,)),
        "L7 comma": (b"HTTP/1,1", (400,)),
        "L7 space": (b"HTTP /1.1", (400,)),
        "L7 trailing space": (b"HTTP/1.1 ", (400,)),
        "L7 trailing word": (b"HTTP/1.1 x", (400,)),
        "L7 another protocol": (b"RTSP/1.0", (400,)),
        "L7 ICY": (b"ICY/1.1", (400,)),
        "L7 HTTPS": (b"HTTPS/1.1", (400,)),
        "L7 0.9": (b"HTTP/0.9", other),
        "L7 2.0": (b"HTTP/2.0", (505,)),
        "L7 3.0": (b"HTTP/3.0", (505,)),
        "L7 9.9": (b"HTTP/9.9", (505,)),
    }
    methods = {
        "L7 method with a bad byte": b"G@T",
        "L7 method with a colon": b"GET:",
        "L7 method of 5,000 letters": b"A" * 5000,
    }
    return [
        *(
            Refused(row=row, raw=request(start=b"GET / " + version), statuses=statuses)
            for row, (version, statuses) in versions.items()
        ),
        *(
            Refused(row=row, raw=request(start=method + b" / HTTP/1.1"), statuses=(400, 501))
            for row, method in methods.items()
        ),
        *(
            Refused(
                row=f"L7 {method} is no method of HTTP here",
                raw=request(start=f"{method} / HTTP/1.1".encode()),
                statuses=(501,),
            )
            for method in ("BREW", "get", "GETX", "GE", "A1", "M_X", "DESCRIBE", "FLUSH", "VERSION-CONTROL")
        ),
        Refused(row="L7 space before the method", raw=request(start=b" GET / HTTP/1.1")),
        Refused(row="L7 HTTP/0.9", raw=b"GET /\r\n\r\n"),
        Refused(row="L7 HTTP/0.9 with a field", raw=b"GET /\r\nHost: example.org\r\n\r\n"),
        Refused(row="L9 preface", raw=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", statuses=other),
        Refused(row="L9 preface in 1.1", raw=request(start=b"PRI * HTTP/1.1"), statuses=(400, 501, 505)),
        Refused(
            row="P5 PROXY protocol 1", raw=b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + request(), statuses=(400, 501)
        ),
        Refused(
            row="P5 PROXY protocol 2", raw=b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00" + request(), statuses=(400, 501)
        ),
        Refused(row="F11 TLS", raw=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
        Refused(row="L7 SSH", raw=b"SSH-2.0-OpenSSH_9.2\r\n", statuses=(400, 501)),
        Refused(row="L7 a response", raw=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", statuses=(400, 501)),
    ]


def _sizes() -> list[Refused]:
    """L10, with the limits of the contract: 64 KiB and 100 fields."""
    return [
        Refused(row="L10 target", raw=request(start=b"GET /%b HTTP/1.1" % (b"a" * 70_000)), statuses=(414,)),
        Refused(
            row="L10 target without end",
            raw=b"GET /" + b"a" * 70_000,
            statuses=(400, 414),
        ),
        Refused(row="L10 one value", raw=request(b"X: " + b"a" * 70_000), statuses=(431,)),
        Refused(row="L10 one name", raw=request(b"X" * 70_000 + b": y"), statuses=(431,)),
        Refused(
            row="L10 value without end",
            raw=request()[:-2] + b"X: " + b"a" * 70_000,
            statuses=(400, 431),  # with a request behind it, it is also a head with two Hosts
        ),
        Refused(row="L10 all fields", raw=request(*[b"X: " + b"a" * 1000] * 70), statuses=(431,)),
        Refused(row="L10 101 fields", raw=request(*[b"X: y"] * 100), statuses=(431,)),
        Refused(row="L10 10,000 short fields", raw=request(*[b"X: y"] * 10_000), statuses=(431,)),
        Refused(row="L10 10,000 special fields", raw=request(*[b"TE: y"] * 10_000), statuses=(431,)),
    ]


CASES: Final = (*_hosts(), *_targets(), *_versions(), *_sizes())
