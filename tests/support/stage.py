"""A real data plane between sockets that a test drives by hand, on both sides, byte by byte, with time to turn.

Nothing happens that the test did not ask for: backends accept when told so, and answer with the bytes they are given.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from hotswap.control.workers.local_link import LocalLink
from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.config import LimitsTable, ListenerTable, RouteTable, StaticPoolTable
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.candidate import Candidate
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance
from hotswap.core.tally import Tally
from hotswap.edge.client.listener import OpenListener
from hotswap.edge.dataplane import DataPlane
from hotswap.edge.loop.sockets import bind

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Line:
    """One end of a connection."""

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType) -> None:
        self.stream = stream
        self.sock = sock
        self.unread = b""

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await self.stream.send_all(data)

    async def read(self) -> bytes:
        """Whatever comes next; nothing at the end."""
        if self.unread:
            data, self.unread = self.unread, b""
            return data
        return bytes(await self.stream.receive_some(65536))

    async def read_exactly(self, size: int) -> bytes:
        """So many bytes; fails when the other side ends before."""
        data = bytearray(self.unread)
        while len(data) < size:
            piece = await self.stream.receive_some(65536)
            assert piece, f"ended after {len(data)} bytes: {bytes(data[:200])!r}"
            data += piece
        self.unread = bytes(data[size:])
        return bytes(data[:size])

    async def read_until(self, end: bytes) -> bytes:
        """Everything up to and with some bytes."""
        unread, searched = bytearray(self.unread), 0
        try:
            while (place := unread.find(end, max(0, searched - len(end)))) < 0:
                searched = len(unread)
                data = await self.stream.receive_some(65536)
                assert data, f"ended after {bytes(unread[-1000:])!r}"
                unread += data
            place += len(end)
            data = bytes(unread[:place])
            del unread[:place]
            return data
        finally:
            self.unread = bytes(unread)

    async def read_head(self) -> bytes:
        """The head of a message."""
        return await self.read_until(b"\r\n\r\n")

    async def read_response(self) -> tuple[bytes, bytes]:
        """Head and body of a response with a length."""
        head = await self.read_head()
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        return head, await self.read_exactly(int(length[1])) if length else b""

    async def read_to_end(self) -> bytes:
        """Everything until the other side closes its half, in order."""
        data = self.unread
        self.unread = b""
        while piece := await self.stream.receive_some(65536):
            data += piece
        return data

    async def wait_broken(self) -> bytes:
        """Everything until the connection ends in whatever way."""
        data = self.unread
        self.unread = b""
        try:
            while piece := await self.stream.receive_some(65536):
                data += piece
        except trio.BrokenResourceError:
            pass
        return data

    async def end_writes(self) -> None:
        """Close our half."""
        assert isinstance(self.stream, trio.SocketStream)
        await self.stream.send_eof()

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def reset(self) -> None:
        """Hang up with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()


def line_of(stream: trio.SocketStream) -> Line:
    """The end of a plain connection."""
    return Line(stream, stream.socket)


@dataclass(slots=True)
class ScriptedBackend:
    """A listening socket, and what the pool and the data plane know of it."""

    listener: trio.SocketListener
    address: Address
    member: Backend
    stack: AsyncExitStack
    candidate: Candidate | None = None

    @property
    def in_flight(self) -> int:
        """Exchanges that are in flight in it, or were when it was removed."""
        assert self.candidate is not None
        return self.candidate.in_flight

    async def accept(self) -> Line:
        """The next connection of the proxy."""
        line = line_of(await self.listener.accept())
        self.stack.callback(line.close)
        return line

    async def refuse(self) -> None:
        """Refuse connections from now on; nobody else is found behind the address, who was given the port meanwhile."""
        bound = self.listener.socket.getsockname()
        await self.listener.aclose()
        if isinstance(self.address, TcpAddress):
            held = self.stack.enter_context(socket.socket())
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(bound)

    async def serve_one(self, answer: bytes = OK) -> Line:
        """Accept, read a head, answer."""
        line = await self.accept()
        await line.read_head()
        await line.send(answer)
        return line


@dataclass(slots=True)
class KeptLog:
    """A log that keeps what is said."""

    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def debug(self, event: str, **fields: Any) -> None:
        """Keep it."""
        self.said.append((event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        """Keep it."""
        self.said.append((event, fields))

    def error(self, event: str, **fields: Any) -> None:
        """Keep it."""
        self.said.append((event, fields))

    @property
    def defects(self) -> list[str]:
        """Exceptions that reached the top of a connection."""
        return [str(fields.get("error")) for event, fields in self.said if event == "defect"]


@dataclass(slots=True, kw_only=True)
class Stage:
    """Everything that a test can lay hands on."""

    plane: DataPlane
    link: LocalLink
    pool: Pool
    backends: list[ScriptedBackend]
    listener: OpenListener
    log: KeptLog
    lines: list[bytes]
    clock: Clock
    stack: AsyncExitStack

    @property
    def backend(self) -> ScriptedBackend:
        """The first one."""
        return self.backends[0]

    @property
    def port(self) -> int:
        """Of the listener's first socket."""
        return int(self.listener.sockets[0].getsockname()[1])

    @property
    def in_flight(self) -> int:
        """Exchanges that are in flight in the pool."""
        return self.plane.gates["web"].claims.in_flight

    def records(self) -> list[dict[str, Any]]:
        """Access lines so far."""
        self.plane.ledger.flush()
        return [json.loads(line) for line in b"".join(self.lines).splitlines()]

    async def wait_records(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many access lines."""
        while len(records := self.records()) < count:
            await trio.sleep(0.002)
        return records

    async def wait_in_flight(self, count: int) -> None:
        """Wait until so many exchanges are claimed in the pool."""
        while self.in_flight != count:
            await trio.sleep(0.002)

    async def wait_held(self, count: int) -> None:
        """Wait until so many exchanges are held."""
        while len(self.plane.gates["web"].held) != count:
            await trio.sleep(0.002)

    async def wait_connections(self, count: int) -> None:
        """Wait until the listener has so many connections."""
        while len(self.plane.listeners["public"].connections) != count:
            await trio.sleep(0.002)

    async def settle(self) -> None:
        """Let the proxy do what is to be done now."""
        for _ in range(20):
            await trio.sleep(0.001)

    async def let_pass(self, seconds: float) -> None:
        """Let time pass, in one go, after the proxy has done what is to be done now."""
        await self.settle()
        self.clock.now += seconds
        while self.plane.poller.run_deadlines():
            pass
        await self.settle()

    async def connect(self, *, receive_buffer: int = 0) -> Line:
        """A client on a plain listener."""
        sock = trio.socket.socket(self.listener.sockets[0].family, socket.SOCK_STREAM)
        self.stack.callback(sock.close)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        address: Any = self.listener.sockets[0].getsockname()
        await sock.connect(address)
        return line_of(trio.SocketStream(sock))

    async def connect_tls(self, context: ssl.SSLContext, name: str = "localhost") -> Line:
        """A client of a TLS listener."""
        line = await self.connect()
        assert isinstance(line.stream, trio.SocketStream)
        stream = trio.SSLStream(line.stream, context, server_hostname=name, https_compatible=True)
        await stream.do_handshake()
        return Line(stream, line.sock)

    async def exchange(self, request: bytes = GET, answer: bytes = OK) -> tuple[Line, Line]:
        """A client and a backend that have had one exchange."""
        client = await self.connect()
        await client.send(request)
        line = await self.backend.serve_one(answer)
        await client.read_response()
        return client, line

    async def add_backend(
        self, *, slot: int, generation: int = 1, path: Path | None = None, name: str = "", ready: bool = True
    ) -> ScriptedBackend:
        """One more backend, which accepts when told so; the proxy may know it by a name."""
        if path is None:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=128)
            address: Address = TcpAddress(name or "127.0.0.1", listener.socket.getsockname()[1])
        else:
            sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            await sock.bind(str(path))
            sock.listen(1)
            listener, address = trio.SocketListener(sock), UnixAddress(str(path))
        self.stack.callback(listener.socket.close)
        member = self.pool.add(slot=slot, generation=generation, address=address, now=0.0)
        backend = ScriptedBackend(listener, address, member, self.stack, self.plane.candidate("web", member.id))
        self.backends.append(backend)
        if ready:
            self.pool.move(member, BackendState.READY, now=0.0)
            self.pool.set_health(member, Health.HEALTHY)
        return backend


@asynccontextmanager
async def open_stage(
    *,
    backends: int = 1,
    limits: dict[str, Any] | None = None,
    pool: dict[str, Any] | None = None,
    routes: Sequence[RouteTable] = (),
    bind_to: Address | None = None,
    sockets: Sequence[socket.socket] = (),
    context: ssl.SSLContext | None = None,
    supervised: bool = False,
    max_in_flight: int = 0,
    spool_directory: Path | None = None,
    **listener_settings: Any,
) -> AsyncIterator[Stage]:
    """Set it up; at the end of the block everything is closed, and no defect may have been logged unless expected.

    Args:
        backends: how many, in slots from 0.
        limits: keys of the listener's `limits`.
        pool: keys of the pool's table.
        routes: none means everything to the pool "web".
        bind_to: where the listener listens.
        sockets: what it listens on instead.
        context: for TLS.
        supervised: whether the pool hopes for its slots.
        max_in_flight: of each backend.
        spool_directory: for bodies that wait; without one they have memory alone.
        **listener_settings: further keys of the listener's table.
    """
    log, clock = KeptLog(), Clock()
    lines: list[bytes] = []
    plane = DataPlane(tally=Tally(), log=log, access=lines.append, clock=clock, linger=0)
    plane.spool_directory = spool_directory
    address = bind_to or TcpAddress("127.0.0.1", 0)
    table = ListenerTable.model_validate({"bind": (address,), "limits": limits or {}, **listener_settings})
    link = LocalLink(plane)
    core = Pool(
        name="web",
        balance=Balance.ROUND_ROBIN,
        size=max(1, backends),
        supervised=supervised,
        max_in_flight=max_in_flight,
    )
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        opened = OpenListener(
            name="public",
            table=table,
            sockets=list(sockets) or [bind(address, where="listeners.public.bind[0]")],
            context=context,
        )
        stage = Stage(
            plane=plane,
            link=link,
            pool=core,
            backends=[],
            listener=opened,
            log=log,
            lines=lines,
            clock=clock,
            stack=stack,
        )
        for slot in range(backends):
            await stage.add_backend(slot=slot)
        link.add_pool(core, StaticPoolTable.model_validate({"addresses": ["127.0.0.1:1"], **(pool or {})}))
        for backend in stage.backends:
            backend.candidate = plane.candidate("web", backend.member.id)
        plane.set_routes(routes or (RouteTable(pool="web"),))
        await nursery.start(plane.serve)
        plane.open_listener(opened)
        try:
            yield stage
        finally:
            nursery.cancel_scope.cancel()


__all__ = ["GET", "OK", "Clock", "LimitsTable", "Line", "ScriptedBackend", "Stage", "open_stage"]
