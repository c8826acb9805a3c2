"""The listener by which a request came, as exchanges and tunnels see it, and the connections that it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hotswap.core.config.listeners import RedirectTable
    from hotswap.core.room import Idle


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
    """A listener; see `hotswap.edge.client.listener.Listener`.

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

    def add(self, connection: ClientConnection) -> None:
        """A connection has begun."""

    def replace(self, old: Connection, new: ClientConnection) -> None:
        """A connection has become another."""

    def forget(self, connection: ClientConnection) -> None:
        """A connection has ended."""
