"""A named public socket: accepting, counting, and what its configuration says, ready for use on every request.

Accepting is level-triggered and pauses instead of failing: at the limit of connections, and when descriptors run out,
the queue of the kernel holds the clients until one of ours has left (R8).
"""

from __future__ import annotations

import errno
import math
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

from proxy.core.forwarding import Peer
from proxy.core.routing import bare_host
from proxy.edge.handshake import Handshake
from proxy.edge.http1_connection import Http1Connection
from proxy.edge.poller import ACCEPT, READ
from proxy.edge.sockets import address_of, close_all
from proxy.edge.stream import Stream, TlsStream

if TYPE_CHECKING:
    from proxy.core.address import Address
    from proxy.core.config import ListenerTable
    from proxy.core.messages import RequestHead
    from proxy.edge.dataplane import DataPlane

ACCEPTS_AT_A_TIME: Final = 64
PAUSE: Final = 0.1
"""Seconds without accepting after descriptors ran out."""


class Connection(Protocol):
    """A client connection, as the listener that counts it sees it."""

    def drain(self) -> None:
        """End in order: at once when idle, else after what is under way."""

    def close(self) -> None:
        """End at once."""

    def on_crash(self, error: Exception) -> None:
        """An exception left one of these: log it and end this connection, nothing else."""


@dataclass(slots=True, kw_only=True)
class OpenListener:
    """Listening sockets and what to do with whom they bring.

    `context` is None for a plain listener. `owned` says that the paths of Unix sockets are ours to remove.
    """

    name: str
    table: ListenerTable
    sockets: Sequence[socket.socket]
    context: ssl.SSLContext | None
    owned: bool = True

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens, with the ports the kernel chose."""
        return tuple(address_of(sock) for sock in self.sockets)

    def close(self) -> None:
        """Close the sockets."""
        close_all(self.sockets, remove_paths=self.owned)


class Listener:
    """A listener at work."""

    __slots__ = (
        "_accepting",
        "_limit",
        "armed",
        "body_bytes",
        "body_rate",
        "connections",
        "context",
        "deadline",
        "header_bytes",
        "header_timeout",
        "headers",
        "http2",
        "idle_timeout",
        "name",
        "open_listener",
        "plane",
        "ports",
        "redirect",
        "requests",
        "table",
        "trusted",
    )

    def __init__(self, plane: DataPlane, listener: OpenListener) -> None:
        self.plane = plane
        self.name = listener.name
        self.connections: set[Connection] = set()
        self.open_listener = listener
        self.ports: dict[int, socket.socket] = {sock.fileno(): sock for sock in listener.sockets}
        self.deadline = self.armed = math.inf
        self._accepting = False
        self.configure(listener)

    def configure(self, listener: OpenListener) -> None:
        """Take over a definition; connections that exist keep the limits that they copied."""
        table = listener.table
        self.table = table
        self.context = listener.context
        self.redirect = table.redirect
        self.trusted = table.trusted_proxies
        limits = table.limits
        self._limit = limits.connections
        self.header_bytes = limits.header_bytes
        self.headers = limits.headers
        self.header_timeout = limits.header_timeout
        self.body_bytes = limits.body_bytes
        self.idle_timeout = limits.idle_timeout
        self.http2 = table.http2
        self.requests = limits.requests_per_connection
        self.body_rate = limits.body_rate

    def start(self) -> None:
        """Accept from now on."""
        if not self._accepting:
            self._accepting = True
            for descriptor in self.ports:
                self.plane.poller.watch(descriptor, self, ACCEPT)

    def pause(self) -> None:
        """Accept nothing; the kernel keeps the queue."""
        if self._accepting:
            self._accepting = False
            for descriptor in self.ports:
                self.plane.poller.forget(descriptor)

    def close(self) -> None:
        """Stop listening; connections go on."""
        self.pause()
        self.deadline = math.inf
        self.open_listener.close()

    def drain_connections(self) -> None:
        """Let every connection end in order; a defect in one of them does not spare the others."""
        for connection in tuple(self.connections):
            try:
                connection.drain()
            except Exception as error:  # contained: one connection
                connection.on_crash(error)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self._count()
        if not self._accepting and self.deadline == math.inf and len(self.connections) < self._limit:
            self._resume()

    def replace(self, old: Connection, new: Connection) -> None:
        """A connection has got its protocol."""
        self.connections.discard(old)
        self.connections.add(new)

    def redirect_to(self, head: RequestHead) -> bytes:
        """Where the bounce listener sends a request: the same host and path."""
        redirect = self.redirect
        assert redirect is not None
        host = bare_host(head.host)
        if b":" in host and not host.startswith(b"["):
            host = b"[%b]" % host
        port = (
            b""
            if redirect.port is None or redirect.port == _DEFAULT_PORTS[redirect.scheme.value]
            else b":%d" % redirect.port
        )
        return b"%b://%b%b%b" % (
            redirect.scheme.value.encode(),
            host,
            port,
            b"/" if head.target == b"*" else head.target,
        )

    def _resume(self) -> None:
        if not self.plane.stopping and self.open_listener.sockets and self.open_listener.sockets[0].fileno() >= 0:
            self.start()

    def _count(self) -> None:
        self.plane.tally.connections[self.name] = len(self.connections)

    def on_ready(self, events: int) -> None:
        """Clients are waiting."""
        for sock in tuple(self.ports.values()):
            for _ in range(ACCEPTS_AT_A_TIME):
                if len(self.connections) >= self._limit:
                    self.pause()
                    return
                try:
                    client, address = sock.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        self.plane.log.warning("listener.paused", listener=self.name, error=error.strerror)
                        self.pause()
                        self.plane.poller.timers.set(self, self.plane.poller.now + PAUSE)
                        return
                    continue  # that client has left already
                self.accept(client, sock, address)

    def on_deadline(self) -> None:
        """The pause is over."""
        self._resume()

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours."""
        self.plane.on_crash(error, "listener")

    def accept(self, client: socket.socket, sock: socket.socket, address: object) -> None:
        """Begin to serve one client."""
        try:
            client.setblocking(False)
            if client.family != socket.AF_UNIX:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = self._peer(sock, address)
            context = self.context
            if context is None:
                self._serve_plain(client, peer)
            else:
                wrapped = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
                handshake = Handshake(self.plane, self, wrapped, peer)
                self.connections.add(handshake)
                self._count()
                handshake.open()
        except OSError:
            client.close()

    def _serve_plain(self, client: socket.socket, peer: Peer) -> None:
        poller = self.plane.poller
        stream = Stream(client, poller, None)  # type: ignore[arg-type]  # owned by the next line
        connection = Http1Connection(self.plane, self, stream, peer)
        stream.owner = connection
        self.connections.add(connection)
        self._count()
        poller.watch(stream.fd, connection, READ)
        connection.open()

    def _peer(self, sock: socket.socket, address: object) -> Peer:
        scheme = b"http" if self.context is None else b"https"
        if not isinstance(address, tuple):
            return Peer(address="unknown", scheme=scheme, port=0, trusted=True)
        host = str(address[0]).partition("%")[0]
        if host.startswith("::ffff:"):
            host = host.removeprefix("::ffff:")
        trusted = bool(self.trusted) and any(ip_address(host) in network for network in self.trusted)
        return Peer(address=host, scheme=scheme, port=sock.getsockname()[1], trusted=trusted)


_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

__all__ = ["Connection", "Listener", "OpenListener", "TlsStream"]
