"""Byte stream over one HTTP/2 stream, for a tunnel (RFC 8441)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from hotswap.edge.loop.poller import GONE
from hotswap.edge.loop.stream import BLOCKED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hotswap.edge.loop.stream import Data, Owner


class TunnelledStream(Protocol):
    """The HTTP/2 stream below a channel.

    Attributes:
        kept_bytes: that the client's windows do not take.
        deadline: until when it has to take some.
    """

    kept_bytes: int
    deadline: float

    @property
    def backed_up(self) -> bool:
        """Whether the client takes nothing now."""

    def credit(self, size: int) -> None:
        """Credit bytes of the client that were forwarded."""

    def put(self, data: Data, *, end: bool = False) -> None:
        """Send a piece, or buffer what the windows do not allow."""

    def flush(self) -> bool:
        """Send what is buffered, together with other streams' output of this turn."""

    def end_tunnel(self, *, broken: bool) -> None:
        """End the stream of a tunnel that is over."""


class Http2Channel:
    """Client side of a tunnel in DATA frames; its methods are those of `Stream`.

    Args:
        stream: what carries it.
        inbox: what the client has sent already; the stream's window bounds what waits here.
        ended: the client has said all that it will.
    """

    __slots__ = ("_ended", "_inbox", "_stream", "broken", "closed", "hangup", "owner", "readable")

    def __init__(self, stream: TunnelledStream, inbox: Iterable[bytes], *, ended: bool) -> None:
        self._stream = stream
        self._inbox = deque(inbox)
        self._ended = ended
        self.owner: Owner | None = None
        self.readable = True
        self.hangup = False
        self.broken = False
        self.closed = False

    @property
    def unsent(self) -> int:
        """Bytes that the client's windows have not allowed yet."""
        return self._stream.kept_bytes

    @property
    def backed_up(self) -> bool:
        return self._stream.backed_up

    def own(self, owner: Owner) -> None:
        self.owner = owner

    def read_into(self, buffer: memoryview) -> int:
        if self.broken:
            return 0
        inbox = self._inbox
        filled = 0
        while inbox and filled < len(buffer):
            data = inbox.popleft()
            piece = data[: len(buffer) - filled]
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
            if len(piece) < len(data):
                inbox.appendleft(data[len(piece) :])
        if filled:
            self._stream.credit(filled)
            return filled
        self.readable = False
        if self._ended:
            self.hangup = True
            return 0
        return BLOCKED

    def write(self, data: Data) -> None:
        if not self.broken and len(data):
            self._stream.put(data)
            self._stream.flush()

    def flush_kept(self) -> bool:
        """Whether nothing is buffered; what is goes out when the windows open."""
        return not self._stream.kept_bytes

    def stalled_at(self, seconds: float) -> float:
        """As `Stream.stalled_at`; the stream has a deadline for that."""
        return self._stream.deadline

    def end_writes(self) -> None:
        """End the writing half with END_STREAM, which stands for a TCP FIN (RFC 8441 5)."""
        if not self.broken:
            self._stream.put(b"", end=True)
            self._stream.flush()

    def close(self) -> None:
        """End the channel of a tunnel that is over."""
        self._close(broken=False)

    def break_off(self) -> None:
        """Reset the stream, as a TCP RST, because the other side of the tunnel broke (RFC 8441 5)."""
        self._close(broken=True)

    def _close(self, *, broken: bool) -> None:
        if not self.closed:
            self.closed = self.broken = True
            self.owner = None
            self._stream.end_tunnel(broken=broken)

    # From the stream.

    def on_data(self, data: bytes) -> None:
        """Data of the client arrived."""
        self._inbox.append(data)
        self._wake()

    def on_end(self) -> None:
        """The client ended its half."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self.readable = True
        if self.owner is not None:
            self.owner.on_ready(0)

    def on_drained(self) -> None:
        """The buffer is empty again."""
        if self.owner is not None:
            self.owner.on_drained()

    def on_lost(self) -> None:
        """The stream was reset, or its connection broke."""
        self.broken = self.hangup = True
        self._inbox.clear()
        owner, self.owner = self.owner, None
        if owner is not None:
            self.readable = True
            owner.on_ready(GONE)
