"""Notifications of a backend: datagrams of sd_notify(3) on a Unix socket of its own.

Theory. The socket lies in the proxy's 0700 directory, one for each backend, so who may write is bounded
already; the kernel adds the sender's process id to every message (SCM_CREDENTIALS), and a message counts only
when the sender belongs to the backend's session. What cannot be understood is ignored and told to the caller;
nothing here raises because of what a backend sent.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotswap.core.errors import BackendError
from hotswap.processes.listening import reserve_path

MAX_MESSAGE_BYTES: Final = 4096
"""As in systemd; longer messages are ignored."""

_MAX_ERRNO: Final = 4095
_CREDENTIALS: Final = struct.Struct("3i")

# Room for the credentials alone: file descriptors that somebody attaches are closed by the kernel.
_ANCILLARY_BYTES: Final = socket.CMSG_LEN(_CREDENTIALS.size)

_SAYS_NOTHING_HERE: Final = frozenset(
    (
        "BARRIER",
        "BUSERROR",
        "EXTEND_TIMEOUT_USEC",
        "FDNAME",
        "FDPOLL",
        "FDSTORE",
        "FDSTOREREMOVE",
        "MAINPID",
        "MAINPIDFDID",
        "MONOTONIC_USEC",
        "NOTIFYACCESS",
        "RELOADING",
        "WATCHDOG",
        "WATCHDOG_USEC",
    )
)
"""Assignments that systemd knows and that mean nothing between proxy and backend; no reason to complain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One parsed notification.

    Attributes:
        ready: `READY=1` was in it.
        stopping: `STOPPING=1` was in it.
        status: the text of `STATUS=`, or None.
        error: the number of `ERRNO=`, or None; 0 means "no error" and is not told.
        ignored: what was wrong with the rest, in words.
    """

    ready: bool = False
    stopping: bool = False
    status: str | None = None
    error: int | None = None
    ignored: tuple[str, ...] = ()


def parse_notification(message: bytes) -> Notification:
    """Parse a notification; what is not understood goes to `ignored`."""
    ready = stopping = False
    status: str | None = None
    error: int | None = None
    ignored: list[str] = []
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        return Notification(ignored=("not UTF-8",))
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        match name:
            case "READY" if value == "1":
                ready = True
            case "STOPPING" if value == "1":
                stopping = True
            case "STATUS" if equals:
                status = "".join(character if character.isprintable() else " " for character in value)
            case "ERRNO" if value.isascii() and value.isdigit() and len(value) <= 4 and int(value) <= _MAX_ERRNO:
                error = int(value) or None
            case "":
                if equals:
                    ignored.append(repr(line[:80]))
            case _ if name in _SAYS_NOTHING_HERE or name.startswith("X_"):
                pass
            case _:
                ignored.append(repr(line[:80]))
    return Notification(ready=ready, stopping=stopping, status=status, error=error, ignored=tuple(ignored))


class NotifySocket:
    """The socket behind one backend's `NOTIFY_SOCKET`.

    Attributes:
        path: the value of that variable.
        socket: the receiving end, non-blocking.
    """

    __slots__ = ("path", "socket")

    def __init__(self, path: str, receiving: socket.socket) -> None:
        """Take over a bound datagram socket, for a backend that is taken over."""
        receiving.setblocking(False)
        # For every holder, and only for messages sent from now on.
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.path = path
        self.socket = receiving

    def receive(self, *, session: int) -> Notification:
        """Receive one notification.

        Args:
            session: process id of the backend, which leads the session its processes belong to.

        Raises:
            BlockingIOError: there is none now.
        """
        message, ancillary, flags, _ = self.socket.recvmsg(MAX_MESSAGE_BYTES, _ANCILLARY_BYTES)
        if flags & socket.MSG_TRUNC:
            return Notification(ignored=(f"longer than {MAX_MESSAGE_BYTES} bytes",))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) >= _CREDENTIALS.size:
                sender, user, _ = _CREDENTIALS.unpack_from(data)
                if _belongs(sender, user, session):
                    return parse_notification(message)
                return Notification(ignored=(f"sent by process {sender}, which is not of this backend",))
        return Notification(ignored=("sent by nobody",))

    def close(self) -> None:
        """Close it and remove its path. Idempotent; never raises."""
        self.socket.close()
        with suppress(OSError):
            os.unlink(self.path)


def _belongs(sender: int, user: int, session: int) -> bool:
    if sender <= 0:
        return False
    try:
        return os.getsid(sender) == session
    except ProcessLookupError:
        # A short-lived `systemd-notify` may be gone before its message is read. The directory let only this
        # user and root write, so the user is what is left to check.
        return user in (os.geteuid(), 0)


def open_notify_socket(*, directory: Path, name: str) -> NotifySocket:
    """Bind a notify socket for one backend.

    Args:
        directory: from `hotswap.processes.listening.open_directory`.
        name: part of the file name, such as "web-0-3".

    Raises:
        BackendError: the path is too long, or the system has no socket left.
    """
    path = reserve_path(directory, f"{name}-notify")
    receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        receiving.bind(path)
        return NotifySocket(path, receiving)
    except OSError as error:
        receiving.close()
        raise BackendError(f"no notify socket for backend {name}: {error.strerror}") from error


def describe_errno(number: int) -> str:
    """An errno in words, such as "Address already in use (EADDRINUSE)"."""
    return f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
