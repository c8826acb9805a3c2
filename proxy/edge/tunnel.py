"""Bytes passed as they are, both ways, after both sides agreed on another protocol (WebSocket).

Each direction ends by itself: what one side ends is ended towards the other once everything it sent has been passed
on, and the tunnel is over when both are, or when either breaks, or when nothing moved for the idle timeout.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxy.core.errors import Side
from proxy.edge.poller import GONE
from proxy.edge.stream import BLOCKED, Stream

if TYPE_CHECKING:
    from proxy.edge.dataplane import DataPlane
    from proxy.edge.exchange import Exchange
    from proxy.edge.http1_connection import Http1Connection
    from proxy.edge.upstream import UpstreamConnection

READS_AT_A_TIME: Final = 4
GOING_AWAY: Final = b"\x88\x02\x03\xf4"
"""A WebSocket close frame with 1012, service restart (RFC 6455 5.5.1, registry of close codes)."""


class Tunnel:
    """Two streams joined, for as long as the claim on the backend lasts."""

    __slots__ = (
        "_client",
        "_connection",
        "_exchange",
        "_from_backend",
        "_from_client",
        "_rest",
        "armed",
        "backend_end",
        "client_end",
        "deadline",
        "over",
        "plane",
    )

    def __init__(
        self, plane: DataPlane, exchange: Exchange, client: Http1Connection, connection: UpstreamConnection
    ) -> None:
        self.plane = plane
        self.deadline = self.armed = math.inf
        self.over = False
        self._exchange = exchange
        self._client = client
        self._connection = connection
        backend_stream, self._rest = connection.take_stream()
        self.client_end = TunnelEnd(self, client.stream)
        self.backend_end = TunnelEnd(self, backend_stream)
        self.client_end.other = self.backend_end
        self.backend_end.other = self.client_end

    def open(self, early: bytes) -> None:
        """Start to pass bytes.

        Args:
            early: what the client sent behind its request.
        """
        connection, client = self._connection, self._client
        connection.exchange = None
        self.plane.tunnels[self._exchange] = self
        self.client_end.stream.own(self.client_end)
        self.backend_end.stream.own(self.backend_end)
        client.deadline = math.inf
        client.exchange = None
        self.client_end.forward(early)
        self.backend_end.forward(self._rest)
        self.touch()
        self.plane.poller.soon(self.client_end, self.client_end.pump)
        self.plane.poller.soon(self.backend_end, self.backend_end.pump)

    def touch(self) -> None:
        """Something moved."""
        poller = self.plane.poller
        poller.timers.set(self, poller.now + self._exchange.idle_timeout)

    def on_deadline(self) -> None:
        """Nothing moved for too long."""
        self.end("idle for too long")

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this tunnel."""
        self.plane.on_crash(error, "tunnel")
        self.end("internal error")

    def cut(self) -> None:
        """End by force: the backend's time is over. A WebSocket client is told to come back."""
        if not self.client_end.stream.unsent:
            self.client_end.stream.write(GOING_AWAY)
        self._exchange.side = Side.UPSTREAM
        self.end("cut at the end of the drain")

    def check_over(self) -> None:
        """End when both directions have ended."""
        client, backend = self.client_end, self.backend_end
        if (
            client.stream.broken
            or backend.stream.broken
            or (client.ended and backend.ended and not client.stream.unsent and not backend.stream.unsent)
        ):
            self.end()
        elif backend.ended and not client.stream.unsent:
            # The backend has left and everything it said is out; nothing the client says can arrive any more.
            self.end()

    def end(self, error: str = "") -> None:
        """Close both sides and finish the exchange. Once."""
        if self.over:
            return
        self.over = True
        self.deadline = math.inf
        self.plane.tunnels.pop(self._exchange, None)
        self._connection.close()
        self._client.close()
        self._exchange.on_tunnel_end(sent=self.backend_end.passed, received=self.client_end.passed, error=error)


class TunnelEnd:
    """One side of a tunnel: what it reads goes to the other."""

    __slots__ = ("ended", "other", "passed", "stream", "tunnel")

    other: TunnelEnd

    def __init__(self, tunnel: Tunnel, stream: Stream) -> None:
        self.tunnel = tunnel
        self.stream = stream
        self.ended = False
        self.passed = 0

    def forward(self, data: bytes | memoryview) -> None:
        """Pass bytes of this side to the other."""
        if len(data):
            self.passed += len(data)
            self.other.stream.write(data)

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        stream = self.stream
        if events & GONE:
            stream.hangup = True
        stream.readable = True
        if stream.unsent and stream.flush_kept():
            self.on_drained()
        self.pump()

    def on_drained(self) -> None:
        """What was kept for this side has been sent."""
        if self.other.ended:
            self.stream.end_writes()
        self.tunnel.check_over()
        self.other.pump()

    def pump(self) -> None:
        """Pass on what this side has to say, as far as the other takes it."""
        tunnel = self.tunnel
        stream = self.stream
        buffer = tunnel.plane.buffer
        for _ in range(READS_AT_A_TIME):
            if tunnel.over or self.ended or not stream.readable or self.other.stream.backed_up:
                return
            got = stream.read_into(buffer)
            if got == BLOCKED:
                return
            if got == 0:
                self.ended = True
                if not self.other.stream.unsent:
                    self.other.stream.end_writes()
                tunnel.check_over()
                return
            tunnel.touch()
            self.forward(buffer[:got])
            if self.other.stream.broken:
                tunnel.end()
                return
        tunnel.plane.poller.soon(self, self.pump)

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this tunnel."""
        self.tunnel.on_crash(error)
