"""Parses a TLS ClientHello as far as it decides who answers: server name (SNI) and protocols (ALPN).

It is read before TLS begins, since `ssl` tells neither which protocols were offered nor a name that is not ASCII. Only
what OpenSSL would take is understood here; of anything else nothing is said, and OpenSSL refuses it in its own words.

References: RFC 8446 4.1.2 and 5.1, RFC 6066 3, RFC 7301 3.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

HELLO_BYTES: Final = 16 * 1024
"""The longest hello that is looked into, its records with it; common ones have 200 bytes to 2 KiB."""

_HANDSHAKE_RECORD: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_HOST_NAME: Final = 0
_EXTENSION: Final = struct.Struct(">HH")
"""Its kind, and the size of its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """Server name and protocols of a ClientHello; None where it has no such extension."""

    server_name: bytes | None = None
    protocols: tuple[bytes, ...] | None = None


_UNKNOWN: Final = ClientHello()


def parse_client_hello(data: bytes) -> ClientHello | None:
    """Parse the first bytes of a TLS connection; None when there is more to come."""
    message = bytearray()
    at = 0
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4]):
        header = data[at : at + 5]
        if (header and header[0] != _HANDSHAKE_RECORD) or (message and message[0] != _CLIENT_HELLO):
            return _UNKNOWN
        size = int.from_bytes(header[3:5])
        if len(header) == 5 and not size:
            return _UNKNOWN
        fragment = data[at + 5 : at + 5 + size]
        if len(header) < 5 or len(fragment) < size:
            return _UNKNOWN if len(data) >= HELLO_BYTES else None
        message += fragment
        at += 5 + size
    try:
        return _read(bytes(message[4 : 4 + int.from_bytes(message[1:4])])) if message[0] == _CLIENT_HELLO else _UNKNOWN
    except (ValueError, struct.error):
        return _UNKNOWN


def _read(body: bytes) -> ClientHello:
    at = 2 + 32  # the version and the random bytes
    for width in (1, 2, 1):  # session, cipher suites, compressions
        _, at = _vector(body, at, width)
    if at == len(body):
        return _UNKNOWN
    extensions, at = _vector(body, at, 2)
    name: bytes | None = None
    protocols: tuple[bytes, ...] | None = None
    at = 0
    while at < len(extensions):
        kind, size = _EXTENSION.unpack_from(extensions, at)
        at += 4
        if kind == _SERVER_NAME:
            entries, _ = _vector(extensions[at : at + size], 0, 2)
            if entries[:1] == bytes([_HOST_NAME]):
                name, _ = _vector(entries, 1, 2)
        elif kind == _ALPN:
            entries, _ = _vector(extensions[at : at + size], 0, 2)
            offered = []
            place = 0
            while place < len(entries):
                protocol, place = _vector(entries, place, 1)
                offered.append(protocol)
            protocols = tuple(offered)
        at += size
    if at > len(extensions):
        raise ValueError("cut short")
    return ClientHello(server_name=name, protocols=protocols)


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """Read a vector whose length stands in so many bytes before it; gives its content and where it ends.

    Raises:
        ValueError: there are not so many.
    """
    begin = at + width
    end = begin + int.from_bytes(data[at:begin])
    if begin > len(data) or end > len(data):
        raise ValueError("cut short")
    return data[begin:end], end
