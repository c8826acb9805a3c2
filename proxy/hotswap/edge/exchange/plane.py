"""Interface through which an exchange sees the data plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap.edge.exchange.gate import GatePlane

if TYPE_CHECKING:
    from hotswap.core.http.messages import ResponseHead
    from hotswap.core.http.routing import Router
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.exchange.ledger import Ledger


class Room(Protocol):
    """Makes room for connections; see `hotswap.edge.client.room_maker.RoomMaker`."""

    def held(self) -> int:
        """Number of descriptors in use for clients and backends."""

    def make(self, *, upstream: bool = False) -> bool:
        """End idle connections to free descriptors; tells whether there were any."""


class ExchangePlane(GatePlane, Protocol):
    """The data plane, as an exchange sees it; see `hotswap.edge.dataplane.DataPlane`.

    Attributes:
        ledger: takes what ended.
        router: the routes of now.
        gates: by name of their pool.
        room: ends idle connections when descriptors are short.
    """

    ledger: Ledger
    router: Router
    gates: dict[str, Gate]

    @property
    def room(self) -> Room:
        """See the attributes."""

    def date(self, head: ResponseHead) -> None:
        """Add `Date` to a response without one (RFC 9110 6.6.1)."""

    def next_request_id(self) -> bytes:
        """A new request id: unique among all proxies, and ascending within one."""
