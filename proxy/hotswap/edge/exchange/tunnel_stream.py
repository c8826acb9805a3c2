"""The client of a tunnel and the stream of one of its sides, as the tunnel sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap.edge.exchange.entrance import Connection

if TYPE_CHECKING:
    from hotswap.edge.exchange.entrance import ClientConnection
    from hotswap.edge.loop.stream import Owner


class TunnelStream(Protocol):
    """What carries the bytes of one side: a `Stream`, or something that is read and written like one."""

    readable: bool
    hangup: bool
    broken: bool

    @property
    def unsent(self) -> int:
        """Bytes that are kept because they were not taken."""

    @property
    def backed_up(self) -> bool:
        """Whether a source should stop."""

    def own(self, owner: Owner) -> None:
        """Tell the end of a tunnel from now on what happens."""

    def read_into(self, buffer: memoryview) -> int:
        """As `Stream.read_into`."""

    def write(self, data: bytes | memoryview) -> None:
        """As `Stream.write`."""

    def flush_kept(self) -> bool:
        """As `Stream.flush_kept`."""

    def stalled_at(self, seconds: float) -> float:
        """As `Stream.stalled_at`."""

    def end_writes(self) -> None:
        """Say that nothing more will be written."""

    def close(self) -> None:
        """Close; idempotent."""


class TunnelClient(Connection, Protocol):
    """A connection or stream of a client that becomes a tunnel."""

    def give_stream(self) -> TunnelStream:
        """Give what carries the bytes; the tunnel takes its place."""

    def part(self, tunnel: ClientConnection) -> None:
        """End in place of a tunnel whose backend broke, so that this shows where the protocol has a way, and nothing of
        what it said before is lost by it."""
