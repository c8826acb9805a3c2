"""Where the admin API listens: loopback ports, and Unix sockets that only their owner may open."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import trio

from hotswap.control.admin.neighbour import tell_neighbour
from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.errors import ConfigError, Problem
from hotswap.edge.loop.sockets import address_of, bind_tcp
from hotswap.processes.listening import remove_own

BACKLOG = 128

OWNER_ONLY = 0o600
OWNER_AND_GROUP = 0o660


class AdminDoor:
    """Whether the admin API takes new connections, and whose its sockets are, while a process takes over.

    Attributes:
        own: the socket in the state directory, which no configuration has to name; None: there is none.
        sockets: what it listens on, once it does.
        asked: the addresses of the configuration for them, in the same order.
        inherited: sockets from the process before this one, by the address that was asked for there.
        group: who may use the Unix sockets beside their owner; None: nobody.
        handed_over: the paths of Unix sockets belong to the process after this one.
        borrowed: those of inherited sockets still belong to the process before this one.
        parting: called when it is closed, to let go of connections that exist.
    """

    def __init__(self) -> None:
        self.own: UnixAddress | None = None
        self.group: int | None = None
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
        self._made: dict[str, tuple[int, int]] = {}

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
        for address in self.asked:
            if isinstance(address, UnixAddress):
                with contextlib.suppress(OSError):
                    _permit(address.path, self.group)
        while self.inherited:
            address, listening = self.inherited.popitem()
            listening.close()
            if isinstance(address, UnixAddress):
                with contextlib.suppress(OSError):
                    if stat.S_ISSOCK(os.lstat(address.path).st_mode):
                        os.unlink(address.path)

    def note_made(self, path: str) -> os.stat_result:
        """Note that what is at a path is a socket of ours, and give what there is to know of it."""
        found = os.stat(path)
        self._made[path] = (found.st_dev, found.st_ino)
        return found

    def misses(self) -> bool:
        """Tell whether the path of a Unix socket was removed by somebody; a socket that is closed has none to miss.

        It may be called in a thread, while the loop closes them.
        """
        for one in self.sockets:
            try:
                address = address_of(one)
            except OSError:
                continue
            if isinstance(address, UnixAddress) and not self._leads_to_us(address.path):
                return True
        return False

    def _leads_to_us(self, path: str) -> bool:
        """Tell whether a path is still that of our socket, and not of something that was put in its place."""
        try:
            found = os.lstat(path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._made.get(path)

    def reopen_missing(self) -> None:
        """Listen anew where the path of a Unix socket was removed by somebody; what fails is left for the next time."""
        found = list(self.sockets)
        for index, one in enumerate(found):
            address = address_of(one)
            if isinstance(address, UnixAddress) and not self._leads_to_us(address.path):
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


def all_addresses(own: UnixAddress | None, named: Sequence[Address]) -> tuple[tuple[str, Address], ...]:
    """Give every address of the admin API with the key it comes from: those that are named, then its own socket.

    One that is named by the path of its own socket is that one, and not opened twice.
    """
    placed = () if own is None else (("proxy.state_dir", own),)
    told = tuple((f"admin.bind[{index}]", address) for index, address in enumerate(named))
    return (*((key, address) for key, address in told if own is None or not _same(own, address)), *placed)


def _same(own: UnixAddress, address: Address) -> bool:
    if not isinstance(address, UnixAddress):
        return False
    directory, name = os.path.split(address.path)
    return own.path in (address.path, os.path.join(os.path.realpath(directory), name))


@contextmanager
def open_admin_sockets(
    addresses: Iterable[Address], door: AdminDoor | None = None
) -> Iterator[tuple[socket.socket, ...]]:
    """Listen on every address and on the door's own socket, and close and clean up afterwards.

    Args:
        addresses: where besides; port 0 asks the kernel for a port.
        door: what is known of a process before or after this one.

    Raises:
        ConfigError: one of them cannot be had; the message names it. None is open then.
    """
    door = door or AdminDoor()
    with ExitStack() as stack:
        stack.callback(door.forget_reopened)
        opened = []
        wanted = all_addresses(door.own, tuple(addresses))
        door.asked = tuple(address for _, address in wanted)
        for key, address in wanted:
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
                reason = f"it cannot listen there: {error.strerror or error}"
                if error.errno == errno.EADDRINUSE:
                    # Another project's, which has the same address in its file, as `init` writes one.
                    told = tell_neighbour(address)
                    reason = f"{told}; give this one another" if told else reason
                is_own = address == door.own
                allowed = f"{'a directory for its socket' if is_own else 'an address'} of the admin API; {reason}"
                raise ConfigError([Problem(key, str(address), allowed)]) from error
        door.sockets = tuple(opened)
        yield door.sockets


@contextmanager
def _adopt(listening: socket.socket, address: Address, door: AdminDoor) -> Iterator[socket.socket]:
    with listening:
        made, bound = None, address_of(listening)
        if isinstance(bound, UnixAddress):
            with contextlib.suppress(FileNotFoundError):  # somebody has removed it; it is opened again soon
                made = door.note_made(bound.path)
        try:
            yield listening
        finally:
            if isinstance(address, UnixAddress) and made and not door.handed_over and not door.borrowed:
                remove_own(address.path, made)


@contextmanager
def _open_unix(address: UnixAddress, door: AdminDoor) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        # In the state directory, which is locked, the path is ours, whatever somebody has put there.
        _clear_stale(address.path, whatever=address == door.own)
        listening.bind(address.path)
        made = door.note_made(address.path)
        try:
            # Nobody can connect before `listen`, so there is no moment in which others could.
            _permit(address.path, door.group)
            listening.listen(BACKLOG)
            yield listening
        finally:
            if not door.handed_over:
                remove_own(address.path, made)


def _permit(path: str, group: int | None) -> None:
    """Let the owner of a socket use it, and a group where there is one that we may give it to."""
    os.chmod(path, OWNER_ONLY)
    if group is not None:
        # That this user may give things to the group was seen at the start, unless root saw it for another user.
        with contextlib.suppress(PermissionError):
            os.chown(path, -1, group)
            os.chmod(path, OWNER_AND_GROUP)


def _clear_stale(path: str, *, whatever: bool) -> None:
    """Remove the socket of a process that is gone.

    Args:
        path: where.
        whatever: remove a file or link as well.

    Raises:
        OSError: somebody answers there, or it is not a socket.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if whatever and not stat.S_ISSOCK(mode) and not stat.S_ISDIR(mode):
        os.unlink(path)
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "something that is not a socket is there")
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
