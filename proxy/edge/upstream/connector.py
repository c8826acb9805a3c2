"""Connecting to a backend without waiting for it: what connections of every protocol have in common."""

from __future__ import annotations

import errno
import math
import os
import socket
from typing import TYPE_CHECKING, Final

from proxy.core.errors import ConnectFailed, NothingLeft, UpstreamBroken, UpstreamTimedOut
from proxy.edge.loop import descriptors
from proxy.edge.loop.poller import READ, READ_WRITE
from proxy.edge.loop.stream import Stream
from proxy.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.edge.upstream.carrier import Carried
    from proxy.edge.upstream.upstream import Upstream

CONNECT_TIMEOUT: Final = 5.0
FULL_BACKLOG_PAUSE: Final = 0.005
"""Seconds until a Unix connect is tried again whose listener's queue was full (EAGAIN, reference: takeover M21)."""


class Connector:
    """A socket on its way to a backend, and its deadline."""

    __slots__ = ("_destination", "armed", "connecting", "deadline", "give_up_at", "plane", "stream", "upstream")

    def __init__(self, upstream: Upstream, sock: socket.socket) -> None:
        self.upstream = upstream
        self.plane = upstream.plane
        self.stream = Stream(sock, upstream.plane.poller, self)
        self.connecting = False
        self.give_up_at = math.inf
        self.deadline, self.armed = math.inf, NEVER
        self._destination: str | tuple[str, int] = ""

    def connect(self, address: str | tuple[str, int]) -> None:
        """Begin to connect.

        Raises:
            ConnectFailed: it failed at once.
        """
        self._destination = address
        self.give_up_at = self.plane.poller.now + CONNECT_TIMEOUT
        if self.stream.sock.family != socket.AF_UNIX:
            self.stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._try_to_connect(first=True)

    def _try_to_connect(self, *, first: bool) -> None:
        poller = self.plane.poller
        code = self.stream.sock.connect_ex(self._destination)
        if code == 0:
            poller.watch(self.stream.fd, self, READ)
            self.connecting = False
            self.stream.readable = False
        elif code == errno.EINPROGRESS:
            self.connecting = True
            poller.watch(self.stream.fd, self, READ_WRITE)
            poller.timers.set(self, self.give_up_at)
        elif code == errno.EAGAIN and poller.now < self.give_up_at:
            self.connecting = True
            poller.timers.set(self, poller.now + FULL_BACKLOG_PAUSE)
        else:
            kind = NothingLeft if code in descriptors.OURS else ConnectFailed
            raise kind(f"connect to {self.upstream.backend.address}: {os.strerror(code)}")
        if not first and not self.connecting:
            self._connected()

    def _connected(self) -> None:
        self.connecting = False
        self.plane.poller.timers.set(self, math.inf)
        self.on_connected()

    def _end_connecting(self) -> None:
        """The socket is ready for the first time: it is connected, or it failed."""
        stream = self.stream
        code = stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.fail(ConnectFailed(f"connect to {self.upstream.backend.address}: {os.strerror(code)}"))
            return
        self.plane.poller.rewatch(stream.fd, self, READ)
        self._connected()

    def _go_on_connecting(self) -> None:
        """A deadline has passed while connecting."""
        if self.plane.poller.now < self.give_up_at:
            try:
                self._try_to_connect(first=False)
            except ConnectFailed as error:
                self.fail(error)
        else:
            self.fail(ConnectFailed(f"connect to {self.upstream.backend.address}: timed out"))

    def exchanges(self) -> Iterator[Carried]:
        """What it carries."""
        raise NotImplementedError

    def on_connected(self) -> None:
        """There is a connection."""
        raise NotImplementedError

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        """Close, and tell who is concerned."""
        raise NotImplementedError

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        raise NotImplementedError

    def on_deadline(self) -> None:
        """The backend took too long."""
        raise NotImplementedError

    def on_drained(self) -> None:
        """What was kept back has been sent."""

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours."""
        raise NotImplementedError
