"""Listening sockets of backends, created by the proxy before the spawn, one for each process.

Theory. With `listen = "fd"` the proxy binds *and listens*, hands the socket to the child, and closes its own
copy right after the spawn. Connects queue from the first millisecond, and when the backend is gone the kernel
refuses the next connect at once, because nobody else holds the socket. A socket shared by two generations, or
kept by the proxy, would let connects hang instead. That socket is a Unix socket where the server can take one
(it is cheaper than loopback, and only this user can reach it), else one on loopback.

With `listen = "unix"` and `listen = "tcp"` the server binds by itself, so only a name is reserved: a path
that does not exist yet (some servers refuse to start on an existing path, live or stale), or a port outside
of the range from which the kernel takes ports for outgoing connections, so that none of those can grab it
before the server binds it.

Paths are never used twice, and they are the proxy's to remove: a server that removes "its" path when it ends
would otherwise remove the one of its successor.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, assert_never

from hotswap.core.address import MAX_PATH_BYTES, Address, TcpAddress, UnixAddress
from hotswap.core.errors import BackendError
from hotswap.core.strategy import Listen

BACKLOG = 4096
"""Connects that may queue; a full backlog of a Unix socket answers EAGAIN, which connectors handle badly."""

LOOPBACK = "127.0.0.1"

MOST_MODE = 0o710
"""What is allowed at most on a directory for sockets: its group may pass through, and others may nothing."""

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT = 10_000
_PORT_ATTEMPTS = 100


class Transport(StrEnum):
    """Kind of an inherited listening socket."""

    UNIX = "unix"
    TCP = "tcp"


@dataclass(slots=True, kw_only=True)
class BackendSocket:
    """Listening socket or address of one backend.

    Attributes:
        address: where the backend will be reached.
        socket: the listening socket to hand over; None when the backend binds by itself, and after `close`.
    """

    address: Address
    socket: socket.socket | None

    def close(self) -> None:
        """Close the proxy's copy; the backend's stays open. Idempotent."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def remove_path(address: Address) -> None:
    """Remove the files of a Unix address: the socket and daphne's lock. Never raises."""
    if isinstance(address, UnixAddress):
        for path in (address.path, f"{address.path}.lock"):
            with suppress(OSError):
                os.unlink(path)


_OURS: Final = re.compile(
    r"\.gitignore|serve\.(py|new)|.*\.sock|proxy\.(pid|lock).*|(development-ca|guardian)\.(pem|key|lock).*"
)


def remove_own(path: str | Path, made: os.stat_result) -> None:
    """Remove the path of a socket, unless a successor has put its own there meanwhile.

    Args:
        path: the path.
        made: what was there when the socket was ours.
    """
    with suppress(OSError):
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino):
            os.unlink(path)


def is_socket(path: str | Path) -> bool:
    """Tell whether there is a socket at a path, and neither nothing nor something that was put in its place."""
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def open_directory(path: Path, *, owner: int | None = None, group: int | None = None) -> Path:
    """Create the directory for sockets, or check that an existing one is ours and has mode 0700 or, for a group, 0710.

    Servers give their sockets any mode they like, so the directory is what keeps others out. One that is open to others
    is closed to them if nothing but sockets and files of a proxy is in it.

    Args:
        path: where.
        owner: a user whose it may be as well; None: nobody's but ours.
        group: who may pass through it, without seeing what is in it; None: nobody.

    Raises:
        BackendError: it cannot be made, or is somebody else's.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if fault := find_stranger(path, owner=owner) or find_fault(path):
            raise BackendError(fault)
        found = path.lstat()
        if group is not None and found.st_gid != group:
            path.chmod(0o700)
            os.chown(path, -1, group)
        mode = 0o700 if group is None else MOST_MODE
        if stat.S_IMODE(path.lstat().st_mode) != mode:
            path.chmod(mode)
    except OSError as error:
        raise BackendError(f"no directory for sockets at {path}: {error.strerror}") from error
    return path


def find_stranger(path: Path, *, owner: int | None = None) -> str:
    """Say whose a directory is that is neither ours nor an owner's; empty: nobody else's.

    Raises:
        OSError: there is nothing.
    """
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid in (os.geteuid(), owner):
        return ""
    return f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}"


def find_fault(path: Path) -> str:
    """Say why what is at a path can be nobody's directory for sockets; empty: it can be its owner's. Changes nothing.

    Raises:
        OSError: there is nothing, or it cannot be looked at.
    """
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"{path} is a symbolic link, which is not followed: name the directory that it leads to"
    if not stat.S_ISDIR(mode):
        return f"{path} is not a directory"
    if stat.S_IMODE(mode) & ~MOST_MODE:
        foreign = [entry.name for entry in path.iterdir() if not _OURS.fullmatch(entry.name)]
        if foreign:
            return f"{path} is open to others and has things of theirs in it, such as {min(foreign)}"
    return ""


def sweep_directory(path: Path) -> None:
    """Remove stale sockets, which a killed proxy leaves behind.

    Sockets of living processes stay, so this is safe while another proxy or an adopted backend uses the
    directory.
    """
    for entry in path.glob("*.sock"):
        if entry.is_socket() and not _answers(entry):
            entry.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK) as caller:
            try:
                caller.connect(str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except OSError:
                # EPROTOTYPE: a socket of the other kind. EAGAIN: its backlog is full, so somebody holds it.
                continue
            return True
    return True


def reserve_path(directory: Path, name: str) -> str:
    """A new path in the directory, never used before.

    Args:
        name: what a person recognises it by, such as "web-0-3"; as much of it is in the path as has room there.

    Raises:
        BackendError: the path would be longer than the kernel takes.
    """
    unique = f"{secrets.token_hex(4)}.sock"
    room = MAX_PATH_BYTES - len(os.fsencode(directory)) - len(f"/-{unique}")
    recognisable = re.sub(r"[^A-Za-z0-9_-]", "-", name)[: min(40, max(0, room))]
    path = str(directory / (f"{recognisable}-{unique}" if recognisable else unique))
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise BackendError(
            f"the socket path {path} is longer than {MAX_PATH_BYTES} bytes; set a shorter proxy.state_dir"
        )
    return path


def open_backend_socket(
    kind: Listen, *, directory: Path, name: str, transport: Transport = Transport.UNIX
) -> BackendSocket:
    """Create the listening socket or address of one backend.

    Args:
        kind: how the backend is given it.
        directory: where Unix sockets go, from `open_directory`.
        name: part of a Unix socket's file name, such as "web-0-3".
        transport: what an inherited socket is; matters for `Listen.FD` only.

    Raises:
        BackendError: the path is too long, or the system has no socket or port left.
    """
    try:
        match kind:
            case Listen.FD if transport is Transport.TCP:
                listening = _listen(socket.AF_INET, (LOOPBACK, 0))
                return BackendSocket(address=TcpAddress(*listening.getsockname()), socket=listening)
            case Listen.FD:
                path = reserve_path(directory, name)
                return BackendSocket(address=UnixAddress(path), socket=_listen(socket.AF_UNIX, path))
            case Listen.UNIX:
                return BackendSocket(address=UnixAddress(reserve_path(directory, name)), socket=None)
            case Listen.TCP:
                return BackendSocket(address=TcpAddress(LOOPBACK, reserve_port()), socket=None)
            case _:
                assert_never(kind)
    except OSError as error:
        raise BackendError(f"no socket for backend {name}: {error.strerror}") from error


def _listen(family: socket.AddressFamily, where: str | tuple[str, int]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.bind(where)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def reserve_port() -> int:
    """A free port of loopback that the kernel uses for no outgoing connection.

    Raises:
        OSError: no port is free.
    """
    try:
        lowest_ephemeral = int(_PORT_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        lowest_ephemeral = 32768
    for _ in range(_PORT_ATTEMPTS if lowest_ephemeral > _LOWEST_PORT else 0):
        port = random.randrange(_LOWEST_PORT, lowest_ephemeral)
        if _is_free(port):
            return port
    # The machine gives nearly every port to outgoing connections, so the kernel's choice is as good as any.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        attempt.bind((LOOPBACK, 0))
        chosen: int = attempt.getsockname()[1]
        return chosen


def _is_free(port: int) -> bool:
    # Without SO_REUSEADDR, so that a listener on any address of this port counts as taken.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        try:
            attempt.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
