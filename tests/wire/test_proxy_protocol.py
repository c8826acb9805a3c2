"""Headers of the PROXY protocol: whole, byte by byte, with what follows, and every way to be none."""

from __future__ import annotations

import pytest

from hotswap.wire.proxy_protocol import MAX_VERSION_1, ProxyProtocolError, parse_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def version_2(body: bytes, *, command: int = 0x21, kind: int = 0x11, length: int | None = None) -> bytes:
    """A header of version 2."""
    size = len(body) if length is None else length
    return SIGNATURE + bytes((command, kind)) + size.to_bytes(2, "big") + body


TCP4 = b"\xc0\x00\x02\x07" + b"\x7f\x00\x00\x01" + b"\x10\x00\x01\xbb"
TCP6 = b"\x20\x01\x0d\xb8" + b"\x00" * 11 + b"\x07" + b"\x00" * 15 + b"\x01" + b"\x10\x00\x01\xbb"
MAPPED = b"\x00" * 10 + b"\xff\xff\xc0\x00\x02\x07" + b"\x00" * 20

GOOD = [
    (b"PROXY TCP4 192.0.2.7 127.0.0.1 4096 443\r\n", "192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 ::1 4096 443\r\n", "2001:db8::7"),
    (b"PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 0 65535\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 1\r\n", "192.0.2.7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (version_2(TCP4), "192.0.2.7"),
    (version_2(TCP4 + b"\x04\x00\x02no"), "192.0.2.7"),
    (version_2(TCP6, kind=0x21), "2001:db8::7"),
    (version_2(MAPPED, kind=0x21), "192.0.2.7"),
    (version_2(b"", kind=0x00), None),
    (version_2(b"x" * 216, kind=0x31), None),
    (version_2(b"", command=0x20, kind=0x00), None),
    (version_2(TCP4, command=0x20), None),
]


@pytest.mark.parametrize(("header", "source"), GOOD)
def test_a_header_is_read_whole_and_byte_by_byte(header, source):
    """It is complete with its last byte, and not before; what follows is not its own."""
    for end in range(len(header)):
        assert parse_proxy_header(header[:end]) is None
    for data in (header, header + b"GET / HTTP/1.1\r\n", header + header):
        found = parse_proxy_header(data)
        assert found is not None
        assert (found.size, found.source) == (len(header), source)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"P ",
        b"PROXYTCP4",
        b"proxy TCP4 192.0.2.7 127.0.0.1 4096 443\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4096\r\n",
        b"PROXY TCP4 192.0.2.7  127.0.0.1 4096 443\r\n",
        b"PROXY TCP4 192.0.2.007 127.0.0.1 4096 443\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 4096 443\r\n",
        b"PROXY TCP6 192.0.2.7 127.0.0.1 4096 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 4096 443\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 04096 443\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 -1 443\r\n",
        b"PROXY UDP4 192.0.2.7 127.0.0.1 4096 443\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY TCP4 \xb2 127.0.0.1 4096 443\r\n",
        b"PROXY UNKNOWN " + b"x" * MAX_VERSION_1,
        b"PROXY UNKNOWN\n" + b"x" * MAX_VERSION_1,
        SIGNATURE[:-1] + b"X",
        version_2(TCP4, command=0x11),
        version_2(TCP4, command=0x22),
        version_2(TCP4, kind=0x12),
        version_2(TCP4, kind=0x41),
        version_2(TCP4[:11]),
        version_2(TCP4, kind=0x21),
        version_2(b"", length=0xFFFF),
    ],
)
def test_what_is_no_header_is_refused(data):
    """As soon as it can be known."""
    with pytest.raises(ProxyProtocolError):
        parse_proxy_header(data)
