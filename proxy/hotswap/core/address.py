"""Addresses of listeners and backends: host and port, or a path. No sockets here."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

ALLOWED = '"HOST:PORT", "[IPV6]:PORT" or "unix:/path"'


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An IP address or host name, and a port from 0 to 65535 (0 asks the kernel for one)."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a Unix stream socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


def ip_of(host: str) -> IPv4Address | IPv6Address | None:
    """Read an IP address; None of a host name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def parse_address(text: str) -> Address:
    """Parse an address of the configuration.

    Args:
        text: `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`.

    Raises:
        ValueError: it is none of these; the message says what is allowed.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise ValueError(f"a path is missing; allowed: {ALLOWED}")
        return UnixAddress(path)
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon:
        raise ValueError(f"a port is missing; allowed: {ALLOWED}")
    if ":" in host and not bracketed:
        raise ValueError(f"an address of IPv6 stands in brackets; allowed: {ALLOWED}")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"a port is a number from 0 to 65535; allowed: {ALLOWED}")
    host = host[1:-1] if bracketed else host
    if not host:
        raise ValueError(f"a host is missing; allowed: {ALLOWED}")
    return TcpAddress(host, int(port))
