"""What a stream of HTTP/2 is to a tunnel: something that is read and written like a socket (RFC 8441)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap.edge.loop.poller import GONE
from hotswap.edge.loop.stream import BLOCKED

if TYPE_CHECKING:
    from hotswap.edge.client.http2_stream import Http2Stream
    from hotswap.edge.loop.stream import Data, Owner


class Http2Channel:
    """The side of a tunnel that is carried in DATA frames; see `Stream` for what its members promise."""

    __slots__ = ("_stream", "broken", "closed", "hangup", "owner", "readable")

    def __init__(self, stream: Http2Stream) -> None:
        self._stream = stream
        self.owner: Owner | None = None
        self.readable = True
        self.hangup = False
        self.broken = False
        self.closed = False

    @property
    def unsent(self) -> int:
        """Bytes that the client's windows do not take."""
        return self._stream.kept_bytes

    @property
    def backed_up(self) -> bool:
        """Whether a source should stop."""
        return self._stream.backed_up

    def own(self, owner: Owner) -> None:
        """Give the channel to a tunnel's end."""
        self.owner = owner

    def read_into(self, buffer: memoryview) -> int:
        """As `Stream.read_into`."""
        if self.broken:
            return 0
        got = self._stream.take_inbox(buffer)
        if got:
            return got
        self.readable = False
        if self._stream.inbox_ended:
            self.hangup = True
            return 0
        return BLOCKED

    def write(self, data: Data) -> None:
        """As `Stream.write`."""
        if not self.broken and len(data):
            self._stream.put(data)
            self._stream.connection.mark()

    def flush_kept(self) -> bool:
        """Whether nothing is kept; what is goes out when the windows open."""
        return not self._stream.kept_bytes

    def stalled_at(self, seconds: float) -> float:
        """As `Stream.stalled_at`; the stream has a deadline for that."""
        return self._stream.deadline

    def end_writes(self) -> None:
        """Say that nothing more will be written: END_STREAM, as a TCP FIN (RFC 8441 5)."""
        if not self.broken:
            self._stream.put(b"", end=True)
            self._stream.connection.mark()

    def close(self) -> None:
        """The tunnel is over."""
        self._close(broken=False)

    def break_off(self) -> None:
        """The tunnel is over because the other side broke: RST_STREAM, as a TCP RST (RFC 8441 5)."""
        self._close(broken=True)

    def _close(self, *, broken: bool) -> None:
        if not self.closed:
            self.closed = self.broken = True
            self.owner = None
            self._stream.end_tunnel(broken=broken)

    # From the stream.

    def on_data(self) -> None:
        """The client sent something, or its end."""
        self.readable = True
        if self.owner is not None:
            self.owner.on_ready(0)

    def on_drained(self) -> None:
        """What was kept is out."""
        if self.owner is not None:
            self.owner.on_drained()

    def on_lost(self) -> None:
        """The stream was reset, or its connection broke."""
        self.broken = self.hangup = True
        owner, self.owner = self.owner, None
        if owner is not None:
            self.readable = True
            owner.on_ready(GONE)
