"""TLS handshake of a client: ClientHello and handshake within one deadline, then the protocol chosen by ALPN.

The hello is looked at without being taken (`MSG_PEEK`): it says which certificate is for the client, and whether it
speaks anything that we do.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from typing import TYPE_CHECKING, Final

from hotswap.core.errors import BadRequest
from hotswap.core.http.error_page import page_answer
from hotswap.core.http.forwarding import error_head, write_response
from hotswap.core.http.html_preference import prefers_html, told_accept
from hotswap.core.room import Idle
from hotswap.edge.client.http1_connection import Http1Connection
from hotswap.edge.client.http2_connection import Http2Connection
from hotswap.edge.client.lingering_close import LingeringClose
from hotswap.edge.client.tls import ServerContext
from hotswap.edge.loop.containment import contain
from hotswap.edge.loop.poller import DEAD, GONE, READ
from hotswap.edge.loop.stream import Stream
from hotswap.edge.loop.timers import NEVER
from hotswap.edge.loop.tls_stream import TlsStream
from hotswap.wire.client_hello import HELLO_BYTES, parse_client_hello
from hotswap.wire.http1.request_parser import told_line

if TYPE_CHECKING:
    from hotswap.core.http.forwarding import Peer
    from hotswap.edge.exchange.entrance import ClientConnection, Entrance
    from hotswap.edge.exchange.tunnel import ClientPlane

NO_APPLICATION_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"
"""The record of a fatal alert, as it is before there are keys (RFC 8446 5.1 and 6)."""

PLAIN_HTTP_PAGE: Final = "This port speaks HTTPS. Please write https:// before its address."
PLAIN_HTTP: Final = b"400 Bad Request: this port speaks HTTPS, and the request came in plain HTTP. Use https://\n"


class Handshake:
    """Handshake of one connection, until the protocol's connection object replaces it or it is closed.

    Its socket is one of which nothing was read, the context is that of the listener.
    """

    __slots__ = ("_context", "_sock", "armed", "deadline", "listener", "peer", "plane", "stream")

    def __init__(
        self, plane: ClientPlane, listener: Entrance, sock: socket.socket, peer: Peer, context: ssl.SSLContext
    ) -> None:
        self.plane = plane
        self.listener = listener
        self.peer = peer
        self.deadline, self.armed = math.inf, NEVER
        self.stream: TlsStream | None = None  # once the hello is here
        self._sock: socket.socket | None = sock  # until then
        self._context = context

    def open(self) -> None:
        """Start."""
        poller = self.plane.poller
        poller.timers.set(self, poller.now + self.listener.header_timeout)
        assert self._sock is not None
        poller.watch(self._sock.fileno(), self, READ)
        self._await_hello(self._sock)

    def on_ready(self, events: int) -> None:
        """The socket is ready; whoever owns it next is not told again what this event says."""
        if events & DEAD:
            self.close()
        elif self._sock is not None:
            self._await_hello(self._sock)
            if self._sock is not None and events & GONE:
                self.close()  # what is missing of the hello will not come
        elif self.stream is not None:
            if events & GONE:
                self.stream.hangup = True
            self._go_on(self.stream)

    def on_drained(self) -> None:
        """Nothing is written by us during a handshake."""

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this connection."""
        self.plane.on_crash(error, "handshake")
        self.close()

    def idle(self) -> Idle[ClientConnection] | None:
        """When the connection was accepted: one that does not finish its handshake soon counts as idle."""
        if self._sock is None and (self.stream is None or self.stream.closed):
            return None
        return Idle(self, self.peer.address, self.deadline - self.listener.header_timeout)

    def close(self) -> None:
        """Close; idempotent."""
        self.plane.poller.timers.forget(self)
        sock, self._sock = self._sock, None
        if sock is not None:
            self.plane.poller.forget(sock.fileno())
            sock.close()
            self.listener.forget(self)
        elif self.stream is not None and not self.stream.closed:
            self.stream.close()
            self.listener.forget(self)

    # Nothing was said yet, so there is nothing to end in order.
    on_deadline = drain = leave_at_once = close

    def _await_hello(self, sock: socket.socket) -> None:
        """Start TLS as soon as the ClientHello names the server."""
        context = self._context
        if isinstance(context, ServerContext):
            try:
                data = sock.recv(HELLO_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data[:1].isalpha():  # the records of TLS begin with a control character
                self._answer_plain(sock, data)
                return
            hello = parse_client_hello(data)
            if hello is None:
                if not data:
                    self.close()
                return
            if not context.serves(hello):
                self.plane.log.debug("handshake.failed", listener=self.listener.name, error="no common protocol")
                self._refuse(sock, len(data))
                return
            context = context.context_for(hello)
        self._begin(sock, context)

    def _answer_plain(self, sock: socket.socket, data: bytes) -> None:
        """Tell a client that speaks plain HTTP to do otherwise, once its request line is here."""
        end = data.find(b"\n")
        if end < 0 and len(data) < HELLO_BYTES:
            return
        plane = self.plane
        sock.recv(len(data))
        method, target, version = told_line(data[: max(end, 0)].rstrip(b"\r"))
        if prefers_html(told_accept(data.partition(b"\r\n\r\n")[0] + b"\r\n")):
            head, body = page_answer(400, detail=PLAIN_HTTP_PAGE)
        else:
            head, _ = error_head(400)
            head.content_length, body = len(PLAIN_HTTP), PLAIN_HTTP
        plane.date(head)
        self._let_go(sock)
        stream = Stream(sock, plane.poller, self)
        plane.poller.watch(stream.fd, self, READ)
        no_body = method == b"HEAD"
        answer = write_response(head, version=11, no_body=no_body, close=True)
        stream.write(answer if no_body else answer + body)
        error = BadRequest("plain HTTP on a listener with TLS")
        size = 0 if no_body else len(body)
        plane.ledger.refused(self.listener, self.peer, error, (method, target, version), size)
        plane.log.debug("handshake.failed", listener=self.listener.name, error="plain HTTP")
        LingeringClose(plane, self.listener, stream).begin(instead_of=self)

    def _let_go(self, sock: socket.socket) -> None:
        """Leave the socket to another owner."""
        self.plane.poller.timers.forget(self)
        self.plane.poller.forget(sock.fileno())
        self._sock = None

    def _refuse(self, sock: socket.socket, size: int) -> None:
        """Send the alert that no common protocol exists (RFC 7301 3.2)."""
        with contextlib.suppress(OSError):
            sock.recv(size)  # unread, it would make a reset of our end, which overtakes the alert
            sock.send(NO_APPLICATION_PROTOCOL)
        self.close()

    def _begin(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        # If this fails the descriptor is closed already, and could not be taken from the poller afterwards; what has
        # happened meanwhile is told to whoever watches anew.
        poller = self.plane.poller
        poller.forget(sock.fileno())
        self._sock = None
        try:
            wrapped = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:
            sock.close()
            poller.timers.forget(self)
            self.listener.forget(self)
            return
        self.stream = stream = TlsStream(wrapped, poller, self)
        poller.watch(stream.fd, self, READ)
        self._go_on(stream)

    def _go_on(self, stream: TlsStream) -> None:
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
            self.peer.may_ask_for = context.may_ask_for
        connection: Http1Connection | Http2Connection
        if stream.sock.selected_alpn_protocol() == "h2":
            connection = Http2Connection(self.plane, self.listener, stream, self.peer)
        else:
            connection = Http1Connection(self.plane, self.listener, stream, self.peer)
        self.listener.replace(self, connection)
        stream.own(connection)
        stream.readable = True
        contain(connection, connection.open)  # here: this object is no connection any more
