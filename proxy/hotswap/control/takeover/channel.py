"""The channel of a takeover: frames and descriptors over one SOCK_SEQPACKET socket.

Theory. A descriptor that is sent lives in the kernel until it is received, and one that nobody takes out of a
message is lost without an exception; so everything here that receives descriptors puts them into an owner that
closes what nobody took, and a message that the kernel had to shorten is an error as a whole. `recv_fds` of the
standard library drops the flag that keeps them from being inherited, so `recvmsg` is called directly.

A frame is as long as it may be, whatever goes into it: a body that would be longer travels as sealed memory.

Sending never waits: the two sides take turns, so a full buffer means that the other one has stopped reading.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import select
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import trio

from hotswap.wire.handover import (
    MAX_DESCRIPTORS,
    MAX_FRAME_BYTES,
    Frame,
    FrameReader,
    FrameType,
    FrameWriter,
    HandoverBroken,
    fits,
)

PATH_NAME: Final = "takeover.sock"
"""The name in the state directory under which a proxy waits for a successor that comes by itself."""

MAX_STATE_BYTES: Final = 64 * 1024 * 1024

SEALED: Final = "sealed"
"""The only key of a body that came as sealed memory: the last descriptor of its frame."""

_BUFFER_BYTES: Final = 1 << 20
_CREDENTIALS: Final = struct.Struct("3i")
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class ChannelClosed(HandoverBroken):
    """The other side has closed its end, or is gone."""


class Descriptors:
    """The owner of descriptors that were received, to be used with `closing`, which closes what nobody took."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._numbers = list(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def take(self, place: int = 0) -> int:
        """Give the next one away, or the one at another place; whoever takes it owns it.

        Raises:
            HandoverBroken: there is none.
        """
        if not self._numbers:
            raise HandoverBroken("a descriptor is missing")
        return self._numbers.pop(place)

    def close(self) -> None:
        """Close the rest. Twice is harmless."""
        while self._numbers:
            os.close(self._numbers.pop())


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One frame with what came along."""

    frame: Frame
    descriptors: Descriptors


class Channel:
    """One end of a channel; owns its socket."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected SOCK_SEQPACKET socket."""
        sock.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        self._socket = sock
        self._writer = FrameWriter()
        self._reader = FrameReader()

    def send(self, kind: FrameType, body: Mapping[str, Any] | None = None, descriptors: Sequence[int] = ()) -> int:
        """Send a frame; the descriptors stay the caller's too.

        Returns:
            The number of the frame, by which it is acknowledged.

        Raises:
            ChannelClosed: nobody is there to receive it.
            HandoverBroken: it cannot be sent now.
        """
        if fits(body):
            return self._send(kind, body, descriptors)
        try:
            sealed = seal(body)
        except OSError as error:
            raise HandoverBroken(f"a {kind} frame cannot be written: {error.strerror}") from error
        try:
            return self._send(kind, {SEALED: True}, (*descriptors, sealed))
        finally:
            os.close(sealed)

    def _send(self, kind: FrameType, body: Mapping[str, Any] | None, descriptors: Sequence[int]) -> int:
        packet = self._writer.encode(kind, body, descriptors=len(descriptors))
        ancillary = []
        if descriptors:
            ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)))
        try:
            self._socket.sendmsg([packet], ancillary, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            raise HandoverBroken(f"the other side does not read: no room for a {kind} frame") from None
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF):
                raise ChannelClosed("the other side has closed the channel") from error
            raise HandoverBroken(f"a {kind} frame cannot be sent: {error.strerror}") from error
        return self._writer.last

    async def receive(self) -> Received:
        """Receive the next frame; its descriptors are the caller's.

        Raises:
            ChannelClosed: there is none any more.
            HandoverBroken: what came is not the next frame, or the kernel could not deliver all of it.

        **Cancellation**: nothing is lost.
        """
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
        while True:
            if self._socket.fileno() < 0:
                raise ChannelClosed("the channel is closed")
            try:
                packet, ancillary, flags, _ = self._socket.recvmsg(MAX_FRAME_BYTES + 1, room, socket.MSG_CMSG_CLOEXEC)
                break
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_readable(self._socket)
                except trio.ClosedResourceError:
                    raise ChannelClosed("the channel is closed") from None
            except OSError as error:
                raise ChannelClosed(f"the channel broke: {error.strerror}") from error
        await trio.lowlevel.cancel_shielded_checkpoint()
        numbers = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
        descriptors = Descriptors(numbers)
        try:
            if flags & socket.MSG_CTRUNC:
                raise HandoverBroken(
                    f"only {len(numbers)} descriptors of a frame arrived: this process may not open more "
                    "(RLIMIT_NOFILE), or too many were sent"
                )
            if flags & socket.MSG_TRUNC:
                raise HandoverBroken(f"a packet is longer than {MAX_FRAME_BYTES} bytes")
            if not packet:
                raise ChannelClosed("the other side has closed the channel")
            frame = self._reader.decode(packet, descriptors=len(numbers))
            if SEALED in frame.body:
                frame = replace(frame, body=unseal(descriptors.take(-1)))
            return Received(frame=frame, descriptors=descriptors)
        except BaseException:
            descriptors.close()
            raise

    def close(self) -> None:
        """Close this end. Twice is harmless."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


def open_pair() -> tuple[Channel, socket.socket]:
    """Make a channel whose other end is to be inherited by a process that is spawned."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), theirs


def listen_on(path: Path) -> socket.socket:
    """Wait for successors at a path, which takes the place of one that a predecessor waits at.

    Raises:
        OSError: it cannot be bound.
    """
    waiting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        waiting.bind(str(temporary))
        temporary.chmod(0o600)
        waiting.listen(1)
        temporary.rename(path)
    except BaseException:
        waiting.close()
        temporary.unlink(missing_ok=True)
        raise
    return waiting


def connect_to(path: Path) -> socket.socket:
    """Call the proxy that waits at a path.

    Raises:
        OSError: nobody waits there.
    """
    calling = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        calling.connect(str(path))
    except BaseException:
        calling.close()
        raise
    return calling


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPeer:
    """Who is at the other end of a channel, by the kernel's word."""

    pid: int
    user: int


def peer_of(sock: socket.socket) -> ChannelPeer:
    """Tell who is at the other end."""
    pid, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return ChannelPeer(pid=pid, user=user)


def is_dead(pidfd: int) -> bool:
    """Tell whether a process has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def seal(value: object) -> int:
    """Write a value as JSON into memory that nobody can change any more, and give its descriptor.

    Raises:
        OSError: the system has no memory or descriptor left.
    """
    descriptor = os.memfd_create("hotswap-state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(json.dumps(value, separators=(",", ":")).encode())
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def unseal(descriptor: int) -> dict[str, Any]:
    """Read what `seal` wrote, and close the descriptor.

    Raises:
        HandoverBroken: it is something else.
    """
    try:
        if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise HandoverBroken("the state is not sealed")
        size = os.fstat(descriptor).st_size
        if size > MAX_STATE_BYTES:
            raise HandoverBroken(f"the state is {size} bytes long; {MAX_STATE_BYTES} are allowed")
        value = json.loads(os.pread(descriptor, size, 0))
    except (OSError, ValueError) as error:
        raise HandoverBroken(f"the state cannot be read: {error}") from error
    finally:
        os.close(descriptor)
    if not isinstance(value, dict):
        raise HandoverBroken("the state is no object")
    return value
