"""Public listener: accepts clients, counts their connections, and holds its limits ready for every request.

Accepting is level-triggered and pauses instead of failing: at the limit of connections, and when descriptors run short,
the queue of the kernel holds the clients until there is room (R8). Room is made of idle connections, by the rules of
`hotswap.core.room`: nobody keeps the others out by being there.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, Final

from hotswap.core.http.field_changes import write_hsts
from hotswap.core.http.forwarding import Peer
from hotswap.core.room import Idle, choose_to_end
from hotswap.edge.client.handshake import Handshake
from hotswap.edge.client.http1_connection import Http1Connection
from hotswap.edge.client.preamble import Preamble
from hotswap.edge.exchange.room_maker import end_idle
from hotswap.edge.loop import descriptors
from hotswap.edge.loop.containment import contain
from hotswap.edge.loop.poller import ACCEPT, READ
from hotswap.edge.loop.sockets import address_of, close_all, look_for_the_lost
from hotswap.edge.loop.stream import Stream
from hotswap.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from hotswap.core.address import Address
    from hotswap.core.config import ListenerTable
    from hotswap.edge.exchange.entrance import ClientConnection
    from hotswap.edge.exchange.tunnel import ClientPlane

ACCEPTS_AT_A_TIME: Final = 8
FULL_IDLE: Final = 5.0
"""Seconds that a connection may be idle at the limit of connections: a client at work asks again within them."""
LOOKED_AT: Final = 1024
"""How many connections are looked at in search of idle ones, in one go of less than a millisecond."""
REMINDER: Final = 60.0
"""Seconds between two log records about want of room for as long as it lasts."""


class Want(Enum):
    """Resource that is exhausted while a listener accepts nobody."""

    CONNECTIONS = "the limit of connections is reached"
    DESCRIPTORS = "descriptors are short"

    @property
    def pause(self) -> float:
        """Seconds until the resource is checked again; the end of a connection is noticed at once."""
        return 1.0 if self is Want.CONNECTIONS else 0.1


@dataclass(slots=True, kw_only=True)
class OpenListener:
    """Listening sockets with the definition of their listener.

    `context` is None for a plain listener. `owned` says that the paths of Unix sockets are ours to remove.
    """

    name: str
    table: ListenerTable
    sockets: Sequence[socket.socket]
    context: ssl.SSLContext | None
    owned: bool = True

    addresses: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        """Store the addresses, with the ports that the kernel chose."""
        self.addresses = tuple(address_of(sock) for sock in self.sockets)

    def close(self) -> None:
        """Close the sockets."""
        close_all(self.sockets, remove_paths=self.owned)


class Listener:
    """A listener that accepts clients; `Entrance` is what these see of it."""

    __slots__ = (
        "_accepting",
        "_client_of",
        "_clients",
        "_limit",
        "_looked",
        "_per_client",
        "_told_at",
        "_want",
        "armed",
        "body_bytes",
        "body_rate",
        "compress",
        "connections",
        "context",
        "deadline",
        "header_bytes",
        "header_timeout",
        "headers",
        "hsts",
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

    def __init__(self, plane: ClientPlane, listener: OpenListener) -> None:
        self.plane = plane
        self.name = listener.name
        self.connections: set[ClientConnection] = set()
        self.open_listener = listener
        self.ports: dict[int, socket.socket] = {sock.fileno(): sock for sock in listener.sockets}
        for sock in listener.sockets:
            look_for_the_lost(sock)
        self.deadline, self.armed = math.inf, NEVER
        self._accepting = False
        self._want: Want | None = None  # why it does not accept, if that is why
        self._told_at = -math.inf  # when that was said
        self._looked = 0  # how many connections the search for idle ones has passed
        self._clients: Counter[str] = Counter()  # connections of each client, and
        self._client_of: dict[object, str] = {}  # whose they are; both only where their number is limited
        self.configure(listener)

    def configure(self, listener: OpenListener) -> None:
        """Apply a new definition; existing connections keep the limits that they copied."""
        table = listener.table
        self.table = table
        self.context = listener.context
        self.redirect = table.redirect
        self.compress = table.compress
        self.hsts = b"" if table.tls is None else write_hsts(table.tls.hsts)
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
        if self._want is Want.CONNECTIONS and len(self.connections) < self._limit:
            self._resume()

    def start(self) -> None:
        """Start accepting."""
        self._want = None
        self.deadline = math.inf
        if not self._accepting:
            self._accepting = True
            for descriptor in self.ports:
                self.plane.poller.watch(descriptor, self, ACCEPT)

    def pause(self) -> None:
        """Stop accepting; the kernel keeps the queue."""
        if self._accepting:
            self._accepting = False
            for descriptor in self.ports:
                self.plane.poller.forget(descriptor)

    def close(self) -> None:
        """Stop listening; connections go on."""
        self.pause()
        self._want = None
        self.deadline = math.inf
        self.open_listener.close()

    def drain_connections(self) -> None:
        """Drain every connection; an exception in one of them does not spare the others."""
        for connection in tuple(self.connections):
            contain(connection, connection.drain)

    def add(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        self._count()

    def forget(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        host = self._client_of.pop(connection, None)
        if host is not None:
            self._clients[host] -= 1
            if not self._clients[host]:
                del self._clients[host]
        self._count()
        if self._want is Want.CONNECTIONS and len(self.connections) < self._limit:
            self._resume()

    def replace(self, old: object, new: ClientConnection) -> None:
        """Count a connection's successor in its place."""
        self.connections.difference_update((old,))  # a stream of HTTP/2 that becomes a tunnel was none of them
        self.connections.add(new)
        host = self._client_of.pop(old, None)
        if host is not None:
            self._client_of[new] = host

    def _resume(self) -> None:
        if not self.plane.stopping and self.open_listener.sockets and self.open_listener.sockets[0].fileno() >= 0:
            self.start()

    def _count(self) -> None:
        self.plane.tally.connections[self.name] = len(self.connections)

    def on_ready(self, events: int) -> None:
        """Clients are waiting: accept them, after those accepted before that have asked for more time."""
        self.plane.poller.soon(self, self._accept_some)

    def _accept_some(self) -> None:
        if not self._accepting:
            return
        poller = self.plane.poller
        at_a_time = 1 if poller.behind else ACCEPTS_AT_A_TIME
        for sock in tuple(self.ports.values()):
            for _ in range(at_a_time):
                if len(self.connections) >= self._limit and not self._make_room():
                    self._wait(Want.CONNECTIONS)
                    return
                try:
                    client, address = sock.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno not in descriptors.OURS:
                        continue  # that client has left already
                    if not self.plane.room.make():
                        self._wait(Want.DESCRIPTORS)
                    return
                room = descriptors.for_client(client.fileno(), self.plane.room.held)
                self.accept(client, sock, address)
                if not room and not self.plane.room.make():
                    self._wait(Want.DESCRIPTORS)
                    return
                if poller.overdue():
                    return  # the kernel tells of the others again

    def _wait(self, want: Want) -> None:
        """Stop accepting until there is room, and check for it."""
        now = self.plane.poller.now
        if now - self._told_at >= REMINDER:
            self._told_at = now
            self.plane.log.warning(
                "listener.paused",
                listener=self.name,
                reason=want.value,
                connections=len(self.connections),
                limit=self._limit if want is Want.CONNECTIONS else descriptors.limit(),
            )
        self.pause()
        self._want = want
        self.plane.poller.timers.set(self, now + want.pause)

    def on_deadline(self) -> None:
        """Check whether there is room again."""
        want = self._want
        if want is None:
            return
        if want is Want.CONNECTIONS:
            room = len(self.connections) < self._limit or self._make_room()
        else:
            room = descriptors.room_for_client(next(iter(self.ports)), self.plane.room.held) or self.plane.room.make()
        if room:
            self._resume()
        elif not self.plane.stopping:
            self.plane.poller.timers.set(self, self.plane.poller.now + want.pause)

    def idle_since(self, moment: float) -> Iterator[Idle[ClientConnection]]:
        begin = self._looked if self._looked < len(self.connections) else 0
        self._looked = begin + LOOKED_AT
        for connection in islice(self.connections, begin, self._looked):
            idle = connection.idle()
            if idle is not None and idle.since <= moment:
                yield idle

    def _make_room(self) -> bool:
        """At the limit, end connections that are idle for long; tells whether there is room now."""
        end_idle(choose_to_end(self.idle_since(self.plane.poller.now - FULL_IDLE)))
        return len(self.connections) < self._limit

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours."""
        self.plane.on_crash(error, "listener")

    def accept(self, client: socket.socket, sock: socket.socket, address: object) -> None:
        """Serve a newly accepted client."""
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
                preamble.open()
        except OSError:
            client.close()

    def admit(self, client: socket.socket, host: str, port: int, *, instead_of: ClientConnection | None = None) -> None:
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
                self.forget(instead_of)
            self._count()
        if connection is not None:
            contain(connection, connection.open)

    def _begin(self, client: socket.socket, peer: Peer) -> Handshake | Http1Connection:
        poller = self.plane.poller
        context = self.context
        if context is not None:
            return Handshake(self.plane, self, client, peer, context)
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
