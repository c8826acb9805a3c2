"""The outcome of a pool's first start."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from hotswap.control.pools.first_start import FirstStart
from hotswap.core.address import TcpAddress
from hotswap.core.errors import BackendError
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance


@pytest.fixture
def core() -> Pool:
    """A pool of one slot."""
    return Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=1, supervised=True)


async def test_it_has_come_up_when_every_slot_is_ready(core, autojump_clock):
    """Not before."""
    first_start = FirstStart(core)
    backend = core.add(slot=0, generation=1, address=TcpAddress("127.0.0.1", 9), now=0.0)
    with trio.move_on_after(1) as early:
        await first_start.wait()
    assert early.cancelled_caught
    core.move(backend, BackendState.READY, now=0.0)
    core.set_health(backend, Health.HEALTHY)
    await first_start.wait()


async def test_the_first_failure_ends_the_wait(core):
    """Also one that comes while somebody waits, and whatever is said later."""
    first_start = FirstStart(core)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(BackendError, match="no such program"):
                await first_start.wait()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        first_start.note_failure(BackendError("no such program"))
        first_start.note_stop()


async def test_a_pool_that_is_ended_never_comes_up(core):
    """Whoever waits is told."""
    first_start = FirstStart(core)
    first_start.note_stop()
    with pytest.raises(BackendError, match="before it was ready"):
        await first_start.wait()
