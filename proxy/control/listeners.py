"""The public listeners as a whole: opened at boot, kept, changed or closed by a reload.

Theory. A reload must not close a port that the new configuration still wants, not for a moment: connections
that wait in the kernel's queue would be reset. So a socket is kept wherever the new configuration names an
address that is open already, whatever the listener is called, and only what is new is bound. All that can
fail (binding, certificates) is done by `prepare`, before anything changes; `commit` cannot fail.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from structlog.typing import FilteringBoundLogger

from proxy.core.address import Address, TcpAddress, UnixAddress
from proxy.core.config import ListenerTable
from proxy.core.errors import ConfigError, Problem
from proxy.edge.client.listener import OpenListener
from proxy.edge.client.tls import AUTHORITY, open_context
from proxy.edge.dataplane import DataPlane
from proxy.edge.loop.sockets import address_of, bind, close_all, take_matching


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Listeners that are ready to serve.

    Attributes:
        listeners: each with its sockets and its TLS context.
        bound: sockets that were opened for it, to be closed if it is not committed.
    """

    listeners: tuple[OpenListener, ...]
    bound: tuple[socket.socket, ...]

    def discard(self) -> None:
        """Close what was opened for nothing."""
        close_all(self.bound, remove_paths=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedSocket:
    """A listening socket on its way from one proxy process to the next.

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

    def __init__(self, opened: Iterable[OpenListener]) -> None:
        self._own: dict[tuple[str, Address], list[socket.socket]] = {}
        self._any: dict[Address, socket.socket] = {}
        for listener in opened:
            for address, sock in zip(listener.table.bind, listener.sockets, strict=True):
                self._own.setdefault((listener.name, address), []).append(sock)
                if not (isinstance(address, TcpAddress) and address.port == 0):
                    self._any[address] = sock

    def add(self, handed: HandedSocket) -> None:
        """Put in one that came from the process before this one."""
        self._own.setdefault((handed.listener, handed.asked), []).append(handed.socket)
        if not (isinstance(handed.asked, TcpAddress) and handed.asked.port == 0):
            self._any[handed.asked] = handed.socket

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
        inherited: Iterable[socket.socket] = (),
        handed: Iterable[HandedSocket] = (),
    ) -> None:
        """Begin with none.

        Args:
            state_dir: where the development authority is kept.
            inherited: listening sockets from the service manager, used instead of binding where they match.
            handed: those of the proxy process before this one, used likewise.
        """
        self._state_dir = state_dir
        self._inherited = list(inherited)
        self._handed = list(handed)
        self._open: dict[str, OpenListener] = {}
        self._disowned: dict[str, bool] = {}
        self._taken: set[socket.socket] = set()

    def bound(self, name: str) -> tuple[Address, ...]:
        """Give where a listener really listens, with the ports that the kernel chose."""
        return self._open[name].addresses if name in self._open else ()

    def hand_over(self) -> list[HandedSocket]:
        """Give every open socket, for another process; they stay open and ours."""
        return [
            HandedSocket(listener=opened.name, asked=asked, socket=sock, owned=opened.owned)
            for opened in self._open.values()
            for asked, sock in zip(opened.table.bind, opened.sockets, strict=True)
        ]

    def disown(self) -> None:
        """Leave the paths of Unix sockets to the process that took over."""
        for opened in self._open.values():
            self._disowned[opened.name] = opened.owned
            opened.owned = False

    def reclaim(self) -> None:
        """Remove them at the end again, because that process is gone."""
        for name, owned in self._disowned.items():
            if name in self._open:
                self._open[name].owned = owned
        self._disowned.clear()

    def unclaimed(self) -> list[str]:
        """Give the addresses that were handed to us and that no listener of ours asked for."""
        return [f"{handed.listener} {handed.asked}" for handed in self._handed if handed.socket not in self._taken]

    def prepare(self, tables: Mapping[str, ListenerTable]) -> Prepared:
        """Bind what is new and read certificates; blocks, and changes nothing that serves.

        Raises:
            ConfigError: an address cannot be bound or a certificate cannot be used; it lists all of them.
        """
        problems: list[Problem] = []
        bound: list[socket.socket] = []
        listeners: list[OpenListener] = []
        kept = _Kept(self._open.values())
        for handed in self._handed:
            kept.add(handed)
        handed_owned = {handed.socket: handed.owned for handed in self._handed}
        for name, table in tables.items():
            context = None
            if table.tls is not None:
                try:
                    context = open_context(
                        table.tls,
                        http2=table.http2,
                        state_dir=self._state_dir,
                        where=f"listeners.{name}.tls",
                    )
                except ConfigError as error:
                    problems.extend(error.problems)
            sockets: list[socket.socket] = []
            owned = True
            for index, address in enumerate(table.bind):
                known = kept.take(name, address)
                inherited = None if known is not None else take_matching(self._inherited, address)
                if known is not None:
                    sockets.append(known)
                    self._taken.add(known)
                    owned = owned and handed_owned.get(known, True)
                elif inherited is not None:
                    owned = False
                    sockets.append(inherited)
                else:
                    try:
                        sockets.append(bind(address, where=f"listeners.{name}.bind[{index}]"))
                        bound.append(sockets[-1])
                    except ConfigError as error:
                        problems.extend(error.problems)
            previous = self._open.get(name)
            if previous is not None and list(previous.sockets) == sockets:
                owned = previous.owned
            listeners.append(OpenListener(name=name, table=table, sockets=tuple(sockets), context=context, owned=owned))
        prepared = Prepared(listeners=tuple(listeners), bound=tuple(bound))
        if problems:
            prepared.discard()
            raise ConfigError(problems)
        return prepared

    def commit(self, prepared: Prepared, plane: DataPlane) -> tuple[str, ...]:
        """Serve what was prepared and nothing else.

        Returns:
            What changed, in words.
        """
        changes: list[str] = []
        wanted = {listener.name: listener for listener in prepared.listeners}
        moving = self._moved(wanted)
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
        return tuple(changes)

    def _tell(self, listener: OpenListener) -> None:
        """Say where it really listens, and where to find the authority that clients have to trust for it."""
        log: FilteringBoundLogger = structlog.get_logger()
        tls = listener.table.tls
        facts: dict[str, object] = {} if tls is None or not tls.self_signed else {"authority": self._authority()}
        addresses = [str(address) for address in listener.addresses]
        log.info("listener.listening", listener=listener.name, addresses=addresses, **facts)

    def _authority(self) -> str:
        return os.path.normpath(self._state_dir / AUTHORITY)

    def close_unused(self) -> None:
        """Close inherited sockets that no listener asked for."""
        close_all(self._inherited, remove_paths=False)
        self._inherited.clear()
        unclaimed = [handed for handed in self._handed if handed.socket not in self._taken]
        close_all([handed.socket for handed in unclaimed if handed.owned], remove_paths=True)
        close_all([handed.socket for handed in unclaimed if not handed.owned], remove_paths=False)
        self._handed.clear()
        self._taken.clear()

    def _moved(self, wanted: Mapping[str, OpenListener]) -> dict[socket.socket, socket.socket]:
        """Copy each socket that goes on under a listener that is made anew; a copy shares the kernel's queue."""
        copies: dict[socket.socket, socket.socket] = {}
        for name, known in self._open.items():
            after = wanted.get(name)
            if after is not None and after.sockets == known.sockets:
                continue
            still_wanted = {sock for listener in wanted.values() for sock in listener.sockets}
            for sock in known.sockets:
                if sock in still_wanted:
                    copies[sock] = sock.dup()
                    copies[sock].setblocking(False)
        return copies

    def _close(self, name: str, moving: Mapping[socket.socket, socket.socket], plane: DataPlane) -> None:
        known = self._open.pop(name)
        # The path of a socket that goes on must not be removed with the listener that had it.
        addresses = [address_of(sock) for sock in known.sockets if sock not in moving] if known.owned else []
        known.owned = False
        plane.close_listener(name)
        for address in addresses:
            if isinstance(address, UnixAddress):
                Path(address.path).unlink(missing_ok=True)
