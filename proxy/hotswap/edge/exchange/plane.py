"""The data plane, as an exchange sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap.edge.exchange.gate import GatePlane

if TYPE_CHECKING:
    from hotswap.core.messages import ResponseHead
    from hotswap.core.routing import Router
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.exchange.ledger import Ledger


class Room(Protocol):
    """Makes room; see `hotswap.edge.client.room_maker.RoomMaker`."""

    def held(self) -> int:
        """How many descriptors are of clients or to backends."""

    def make(self, *, upstream: bool = False) -> bool:
        """End idle connections, for one of a client or to a backend; gives whether there were any."""


class ExchangePlane(GatePlane, Protocol):
    """See `hotswap.edge.dataplane.DataPlane`.

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
        """Have a response that does not say when it was made say that it was now (RFC 9110 6.6.1)."""

    def next_request_id(self) -> bytes:
        """An id for a request: unique among all proxies, and in order within one."""
