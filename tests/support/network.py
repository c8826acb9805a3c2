"""A network of its own for a test, and what the kernel counts in it.

Counts of refused, dropped and reset connections are those of a whole network, so what other processes do would blur
them. Where the machine allows it (it takes root), a test has a network namespace in which nobody else is.

A namespace belongs to a thread. Sockets that the test makes are in that of its thread; processes may be started by
some other one, so they are started through `Network.launcher`.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1

HARM = (
    "Tcp:OutRsts",
    "Tcp:EstabResets",
    "TcpExt:ListenDrops",
    "TcpExt:ListenOverflows",
    "TcpExt:TCPAbortOnClose",
    "TcpExt:TCPAbortOnData",
)
"""Connections that were reset, refused or dropped, or closed with something unread."""
_RESETS, _SENT_AGAIN = "Tcp:OutRsts", "Tcp:RetransSegs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network that a test is in.

    Attributes:
        own: nobody else is in it.
        launcher: what to put before a command so that it runs in it.
    """

    own: bool
    launcher: tuple[str, ...] = ()


@contextmanager
def own_network() -> Iterator[Network]:
    """Put this thread into a network of its own that has a loopback interface; where that is not allowed, it stays."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET):
            yield Network(own=False)
            return
        try:
            _bring_up("lo")
            here = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
            yield Network(own=True, launcher=(sys.executable, os.path.abspath(__file__), here))
        finally:
            if libc.setns(before, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot go back to the network of the machine")
    finally:
        os.close(before)


def counts() -> dict[str, int]:
    """What the kernel counted in this network until now."""
    found: dict[str, int] = {}
    for table in ("snmp", "netstat"):
        lines = Path(f"/proc/thread-self/net/{table}").read_text(encoding="ascii").splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            prefix, *keys = names.split()
            found.update({prefix + key: int(value) for key, value in zip(keys, values.split()[1:], strict=True)})
    return found


def harm_since(before: Mapping[str, int]) -> dict[str, int]:
    """What was counted since then of what must not happen; empty if it did not.

    On a busy machine a segment may be sent again that had only waited for its turn. When it comes the connection may
    have ended in order at the other side, which answers by a reset that nobody is there to see: as many are let pass.
    """
    now = counts()
    found = {name: now[name] - before[name] for name in HARM}
    found[_RESETS] = max(0, found[_RESETS] - (now[_SENT_AGAIN] - before[_SENT_AGAIN]))
    return {name: number for name, number in found.items() if number}


def _bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", interface.encode(), 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags | _IFF_UP))


def _run_in(namespace: str, command: list[str]) -> None:
    with open(namespace, "rb") as found:
        if ctypes.CDLL(None).setns(found.fileno(), _CLONE_NEWNET):
            sys.exit(f"{namespace} cannot be entered")
    os.execvp(command[0], command)


if __name__ == "__main__":
    _run_in(sys.argv[1], sys.argv[2:])
