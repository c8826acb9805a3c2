"""Interfaces of what a tunnel joins: the client that becomes one, and the byte stream of a side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap.edge.exchange.entrance import Connection

if TYPE_CHECKING:
    from hotswap.edge.exchange.entrance import ClientConnection
    from hotswap.edge.loop.stream import Owner


class TunnelStream(Protocol):
    """Byte stream of one side: a `Stream`, or one with the same methods."""

    readable: bool
    hangup: bool
    broken: bool

    @property
    def unsent(self) -> int:
        """Buffered bytes that were not sent yet."""

    @property
    def backed_up(self) -> bool:
        """Whether a source should stop."""

    def own(self, owner: Owner) -> None:
        """Set the end of the tunnel that is called back."""

    def read_into(self, buffer: memoryview) -> int:
        """As `Stream.read_into`."""

    def write(self, data: bytes | memoryview) -> None:
        """As `Stream.write`."""

    def flush_kept(self) -> bool:
        """As `Stream.flush_kept`."""

    def stalled_at(self, seconds: float) -> float:
        """As `Stream.stalled_at`."""

    def end_writes(self) -> None:
        """Shut down the writing half."""

    def close(self) -> None:
        """Close; idempotent."""


class TunnelClient(Connection, Protocol):
    """A connection or stream of a client that becomes a tunnel."""

    def give_stream(self) -> TunnelStream:
        """Hand over the byte stream; the tunnel replaces this connection."""

    def part(self, tunnel: ClientConnection) -> None:
        """End in place of a tunnel whose backend broke, visibly if the protocol can, and lose nothing that it sent."""
