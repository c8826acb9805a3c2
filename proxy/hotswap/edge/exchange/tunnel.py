"""Tunnel of an upgraded exchange (WebSocket): forwards bytes in both directions.

Each direction ends by itself: what one side ends is ended towards the other once everything it sent has been passed
on, and the tunnel is over when both are, or when nothing moved for the idle timeout. One that breaks ends it too, but
what a backend said before is still the client's.

A backend whose time is over is left in order: at the next end of a frame the client gets a close frame that tells it to
come back (1012), and a moment to answer it; what the backend still says is dropped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from hotswap.core.errors import Side
from hotswap.edge.exchange.exchange import Exchange
from hotswap.edge.exchange.surroundings import ExchangePlane
from hotswap.edge.loop.poller import DEAD, GONE
from hotswap.edge.loop.stream import BLOCKED, TINY_PIECES_BYTES, Stream
from hotswap.edge.loop.timers import NEVER
from hotswap.wire.websocket import FrameTracker, close_frame

if TYPE_CHECKING:
    from hotswap.edge.exchange.ledger import Ledger
    from hotswap.edge.exchange.repeats import Repeats
    from hotswap.edge.loop.stream import Owner
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection

READS_AT_A_TIME: Final = 4
FOLLOWED_BYTES: Final = 16 * 1024
"""Read at a time of what is followed frame by frame, unless the frames are tiny."""
GOING_AWAY: Final = 1001
SERVICE_RESTART: Final = 1012
"""Codes of close frames (RFC 6455 7.4.1 and the registry)."""
ECHO_SECONDS: Final = 2.0
"""How long a client has to answer a close frame, and a backend to finish the frame before it."""
HALF_SECONDS: Final = 5.0
"""How long a client may be silent after it was given all that its backend said, which has closed its half: most have
closed both."""
CUT: Final = "cut at the end of the drain"


class ClientPlane(ExchangePlane[Exchange], Protocol):
    """The data plane, as client connections and their tunnels see it; see `hotswap.edge.dataplane.DataPlane`.

    Attributes:
        ledger: takes what was answered without an exchange.
        repeats: answers to requests that are the same, byte for byte.
        tunnels: those that are open.
        stopping: nothing is accepted any more, and each answer is the last of its connection.
        handed_over: because another process takes over, not because this one ends.
    """

    ledger: Ledger
    repeats: Repeats
    tunnels: dict[Exchange, Tunnel]
    stopping: bool
    handed_over: bool


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


class TunnelClient(Protocol):
    """A connection or stream of a client that becomes a tunnel."""

    def give_stream(self) -> TunnelStream:
        """Hand over the byte stream; the tunnel replaces this connection."""

    def part(self, tunnel: Tunnel) -> None:
        """End in place of a tunnel whose backend broke, visibly if the protocol can, and lose nothing that it sent."""


class Tunnel:
    """Two joined streams, which hold the claim on the backend; a connection of its listener."""

    __slots__ = (
        "_client",
        "_connection",
        "_exchange",
        "_idle_at",
        "_leave_at",
        "_leaving",
        "_rest",
        "armed",
        "backend_end",
        "client_end",
        "deadline",
        "listener",
        "over",
        "plane",
    )

    def __init__(
        self,
        plane: ClientPlane,
        exchange: Exchange,
        client: TunnelClient,
        connection: UpstreamConnection,
    ) -> None:
        self.plane = plane
        self.listener = exchange.listener
        self.deadline, self.armed = math.inf, NEVER
        self.over = False
        self._exchange = exchange
        self._connection = connection
        self._idle_at = self._leave_at = math.inf
        self._leaving = 0  # the code of the close frame that is due or sent
        self._client = client
        self.listener.replace(client, self)
        backend_stream, self._rest = connection.take_stream()
        self.client_end = TunnelEnd(self, client.give_stream())
        self.backend_end = BackendEnd(self, backend_stream)
        self.client_end.other = self.backend_end
        self.backend_end.other = self.client_end

    def open(self, early: bytes) -> None:
        """Start forwarding, first what the client sent behind its request."""
        self._connection.exchange = None
        self.plane.tunnels[self._exchange] = self
        self.client_end.stream.own(self.client_end)
        self.backend_end.stream.own(self.backend_end)
        self.client_end.forward(early)
        self.backend_end.forward(self._rest)
        self.touch()
        self.check_over()
        self.plane.poller.soon(self.client_end, self.client_end.pump)
        self.plane.poller.soon(self.backend_end, self.backend_end.pump)

    def touch(self) -> None:
        """Restart the idle timeout."""
        if not self._leaving:
            poller = self.plane.poller
            half = self.backend_end.ended and not self.client_end.stream.unsent
            self._idle_at = poller.now + (HALF_SECONDS if half else self._exchange.idle_timeout)
            poller.timers.set(self, min(self._idle_at, self._leave_at))

    def on_deadline(self) -> None:
        """The idle timeout, the time to leave, or the timeout of leaving has passed."""
        poller = self.plane.poller
        if self._leaving:
            self.end(CUT)
        elif poller.now >= self._leave_at:
            ends = self.plane.stopping and not self.plane.handed_over
            self.leave(GOING_AWAY if ends else SERVICE_RESTART)
        elif poller.now >= self._idle_at and poller.now >= self._stalled_at():
            self.end("idle for too long" if self.client_end.stream.unsent or not self.backend_end.ended else "")
        else:
            poller.timers.set(self, min(self._idle_at, self._leave_at))

    def _stalled_at(self) -> float:
        """When a side will have taken nothing for too long, slow progress included that no callback reports."""
        seconds = self._exchange.idle_timeout
        for stream in (self.client_end.stream, self.backend_end.stream):
            if stream.unsent:
                self._idle_at = max(self._idle_at, stream.stalled_at(seconds))
        return self._idle_at

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this tunnel."""
        self.plane.on_crash(error, "tunnel")
        self.end("internal error")

    # Leaving.

    def leave_at(self, moment: float) -> None:
        """Schedule `leave` at a time of the poller's clock, unless an earlier one is set."""
        if not self._leaving and not self.over:
            self._leave_at = min(self._leave_at, moment)
            self.plane.poller.timers.set(self, min(self._idle_at, self._leave_at))

    def leave(self, code: int) -> None:
        """Send a close frame at the next frame boundary, and end when the client has answered it."""
        if self._leaving or self.over:
            return
        self._leaving = code
        self._exchange.side = Side.UPSTREAM
        self.plane.poller.timers.set(self, self.plane.poller.now + ECHO_SECONDS)
        gate = self._exchange.gate
        if gate is not None:
            gate.tunnels_closed += 1
        self.backend_end.leave(close_frame(code))
        self.check_over()

    def cut(self) -> None:
        """Abort because the drain deadline of the backend has passed; the client gets a close frame if possible."""
        if self.over:
            return
        if not self._leaving:
            self.backend_end.leave(close_frame(SERVICE_RESTART))
        self._exchange.side = Side.UPSTREAM
        self.end(CUT)

    def drain(self) -> None:
        """Nothing to do: a tunnel outlives its listener until it is told to leave."""

    def idle(self) -> None:
        """None: a tunnel is never idle."""

    def leave_at_once(self) -> None:
        """Never called: a tunnel is never idle."""

    def check_over(self) -> None:
        """End when both directions have ended, or one has and the other no longer can."""
        client, backend = self.client_end, self.backend_end
        if (
            client.stream.broken
            or (client.ended and client.dead)
            or (backend.ended and backend.stream.broken and not client.stream.unsent)
            or (client.ended and backend.ended and not client.stream.unsent and not backend.stream.unsent)
            or (self._leaving and backend.silent and (client.ended or backend.ended) and not client.stream.unsent)
        ):
            self.end(CUT if self._leaving else "")

    def close(self) -> None:
        """End at once; idempotent."""
        self.end("the connection was closed")

    def end(self, error: str = "") -> None:
        """Close both sides and finish the exchange, once."""
        if self.over:
            return
        self.over = True
        self.plane.poller.timers.forget(self)
        self.plane.tunnels.pop(self._exchange, None)
        broken = self.backend_end.stream.broken
        self._connection.close()
        if broken:
            self._client.part(self)
        else:
            self.listener.forget(self)
            self.client_end.stream.close()
        self._exchange.on_tunnel_end(sent=self.backend_end.passed, received=self.client_end.passed, error=error)


class TunnelEnd:
    """One side of a tunnel: forwards what it reads to the other side.

    Attributes:
        ended: it has said all.
        dead: and hears nothing any more; what it said before may still be unread.
        passed: bytes that went to the other.
    """

    __slots__ = ("dead", "ended", "other", "passed", "stream", "tunnel")

    reads_at_a_time = READS_AT_A_TIME
    other: TunnelEnd

    def __init__(self, tunnel: Tunnel, stream: TunnelStream) -> None:
        self.tunnel = tunnel
        self.stream = stream
        self.ended = self.dead = False
        self.passed = 0

    def forward(self, data: bytes | memoryview) -> None:
        """Write bytes of this side to the other."""
        if len(data):
            self.passed += len(data)
            self.other.stream.write(data)

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        stream = self.stream
        if events & GONE:
            stream.hangup = True
        stream.readable = True
        unsent = stream.unsent
        if unsent:
            if stream.flush_kept():
                self.on_drained()
            elif stream.unsent < unsent:
                self.tunnel.touch()
        self.pump()
        if events & DEAD or stream.broken:
            self.dead = True
            if not self.tunnel.over:
                self.on_dead()

    def on_dead(self) -> None:
        """The connection of this side broke; what it sent before is still forwarded where possible."""
        if self.ended or self.stream.broken or self.other.stream.backed_up or self.other.stream.broken:
            self.tunnel.end()

    def on_drained(self) -> None:
        """The send buffer of this side is empty again."""
        if self.other.ended and not self.other.stream.broken and not self.stream.broken:
            self.stream.end_writes()
        self.tunnel.touch()
        self.tunnel.check_over()
        self.other.pump()

    def pump(self) -> None:
        """Read from this side and forward, as far as the other takes it."""
        tunnel = self.tunnel
        stream = self.stream
        buffer = self._room()
        for _ in range(self.reads_at_a_time):
            if tunnel.over or self.ended or not stream.readable or self.other.stream.backed_up:
                return
            if self.other.stream.broken:
                break
            got = stream.read_into(buffer)
            if got == BLOCKED:
                return
            if got == 0:
                self.ended = True
                if stream.broken:
                    tunnel.check_over()
                    return
                if not self.other.stream.unsent:
                    self.other.stream.end_writes()
                tunnel.touch()
                tunnel.check_over()
                return
            tunnel.touch()
            self.forward(buffer[:got])
        if self.other.stream.broken:
            self.other.on_broken()
            return
        tunnel.plane.poller.soon(self, self.pump)

    def on_broken(self) -> None:
        """Writing to this side failed."""
        self.tunnel.end()

    def _room(self) -> memoryview:
        """Size of the buffer that is read into."""
        return self.tunnel.plane.buffer

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this tunnel."""
        self.tunnel.on_crash(error)


class BackendEnd(TunnelEnd):
    """Backend side: tracks frames, so that a close frame of ours can be inserted between them.

    Once it is `silent`, nothing more of the backend's is passed on.
    """

    __slots__ = ("_close_frame", "_frames", "silent")

    reads_at_a_time = 1

    def __init__(self, tunnel: Tunnel, stream: Stream) -> None:
        super().__init__(tunnel, stream)
        self._frames = FrameTracker()
        self._close_frame = b""
        self.silent = False

    def leave(self, frame: bytes) -> None:
        """Insert a close frame after the frame under way, and forward nothing after it."""
        self._close_frame = frame
        if self._frames.between_frames:
            self._send_close_frame()

    def forward(self, data: bytes | memoryview) -> None:
        """Write bytes of the backend to the client, tracking their frames."""
        if self.silent:
            return
        if self._close_frame:
            data = data[: self._frames.follow(data, stop=True)]
            super().forward(data)
            if self._frames.between_frames:
                self._send_close_frame()
        else:
            self._frames.follow(data)
            super().forward(data)

    def on_dead(self) -> None:
        """The backend's connection broke; what it sent before is forwarded first."""
        self.tunnel.check_over()

    def on_broken(self) -> None:
        """Writing to the backend failed; what it sent before is forwarded, and the client is not read meanwhile."""
        if not self.ended:
            self.stream.readable = True
            self.pump()
        self.tunnel.check_over()

    def _room(self) -> memoryview:
        return super()._room()[: TINY_PIECES_BYTES if self._frames.tiny_pieces else FOLLOWED_BYTES]

    def _send_close_frame(self) -> None:
        self.silent = True
        if not self._frames.closed:
            self.other.stream.write(self._close_frame)
