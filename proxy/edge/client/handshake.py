"""A TLS client before its protocol is known: the handshake, with its deadline, then the choice by ALPN."""

from __future__ import annotations

import math
import ssl
from typing import TYPE_CHECKING

from proxy.core.room import Idle
from proxy.edge.client.http1_connection import Http1Connection
from proxy.edge.client.http2_connection import Http2Connection
from proxy.edge.client.tls import ServerContext
from proxy.edge.loop.poller import DEAD, GONE, READ
from proxy.edge.loop.timers import NEVER
from proxy.edge.loop.tls_stream import TlsStream

if TYPE_CHECKING:
    from proxy.core.forwarding import Peer
    from proxy.edge.client.listener import Listener
    from proxy.edge.exchange.plane import ClientConnection, Plane


class Handshake:
    """One handshake; it is over when the connection has become another kind of object, or is closed."""

    __slots__ = ("armed", "deadline", "listener", "peer", "plane", "stream")

    def __init__(self, plane: Plane, listener: Listener, sock: ssl.SSLSocket, peer: Peer) -> None:
        self.plane = plane
        self.listener = listener
        self.peer = peer
        self.deadline, self.armed = math.inf, NEVER
        self.stream = TlsStream(sock, plane.poller, self)

    def open(self) -> None:
        """Begin."""
        poller = self.plane.poller
        poller.timers.set(self, poller.now + self.listener.header_timeout)
        poller.watch(self.stream.fd, self, READ)
        self._go_on()

    def on_ready(self, events: int) -> None:
        """The socket is ready; whoever owns it next is not told again what this event says."""
        if events & DEAD:
            self.close()
            return
        if events & GONE:
            self.stream.hangup = True
        self._go_on()

    def on_drained(self) -> None:
        """Nothing is written by us during a handshake."""

    def on_deadline(self) -> None:
        """It took too long: closed without a word."""
        self.close()

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this connection."""
        self.plane.on_crash(error, "handshake")
        self.close()

    def drain(self) -> None:
        """The proxy stops."""
        self.close()

    def idle(self) -> Idle[ClientConnection] | None:
        """When it came: a handshake is quick, or nobody is there."""
        return (
            None if self.stream.closed else Idle(self, self.peer.address, self.deadline - self.listener.header_timeout)
        )

    def leave_at_once(self) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close; idempotent."""
        self.plane.poller.timers.forget(self)
        if not self.stream.closed:
            self.listener.forget(self)
            self.stream.close()

    def _go_on(self) -> None:
        stream = self.stream
        try:
            if not stream.handshake():
                return
        except OSError as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            self.plane.log.debug("handshake.failed", listener=self.listener.name, error=str(reason))
            self.close()
            return
        self.plane.poller.timers.forget(self)
        context = stream.sock.context
        if isinstance(context, ServerContext):
            self.peer.certificate = context.shown
        connection: Http1Connection | Http2Connection
        if stream.sock.selected_alpn_protocol() == "h2":
            connection = Http2Connection(self.plane, self.listener, stream, self.peer)
        else:
            connection = Http1Connection(self.plane, self.listener, stream, self.peer)
        self.listener.replace(self, connection)
        stream.own(connection)
        stream.readable = True
        try:
            connection.open()
        except Exception as error:  # contained here: this object is no connection any more
            connection.on_crash(error)
