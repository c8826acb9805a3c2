"""Parser of PROXY protocol headers, versions 1 and 2: who the client of a load balancer is.

Reference: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. Read strictly: a connection whose first bytes
are not a complete and correct header is closed, since who speaks it wrongly may be anybody (P5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

MAX_VERSION_1: Final = 107
"""Bytes of the longest header of version 1, its line end included."""
MAX_VERSION_2: Final = 16 + 4096
"""The same of version 2 by our choice: room for addresses and extensions such as a client's certificate name."""

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_LINE: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9.]+|[0-9A-Fa-f:.]+) ([0-9.]+|[0-9A-Fa-f:.]+) "
    rb"(0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31


class ProxyProtocolError(Exception):
    """The first bytes are not a PROXY header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """The client's address as a load balancer tells it.

    Attributes:
        size: bytes of the header; what follows is the client's.
        source: the client's address, or None when the balancer does not tell one, or speaks for itself.
    """

    size: int
    source: str | None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Parse a header from everything that came so far of a connection; None while it is not complete.

    Raises:
        ProxyProtocolError: it will never be one.
    """
    if data[:12] == _SIGNATURE[: len(data)]:
        return _parse_version_2(data) if len(data) >= 16 else None
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_version_1(data)
    raise ProxyProtocolError("it begins with neither of the two signatures")


def _parse_version_1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_VERSION_1)
    if end < 0:
        if len(data) >= MAX_VERSION_1:
            raise ProxyProtocolError("the line is too long")
        return None
    line = data[: end + 2]
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(size=len(line), source=None)
    match = _LINE.fullmatch(line)
    if match is None or int(match[4]) > 65535 or int(match[5]) > 65535:
        raise ProxyProtocolError("the line is malformed")
    family = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source, _ = (family(part.decode("ascii")) for part in (match[2], match[3]))
    except ValueError as error:
        raise ProxyProtocolError("an address is malformed") from error
    return ProxyHeader(size=len(line), source=_written(source))


def _parse_version_2(data: bytes) -> ProxyHeader | None:
    command, kind = data[12], data[13]
    size = 16 + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError("an unknown version or command")
    if size > MAX_VERSION_2:
        raise ProxyProtocolError("the header is too long")
    needed = {_TCP4: 12, _TCP6: 36, _UNIX: 216, _UNSPECIFIED: 0}.get(kind)
    if command == _PROXY and (needed is None or size - 16 < needed):
        raise ProxyProtocolError("an unknown family, or too few bytes for its addresses")
    if len(data) < size:
        return None
    source: IPv4Address | IPv6Address | None = None
    if command == _PROXY and kind == _TCP4:
        source = IPv4Address(data[16:20])
    elif command == _PROXY and kind == _TCP6:
        source = IPv6Address(data[16:32])
    return ProxyHeader(size=size, source=None if source is None else _written(source))


def _written(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
