"""The data plane: every public connection, every connection to a backend, and the one loop that serves them.

Control tells it what to listen on, how to route and which pools there are; the pools tell it which backends may be
claimed. It never starts, stops or judges a backend.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import trio

from hotswap.core.http.access_log import hide_secrets
from hotswap.core.http.contents import NO_CONTENTS, Contents
from hotswap.core.http.exchange_view import ExchangeView, shorten
from hotswap.core.http.routing import Router
from hotswap.core.pool.counts import PoolCounts
from hotswap.core.pool.withdrawal import Released
from hotswap.core.tally import Tally
from hotswap.edge.client.handshake import Handshake
from hotswap.edge.client.http1_connection import Http1Connection
from hotswap.edge.client.listener import Listener, OpenListener
from hotswap.edge.exchange.compressor import Compressor
from hotswap.edge.exchange.exchange import Exchange
from hotswap.edge.exchange.gate import Gate
from hotswap.edge.exchange.ledger import Ledger, LedgerMaker
from hotswap.edge.exchange.repeats import Repeats
from hotswap.edge.exchange.room_maker import RoomMaker
from hotswap.edge.exchange.route_rules import RouteRules, make_rules
from hotswap.edge.exchange.tunnel import CUT, Tunnel
from hotswap.edge.loop.jobs import Jobs
from hotswap.edge.loop.names import Names
from hotswap.edge.loop.pipe import Pipe
from hotswap.edge.loop.poller import LINGER, Poller
from hotswap.edge.loop.timers import TICK
from hotswap.edge.rules.limiters import Limiters
from hotswap.edge.rules.password_verifier import PasswordVerifier

if TYPE_CHECKING:
    from pathlib import Path

    from hotswap.core.config import PoolTable, RouteTable
    from hotswap.core.http.messages import ResponseHead
    from hotswap.core.identity import BackendId
    from hotswap.core.pool.candidate import Candidate
    from hotswap.core.pool.reports import Report
    from hotswap.core.pool.view import Applied, PoolView
    from hotswap.edge.exchange.entrance import ClientConnection
    from hotswap.edge.loop.plane import Log
    from hotswap.edge.upstream.upstream import Upstream

BUFFER_BYTES: Final = 256 * 1024
LAST_SECONDS: Final = 0.5
"""Seconds between the last answers of a proxy that stops and the end of the connections that they went over."""


class DataPlane:
    """See the module.

    Args:
        tally: what is counted.
        log: where defects and pauses are told.
        access: takes access lines; None when they are off.
        ledger: what counts exchanges and formats those lines.
        clock: seconds, of any beginning.
        linger: see `Poller`.

    Bodies that wait have their files in `spool_directory`; without one they wait in memory alone.
    """

    def __init__(
        self,
        *,
        tally: Tally,
        log: Log,
        access: Callable[[bytes], None] | None = None,
        ledger: LedgerMaker = Ledger,
        clock: Callable[[], float] = time.monotonic,
        linger: float = LINGER,
    ) -> None:
        self.tally = tally
        self.log = log
        self.clock = clock
        self.poller = Poller(clock=clock, linger=linger)
        self.poller.on_defect = self.on_crash
        self.ledger = ledger(tally, access, clock)
        self.record = self.ledger.record
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.names = Names(clock)
        self.jobs = Jobs(self.poller)
        self.spool_directory: Path | None = None
        self.pipe = Pipe()
        self.router = Router(())
        self.rules: Sequence[RouteRules | None] = ()
        self.repeats = Repeats()
        self.limiters = Limiters()
        self.verifier = PasswordVerifier(self)
        self.pages: Mapping[str, Mapping[int, bytes]] = {}
        self.gates: dict[str, Gate] = {}
        self.listeners: dict[str, Listener] = {}
        self.closed_listeners: list[Listener] = []
        self.tunnels: dict[Exchange, Tunnel] = {}
        self.stopping = False
        self.handed_over = False
        self.compressor = Compressor()
        self.room = RoomMaker(self, self.gates, self._every_listener)
        self._request_prefix = secrets.token_hex(6).encode()
        self._requests = 0
        self._date_second, self._date_line = 0, b""
        self.poller.turn_ends.append(self.ledger.flush)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled.

        **Cancellation** closes every socket at once; use `drain_downstream` first to end in order.
        """
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.names.serve)
                await nursery.start(self.jobs.serve)
                task_status.started()
                await self.poller.serve()
        finally:
            for tunnel in tuple(self.tunnels.values()):
                tunnel.end("the proxy stopped")
            # Before the connections: who has no answer yet gets one.
            for gate in self.gates.values():
                gate.close()
            for listener in self._every_listener():
                listener.close()
                for connection in tuple(listener.connections):
                    connection.close()
            try:
                self.ledger.flush()
            except Exception as error:  # the rest is to be closed all the same
                self.on_crash(error, "access log")
            self.poller.close()
            self.pipe.close()

    # Listeners and routes.

    def open_listener(self, opened: OpenListener) -> None:
        """Serve a listener; one of the same name with the same sockets only takes over the new definition."""
        self.repeats.forget()
        known = self.listeners.get(opened.name)
        if known is not None and known.open_listener.sockets == opened.sockets:
            known.open_listener = opened
            known.configure(opened)
            return
        if known is not None:
            self.close_listener(opened.name)
        listener = self.listeners[opened.name] = Listener(self, opened)
        if not self.stopping:
            listener.start()

    def close_listener(self, name: str) -> None:
        """Stop listening; connections that exist end after the exchange that is under way."""
        listener = self.listeners.pop(name, None)
        if listener is not None:
            listener.close()
            listener.drain_connections()
            if listener.connections:
                self.closed_listeners = [old for old in self.closed_listeners if old.connections] + [listener]

    def set_routes(self, routes: Sequence[RouteTable], contents: Contents = NO_CONTENTS) -> None:
        """Route from now on by these routes; `contents` are those of the files that they name.

        What was counted for rates goes on where hosts, path, rate and burst of a route stay.
        """
        self.router = Router(routes)
        self.rules = tuple(make_rules(route, contents, self) for route in routes)
        self.repeats.forget()
        self.repeats.enabled = any(route.files for route in routes)
        self.limiters.settle()
        self.pages = contents.pages

    # Pools.

    def add_pool(self, view: PoolView, table: PoolTable, tell: Callable[[Report], None]) -> None:
        """Serve a pool; another of the same name is served no more. `tell` takes what control has to know."""
        gate = self.gates.get(view.pool)
        if gate is not None:
            gate.close()
        self.gates[view.pool] = Gate(self, view, table, tell)

    def configure_pool(self, name: str, table: PoolTable) -> None:
        """Serve a known pool by another definition."""
        self.gates[name].configure(table)

    def apply(self, view: PoolView) -> Applied:
        """Put a view of a known pool in force, unless a later one is."""
        self.repeats.forget()
        return self.gates[view.pool].apply(view)

    def directories(self, pool: str) -> tuple[str, ...]:
        """Directories of the releases of a pool whose files are answered, in their order; none of an unknown pool."""
        gate = self.gates.get(pool)
        return () if gate is None else gate.claims.view.directories

    def candidate(self, pool: str, backend: BackendId) -> Candidate | None:
        """Give a backend of a pool as it is seen here; None when no view has it."""
        gate = self.gates.get(pool)
        return None if gate is None else gate.claims.candidates.get(backend)

    def drop_pool(self, name: str) -> None:
        """Serve a pool no more; what is held is turned away, what is in flight is cut."""
        gate = self.gates.pop(name, None)
        if gate is not None:
            gate.close()

    def tunnels_to(self, backend: Candidate) -> list[Tunnel]:
        """The tunnels that a backend has."""
        return [tunnel for exchange, tunnel in self.tunnels.items() if exchange.backend is backend]

    def end_tunnels(self, backend: Candidate, error: str) -> None:
        """End the tunnels that a backend has."""
        for tunnel in self.tunnels_to(backend):
            tunnel.end(error)

    def close_tunnels(self, backend: Candidate, *, within: float) -> int:
        """Have the tunnels to a backend closed in order, spread over `within` seconds.

        So their clients do not all come back at once. Each gets a close frame (1012, service restart) between two
        frames, and a moment to answer it. Call it when three quarters of a drain are over; `cut` ends what is left.
        Gives how many there are; `pool_counts` says how many were closed.
        """
        tunnels = self.tunnels_to(backend)
        now = self.clock()
        for number, tunnel in enumerate(tunnels):
            tunnel.leave_at(now + within * number / len(tunnels))
        return len(tunnels)

    def connections_to(self, backend: Candidate) -> int:
        """How many connections to a backend are open."""
        upstream = self._upstream(backend)
        return 0 if upstream is None else len(upstream.connections)

    def close_idle(self, backend: Candidate) -> int:
        """Close the idle connections to a backend; gives how many."""
        upstream = self._upstream(backend)
        return 0 if upstream is None else upstream.close_idle()

    def _upstream(self, backend: Candidate, gate: Gate | None = None) -> Upstream | None:
        gate = gate or self.gates.get(backend.pool)
        return None if gate is None else gate.upstreams.get(backend.id)

    def cut(self, backend: Candidate, gate: Gate | None = None) -> int:
        """End by force what is in flight in a backend; gives how many exchanges, tunnels included.

        The gate is that of its pool, if that is not among the gates any more.
        """
        count = 0
        for exchange in tuple(self._exchanges(backend, gate)):
            count += 1
            tunnel = self.tunnels.get(exchange)
            if tunnel is not None:
                if exchange.gate is not None:
                    exchange.gate.cut += 1
                tunnel.cut()
            else:
                exchange.cut(CUT)
        return count

    def exchanges_in(self, backend: Candidate) -> list[ExchangeView]:
        """What is in flight in a backend, oldest first."""
        now = self.clock()
        views = []
        for exchange in sorted(self._exchanges(backend), key=lambda exchange: exchange.started):
            tunnel = self.tunnels.get(exchange)
            head = exchange.head
            views.append(
                ExchangeView(
                    # Operators see it, and so does the log when it is cut.
                    request_line=shorten(
                        f"{head.method.decode()} {hide_secrets(head.target).decode('ascii', 'replace')}"
                    ),
                    client=exchange.peer.client_of(head).decode("ascii", "replace"),
                    age=now - exchange.started,
                    request_bytes=exchange.request_bytes if tunnel is None else tunnel.client_end.passed,
                    response_bytes=exchange.response_bytes if tunnel is None else tunnel.backend_end.passed,
                    tunnel=tunnel is not None,
                )
            )
        return views

    def _exchanges(self, backend: Candidate, gate: Gate | None = None) -> Iterator[Exchange]:
        upstream = self._upstream(backend, gate)
        if upstream is not None:
            for carried in upstream.exchanges():
                if isinstance(carried, Exchange):  # and nothing that is discarded
                    yield carried
        for exchange in self.tunnels:
            if exchange.backend is backend:
                yield exchange

    async def release(self, backend: Candidate, *, deadline: float, leave_within: float = 0.0) -> Released:
        """Block until nothing is in flight in a backend that is not claimable, and no connection to it is left.

        What is in flight has until the deadline, then it is cut. Connections are closed when nothing is in flight.

        Args:
            backend: the backend.
            deadline: on trio's clock.
            leave_within: the last seconds before it, in which tunnels are told to leave; 0: they are cut with the rest.

        **Cancellation**: what is in flight goes on; connections that were closed stay so.
        """
        gate = self.gates.get(backend.pool)
        if gate is None:
            return Released()
        return await gate.release(backend, deadline=deadline, leave_within=leave_within)

    def pool_counts(self, name: str) -> PoolCounts:
        """What a pool has counted since the proxy started, and how it stands now."""
        gate = self.gates.get(name)
        return PoolCounts() if gate is None else gate.counts()

    def restart_longest_hold(self, name: str) -> None:
        """Measure the longest hold of a pool anew, from now on."""
        gate = self.gates.get(name)
        if gate is not None:
            gate.longest_hold = 0.0

    def served(self) -> dict[str, dict[int, tuple[int, ...]]]:
        """What each generation of each pool has served since its pool was added."""
        return {
            name: {generation: tuple(counts) for generation, counts in gate.served.items()}
            for name, gate in self.gates.items()
        }

    def forget_served(self, name: str, generation: int) -> None:
        """Count anew what a generation of a pool serves; it has served nothing for long, and may be over."""
        gate = self.gates.get(name)
        if gate is not None:
            gate.served.pop(generation, None)

    # Stopping.

    async def drain_downstream(self, *, timeout: float) -> None:
        """Stop accepting, let every exchange end, and close what is idle.

        Tunnels are told to leave, spread over the last quarter of the time; after `timeout` seconds what is left is
        answered 503, or broken off, and closed a moment later. **Cancellation** leaves the rest open.
        """
        self.stopping = True
        listeners = self._every_listener()
        for listener in listeners:
            listener.close()
        tunnels = tuple(self.tunnels.values())
        for number, tunnel in enumerate(tunnels):
            tunnel.leave_at(self.clock() + timeout * (0.75 + 0.25 * number / len(tunnels)))
        with trio.move_on_after(timeout):
            while any(listener.connections for listener in listeners):
                for listener in listeners:
                    listener.drain_connections()
                await trio.sleep(TICK)
        for tunnel in tuple(self.tunnels.values()):
            tunnel.cut()
        for gate in self.gates.values():
            gate.cut_all()
        # So long may clients take to read that their time was over.
        with trio.move_on_after(LAST_SECONDS):
            while any(listener.connections for listener in listeners):
                await trio.sleep(TICK)
        for listener in listeners:
            for connection in tuple(listener.connections):
                connection.close()

    # Another proxy process takes over.

    def suspend(self) -> None:
        """Accept nothing more; the queues are somebody else's, and each answer is the last of its connection."""
        self.stopping = self.handed_over = True
        for listener in self.listeners.values():
            listener.pause()

    def resume(self) -> None:
        """Accept again, and let connections be used again."""
        self.stopping = self.handed_over = False
        for listener in self.listeners.values():
            listener.start()

    def disown_listeners(self) -> None:
        """Close our copies of the sockets that somebody else listens on; connections go on."""
        for listener in self.listeners.values():
            listener.open_listener.close()

    def flush_log(self) -> None:
        """Hand on the access lines that were gathered."""
        self.ledger.flush()

    def connection_count(self) -> int:
        """How many clients are connected."""
        return sum(len(listener.connections) for listener in self._every_listener())

    async def wait_left(self, *, timeout: float, hurry: trio.Event) -> None:
        """Let the clients of a suspended data plane finish, until none is left.

        HTTP/1.1 learns of it from its next answer, HTTP/2 at once. Idle connections are closed, and tunnels told to
        leave, spread over the last quarter of the time, so that not all of them come back in one instant.

        Args:
            timeout: seconds; what is left then stays.
            hurry: when set, idle connections are closed and tunnels told to leave at once.

        **Cancellation** leaves the rest open.
        """
        began = self.clock()
        due: dict[object, float] = {}
        while True:
            connections = self._every_connection()
            if not connections or self.clock() - began > timeout:
                return
            now = self.clock()
            for connection in connections:
                if isinstance(connection, Http1Connection | Tunnel):
                    at = due.setdefault(connection, began + timeout * (0.75 + 0.25 * random.random()))
                    if not hurry.is_set() and now < at:
                        continue
                    if isinstance(connection, Tunnel):
                        connection.leave_at(now)
                    else:
                        connection.drain()
                elif not isinstance(connection, Handshake):
                    # HTTP/2 hears of it once, and finishes what it began.
                    connection.drain()
            await trio.sleep(TICK)

    def drain_connections(self) -> None:
        """Close idle connections, and the others after what is under way."""
        for listener in self._every_listener():
            listener.drain_connections()

    def cut_clients(self) -> int:
        """Close every client connection, tunnels with a word why; gives how many there were."""
        count = self.connection_count()
        for tunnel in tuple(self.tunnels.values()):
            tunnel.cut()
        for connection in self._every_connection():
            connection.close()
        return count

    def _every_listener(self) -> tuple[Listener, ...]:
        return (*self.listeners.values(), *self.closed_listeners)

    def _every_connection(self) -> list[ClientConnection]:
        return [connection for listener in self._every_listener() for connection in listener.connections]

    # For the parts.

    def date(self, head: ResponseHead) -> None:
        """Have a response that does not say when it was made say that it was now (RFC 9110 6.6.1)."""
        second = int(time.time())  # noqa: TID251  # the calendar is what it tells
        if second != self._date_second:
            self._date_second = second
            self._date_line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()
        head.lines.append(self._date_line)
        head.dated = True

    def next_request_id(self) -> bytes:
        """An id for a request: unique among all proxies, and in order within one."""
        self._requests += 1
        return b"%b-%x" % (self._request_prefix, self._requests)

    def on_crash(self, error: Exception, where: str) -> None:
        """A defect of ours reached the top of a connection: it is logged and goes no further."""
        self.log.error("defect", where=where, error=repr(error), exc_info=error, pid=os.getpid())
