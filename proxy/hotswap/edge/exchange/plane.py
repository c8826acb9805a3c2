"""What exchanges, and the connections of the clients that make them, know of the data plane and of a listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from hotswap.edge.loop.surroundings import Surroundings

if TYPE_CHECKING:
    from hotswap.core.config.listeners import RedirectTable
    from hotswap.core.exchange_view import ExchangeView
    from hotswap.core.messages import RequestHead, ResponseHead
    from hotswap.core.pool.candidate import Candidate
    from hotswap.core.room import Idle
    from hotswap.core.routing import Router
    from hotswap.core.tally import Tally
    from hotswap.edge.exchange.exchange import Exchange
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.exchange.ledger import Ledger
    from hotswap.edge.exchange.tunnel import Tunnel


class Log(Protocol):
    """What the data plane says in the log."""

    def debug(self, event: str, **fields: Any) -> Any:  # structlog's own signature
        """What helps a developer."""

    def warning(self, event: str, **fields: Any) -> Any:
        """What an operator should see."""

    def error(self, event: str, **fields: Any) -> Any:
        """A defect."""


class Room(Protocol):
    """Makes room; see `hotswap.edge.client.room_maker.RoomMaker`."""

    def held(self) -> int:
        """How many descriptors are of clients or to backends."""

    def make(self, *, upstream: bool = False) -> bool:
        """End idle connections, for one of a client or to a backend; gives whether there were any."""


class Plane(Surroundings, Protocol):
    """See `hotswap.edge.dataplane.DataPlane`.

    Attributes:
        tally: what is counted.
        log: where pauses are told.
        ledger: takes what ended.
        router: the routes of now.
        gates: by name of their pool.
        tunnels: those that are open.
        stopping: nothing is accepted any more, and each answer is the last of its connection.
        room: ends idle connections when descriptors are short.
        handed_over: because another process takes over, not because this one ends.
    """

    tally: Tally
    log: Log
    ledger: Ledger
    router: Router
    gates: dict[str, Gate]
    tunnels: dict[Exchange, Tunnel]
    stopping: bool
    handed_over: bool

    @property
    def room(self) -> Room:
        """See the attributes."""

    def date(self, head: ResponseHead) -> None:
        """Have a response that does not say when it was made say that it was now (RFC 9110 6.6.1)."""

    def next_request_id(self) -> bytes:
        """An id for a request: unique among all proxies, and in order within one."""

    def tunnels_to(self, backend: Candidate) -> list[Tunnel]:
        """The tunnels that a backend has."""

    def close_tunnels(self, backend: Candidate, *, within: float) -> int:
        """Have the tunnels to a backend closed in order, spread over so many seconds; gives how many there are."""

    def exchanges_in(self, backend: Candidate) -> list[ExchangeView]:
        """What is in flight in a backend, oldest first."""

    def cut(self, backend: Candidate, gate: Gate | None = None) -> int:
        """End by force what is in flight in a backend; gives how many exchanges."""


class Connection(Protocol):
    """A client connection, as the listener that counts it sees it."""

    def drain(self) -> None:
        """End in order: at once when idle, else after what is under way."""

    def close(self) -> None:
        """End at once."""

    def on_crash(self, error: Exception) -> None:
        """An exception left one of these: log it and end this connection, nothing else."""


class ClientConnection(Connection, Protocol):
    """One that can be ended to make room for others."""

    def idle(self) -> Idle[ClientConnection] | None:
        """What there is to know about it if nothing is under way, or None."""

    def leave_at_once(self) -> None:
        """Make room: end, unless something has just begun; called of an idle one."""


class Entrance(Protocol):
    """The listener by which a request came; see `hotswap.edge.client.listener.Listener`.

    Attributes:
        name: of the listener.
        body_bytes: the longest body of a request; None is any.
        idle_timeout: seconds in which nothing may move.
        redirect: where it sends everybody, if it does.
    """

    name: str
    body_bytes: int | None
    idle_timeout: float
    redirect: RedirectTable | None

    def redirect_to(self, head: RequestHead) -> bytes:
        """Where a request is sent: the same host and path."""

    def add(self, connection: ClientConnection) -> None:
        """A connection has begun."""

    def replace(self, old: Connection, new: ClientConnection) -> None:
        """A connection has become another."""

    def forget(self, connection: ClientConnection) -> None:
        """A connection has ended."""
