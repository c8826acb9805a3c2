"""Streams by themselves, over a connection of this process with itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from hotswap.edge.loop.poller import READ, Poller
from hotswap.edge.loop.stream import Stream
from tests.support.stage import Clock


class Watcher:
    """Whoever owns a stream."""

    def on_ready(self, events: int) -> None:
        """The test asks itself."""

    def on_drained(self) -> None:
        """The test asks itself."""

    def on_crash(self, error: Exception) -> None:
        """The test fails."""
        raise error


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection, of which the second buffers less than the first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    near.setblocking(False)
    return near, far


@contextmanager
def stream_over(near: socket.socket, clock: Clock, kind: type[Stream] = Stream) -> Iterator[Stream]:
    """A stream, watched."""
    poller = Poller(clock=clock)
    owner = Watcher()
    with closing(poller):
        stream = kind(near, poller, owner)
        poller.watch(stream.fd, owner, READ)
        with closing(stream):
            yield stream
