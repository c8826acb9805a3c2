"""How far the other side of a socket is, by the kernel's books."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hotswap.edge.loop.progress import PeerProgress


@contextmanager
def pair(family: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection, the first of which does not wait."""
    if family == socket.AF_UNIX:
        near, far = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
    near.setblocking(False)
    with near, far:
        yield near, far


def fill(sock: socket.socket) -> None:
    """Send until it takes nothing."""
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        pass


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_who_takes_something_goes_on(family):
    """And who takes nothing does not."""
    with pair(family) as (near, far):
        progress = PeerProgress()
        fill(near)
        progress.note(near)
        assert progress.went_on_for(near) == 0
        far.settimeout(10)
        went = 0.0
        while not went:
            far.recv(1 << 20)
            went = progress.went_on_for(near)
        assert 0 < went < 10


def test_a_closed_socket_is_an_error():
    """Whoever asks has to know."""
    with pair(socket.AF_INET) as (near, _):
        near.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            PeerProgress().note(near)
