"""A named public socket: accepting, counting, and what its configuration says, ready for use on every request.

Accepting is level-triggered and pauses instead of failing: at the limit of connections, and when descriptors run out,
the queue of the kernel holds the clients until one of ours has left (R8).
"""

from __future__ import annotations

import errno
import math
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from proxy.core.forwarding import Peer
from proxy.core.routing import bare_host
from proxy.edge.client.handshake import Handshake
from proxy.edge.client.http1_connection import Http1Connection
from proxy.edge.client.preamble import Preamble
from proxy.edge.loop.poller import ACCEPT, READ
from proxy.edge.loop.sockets import address_of, close_all
from proxy.edge.loop.stream import Stream
from proxy.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from proxy.core.address import Address
    from proxy.core.config import ListenerTable
    from proxy.core.messages import RequestHead
    from proxy.edge.exchange.plane import Connection, Plane

ACCEPTS_AT_A_TIME: Final = 8
PAUSE: Final = 0.1
"""Seconds without accepting after descriptors ran out."""


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

    addresses: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        """Note where it listens, with the ports the kernel chose, for as long as anybody asks."""
        self.addresses = tuple(address_of(sock) for sock in self.sockets)

    def close(self) -> None:
        """Close the sockets."""
        close_all(self.sockets, remove_paths=self.owned)


class Listener:
    """A listener at work."""

    __slots__ = (
        "_accepting",
        "_client_of",
        "_clients",
        "_limit",
        "_paused",
        "_per_client",
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

    def __init__(self, plane: Plane, listener: OpenListener) -> None:
        self.plane = plane
        self.name = listener.name
        self.connections: set[Connection] = set()
        self.open_listener = listener
        self.ports: dict[int, socket.socket] = {sock.fileno(): sock for sock in listener.sockets}
        self.deadline, self.armed = math.inf, NEVER
        self._accepting = False
        self._paused = False  # descriptors ran out, and that has been said
        self._clients: Counter[str] = Counter()  # connections of each client, and
        self._client_of: dict[Connection, str] = {}  # whose they are; both only where their number is limited
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
        self._per_client = limits.connections_per_client
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
        if self._client_of:
            self._leave(connection)
        self._count()
        if not self._accepting and self.deadline == math.inf and len(self.connections) < self._limit:
            self._resume()

    def replace(self, old: Connection, new: Connection) -> None:
        """A connection has got its protocol."""
        self.connections.discard(old)
        self.connections.add(new)
        host = self._client_of.pop(old, None)
        if host is not None:
            self._client_of[new] = host

    def _leave(self, connection: Connection) -> None:
        host = self._client_of.pop(connection, None)
        if host is not None:
            self._clients[host] -= 1
            if not self._clients[host]:
                del self._clients[host]

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
                        if not self._paused:
                            self._paused = True
                            self.plane.log.warning("listener.paused", listener=self.name, error=error.strerror)
                        self.pause()
                        self.plane.poller.timers.set(self, self.plane.poller.now + PAUSE)
                        return
                    continue  # that client has left already
                self._paused = False
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
            host, port = "", 0
            if isinstance(address, tuple):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                host = str(address[0]).partition("%")[0].removeprefix("::ffff:")
                port = sock.getsockname()[1]
            if not self.table.proxy_protocol:
                self.admit(client, host, port)
            elif host and self.trusted and not self._trusts(host):
                self.plane.log.debug("proxy_protocol.refused", listener=self.name, client=host)
                client.close()
            else:
                preamble = Preamble(self.plane, self, client, told_by=host, port=port)
                self.connections.add(preamble)
                self._count()
                preamble.open()
        except OSError:
            client.close()

    def admit(self, client: socket.socket, host: str, port: int, *, instead_of: Connection | None = None) -> None:
        """Serve a client whose address is known.

        Args:
            client: its socket.
            host: its address; empty for a Unix socket.
            port: of the listener.
            instead_of: the connection it was until now.
        """
        connection: Handshake | Http1Connection | None = None
        try:
            if self._per_client and host and self._clients[host] >= self._per_client:
                self.plane.log.debug("listener.client_refused", listener=self.name, client=host)
                client.close()
                return
            connection = self._begin(client, self._peer(host, port))
            self.connections.add(connection)
            if self._per_client and host:
                self._clients[host] += 1
                self._client_of[connection] = host
        except OSError:
            client.close()
        finally:
            if instead_of is not None:
                self.connections.discard(instead_of)
            self._count()
        if connection is not None:
            try:
                connection.open()
            except Exception as error:  # contained: whoever accepts goes on
                connection.on_crash(error)

    def _begin(self, client: socket.socket, peer: Peer) -> Handshake | Http1Connection:
        poller = self.plane.poller
        context = self.context
        if context is not None:
            wrapped = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
            return Handshake(self.plane, self, wrapped, peer)
        stream = Stream(client, poller, None)  # type: ignore[arg-type]  # owned by the next line
        connection = Http1Connection(self.plane, self, stream, peer)
        stream.owner = connection
        poller.watch(stream.fd, connection, READ)
        return connection

    def _trusts(self, host: str) -> bool:
        return any(ip_address(host) in network for network in self.trusted)

    def _peer(self, host: str, port: int) -> Peer:
        scheme = b"http" if self.context is None else b"https"
        if not host:
            # Who may open the path of a Unix socket was chosen by its permissions, and is believed.
            return Peer(address="unknown", scheme=scheme, port=port, trusted=True, proxies=self.trusted)
        trusted = bool(self.trusted) and self._trusts(host)
        return Peer(address=host, scheme=scheme, port=port, trusted=trusted, proxies=self.trusted)


_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
