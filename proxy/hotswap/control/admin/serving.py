"""Serving the admin API: from opened sockets to the end, restarted when it fails.

It starts before anything else and ends last, so that an operator can see a slow start and a slow stop. When
it is cancelled it accepts nothing more, lets running calls answer for a moment, and then is gone.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import structlog
import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.admin.application import Application
from hotswap.control.admin.connection import AdminConnection
from hotswap.control.admin.guard import Guard
from hotswap.control.admin.places import TCP_PLACES, UNIX_PLACES, Places
from hotswap.control.admin.sockets import AdminDoor, open_admin_sockets
from hotswap.control.configuration.token_file import TokenFile
from hotswap.control.process.verbs import Verbs
from hotswap.core.address import Address, TcpAddress
from hotswap.core.errors import ConfigError, Problem
from hotswap.edge.loop.sockets import address_of

GRACE = 2.0
"""Seconds that running calls get at the end."""

EXHAUSTION_INTERVAL = 60.0
"""Seconds between two lines that tell of a want of places."""

RESTART_DELAY = 0.1
LONGEST_RESTART_DELAY = 5.0
"""Seconds before a server that failed is started again: the first time, and at most."""


async def serve_admin(
    verbs: Verbs,
    door: AdminDoor | None = None,
    *,
    task_status: trio.TaskStatus[tuple[Address, ...]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the admin API in the state directory and on every address of `[admin].bind` until cancelled.

    Args:
        verbs: the proxy it speaks for.
        door: whether it accepts, and with which sockets; None: it does, with its own.
        task_status: told the real addresses once calls are answered.

    Raises:
        ConfigError: an address or the token file cannot be had; said before anything was served.

    **Cancellation**: running calls have `GRACE` seconds to answer, streams end at once, sockets are removed.
    """
    log: FilteringBoundLogger = structlog.get_logger()
    table = verbs.config.admin
    token = _open_token(table.token_file) if table.token_file else None
    names = [address.host for address in table.bind if isinstance(address, TcpAddress)]
    ending = trio.Event()
    application = Application(verbs, Guard(hosts=names, token=token), log, ending=ending)
    with ExitStack() as stack:
        door = door or AdminDoor()
        sockets = stack.enter_context(open_admin_sockets(table.bind, door))
        addresses = tuple(map(address_of, sockets))
        async with trio.open_nursery() as nursery:
            server = _Server(application, log)
            door.parting = server.part
            # Not by `start`: cancelled here it would wait for ever, as connections are shielded from all but the end.
            nursery.start_soon(server.host_connections, ending)
            try:
                await server.hosting.wait()
                log.info("admin.listening", addresses=[str(address) for address in addresses])
                task_status.started(addresses)
                await _accept_forever(server, door, log)
            finally:
                stack.close()  # before the grace, or connections would be queued that nobody takes
                ending.set()


def _open_token(path: str) -> TokenFile:
    try:
        return TokenFile(Path(path))
    except (OSError, ValueError) as error:
        allowed = f"a file with the token; {getattr(error, 'strerror', None) or error}"
        raise ConfigError([Problem("admin.token_file", path, allowed)]) from error


async def _accept_forever(server: _Server, door: AdminDoor, log: FilteringBoundLogger) -> None:
    delay = RESTART_DELAY
    while True:
        await door.wait_open()
        server.stay()
        since = trio.current_time()
        listeners: list[trio.SocketListener] = []
        try:
            # Copies: a listener closes its socket when it ends, and these must survive a restart.
            copies = (trio.socket.from_stdlib_socket(one.dup()) for one in door.sockets)
            listeners.extend(map(trio.SocketListener, copies))
            with trio.CancelScope() as door.accepting:
                await trio.serve_listeners(server.handle, listeners, handler_nursery=server.connections)
            continue
        except Exception as error:
            for listener in listeners:
                listener.socket.close()
            log.error("admin.restarting", error=repr(error), seconds=delay, exc_info=error)
        stable = trio.current_time() - since > LONGEST_RESTART_DELAY
        await trio.sleep(delay)
        delay = RESTART_DELAY if stable else min(2 * delay, LONGEST_RESTART_DELAY)


class _Server:
    """The accepted connections, which outlive a failed accept loop and, for a moment, the end."""

    connections: trio.Nursery

    def __init__(self, application: Application, log: FilteringBoundLogger) -> None:
        self._application = application
        self._log = log
        self.hosting = trio.Event()
        self._parting = trio.Event()
        self._tcp, self._unix = Places(TCP_PLACES), Places(UNIX_PLACES)
        self._told = float("-inf")

    def part(self) -> None:
        """Close idle connections, and the others with the answer that is under way: another process answers now."""
        self._parting.set()

    def stay(self) -> None:
        """Let connections be used again."""
        if self._parting.is_set():
            self._parting = trio.Event()

    async def host_connections(self, ending: trio.Event) -> None:
        """Let connections live until `GRACE` seconds after the end has begun, whoever is cancelled meanwhile."""
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            self.connections = nursery
            self.hosting.set()
            await ending.wait()
            nursery.cancel_scope.deadline = trio.current_time() + GRACE
            self.part()

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection, unless every place is taken by somebody who waits for an answer."""
        try:
            await self._serve(stream)
        except Exception as error:
            # A defect of ours ends this connection, and nothing else of the process.
            self._log.error("admin.connection_failed", error=repr(error), exc_info=error)

    async def _serve(self, stream: trio.SocketStream) -> None:
        places = self._unix if stream.socket.family == socket.AF_UNIX else self._tcp
        connection = AdminConnection(stream, self._application, self._log, parting=self._parting)
        if not places.take(connection):
            now = trio.current_time()
            if now - self._told > EXHAUSTION_INTERVAL:
                self._told = now
                self._log.warning("admin.connections_exhausted")
            return
        try:
            await connection.serve()
        finally:
            places.leave(connection)
