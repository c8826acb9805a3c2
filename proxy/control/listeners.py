"""The public listeners as a whole: opened at boot, kept, changed or closed by a reload.

Theory. A reload must not close a port that the new configuration still wants, not for a moment: connections
that wait in the kernel's queue would be reset. So a socket is kept wherever the new configuration names an
address that is open already, whatever the listener is called, and only what is new is bound. All that can
fail (binding, certificates) is done by `prepare`, before anything changes; `commit` cannot fail.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.core.address import Address, UnixAddress
from proxy.core.config import ListenerTable
from proxy.core.errors import ConfigError, Problem
from proxy.edge.dataplane import DataPlane
from proxy.edge.listener import OpenListener
from proxy.edge.sockets import address_of, bind, close_all, take_matching
from proxy.edge.tls import open_context


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


class Listeners:
    """Every public listener of the proxy."""

    def __init__(self, *, state_dir: Path, inherited: Iterable[socket.socket] = ()) -> None:
        """Begin with none.

        Args:
            state_dir: where the development authority is kept.
            inherited: listening sockets from the service manager, used instead of binding where they match.
        """
        self._state_dir = state_dir
        self._inherited = list(inherited)
        self._open: dict[str, OpenListener] = {}

    def bound(self, name: str) -> tuple[Address, ...]:
        """Give where a listener really listens, with the ports that the kernel chose."""
        return self._open[name].addresses if name in self._open else ()

    def prepare(self, tables: Mapping[str, ListenerTable]) -> Prepared:
        """Bind what is new and read certificates; blocks, and changes nothing that serves.

        Raises:
            ConfigError: an address cannot be bound or a certificate cannot be used; it lists all of them.
        """
        problems: list[Problem] = []
        bound: list[socket.socket] = []
        listeners: list[OpenListener] = []
        there = {
            address: sock
            for opened in self._open.values()
            for address, sock in zip(opened.table.bind, opened.sockets, strict=True)
        }
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
                known = there.get(address)
                inherited = None if known is not None else take_matching(self._inherited, address)
                if known is not None:
                    sockets.append(known)
                elif inherited is not None:
                    owned = False
                    sockets.append(inherited)
                    there[address] = inherited
                else:
                    try:
                        sockets.append(bind(address, where=f"listeners.{name}.bind[{index}]"))
                        bound.append(sockets[-1])
                    except ConfigError as error:
                        problems.extend(error.problems)
            previous = self._open.get(name)
            if previous is not None and list(previous.sockets) == sockets:
                owned = previous.owned
                sockets = list(previous.sockets)
            listeners.append(
                OpenListener(name=name, table=table, sockets=tuple(sockets), context=context, owned=owned)
            )
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
            self._open[name] = listener
            plane.open_listener(listener)
        return tuple(changes)

    def close_unused(self) -> None:
        """Close inherited sockets that no listener asked for."""
        close_all(self._inherited, remove_paths=False)
        self._inherited.clear()

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
