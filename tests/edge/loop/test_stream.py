"""Streams by themselves: what is kept, whether the other side takes it, and whether it is there."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest
import trustme

from hotswap.edge.loop.poller import READ, Poller
from hotswap.edge.loop.stream import HIGH_WATER, Stream
from hotswap.edge.loop.tls_stream import RECORD_BYTES, TlsStream
from tests.support.stage import Clock

SECONDS = 10.0


class Watcher:
    """Whoever owns a stream."""

    def on_ready(self, events: int) -> None:
        """The test asks itself."""

    def on_drained(self) -> None:
        """The test asks itself."""

    def on_crash(self, error: Exception) -> None:
        """The test fails."""
        raise error


class Counting(socket.socket):
    """A socket that counts what is asked of it."""

    sends = 0

    def send(self, *args: object) -> int:
        """One more."""
        self.sends += 1
        return super().send(*args)  # type: ignore[arg-type]

    def sendmsg(self, *args: object) -> int:
        """One more."""
        self.sends += 1
        return super().sendmsg(*args)  # type: ignore[arg-type]


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


def fill(stream: Stream) -> None:
    """Write until something is kept."""
    while not stream.unsent:
        stream.write(bytes(65536))


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "gathered"])
def test_many_small_pieces_cost_like_few(together: bool):
    """200,000 of a byte, kept for a peer that does not read: a handful of system calls when it does."""
    near, far = socket.socketpair()
    counting = Counting(fileno=near.detach())
    counting.setblocking(False)
    with far, stream_over(counting, Clock()) as stream:
        fill(stream)
        before = stream.unsent
        if together:
            for _ in range(100):
                stream.write_all([b"x"] * 2000)
        else:
            for _ in range(200_000):
                stream.write(b"x")
        assert stream.unsent == before + 200_000
        counting.sends = reads = got = 0
        while stream.unsent:
            got += len(far.recv(1 << 20))
            reads += 1
            stream.flush_kept()
        assert counting.sends <= 2 * reads + 2
        while stream.backed_up:
            got += len(far.recv(1 << 20))


def test_who_takes_a_little_is_not_stalled():
    """Far less than the kernel needs to say that the socket takes more; who takes nothing is."""
    clock = Clock()
    near, far = tcp_pair()
    with far, stream_over(near, clock) as stream:
        fill(stream)
        unsent = stream.unsent
        for takes in (True, True, False):
            stream.stalled_at(0)  # what the client's kernel took by itself is no news
            clock.now = stalled_at = stream.stalled_at(SECONDS)
            stream.poller.run_deadlines()  # which looks at the clock
            while takes and stream.stalled_at(SECONDS) == stalled_at:
                with suppress(BlockingIOError):
                    far.recv(65536, socket.MSG_DONTWAIT)
            assert (stream.stalled_at(SECONDS) > stalled_at) is takes
        assert stream.unsent == unsent


def test_a_dead_connection_is_known():
    """A reset, whoever was told of it; a half close is none."""
    clock = Clock()
    near, far = tcp_pair()
    with stream_over(near, clock) as stream:
        assert not stream.is_dead()
        far.shutdown(socket.SHUT_WR)
        assert not stream.is_dead()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        far.close()
        assert stream.is_dead()


@contextmanager
def tls_pair() -> Iterator[tuple[ssl.SSLSocket, ssl.SSLObject, ssl.MemoryBIO, socket.socket]]:
    """A server's end after its handshake, and a client that reads what it wants."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    near, far = tcp_pair()
    near_tls = server.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    reader = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    done = 0
    with far:
        while done < 2:
            done = 0
            for side in (reader, near_tls):
                try:
                    side.do_handshake()
                    done += 1
                except ssl.SSLWantReadError:
                    pass
                far.sendall(outgoing.read())
                with suppress(BlockingIOError):
                    while True:
                        incoming.write(far.recv(65536, socket.MSG_DONTWAIT))
        yield near_tls, reader, incoming, far


def test_over_tls_a_piece_moves_record_by_record():
    """And small pieces share a record."""
    clock = Clock()
    with tls_pair() as (near, reader, incoming, far), stream_over(near, clock, TlsStream) as stream:
        stream.write_all([b"x"] * 2000)
        incoming.write(far.recv(65536))
        assert reader.read(65536) == b"x" * 2000
        stream.write(bytes(64 * HIGH_WATER))
        unsent = stream.unsent
        assert unsent
        while stream.unsent == unsent:
            far.recv(65536)
            stream.flush_kept()
        assert (unsent - stream.unsent) % RECORD_BYTES == 0
