"""One connection to the admin API: Hypercorn's trio connection, held to HTTP/1.1.

Theory: Hypercorn decides per connection between HTTP/1.1 and HTTP/2, and one malformed HTTP/2 request (0.18)
raises out of its server and takes every other connection along. Two changes keep it harmless. The protocol
is always the HTTP/1.1 one, and offers to upgrade are ignored, as RFC 9110 7.8 allows. And whatever a
connection raises ends that connection, with a line in the log.

This rests on names inside Hypercorn that are not its public interface; `tests/control/test_admin_connection`
speaks HTTP/2 to it, so that a release which moves them is noticed.
"""

from __future__ import annotations

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr
from structlog.typing import FilteringBoundLogger

ON_ITS_WAY = 0.1
"""Seconds that a connection stays open when all are to be closed, for a request that its client has sent already."""
FIRST_ON_ITS_WAY = 1.0
"""The same of a connection over which nothing has come yet: whoever has just made it is about to ask."""
STALLED = 5.0
"""Seconds after which a client that does not read its answer counts as one that has left without a word."""


class OnlyHttp11(H11Protocol):
    """Hypercorn's HTTP/1.1, which stays HTTP/1.1 whatever the client offers.

    Attributes:
        asked: something has come.
    """

    asked = False

    async def handle(self, event: Event) -> None:
        """Take what came, or the end."""
        self.asked = True
        await super().handle(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore `Upgrade: h2c` and the preface of HTTP/2: the application answers both as ordinary requests."""


class AdminConnection(TCPServer):
    """One accepted connection, from the first byte to the last."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        log: FilteringBoundLogger,
    ) -> None:
        # Annotated for TLS alone; without it a plain stream is passed, as Hypercorn itself does.
        super().__init__(app, config, context, ConnectionState({}), stream)  # type: ignore[arg-type]
        self._log = log
        self._left = False
        self._http: OnlyHttp11 | None = None
        self._heard = trio.current_time()
        self._sending: float | None = None

    def silent_since(self) -> float | None:
        """Since when nobody waits for us over it: no whole request has come, or its answer is not read."""
        if self._sending is not None and trio.current_time() - self._sending > STALLED:
            return self._sending
        asks = self._http is not None and self._http.stream is not None
        return None if asks else self._heard

    def evict(self) -> None:
        """Close it at once, whatever it does."""
        self.stream.socket.close()

    async def run(self) -> None:
        """Serve until either side closes; nothing but cancellation leaves this function."""
        try:
            socket = self.stream.socket
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
            async with TaskGroup() as tasks:
                self._task_group = tasks
                self.protocol = self._http = OnlyHttp11(  # type: ignore[assignment]  # in place of the one that switches
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState({}),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                await self.protocol.initiate()
                await self.idle_task.restart(tasks, self._idle_timeout)
                await self._read_data()
                # Nobody is there whose silence could be waited for; the block would last as long as that.
                self._left = True
                await self.idle_task.stop()
        except OSError:
            pass  # the client is gone
        except Exception as error:
            self._log.warning("admin.connection_failed", error=repr(error), exc_info=error)
        finally:
            try:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                    await self._close()
            finally:
                # However that went: left to the collector, the descriptor would stay open for a long time.
                self.stream.socket.close()

    async def _idle_timeout(self) -> None:
        """Close when nobody has asked for anything, but not in the moment in which a request may be on its way."""
        with trio.move_on_after(self.config.keep_alive_timeout):
            await self.context.terminated.wait()
            asked = self._http is not None and self._http.asked
            await trio.sleep(ON_ITS_WAY if asked else FIRST_ON_ITS_WAY)
        with trio.CancelScope(shield=True):
            await self._initiate_server_close()

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol asks of the connection, to its end.

        The end of a streamed response wakes the application's watch for a client that leaves, which cancels the
        very task that is closing the connection; without the shield it would stay open and unwatched. An answer that
        comes to its end when the client has left does not begin a wait for the next request.
        """
        if self._left and isinstance(event, Updated):
            return
        if isinstance(event, RawData):
            self._sending = self._sending or trio.current_time()
            try:
                await super().protocol_send(event)
            finally:
                self._heard, self._sending = trio.current_time(), None
            return
        with trio.CancelScope(shield=True):
            await super().protocol_send(event)
