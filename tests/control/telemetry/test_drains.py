"""What the state tells of drains: what was in flight at the last look."""

from __future__ import annotations

from hotswap.control.telemetry.drains import DrainsBook
from hotswap.core.address import TcpAddress
from hotswap.core.http.exchange_view import ExchangeView
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance

VIEW = ExchangeView(
    request_line="GET /slow", client="192.0.2.1", age=1.5, request_bytes=0, response_bytes=4096, tunnel=False
)


async def test_only_backends_on_their_way_out_are_asked_about_and_the_last_look_is_told():
    """What serves is not: it may have thousands. What was readmitted waits for nothing any more."""
    pool = Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=2, supervised=True)
    address = TcpAddress("127.0.0.1", 9)
    leaving, serving = (
        pool.add(slot=slot, generation=1, address=address, state=BackendState.READY, now=0.0) for slot in range(2)
    )
    pool.move(leaving, BackendState.DRAINING, now=1.0)
    asked: list[Backend] = []

    async def ask(backend: Backend) -> list[ExchangeView]:
        asked.append(backend)
        return [VIEW]

    book = DrainsBook(lambda: pool.backends, ask)
    assert book.of(leaving) == ()
    await book.look()
    assert asked == [leaving]
    assert book.of(leaving) == [VIEW]
    assert book.of(serving) == ()
    pool.move(leaving, BackendState.READY, now=2.0)
    assert book.of(leaving) == ()
    await book.look()
    assert asked == [leaving]
