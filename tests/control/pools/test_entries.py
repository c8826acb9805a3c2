"""Entries of a pool, changed so that nothing breaks the supervisor off."""

from __future__ import annotations

import pytest

from hotswap.control.pools.entries import Entries
from hotswap.core.address import TcpAddress
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState, Health, IllegalTransition
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance
from tests.support.pool_stage import captured_log


@pytest.fixture
def pool():
    """A pool of one slot, with an observer that always fails."""
    core = Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=1, supervised=True)

    def explode(_event: object) -> None:
        raise ZeroDivisionError

    core.observe(explode)
    return core


def enter(pool: Pool) -> Backend:
    """Put a starting backend into the pool, whatever its observers make of it."""
    with pytest.raises(ExceptionGroup):
        pool.add(slot=0, generation=1, address=TcpAddress("127.0.0.1", 9), now=0.0)
    return pool.backends[-1]


async def test_an_observer_that_fails_is_logged_and_the_change_is_made(pool):
    """The caller goes on."""
    backend = enter(pool)
    with captured_log() as (log, records):
        entries = Entries(pool, log)
        entries.admit(backend)
        assert (backend.state, backend.health, backend.claimable) == (BackendState.READY, Health.HEALTHY, True)
        entries.remove(backend)
        entries.remove(backend)
    assert pool.backends == []
    assert {record["event"] for record in records} == {"pool.observer_crashed"}


@pytest.mark.parametrize("state", [state for state in BackendState if state is not BackendState.STOPPED])
async def test_whatever_is_dead_can_be_buried(pool, state):
    """From every state, also those that have no way to stopped."""
    backend = enter(pool)
    backend.state = state
    with captured_log() as (log, _):
        Entries(pool, log).bury(backend)
    assert pool.backends == []


async def test_an_illegal_transition_is_the_callers_defect(pool):
    """It is not hidden."""
    backend = enter(pool)
    with captured_log() as (log, _), pytest.raises(IllegalTransition):
        Entries(pool, log).move(backend, BackendState.DRAINING)


async def test_a_pool_is_paused_and_resumed_by_hand_once(pool):
    """A second time nothing happens; an observer that fails is logged."""
    with captured_log() as (log, records):
        entries = Entries(pool, log)
        assert [entries.resume(), entries.pause(), entries.pause()] == [False, True, False]
        assert pool.paused
        assert entries.resume()
    events = [record["event"] for record in records if record["event"] != "pool.observer_crashed"]
    assert events == ["pool.paused", "pool.resumed"]


async def test_a_pause_by_hand_changes_its_answer(pool):
    """Which the log tells, and not the page."""
    answer = PauseAnswer(page=b"<h1>soon</h1>")
    with captured_log() as (log, records):
        entries = Entries(pool, log)
        changes = [entries.pause(), entries.pause(answer), entries.pause(answer), entries.pause()]
        assert changes == [True, True, False, True]
    told = [record.get("answer") for record in records if record["event"] == "pool.paused"]
    assert told == [None, {"status": 503, "page": True}, None]
