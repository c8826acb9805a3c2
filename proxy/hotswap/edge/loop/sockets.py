"""Listening sockets: bound here, or inherited from the service manager.

An inherited socket whose address matches is used instead of binding (systemd's `LISTEN_FDS`, a takeover), so that its
queue of waiting connections is served and no port is ever closed in between.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.errors import ConfigError, Problem
from hotswap.core.socket_permissions import SocketPermissions
from hotswap.edge.loop.permissions import permit, why_not_permitted

WANTED: Final = "an address that can be listened on"
BACKLOG: Final = 4096
LOST_AFTER: Final = 60
LOST_PROBES: Final = 4
"""Seconds of silence after which a client is asked whether it is there, and how often in as many seconds more."""


def bind(address: Address, *, where: str, permissions: SocketPermissions | None = None) -> socket.socket:
    """Bind and listen.

    Args:
        address: where.
        where: key path in the configuration, for messages.
        permissions: of the path of a Unix socket; None: as the umask has them.

    Raises:
        ConfigError: it cannot be bound; the message names the address and the reason.
    """
    try:
        return _bind_unix(address.path, permissions) if isinstance(address, UnixAddress) else bind_tcp(address)
    except (UnicodeError, OSError) as error:
        raise ConfigError([Problem(where, str(address), f"{WANTED}; {why_not_bound(address, error)}")]) from error


def why_not_bound(address: Address, error: UnicodeError | OSError) -> str:
    """Say why an address cannot be had, and what can be done about it."""
    if isinstance(error, UnicodeError):
        return f"{address} has no name that can be looked up"
    match error.errno:
        case errno.EADDRINUSE:
            way_out = "is in use by another program: stop it or choose another address"
        case errno.EACCES | errno.EPERM:
            way_out = "may not be bound by this user: use a port from 1024 on, or socket activation"
        case errno.EADDRNOTAVAIL:
            way_out = "is not an address of this machine"
        case _:
            way_out = f"cannot be bound: {error.strerror or error}"
    return f"{address} {way_out}"


def try_address(address: Address) -> None:
    """See whether an address could be bound; nothing listens there, and no path is made. Blocks, to look up a name.

    Raises:
        OSError, UnicodeError: it cannot be had, or somebody has it.
    """
    if isinstance(address, UnixAddress):
        directory = os.path.dirname(address.path) or "."
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.setblocking(False)
            try:
                knock.connect(address.path)  # a path that is too long is told by this too
            except FileNotFoundError:
                os.stat(directory)
                if not os.access(directory, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), directory) from None
            except ConnectionRefusedError:
                _refuse_other_file(address.path)
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), address.path)
        return
    _bound(address).close()


def bind_tcp(address: TcpAddress, *, backlog: int = BACKLOG) -> socket.socket:
    """Bind and listen on a host and port.

    Raises:
        OSError: it cannot be had.
    """
    sock = _bound(address)
    try:
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound(address: TcpAddress) -> socket.socket:
    family, kind, protocol, _, name = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(path: str, permissions: SocketPermissions | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _refuse_other_file(path)
            if not _is_stale(path):
                raise
            os.unlink(path)
            sock.bind(path)
        if permissions is not None:
            _permit_new(path, permissions)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _permit_new(path: str, permissions: SocketPermissions) -> None:
    """Set the permissions of a path that was bound just now: nobody can connect before `listen`."""
    try:
        permit(path, permissions)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        if isinstance(error, PermissionError):
            raise OSError(None, why_not_permitted(path, permissions)) from error
        if isinstance(error, KeyError):
            raise OSError(None, f"this machine has not both {permissions}") from error
        raise


def _refuse_other_file(path: str) -> None:
    """Raise `FileExistsError` where something that is not a socket has the path."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        raise FileExistsError(errno.EEXIST, "something that is not a socket is there", path)


def _is_stale(path: str) -> bool:
    """Whether nobody listens any more on the socket at a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def look_for_the_lost(sock: socket.socket) -> None:
    """Set TCP keepalive, which finds vanished clients; accepted sockets inherit it.

    Whoever loses power or network closes nothing, and while an answer takes its time nothing is sent that could fail.
    """
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, LOST_AFTER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, LOST_AFTER // LOST_PROBES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, LOST_PROBES)


def address_of(sock: socket.socket) -> Address:
    """The address of a listening socket."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UnixAddress(str(name))
    return TcpAddress(name[0], name[1])


def matches(sock: socket.socket, address: Address) -> bool:
    """Whether an inherited socket is the one an address asks for."""
    bound = address_of(sock)
    if isinstance(address, UnixAddress) or isinstance(bound, UnixAddress):
        return bound == address
    if bound.port != address.port:
        return False
    with contextlib.suppress(OSError, UnicodeError):
        for entry in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
            if entry[0] == sock.family and entry[4][0] == bound.host:
                return True
    return False


def inherited_sockets(environment: dict[str, str], *, first: int = 3) -> list[socket.socket]:
    """Take the listening sockets that the service manager passed (sd_listen_fds(3)), and clear its variables.

    What is not a listening stream socket is left alone.
    """
    count = environment.pop("LISTEN_FDS", "")
    pid = environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or pid != str(os.getpid()):
        return []
    sockets: list[socket.socket] = []
    for descriptor in range(first, first + int(count)):
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError:
            continue
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.detach()
            continue
        sock.set_inheritable(False)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def close_all(sockets: Iterable[socket.socket], *, remove_paths: bool) -> None:
    """Close listening sockets, and remove the paths of those we bound."""
    for sock in sockets:
        address = address_of(sock) if sock.fileno() >= 0 else None
        sock.close()
        if remove_paths and isinstance(address, UnixAddress):
            with contextlib.suppress(OSError):
                Path(address.path).unlink()
