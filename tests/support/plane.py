"""A real data plane on a port of the kernel's choice, in front of one address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from hotswap.control.workers.local_link import LocalLink
from hotswap.core.address import Address, TcpAddress
from hotswap.core.config import LimitsTable, ListenerTable, RouteTable, StaticPoolTable
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance
from hotswap.core.tally import Tally
from hotswap.edge.client.listener import OpenListener
from hotswap.edge.dataplane import DataPlane
from hotswap.edge.loop.sockets import bind


@dataclass(slots=True)
class KeptLog:
    """A log that keeps what is said; `defects` are exceptions that reached the top of a connection."""

    defects: list[str] = field(default_factory=list)

    def debug(self, event: str, **fields: Any) -> None:
        """Ignored."""

    def warning(self, event: str, **fields: Any) -> None:
        """Ignored."""

    def error(self, event: str, **fields: Any) -> None:
        """Kept."""
        self.defects.append(f"{event}: {fields.get('error')}")


@dataclass(slots=True, kw_only=True)
class Running:
    """A data plane that serves.

    Attributes:
        plane: itself.
        link: what it is told through.
        port: where its one listener is, on 127.0.0.1.
        access: access lines so far.
        log: what it said.
        pool: its one pool.
    """

    plane: DataPlane
    link: LocalLink
    port: int
    access: list[bytes]
    log: KeptLog
    pool: Pool

    @property
    def in_flight(self) -> int:
        """Exchanges that are in flight."""
        return self.plane.gates["web"].claims.in_flight


@asynccontextmanager
async def open_plane(
    backend: Address,
    *,
    routes: Sequence[RouteTable] = (),
    limits: LimitsTable | None = None,
    **listener_settings: Any,
) -> AsyncIterator[Running]:
    """Serve while the block runs.

    Args:
        backend: the one backend, in the pool "web".
        routes: none means everything to the pool.
        limits: of the listener.
        **listener_settings: further keys of the listener's table.
    """
    log = KeptLog()
    access: list[bytes] = []
    plane = DataPlane(tally=Tally(), log=log, access=access.append, linger=0)
    address = TcpAddress("127.0.0.1", 0)
    table = ListenerTable(bind=(address,), limits=limits or LimitsTable(), **listener_settings)
    pool = Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=1, supervised=False)
    member = pool.add(slot=0, generation=1, address=backend, now=0.0)
    pool.move(member, BackendState.READY, now=0.0)
    pool.set_health(member, Health.HEALTHY)
    link = LocalLink(plane)
    link.add_pool(pool, StaticPoolTable(addresses=(backend,)))
    plane.set_routes(routes or (RouteTable(pool="web"),))
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.serve)
        opened = OpenListener(
            name="public", table=table, sockets=[bind(address, where="listeners.public.bind[0]")], context=None
        )
        plane.open_listener(opened)
        port = opened.sockets[0].getsockname()[1]
        yield Running(plane=plane, link=link, port=port, access=access, log=log, pool=pool)
        nursery.cancel_scope.cancel()
