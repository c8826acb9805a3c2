"""Interfaces through which a client's connections and exchanges see the listener by which they came, and it them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap.edge.loop.containment import Contained

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from hotswap.core.config.listeners import RedirectTable
    from hotswap.core.room import Idle


class ClientConnection(Contained, Protocol):
    """A client connection, as its listener sees it."""

    def drain(self) -> None:
        """Close gracefully: at once when idle, else after the exchanges under way."""

    def idle(self) -> Idle[ClientConnection] | None:
        """Since when it is idle; None when something is under way."""

    def leave_at_once(self) -> None:
        """Close to make room, unless something has just begun; called for idle ones."""

    def close(self) -> None:
        """Close at once."""


class Entrance(Protocol):
    """A listener; see `hotswap.edge.client.listener.Listener`.

    Attributes:
        name: of the listener.
        header_bytes: the longest head of a request.
        headers: the most fields of a head.
        header_timeout: seconds for a head, a handshake or a PROXY header.
        body_bytes: the longest body of a request; None is any.
        body_rate: bytes of a body in a second, below which it is too slow; 0 is any.
        requests: the most requests of one connection; 0 is any number.
        idle_timeout: seconds in which nothing may move.
        http2: whether HTTP/2 is spoken.
        redirect: where it sends everybody, if it does.
        compress: whether answers are compressed.
        hsts: the line that tells browsers to come by HTTPS only; empty where it says nothing.
        connections: those that are open.
    """

    name: str
    header_bytes: int
    headers: int
    header_timeout: float
    body_bytes: int | None
    body_rate: int
    requests: int
    idle_timeout: float
    http2: bool
    redirect: RedirectTable | None
    compress: bool
    hsts: bytes
    connections: set[ClientConnection]

    def admit(self, client: socket.socket, host: str, port: int, *, instead_of: ClientConnection | None = None) -> None:
        """Serve a client whose address is known.

        Args:
            client: its socket.
            host: its address; empty for a Unix socket.
            port: of the listener.
            instead_of: the connection it was until now.
        """

    def add(self, connection: ClientConnection) -> None:
        """Count a new connection."""

    def replace(self, old: object, new: ClientConnection) -> None:
        """Count a connection's successor in its place; what becomes a tunnel may be a stream, which was not counted."""

    def forget(self, connection: ClientConnection) -> None:
        """Stop counting a connection that has ended."""

    def idle_since(self, moment: float) -> Iterable[Idle[ClientConnection]]:
        """Connections idle since a moment; of very many, the next part of them each time."""
