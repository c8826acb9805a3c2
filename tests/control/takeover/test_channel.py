"""The channel of a takeover: descriptors arrive whole or not at all, and nobody inherits them by accident."""

from __future__ import annotations

import array
import fcntl
import os
import resource
import socket
from contextlib import closing
from pathlib import Path

import pytest
import trio

from hotswap.control.takeover.channel import (
    Channel,
    ChannelClosed,
    connect_to,
    is_dead,
    listen_on,
    open_pair,
    peer_of,
    seal,
    unseal,
)
from hotswap.wire.handover import MAX_DESCRIPTORS, FrameType, FrameWriter, HandoverBroken


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def test_frames_arrive_with_their_descriptors() -> None:
    """Each frame with its own, which work, and which no child inherits."""
    ours, sock = open_pair()
    theirs = Channel(sock)
    reading, writing = os.pipe()
    assert ours.send(FrameType.LISTENER, {"name": "a"}, (reading,)) == 0
    assert ours.send(FrameType.STATE, {"name": "b"}) == 1
    first, second = await theirs.receive(), await theirs.receive()
    assert (first.frame.text("name"), len(first.descriptors)) == ("a", 1)
    assert (second.frame.text("name"), len(second.descriptors)) == ("b", 0)
    received = first.descriptors.take()
    assert not os.get_inheritable(received)
    os.write(writing, b"through")
    assert os.read(received, 10) == b"through"
    for descriptor in (reading, writing, received):
        os.close(descriptor)
    ours.close()
    with pytest.raises(ChannelClosed):
        await theirs.receive()
    theirs.close()


async def test_a_body_of_any_length_arrives_and_the_frame_stays_as_short_as_it_must_be() -> None:
    """In sealed memory behind the descriptors of the frame, of which nothing is left open on either side."""
    ours, sock = open_pair()
    theirs = Channel(sock)
    null = os.open(os.devnull, os.O_RDONLY)
    before = open_files()
    body = {"tail": ["\u0436" * 8192] * 50, "backends": list(range(100_000))}
    ours.send(FrameType.BACKEND, body, (null,))
    received = await theirs.receive()
    assert received.frame.body == body
    assert len(received.descriptors) == 1
    received.descriptors.close()
    assert open_files() == before
    os.close(null)
    ours.close()
    theirs.close()


async def test_what_nobody_takes_is_closed() -> None:
    """Also when the block ends by an error."""
    ours, sock = open_pair()
    theirs = Channel(sock)
    null = os.open(os.devnull, os.O_RDONLY)
    before = open_files()
    ours.send(FrameType.BACKEND, {}, (null, null, null))
    received = await theirs.receive()
    assert open_files() == before + 3
    with pytest.raises(ZeroDivisionError), closing(received.descriptors):  # noqa: PT012  # an error of any kind
        os.close(received.descriptors.take())
        raise ZeroDivisionError
    assert open_files() == before
    with pytest.raises(HandoverBroken, match="missing"):
        received.descriptors.take()
    os.close(null)
    ours.close()
    theirs.close()


async def test_too_low_a_limit_of_open_files_is_an_error_and_leaks_nothing() -> None:
    """The kernel delivers what fits and closes the rest without a word; half of a frame is no frame."""
    ours, sock = open_pair()
    theirs = Channel(sock)
    null = os.open(os.devnull, os.O_RDONLY)
    ours.send(FrameType.BACKEND, {}, (null,) * 20)
    before = open_files()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    # So low that nine numbers are free below it.
    limit = next(limit for limit in range(1000) if limit - len({one for one in taken if one < limit}) == 9)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with pytest.raises(HandoverBroken, match="RLIMIT_NOFILE"):
            await theirs.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_files() == before
    os.close(null)
    ours.close()
    theirs.close()


async def test_more_descriptors_than_a_frame_may_have_are_an_error_and_leak_nothing() -> None:
    """Whoever sends 65 is no hotswap."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(right)
    null = os.open(os.devnull, os.O_RDONLY)
    before = open_files()
    packet = FrameWriter().encode(FrameType.BACKEND, {}, descriptors=MAX_DESCRIPTORS)
    many = array.array("i", [null] * (MAX_DESCRIPTORS + 10))
    left.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, many)])
    with pytest.raises(HandoverBroken):
        await channel.receive()
    assert open_files() == before
    os.close(null)
    left.close()
    channel.close()


async def test_a_packet_that_is_too_long_is_an_error() -> None:
    """It is not cut and read as far as it goes."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(right)
    left.send(b"HSWP" + bytes(100_000))
    with pytest.raises(HandoverBroken, match="longer"):
        await channel.receive()
    left.close()
    channel.close()


async def test_a_side_that_does_not_read_is_told_apart_from_one_that_is_gone() -> None:
    """Sending never waits: a full buffer is an error, and so is a closed end, but another one."""
    ours, sock = open_pair()
    with pytest.raises(HandoverBroken, match="does not read"):  # noqa: PT012  # which one of them is the kernel's affair
        for _ in range(10_000):
            ours.send(FrameType.PROGRESS, {"text": "x" * 10_000})
    sock.close()
    with pytest.raises(ChannelClosed):
        ours.send(FrameType.PROGRESS)
    ours.close()
    with pytest.raises(ChannelClosed):
        await ours.receive()


async def test_receiving_can_be_cancelled_without_losing_anything() -> None:
    """What comes later is still the next frame."""
    ours, sock = open_pair()
    theirs = Channel(sock)
    with trio.move_on_after(0.01):
        await theirs.receive()
    ours.send(FrameType.HURRY)
    assert (await theirs.receive()).frame.type is FrameType.HURRY
    ours.close()
    theirs.close()


def test_a_state_that_is_sealed_cannot_be_changed_and_is_read_once() -> None:
    """And what is not sealed is not believed."""
    value = {"pools": {"web": [1, 2, {"deep": "ü"}]}}
    descriptor = seal(value)
    with pytest.raises(OSError, match="Operation not permitted"):
        os.write(descriptor, b"x")
    assert unseal(descriptor) == value
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    loose = os.memfd_create("loose", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(loose, b"{}")
    with pytest.raises(HandoverBroken, match="not sealed"):
        unseal(loose)
    with pytest.raises(HandoverBroken, match="no object"):
        unseal(seal([1]))
    null = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(HandoverBroken):
        unseal(null)
    assert fcntl.F_SEAL_WRITE


def test_a_successor_puts_its_own_path_over_the_one_of_its_predecessor(tmp_path: Path) -> None:
    """There is no moment without a path, it is for its owner only, and the kernel says who calls."""
    path = tmp_path / "takeover.sock"
    with listen_on(path) as first:
        called = connect_to(path)
        assert peer_of(called).pid == os.getpid()
        with first.accept()[0] as accepted:
            assert peer_of(accepted).user == os.geteuid()
        with listen_on(path) as second, connect_to(path):
            second.accept()[0].close()
            with pytest.raises(BlockingIOError):
                first.accept()
        assert path.stat().st_mode & 0o777 == 0o600
        called.close()
    with pytest.raises(OSError, match="refused"):
        connect_to(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["takeover.sock"]


def test_death_is_told_by_the_pidfd() -> None:
    """A process that has ended is dead although nobody has reaped it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert is_dead(pidfd)
    os.waitpid(pid, 0)
    ours = os.pidfd_open(os.getpid())
    assert not is_dead(ours)
    os.close(pidfd)
    os.close(ours)
