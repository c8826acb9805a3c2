"""Networks whose clients a route serves (`allow`, `deny`)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from hotswap.core.errors import Side
from hotswap.core.http.client_address import parse_client
from hotswap.core.http.network_set import NetworkSet
from hotswap.core.memory import Memory

if TYPE_CHECKING:
    from hotswap.edge.rules.rule_step import Entering


class AddressStep:
    """Answers 403 to clients that are denied, or not allowed.

    A client without an address, at a Unix socket, is in no network: it is not denied, and not allowed where `allow`
    names any.

    Args:
        allow: whom it serves; empty: everybody.
        deny: whom it does not serve, although `allow` has them.
    """

    __slots__ = ("_allow", "_deny", "_serves")

    def __init__(self, allow: Sequence[IPv4Network | IPv6Network], deny: Sequence[IPv4Network | IPv6Network]) -> None:
        self._allow = NetworkSet(allow)
        self._deny = NetworkSet(deny)
        self._serves = Memory(self._judge, entries=4096, key_bytes=64).__getitem__

    def take(self, exchange: Entering) -> bool:
        """Judge the client."""
        if self._serves(exchange.peer.client_of(exchange.head)):
            return True
        exchange.answer(403, side=Side.DOWNSTREAM, error="the client's address is not allowed")
        return False

    def _judge(self, client: bytes) -> bool:
        address = parse_client(client)
        if address is None:
            return not self._allow
        return address not in self._deny and (not self._allow or address in self._allow)
