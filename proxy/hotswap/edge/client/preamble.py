"""Reads the PROXY protocol header of a connection that comes through a load balancer.

The header is looked at without being taken (`MSG_PEEK`) until it is complete, because what follows it, perhaps a TLS
handshake, belongs to whoever serves the connection.
"""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

from hotswap.core.room import Idle
from hotswap.edge.loop.poller import DEAD, GONE, READ
from hotswap.edge.loop.timers import NEVER
from hotswap.wire.proxy_protocol import MAX_VERSION_2, ProxyProtocolError, parse_proxy_header

if TYPE_CHECKING:
    from hotswap.edge.exchange.entrance import ClientConnection, Entrance
    from hotswap.edge.exchange.tunnel import ClientPlane


class Preamble:
    """A connection whose PROXY header is incomplete; `told_by` is the address of who is connected to us."""

    __slots__ = ("_over", "_port", "_sock", "_told_by", "armed", "deadline", "listener", "plane")

    def __init__(self, plane: ClientPlane, listener: Entrance, sock: socket.socket, *, told_by: str, port: int) -> None:
        self.plane = plane
        self.listener = listener
        self.deadline, self.armed = math.inf, NEVER
        self._sock = sock
        self._told_by = told_by
        self._port = port
        self._over = False  # the socket is closed, or another's

    def open(self) -> None:
        """Start."""
        poller = self.plane.poller
        poller.timers.set(self, poller.now + self.listener.header_timeout)
        poller.watch(self._sock.fileno(), self, READ)
        self.listener.add(self)
        self._go_on()

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        if events & DEAD:
            self.close()
            return
        self._go_on()
        if events & GONE and not self._over:
            self.close()

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this connection."""
        self.plane.on_crash(error, "preamble")
        self.close()

    def idle(self) -> Idle[ClientConnection] | None:
        """When the connection was accepted: one without its header soon after counts as idle."""
        return Idle(self, self._told_by, self.deadline - self.listener.header_timeout)

    def close(self) -> None:
        """Close; idempotent."""
        if not self._over:
            self._let_go()
            self._sock.close()
            self.listener.forget(self)

    # Nothing was said yet, so there is nothing to end in order.
    on_deadline = drain = leave_at_once = close

    def _let_go(self) -> None:
        self._over = True
        self.plane.poller.timers.forget(self)
        self.plane.poller.forget(self._sock.fileno())

    def _go_on(self) -> None:
        sock = self._sock
        try:
            data = sock.recv(MAX_VERSION_2, socket.MSG_PEEK)
            header = parse_proxy_header(data) if data else None
            if header is not None:
                sock.recv(header.size)
        except BlockingIOError:
            return
        except (OSError, ProxyProtocolError) as error:
            self.plane.log.debug(
                "proxy_protocol.failed", listener=self.listener.name, client=self._told_by, error=str(error)
            )
            self.close()
            return
        if not data:
            self.close()
        elif header is not None:
            self._let_go()
            self.listener.admit(sock, header.source or self._told_by, self._port, instead_of=self)
