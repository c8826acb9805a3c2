"""Socket addresses: what an address of the configuration means without a name lookup."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from hotswap.core.address import Address, UnixAddress


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Family and address, as connect(2) takes them."""

    family: int
    address: Any


def endpoint_of(address: Address) -> Endpoint | None:
    """The endpoint of an address; None for a host name, which needs a lookup."""
    if isinstance(address, UnixAddress):
        return Endpoint(socket.AF_UNIX, address.path)
    host, _, zone = address.host.partition("%")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        if family == socket.AF_INET:
            return None if zone else Endpoint(family, (host, address.port))
        return Endpoint(family, (host, address.port, 0, _scope(zone)))
    return None


def _scope(zone: str) -> int:
    try:
        return int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    except OSError:
        return 0  # a connect says what is wrong with it
