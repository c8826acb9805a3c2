"""Interfaces through which exchanges and tunnels see the listener by which a request came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hotswap.core.config.listeners import RedirectTable
    from hotswap.core.room import Idle


class Connection(Protocol):
    """A client connection, as its listener sees it."""

    def drain(self) -> None:
        """Close gracefully: at once when idle, else after the exchanges under way."""

    def close(self) -> None:
        """Close at once."""

    def on_crash(self, error: Exception) -> None:
        """An exception left one of these: log it and end this connection, nothing else."""


class ClientConnection(Connection, Protocol):
    """A client connection that can be ended to make room for others."""

    def idle(self) -> Idle[ClientConnection] | None:
        """Since when it is idle; None when something is under way."""

    def leave_at_once(self) -> None:
        """Close to make room, unless something has just begun; called for idle ones."""


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
        """Count a new connection."""

    def replace(self, old: Connection, new: ClientConnection) -> None:
        """Count a connection's successor in its place."""

    def forget(self, connection: ClientConnection) -> None:
        """Stop counting a connection that has ended."""
