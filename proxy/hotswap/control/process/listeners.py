"""The public listeners as a whole: opened at boot, kept, changed or closed by a reload.

Theory. A reload must not close a port that the new configuration still wants, not for a moment: connections
that wait in the kernel's queue would be reset. So a socket is kept wherever the new configuration names an
address that is open already, whatever the listener is called, and only what is new is bound. All that can
fail (binding, certificates, copies of sockets) is done by `prepare`, before anything changes; `commit` cannot fail.
A socket that the service manager passed is ours only as long as a listener wants it, and can be had again.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from hotswap.control.configuration.authority_place import publish_authority
from hotswap.control.configuration.contents import read_contents
from hotswap.control.configuration.outside import is_barred, read_within
from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.certificate_facts import CertificateFacts
from hotswap.core.config import Configuration, ListenerTable, TlsTable
from hotswap.core.errors import ConfigError, Problem, Verbatim
from hotswap.core.http.contents import NO_CONTENTS, Contents
from hotswap.core.socket_permissions import SocketPermissions
from hotswap.edge.client.listener import OpenListener
from hotswap.edge.client.tls import AUTHORITY, ServerContext, open_context
from hotswap.edge.dataplane import DataPlane
from hotswap.edge.loop.permissions import is_permitted, permit, why_not_permitted
from hotswap.edge.loop.sockets import WANTED, address_of, bind, close_all, matches

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Prepared:
    """Listeners that are ready to serve, or are being prepared for it.

    Attributes:
        listeners: each with its sockets and its TLS context.
        bound: sockets that were opened for it, to be closed if it is not committed.
        copies: copies of sockets that were open already, likewise.
        borrowed: those of them whose original the service manager passed.
        taken: sockets that were open already and are used.
        moving: those of them that go to another listener, and their copies.
        permits: paths of sockets that were open already, and whom they are to let in.
        contents: of the files that the configuration names.
        problems: what is wrong so far.
    """

    listeners: list[OpenListener] = field(default_factory=list)
    bound: list[socket.socket] = field(default_factory=list)
    copies: list[socket.socket] = field(default_factory=list)
    borrowed: set[socket.socket] = field(default_factory=set)
    taken: set[socket.socket] = field(default_factory=set)
    moving: dict[socket.socket, socket.socket] = field(default_factory=dict)
    permits: list[tuple[str, SocketPermissions]] = field(default_factory=list)
    contents: Contents = NO_CONTENTS
    problems: list[Problem] = field(default_factory=list)

    def attempt(self, where: str, what: str, work: Callable[[], T]) -> T | None:
        """Do one part; what is wrong with it is kept."""
        try:
            return work()
        except ConfigError as error:
            self.problems.extend(error.problems)
        except OSError as error:
            self.problems.append(Problem(where, what, f"something that can be opened; {error.strerror or error}"))
        return None

    def discard(self) -> None:
        """Close what was opened for nothing."""
        close_all(self.bound, remove_paths=True)
        close_all(self.copies, remove_paths=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedSocket:
    """A listening socket on its way from one proxy process to the next, or from one configuration to the next.

    Attributes:
        listener: whose it was.
        asked: the address that the configuration had for it; its port may be 0.
        socket: the socket.
        owned: the path of a Unix socket is ours to remove.
    """

    listener: str
    asked: Address
    socket: socket.socket
    owned: bool


class _Kept:
    """Open sockets by the addresses that they were opened for; each is given away once.

    A port that the kernel chose (0 in the configuration) is kept for the listener that has it and for no other.
    """

    def __init__(self, sockets: Iterable[HandedSocket]) -> None:
        self._own: dict[tuple[str, Address], list[socket.socket]] = {}
        self._any: dict[Address, socket.socket] = {}
        for one in sockets:
            self._own.setdefault((one.listener, one.asked), []).append(one.socket)
            if not (isinstance(one.asked, TcpAddress) and one.asked.port == 0):
                self._any[one.asked] = one.socket

    def take(self, name: str, address: Address) -> socket.socket | None:
        """Give the socket that a listener can go on with at an address, if there is one."""
        own = self._own.get((name, address))
        if own:
            return own.pop(0)
        return self._any.pop(address, None)


class Listeners:
    """Every public listener of the proxy."""

    def __init__(
        self,
        *,
        state_dir: Path,
        authority_dir: Path | None = None,
        inherited: Iterable[socket.socket] = (),
        handed: Iterable[HandedSocket] = (),
    ) -> None:
        """Begin with none.

        Args:
            state_dir: where a copy of the development authority's certificate is put.
            authority_dir: where that authority is kept; None: there as well.
            inherited: listening sockets from the service manager, used instead of binding where they match, and kept
                for listeners that come later.
            handed: those of the proxy process before this one, used likewise.
        """
        self._state_dir = state_dir
        self._authority_dir = authority_dir or state_dir
        self._given = list(inherited)
        self._handed = list(handed)
        self._open: dict[str, OpenListener] = {}
        self._contents = NO_CONTENTS
        self._taken: set[socket.socket] = set()

    def bound(self, name: str) -> tuple[Address, ...]:
        """Give where a listener really listens, with the ports that the kernel chose."""
        return self._open[name].addresses if name in self._open else ()

    def certificates(self) -> frozenset[tuple[str, str]]:
        """Give the files of every certificate that is in use, each with its key."""
        return frozenset(
            (files.cert, files.key)
            for opened in self._open.values()
            if opened.table.tls is not None
            for files in opened.table.tls.certificates
        )

    def certificate_facts(self) -> list[tuple[str, CertificateFacts]]:
        """Give what is known of every certificate that is in use, each with the name of its listener."""
        return [
            (name, facts)
            for name, opened in self._open.items()
            if isinstance(opened.context, ServerContext)
            for facts in opened.context.facts
        ]

    def hand_over(self) -> list[HandedSocket]:
        """Give every open socket, for another process; they stay open and ours."""
        opened = {address for listener in self._open.values() for address in listener.addresses}
        spare = [
            HandedSocket(listener="", asked=address, socket=sock, owned=False)
            for sock in self._given
            if (address := address_of(sock)) not in opened
        ]
        return spare + self._serving()

    def _serving(self) -> list[HandedSocket]:
        return [
            HandedSocket(listener=opened.name, asked=asked, socket=sock, owned=opened.owned)
            for opened in self._open.values()
            for asked, sock in zip(opened.table.addresses, opened.sockets, strict=True)
        ]

    def disown(self) -> None:
        """Leave the paths of Unix sockets to the process that took over."""
        for opened in self._open.values():
            opened.owned = False

    def unclaimed(self, prepared: Prepared) -> list[str]:
        """Give the addresses that were handed to us and that none of these listeners asked for."""
        return [
            f"{handed.listener} {handed.asked}"
            for handed in self._handed
            if handed.listener and handed.socket not in prepared.taken
        ]

    def prepare(self, config: Configuration) -> Prepared:
        """Bind what is new, read certificates and contents, copy what moves; blocks, and changes nothing that serves.

        Raises:
            ConfigError: an address cannot be bound, or a file cannot be used; it lists all of them.
        """
        making = Prepared()
        kept = _Kept([*self._serving(), *self._handed])
        try:
            making.contents = making.attempt("routes", "contents", partial(read_contents, config)) or NO_CONTENTS
            for name, table in config.listeners.items():
                context = making.attempt(f"listeners.{name}.tls", "certificates", partial(self._context, name, table))
                sockets = [
                    making.attempt(
                        f"listeners.{name}.bind[{index}]",
                        str(address),
                        partial(self._socket, making, kept, name, index, address, permissions),
                    )
                    for index, (address, permissions) in enumerate(zip(table.addresses, table.permissions, strict=True))
                ]
                if not making.problems:
                    found = tuple(sock for sock in sockets if sock is not None)
                    owned = self._owns(name, found, making)
                    make = partial(OpenListener, name=name, table=table, sockets=found, context=context, owned=owned)
                    # Its sockets are closed under our hands where the proxy ends meanwhile.
                    made = making.attempt(f"listeners.{name}", "open sockets", make)
                    if made is not None:
                        making.listeners.append(made)
            if not making.problems:
                making.attempt("listeners", "open sockets", partial(self._copy_moved, making))
            if making.problems:
                raise ConfigError(making.problems)
        except BaseException:
            making.discard()
            raise
        return making

    def _context(self, name: str, table: ListenerTable) -> ssl.SSLContext | None:
        tls = table.tls
        if tls is None:
            return None
        where = f"listeners.{name}.tls"
        what = f"a certificate of listener {name}"
        kept = read_within(partial(_kept_context, self._open.get(name), table), what)
        return kept or read_within(lambda: self._opened_context(tls, table, where), what)

    def _opened_context(self, tls: TlsTable, table: ListenerTable, where: str) -> ssl.SSLContext:
        context = open_context(tls, http2=table.http2, authority_dir=self._authority_dir, where=where)
        if tls.self_signed:
            publish_authority(self._authority_dir, self._state_dir)
        return context

    def _socket(
        self,
        making: Prepared,
        kept: _Kept,
        name: str,
        index: int,
        address: Address,
        permissions: SocketPermissions | None,
    ) -> socket.socket:
        where = f"listeners.{name}.bind[{index}]"
        known = kept.take(name, address)
        if known is not None:
            making.taken.add(known)
            if permissions is not None and isinstance(address, UnixAddress):
                read_within(partial(_refuse_unpermitted, address, permissions, where), str(address))
                making.permits.append((address.path, permissions))
            return known
        given = None
        if self._given:
            given = read_within(
                lambda: next((sock for sock in self._given if matches(sock, address)), None), str(address)
            )
        if given is not None:
            # A copy, so that what was removed can be put back: we could not bind it while the manager has it.
            making.copies.append(given.dup())
            making.copies[-1].setblocking(False)
            making.borrowed.add(making.copies[-1])
            return making.copies[-1]
        # A name may have to be looked up for it, and a path may lie on a disk that went away.
        making.bound.append(
            read_within(
                partial(bind, address, where=where, permissions=permissions),
                str(address),
                late=lambda sock: close_all([sock], remove_paths=True),
            )
        )
        return making.bound[-1]

    def _owns(self, name: str, sockets: tuple[socket.socket, ...], making: Prepared) -> bool:
        """Whether the paths of Unix sockets are ours to remove."""
        previous = self._open.get(name)
        if previous is not None and tuple(previous.sockets) == sockets:
            return previous.owned
        borrowed = making.borrowed | {handed.socket for handed in self._handed if not handed.owned}
        return borrowed.isdisjoint(sockets)

    def _copy_moved(self, making: Prepared) -> None:
        """Copy each socket that goes on under a listener that is made anew; a copy shares the kernel's queue."""
        wanted = {listener.name: listener for listener in making.listeners}
        still_wanted = {sock for listener in wanted.values() for sock in listener.sockets}
        for name, known in self._open.items():
            after = wanted.get(name)
            if after is not None and after.sockets == known.sockets:
                continue
            for sock in known.sockets:
                if sock in still_wanted:
                    copy = making.moving[sock] = sock.dup()
                    making.copies.append(copy)
                    copy.setblocking(False)

    def refuse_unclaimed(self, prepared: Prepared) -> None:
        """Refuse to start with a socket of the service manager that no listener asks for: its clients would hang.

        Raises:
            ConfigError: there are some; it names all of them.
        """
        claimed = {address for listener in prepared.listeners for address in listener.addresses}
        unclaimed = [str(address) for sock in self._given if (address := address_of(sock)) not in claimed]
        if unclaimed:
            raise ConfigError(
                Problem(
                    "listeners",
                    Verbatim(f"without {address}, which LISTEN_FDS passes"),
                    "complete for the sockets that are passed; "
                    f"add a listener that binds {address}, or take it out of the socket unit: its clients would hang",
                )
                for address in unclaimed
            )

    def commit(self, prepared: Prepared, plane: DataPlane) -> tuple[str, ...]:
        """Serve what was prepared and nothing else, and give what changed, in words; nothing in here can fail."""
        changes: list[str] = []
        wanted = {listener.name: listener for listener in prepared.listeners}
        moving = prepared.moving
        self._taken |= prepared.taken
        for name in [name for name in self._open if name not in wanted]:
            self._close(name, moving, plane)
            changes.append(f"listener {name} closed")
        for name, listener in wanted.items():
            known = self._open.get(name)
            if known is None:
                changes.append(f"listener {name} opened")
            elif known.sockets != listener.sockets:
                self._close(name, moving, plane)
                changes.append(f"listener {name} has other addresses")
            elif known.table != listener.table:
                changes.append(f"listener {name} changed")
        for name, listener in wanted.items():
            # What was moved is served through the copy that outlived the closing.
            kept = tuple(moving.get(sock, sock) for sock in listener.sockets)
            if kept != tuple(listener.sockets):
                listener.sockets = kept
            known = self._open.get(name)
            self._open[name] = listener
            plane.open_listener(listener)
            if known is None or known.table.tls != listener.table.tls:
                self._tell(listener)
        before, self._contents = self._contents, prepared.contents
        for path, users in prepared.contents.users.items():
            if before.users.get(path, users) != users:
                changes.append(f"users in {path} changed")
        for pool, pages in prepared.contents.pages.items():
            if before.pages.get(pool, pages) != pages:
                changes.append(f"error pages of pool {pool} changed")
        for path, permissions in prepared.permits:
            self._permit(path, permissions)
        return tuple(changes)

    def _permit(self, path: str, permissions: SocketPermissions) -> None:
        """Let others into a socket that is open, as `prepare` found that we may."""
        try:
            permit(path, permissions)
        except (OSError, KeyError) as error:
            log: FilteringBoundLogger = structlog.get_logger()
            log.warning("listener.permissions_left", path=path, wanted=str(permissions), detail=str(error))

    def _tell(self, listener: OpenListener) -> None:
        """Say where it really listens, and where to find the authority that clients have to trust for it."""
        log: FilteringBoundLogger = structlog.get_logger()
        tls = listener.table.tls
        authority = {"authority": os.path.normpath(self._authority_dir / AUTHORITY)}
        facts = authority if tls is not None and tls.self_signed else {}
        addresses = [str(address) for address in listener.addresses]
        log.info("listener.listening", listener=listener.name, addresses=addresses, **facts)

    def close_unused(self) -> None:
        """Close sockets of the process before this one that no listener asked for.

        Those that the service manager has too are kept: a listener for them may be put back.
        """
        for handed in self._handed:
            if not handed.owned:
                self._given.append(handed.socket.dup())
            if handed.socket not in self._taken:
                close_all([handed.socket], remove_paths=handed.owned)
        self._handed.clear()
        self._taken.clear()

    def close_given(self) -> None:
        """Close what the service manager passed, at the end; what listeners have of it is closed with them."""
        close_all(self._given, remove_paths=False)
        self._given.clear()

    def _close(self, name: str, moving: Mapping[socket.socket, socket.socket], plane: DataPlane) -> None:
        log: FilteringBoundLogger = structlog.get_logger()
        known = self._open.pop(name)
        addresses = [address_of(sock) for sock in known.sockets if sock not in moving]
        for address in addresses:
            if any(address_of(given) == address for given in self._given):
                detail = "the service manager holds it open, so clients hang there until a listener has it again"
                log.warning("listener.socket_kept", listener=name, address=str(address), detail=detail)
        # The path of a socket that goes on must not be removed with the listener that had it.
        owned, known.owned = known.owned, False
        plane.close_listener(name)
        for address in addresses if owned else ():
            if isinstance(address, UnixAddress):
                try:
                    Path(address.path).unlink(missing_ok=True)
                except OSError as error:
                    # Nobody listens there any more, which is what was asked for.
                    log.warning("listener.path_left", listener=name, path=address.path, detail=error.strerror)


def _refuse_unpermitted(address: UnixAddress, permissions: SocketPermissions, where: str) -> None:
    """Refuse permissions that this process cannot give to a socket that is open; blocks.

    Raises:
        ConfigError: it may not.
    """
    try:
        may = is_permitted(address.path, permissions)
    except FileNotFoundError:
        return  # somebody has removed it, and nobody can connect
    except KeyError:
        reason = f"this machine has not both {permissions}"
    else:
        if may:
            return
        reason = why_not_permitted(address.path, permissions)
    raise ConfigError([Problem(where, str(address), f"{WANTED}; {reason}")])


def _kept_context(known: OpenListener | None, table: ListenerTable) -> ssl.SSLContext | None:
    """Give the context of a listener whose TLS stays as it is, if this user may not read its files again; blocks.

    They were opened as root, before this process became a user.
    """
    if known is None or table.tls is None or (known.table.tls, known.table.http2) != (table.tls, table.http2):
        return None
    barred = [path for files in table.tls.certificates for path in (files.cert, files.key) if is_barred(path)]
    if not barred:
        return None
    log: FilteringBoundLogger = structlog.get_logger()
    detail = "this user may not read them again; what was loaded at the start stays in use"
    log.warning("listener.certificates_kept", listener=known.name, files=barred, detail=detail)
    return known.context
