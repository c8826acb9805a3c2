"""Addresses of clients as rules of routes compare and count them.

An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.7`, RFC 4291 2.5.5.2) is the IPv4 address. A client that
has none, such as one at a Unix socket, has no address here either.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from hotswap.core.http.hops import node_address
from hotswap.core.memory import Memory

KEY_BYTES: Final = 8
"""Bytes of a `client_key`."""

_ENTRIES: Final = 4096
_LONGEST: Final = 64


def parse_client(client: bytes) -> IPv4Address | IPv6Address | None:
    """Give the address of a client, or None for one that has none.

    Args:
        client: what `Peer.client_of` gives; the zone of a link-local address does not count.
    """
    address = node_address(client.partition(b"%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _key(client: bytes) -> bytes:
    address = parse_client(client)
    # Who has an IPv6 address has the 2^64 of its network (RFC 6177).
    counted = b"" if address is None else address.packed[:8]
    # Python's hash of bytes is keyed anew in each process, so nobody can choose addresses that share a key.
    return hash(counted).to_bytes(KEY_BYTES, "little", signed=True)


client_key: Final = Memory(_key, entries=_ENTRIES, key_bytes=_LONGEST).__getitem__
"""The key under which requests of a client are counted: of its IPv4 address, or of the /64 of its IPv6 address.

All clients without an address have one key. It is of `KEY_BYTES`, evenly distributed, and of this process alone.
"""
