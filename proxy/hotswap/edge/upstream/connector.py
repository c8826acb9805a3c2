"""Non-blocking connect to a backend, shared by the connections of all protocols.

A backend whose name has several addresses is connected to over the first that works: one that fails is left for the
next at once, one that is slow after `FALLBACK` seconds (in the spirit of RFC 8305), and tried again when the others
have had their turn.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from hotswap.core.errors import ConnectFailed, NothingLeft, UpstreamBroken, UpstreamTimedOut
from hotswap.edge.loop import descriptors
from hotswap.edge.loop.poller import READ, READ_WRITE
from hotswap.edge.loop.stream import Stream
from hotswap.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap.edge.loop.endpoint import Endpoint
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.upstream.carrier import Carried
    from hotswap.edge.upstream.endpoints import BackendEndpoints

CONNECT_TIMEOUT: Final = 5.0
FALLBACK: Final = 0.25
"""Seconds until the next address of a name is tried (RFC 8305 5)."""
FULL_BACKLOG_PAUSE: Final = 0.005
"""Seconds until a Unix connect is tried again whose listener's queue was full (EAGAIN)."""


class Connector(ABC):
    """A socket that connects to a backend, with a deadline."""

    __slots__ = (
        "_left",
        "_patient",
        "armed",
        "connecting",
        "deadline",
        "endpoint",
        "endpoints",
        "give_up_at",
        "plane",
        "stream",
    )

    def __init__(self, plane: LoopPlane, endpoints: BackendEndpoints) -> None:
        """Open a socket; `connect` goes on.

        Raises:
            ConnectFailed: there is none, or nowhere to connect to.
        """
        self.plane = plane
        self.endpoints = endpoints
        self._left = [(endpoint, False) for endpoint in endpoints.known()]
        self.endpoint: Endpoint
        self._patient: bool  # it has been given up once: now it has all the time there is
        self.stream = self._open_next()
        self.connecting = False
        self.give_up_at = math.inf
        self.deadline, self.armed = math.inf, NEVER

    def _open_next(self) -> Stream:
        while True:
            self.endpoint, self._patient = self._left.pop(0)
            try:
                sock = self.endpoints.open_socket(self.endpoint.family)
            except ConnectFailed as error:
                if isinstance(error, NothingLeft) or not self._left:
                    raise
            else:
                return Stream(sock, self.plane.poller, self)

    def connect(self) -> None:
        """Start to connect.

        Raises:
            ConnectFailed: it failed at once.
        """
        self.give_up_at = self.plane.poller.now + CONNECT_TIMEOUT
        self._try_to_connect(first=True)

    def _try_to_connect(self, *, first: bool) -> None:
        poller = self.plane.poller
        sock = self.stream.sock
        if self.endpoint.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(self.endpoint.address)
        if code == 0:
            poller.watch(self.stream.fd, self, READ)
            self.connecting = False
            self.stream.readable = False
            self.endpoints.note_connected(self.endpoint)
        elif code == errno.EINPROGRESS:
            self.connecting = True
            poller.watch(self.stream.fd, self, READ_WRITE)
            patient = self._patient or not self._left
            poller.timers.set(self, self.give_up_at if patient else min(self.give_up_at, poller.now + FALLBACK))
        elif code == errno.EAGAIN and poller.now < self.give_up_at:
            self.connecting = True
            poller.timers.set(self, poller.now + FULL_BACKLOG_PAUSE)
        elif self._left and code not in descriptors.OURS:
            self._try_next(first=first)
            return
        else:
            self.endpoints.note_unreachable()
            kind = NothingLeft if code in descriptors.OURS else ConnectFailed
            raise kind(f"connect to {self.endpoints.address}: {os.strerror(code)}")
        if not first and not self.connecting:
            self._connected()

    def _try_next(self, *, first: bool) -> None:
        self.stream.close()
        self.stream = self._open_next()
        self._try_to_connect(first=first)

    def _connected(self) -> None:
        self.connecting = False
        self.plane.poller.timers.set(self, math.inf)
        self.on_connected()

    def _end_connecting(self) -> None:
        """The socket is ready for the first time: it is connected, or connecting failed."""
        stream = self.stream
        code = stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._go_elsewhere(os.strerror(code))
            return
        self.plane.poller.rewatch(stream.fd, self, READ)
        self.endpoints.note_connected(self.endpoint)
        self._connected()

    def _go_elsewhere(self, why: str) -> None:
        """An address failed, or is slow: try the next, if there is one."""
        if self._left and self.plane.poller.now < self.give_up_at:
            try:
                self._try_next(first=False)
            except ConnectFailed as error:
                self.fail(error)
        else:
            self.endpoints.note_unreachable()
            self.fail(ConnectFailed(f"connect to {self.endpoints.address}: {why}"))

    def _go_on_connecting(self) -> None:
        """A deadline has passed while connecting."""
        if self.endpoint.family == socket.AF_UNIX and self.plane.poller.now < self.give_up_at:
            try:
                self._try_to_connect(first=False)
            except ConnectFailed as error:
                self.fail(error)
        else:
            if not self._patient and self._left:
                self._left.append((self.endpoint, True))
            self._go_elsewhere("timed out")

    @abstractmethod
    def exchanges(self) -> Iterator[Carried]:
        """The exchanges that it carries."""

    @abstractmethod
    def on_connected(self) -> None:
        """The connection is established."""

    @abstractmethod
    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        """Close, and tell its exchanges."""

    @abstractmethod
    def on_ready(self, events: int) -> None:
        """The socket is ready."""

    @abstractmethod
    def on_deadline(self) -> None:
        """The backend took too long."""

    def on_drained(self) -> None:  # noqa: B027  # nothing waits for it on a connection to a backend
        """The send buffer is empty again."""

    @abstractmethod
    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours."""
