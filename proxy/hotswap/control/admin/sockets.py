"""Where the admin API listens: loopback ports, and Unix sockets that only their owner may open."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import trio

from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.errors import ConfigError, Problem
from hotswap.edge.loop.sockets import address_of, bind_tcp
from hotswap.processes.listening import remove_own

BACKLOG = 128

OWNER_ONLY = 0o600


class AdminDoor:
    """Whether the admin API takes new connections, and whose its sockets are, while a process takes over.

    Attributes:
        sockets: what it listens on, once it does.
        asked: the addresses of the configuration for them, in the same order.
        inherited: sockets from the process before this one, by the address that was asked for there.
        handed_over: the paths of Unix sockets belong to the process after this one.
        borrowed: those of inherited sockets still belong to the process before this one.
        parting: called when it is closed, to let go of connections that exist.
    """

    def __init__(self) -> None:
        self.sockets: tuple[socket.socket, ...] = ()
        self.asked: tuple[Address, ...] = ()
        self.inherited: dict[Address, socket.socket] = {}
        self.handed_over = False
        self.borrowed = False
        self.accepting = trio.CancelScope()
        self.parting: Callable[[], None] | None = None
        self._opened = trio.Event()
        self._opened.set()
        self._again = ExitStack()

    def inherit(self, inherited: Mapping[Address, socket.socket]) -> None:
        """Use the sockets of the process before this one, which stay its own, and leave whoever comes in the queue."""
        self.inherited = dict(inherited)
        self.borrowed = bool(inherited)
        self._opened = trio.Event()

    def open(self) -> None:
        """Accept from now on."""
        self._opened.set()

    def close(self) -> None:
        """Accept nothing from now on; connections that exist end with the answer that is under way."""
        self._opened = trio.Event()
        self.accepting.cancel()
        if self.parting is not None:
            self.parting()

    def leave(self) -> None:
        """Close our copies for good: the sockets belong to the process after this one."""
        self.handed_over = True
        for one in self.sockets:
            one.close()
        self.sockets = ()

    def settle(self) -> None:
        """Own for good what was inherited, and close what the configuration does not name."""
        self.borrowed = False
        while self.inherited:
            address, listening = self.inherited.popitem()
            listening.close()
            if isinstance(address, UnixAddress):
                with contextlib.suppress(OSError):
                    if stat.S_ISSOCK(os.lstat(address.path).st_mode):
                        os.unlink(address.path)

    def reopen_missing(self) -> None:
        """Listen anew where the path of a Unix socket was removed by somebody; what fails is left for the next time."""
        found = list(self.sockets)
        for index, one in enumerate(found):
            address = address_of(one)
            if isinstance(address, UnixAddress) and not os.path.lexists(address.path):
                with contextlib.suppress(OSError):
                    found[index] = self._again.enter_context(_open_unix(address, self))
        if found != list(self.sockets):
            self.sockets = tuple(found)
            self.accepting.cancel()

    def forget_reopened(self) -> None:
        """Close and remove what was opened anew."""
        self._again.close()

    async def wait_open(self) -> None:
        """Block until it is open, which it still is when this returns; at once, without a checkpoint, if it is."""
        while not self._opened.is_set():
            await self._opened.wait()


@contextmanager
def open_admin_sockets(
    addresses: Iterable[Address], door: AdminDoor | None = None
) -> Iterator[tuple[socket.socket, ...]]:
    """Listen on every address, and close and clean up afterwards.

    Args:
        addresses: where; port 0 asks the kernel for a port.
        door: what is known of a process before or after this one.

    Raises:
        ConfigError: one of them cannot be had; the message names it. None is open then.
    """
    door = door or AdminDoor()
    with ExitStack() as stack:
        stack.callback(door.forget_reopened)
        opened = []
        door.asked = tuple(addresses)
        for index, address in enumerate(door.asked):
            try:
                match address:
                    case _ if address in door.inherited:
                        listening = stack.enter_context(_adopt(door.inherited.pop(address), address, door))
                    case UnixAddress():
                        listening = stack.enter_context(_open_unix(address, door))
                    case TcpAddress():
                        listening = stack.enter_context(bind_tcp(address, backlog=BACKLOG))
                opened.append(listening)
            except OSError as error:
                reason = error.strerror or str(error)
                allowed = f"an address for the admin API; it cannot listen there: {reason}"
                raise ConfigError([Problem(f"admin.bind[{index}]", str(address), allowed)]) from error
        door.sockets = tuple(opened)
        yield door.sockets


@contextmanager
def _adopt(listening: socket.socket, address: Address, door: AdminDoor) -> Iterator[socket.socket]:
    with listening:
        made = os.stat(address.path) if isinstance(address, UnixAddress) else None
        try:
            yield listening
        finally:
            if isinstance(address, UnixAddress) and made and not door.handed_over and not door.borrowed:
                remove_own(address.path, made)


@contextmanager
def _open_unix(address: UnixAddress, door: AdminDoor) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        _clear_stale(address.path)
        listening.bind(address.path)
        made = os.stat(address.path)
        try:
            # Nobody can connect before `listen`, so there is no moment in which others could.
            os.chmod(address.path, OWNER_ONLY)
            listening.listen(BACKLOG)
            yield listening
        finally:
            if not door.handed_over:
                remove_own(address.path, made)


def _clear_stale(path: str) -> None:
    """Remove the socket of a process that is gone.

    Raises:
        OSError: somebody answers there, or it is not a socket.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "something that is not a socket is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.setblocking(False)
        try:
            knock.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its backlog is full, so it lives
    raise OSError(errno.EADDRINUSE, "another process answers there")
