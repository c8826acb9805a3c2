"""Addresses of listeners and backends: host and port, or a path. No sockets here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

ALLOWED = '"HOST:PORT", "[IPV6]:PORT" or "unix:/path"'

MAX_PATH_BYTES = 107
"""The kernel's limit for the path of a Unix socket, without its NUL."""

_URL = r"([A-Za-z][A-Za-z0-9+]*)://([^/?#@]+)"
_NOT_IN_HOSTS = frozenset(" \t\r\n/\\@*?#\"',;=")


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


def reachable(address: Address) -> Address:
    """Give the address to connect to for one that is listened on: the wildcard means loopback."""
    ip = ip_of(address.host) if isinstance(address, TcpAddress) else None
    if isinstance(address, TcpAddress) and ip is not None and ip.is_unspecified:
        return TcpAddress("::1" if ip.version == 6 else "127.0.0.1", address.port)
    return address


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
        ValueError: it is none of these; the message says what is allowed, why this is not, and what to write instead.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise ValueError(f"{ALLOWED}; the path is missing")
        return UnixAddress(path)
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535:
        if bracketed and isinstance(ip_of(host[1:-1]), IPv6Address):
            return TcpAddress(host[1:-1], int(port))
        if host and not bracketed and ":" not in host and _NOT_IN_HOSTS.isdisjoint(host):
            return TcpAddress(host, int(port))
    raise ValueError(f"{ALLOWED}; {_why_not(text)}")


def _why_not(text: str) -> str:
    """Say why a text is no address, and what was probably meant."""
    url = re.match(_URL, text)
    if url is not None:
        host = url[2] if _has_port(url[2]) else f"{url[2]}:{443 if url[1].lower() == 'https' else 80}"
        return f'without scheme and path: write "{host}"'
    if text.startswith("/"):
        return f'a path begins with "unix:": write "unix:{text}"'
    if text.isascii() and text.isdigit() and int(text[:6]) <= 65535:
        return f'the host is missing: write "127.0.0.1:{text}", or "0.0.0.0:{text}" for every address of this machine'
    host, colon, port = text.rpartition(":")
    if isinstance(ip_of(host), IPv6Address) and port.isdecimal() and 2 <= len(port) <= 5:
        return f'an address of IPv6 stands in brackets: write "[{host}]:{port}"'
    if isinstance(ip_of(text), IPv6Address):
        return f'the port is missing, and IPv6 stands in brackets: write "[{text}]:8000"'
    if not colon or (text.startswith("[") and text.endswith("]")):
        usable = text and _NOT_IN_HOSTS.isdisjoint(text)
        return f'the port is missing: write "{text}:8000"' if usable else "the port is missing"
    if not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        return "a port is a number from 0 to 65535"
    if host in ("", "*", "[]"):
        return f'the host is missing: write "0.0.0.0:{port}" for every IPv4 address of this machine'
    return f"{host} is neither a host name nor an IP address"


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and ":" in host
