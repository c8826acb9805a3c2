"""Lingering close of a client connection (RFC 9112 9.6).

What is unsent goes out as long as the client takes it. Then our half is closed, and a bounded rest of what the client
still sends is read and dropped: closing at once would reset the connection, and the client might never see its answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hotswap.core.room import Idle
from hotswap.edge.loop.poller import DEAD, GONE
from hotswap.edge.loop.stream import BLOCKED, Stream
from hotswap.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from hotswap.edge.exchange.entrance import ClientConnection, Entrance
    from hotswap.edge.loop.plane import LoopPlane

LINGER_BYTES: Final = 64 * 1024
LINGER_SECONDS: Final = 5.0
"""How much, and how long, is still read of a client that has got its last answer."""


class LingeringClose:
    """A client connection in lingering close, which has taken the stream over from its former owner."""

    __slots__ = ("_ended", "_left", "armed", "deadline", "listener", "plane", "stream")

    def __init__(self, plane: LoopPlane, listener: Entrance, stream: Stream) -> None:
        self.plane = plane
        self.listener = listener
        self.stream = stream
        self.deadline, self.armed = math.inf, NEVER
        self._left = LINGER_BYTES
        self._ended = False  # the client has closed its half

    def begin(self, instead_of: ClientConnection) -> None:
        """Replace a connection."""
        self.listener.replace(instead_of, self)
        self.stream.own(self)
        if self.stream.broken:
            self.close()
        elif self.stream.unsent:
            self._await_client()
        else:
            self._end_writes()
        if self.stream.readable:
            self.plane.poller.soon(self, self._drop)

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        stream = self.stream
        stream.readable = True
        if events & GONE:
            stream.hangup = True
            if events & DEAD:
                self.close()
                return
        unsent = stream.unsent
        if unsent:
            if stream.flush_kept():
                self.on_drained()
            elif stream.unsent < unsent:
                self._await_client()
        self._drop()

    def on_drained(self) -> None:
        """Everything is sent: shut down the writing half."""
        if self.stream.broken or self._ended or self._left <= 0:
            self.close()
        else:
            self._end_writes()

    def on_deadline(self) -> None:
        """Close, unless the client still takes what is unsent, however slowly."""
        stream = self.stream
        poller = self.plane.poller
        stalled_at = stream.stalled_at(self.listener.idle_timeout) if stream.unsent else 0.0
        if stalled_at > poller.now:
            poller.timers.set(self, stalled_at)
        else:
            self.close()

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this connection."""
        self.plane.on_crash(error, "lingering close")
        self.close()

    def drain(self) -> None:
        """Nothing to do: it is closing already."""

    def idle(self) -> Idle[ClientConnection] | None:
        """When the last of its answer was sent; None while some of it is not."""
        return None if self.stream.unsent or self.stream.closed else Idle(self, None, self.deadline - LINGER_SECONDS)

    def close(self) -> None:
        """Close at once; idempotent."""
        self.plane.poller.timers.forget(self)
        if not self.stream.closed:
            self.listener.forget(self)
            self.stream.close()

    leave_at_once = close

    def _await_client(self) -> None:
        poller = self.plane.poller
        poller.timers.set(self, poller.now + self.listener.idle_timeout)

    def _end_writes(self) -> None:
        self.stream.end_writes()
        self.plane.poller.timers.set(self, self.plane.poller.now + LINGER_SECONDS)

    def _drop(self) -> None:
        stream = self.stream
        buffer = self.plane.buffer
        while stream.readable and not self._ended and self._left > 0:
            got = stream.read_into(buffer)
            if got == BLOCKED:
                return
            self._left -= got
            self._ended = not got
        if stream.broken or ((self._ended or self._left <= 0) and not stream.unsent):
            self.close()
