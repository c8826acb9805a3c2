"""Every change of a pool is an event with the same words."""

from __future__ import annotations

from hotswap.control.pools.announcements import Announcer
from hotswap.control.telemetry.events import EventLog
from hotswap.core.address import TcpAddress
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance
from tests.support.pool_stage import captured_log


def test_the_life_of_a_backend_and_the_verbs_of_a_pool_are_published():
    """In the order in which they happened, each with who it is about."""
    events = EventLog()
    pool = Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=1, supervised=True)
    with captured_log() as (log, records):
        pool.observe(Announcer(events, log))
        backend = pool.add(slot=0, generation=1, address=TcpAddress("127.0.0.1", 9), now=0.0, pid=7)
        pool.set_health(backend, Health.HEALTHY)
        pool.move(backend, BackendState.READY, now=1.0)
        pool.pause(PauseAnswer(status=404))
        pool.resume()
        pool.move(backend, BackendState.DRAINING, now=2.0)
        pool.lock("for the test")
        pool.remove(backend)
        pool.unlock()
    kinds = [event.kind for event in events.recent()]
    assert [kind for kind in kinds if kind != "pool.hopeless"] == [
        "backend.added",
        "backend.health",
        "backend.ready",
        "pool.paused",
        "pool.resumed",
        "backend.draining",
        "backend.drained",
        "pool.locked",
        "backend.removed",
        "pool.unlocked",
    ]
    paused = next(event for event in events.recent() if event.kind == "pool.paused")
    assert dict(paused.fields) == {"pool": "web", "answer": {"status": 404, "page": False}}
    ready = next(event for event in events.recent() if event.kind == "backend.ready")
    assert dict(ready.fields) == {
        "pool": "web",
        "slot": 0,
        "generation": 1,
        "backend": backend.id,
        "before": "starting",
        "pid": 7,
    }
    assert "pool.hopeless" in kinds
    assert {record["event"] for record in records} == {"pool.hopeless"}


def test_it_never_raises():
    """Whatever it is given."""
    with captured_log() as (log, records):
        announcer = Announcer(None, log)  # type: ignore[arg-type]  # as broken as can be
        announcer(object())  # type: ignore[arg-type]
        assert [record["event"] for record in records] == ["announcement.crashed"]


def test_that_a_pool_which_is_stopped_gives_up_hope_is_no_news():
    """Or every planned stop would raise an alarm."""
    events = EventLog()
    pool = Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=1, supervised=True)
    with captured_log() as (log, records):
        announcer = Announcer(events, log)
        pool.observe(announcer)
        backend = pool.add(slot=0, generation=1, address=TcpAddress("127.0.0.1", 9), now=0.0, pid=7)
        pool.set_health(backend, Health.HEALTHY)
        pool.move(backend, BackendState.READY, now=1.0)
        announcer.ending = True
        pool.move(backend, BackendState.DRAINING, now=2.0)
    assert "pool.hopeless" not in [event.kind for event in events.recent()]
    assert records == []
