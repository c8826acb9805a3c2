"""Streams by themselves: what is kept, whether the other side takes it, and whether it is there."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from hotswap.edge.loop.stream import KEPT_OF_FILE, Stream
from tests.support.stage import Clock
from tests.support.streams import stream_over, tcp_pair

SECONDS = 10.0


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


def test_a_file_is_sent_in_the_kernel(tmp_path):
    """What the socket does not take stays there, but for a little by which the stream hears when it takes more."""
    (tmp_path / "file").write_bytes(bytes(range(256)) * 65536)
    size = 256 * 65536
    near, far = tcp_pair()
    with far, (tmp_path / "file").open("rb") as file, stream_over(near, Clock()) as stream:
        far.settimeout(5)
        sent, got = 0, bytearray()
        while sent < size:
            while sent < size and not stream.unsent:
                taken = stream.send_file(file.fileno(), sent, size - sent)
                assert taken > 0
                sent += taken
            assert stream.unsent <= KEPT_OF_FILE
            while len(got) < sent:
                got += far.recv(1 << 20)
                stream.flush_kept()
        assert bytes(got) == (tmp_path / "file").read_bytes()
        assert stream.send_file(file.fileno(), size, 10) == 0
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        far.close()
        assert stream.send_file(file.fileno(), 0, size) == 0
        assert stream.broken
