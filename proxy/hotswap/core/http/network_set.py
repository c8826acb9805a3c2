"""Set of networks that is searched in logarithmic time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from typing import Final, TypeVar

Network = TypeVar("Network", IPv4Network, IPv6Network)

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as IPv6 ones (RFC 4291 2.5.5.2)."""


class NetworkSet:
    """Networks of both families; `address in networks` costs a binary search, however many there are.

    Args:
        networks: they may overlap; what covers IPv4 addresses that are written as IPv6 ones covers these.
    """

    __slots__ = ("_ranges",)

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        four: list[IPv4Network] = []
        six: list[IPv6Network] = []
        for network in networks:
            if isinstance(network, IPv4Network):
                four.append(network)
                continue
            six.append(network)
            if network.subnet_of(_MAPPED):
                mapped = int(network.network_address) & 0xFFFFFFFF
                four.append(IPv4Network((mapped, network.prefixlen - _MAPPED.prefixlen)))
        self._ranges = {4: _ranges(four), 6: _ranges(six)}

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        starts, ends = self._ranges[address.version]
        number = int(address)
        place = bisect_right(starts, number) - 1
        return place >= 0 and number <= ends[place]

    def __bool__(self) -> bool:
        return any(starts for starts, _ in self._ranges.values())


def _ranges(networks: Iterable[Network]) -> tuple[Sequence[int], Sequence[int]]:
    """The first and the last addresses of networks of one family, in order and without overlaps."""
    collapsed = tuple(collapse_addresses(networks))
    return (
        tuple(int(network.network_address) for network in collapsed),
        tuple(int(network.broadcast_address) for network in collapsed),
    )
