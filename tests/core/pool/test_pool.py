"""A pool: claims, drains, outlook and what it tells its observers."""

from __future__ import annotations

import pytest

from hotswap.core.address import TcpAddress
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.claims import UnbalancedRelease
from hotswap.core.pool.events import (
    BackendAdded,
    BackendDrained,
    BackendEjected,
    BackendMoved,
    BackendRemoved,
    HealthChanged,
    NothingExpected,
    PoolLocked,
    PoolPaused,
    PoolResumed,
    PoolUnlocked,
)
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import BackendState, Health, IllegalTransition
from hotswap.core.pool.outlook import Outlook
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.slot_record import CRASH_LOOP
from hotswap.core.strategy import Balance
from tests.support.joined_pool import JoinedPool

ADDRESS = TcpAddress("127.0.0.1", 1)


def pool_of(
    size: int,
    *,
    balance: Balance = Balance.LEAST_IN_FLIGHT,
    max_in_flight: int = 0,
    supervised: bool = True,
    filled: bool = True,
) -> JoinedPool:
    """A pool whose slots are all ready and healthy, unless `filled` is false."""
    pool = JoinedPool(name="web", balance=balance, size=size, supervised=supervised, max_in_flight=max_in_flight)
    if filled:
        for slot in range(size):
            ready(pool, slot)
    return pool


def ready(pool: JoinedPool, slot: int, *, generation: int = 1) -> Backend:
    """Put a ready and healthy backend into a slot."""
    backend = pool.add(slot=slot, generation=generation, address=ADDRESS, now=0.0)
    pool.move(backend, BackendState.READY, now=0.0)
    pool.set_health(backend, Health.HEALTHY)
    return backend


def slots(pool: JoinedPool, claims: int) -> list[int | None]:
    """Claim so many times, and give the slots."""
    return [None if backend is None else backend.slot for backend in (pool.claim() for _ in range(claims))]


def told(pool: JoinedPool) -> list[object]:
    """A list that fills with what the pool tells."""
    events: list[object] = []
    pool.observe(events.append)
    return events


# Claim and release.


def test_a_claim_chooses_and_counts_in_one_step():
    """When claim returns, the exchange is in flight."""
    pool = pool_of(1)
    backend = pool.claim()
    assert backend is pool.backends[0]
    assert pool.in_flight(backend) == 1
    pool.release(backend)
    assert pool.in_flight(backend) == 0


def test_an_idle_pool_serves_lone_requests_in_turns():
    """A tie goes to the backend chosen longest ago, not always to the first."""
    pool = pool_of(3)
    chosen = []
    for _ in range(6):
        backend = pool.claim()
        assert backend is not None
        chosen.append(backend.slot)
        pool.release(backend)
    assert chosen == [0, 1, 2, 0, 1, 2]


def test_least_in_flight_evens_out():
    """A slow backend is given less."""
    pool = pool_of(2)
    assert slots(pool, 4) == [0, 1, 0, 1]
    pool.release(pool.backends[1])
    pool.release(pool.backends[1])
    assert slots(pool, 3) == [1, 1, 0]


def test_round_robin_does_not_look_at_the_load():
    """It takes turns even when one has more in flight."""
    pool = pool_of(2, balance=Balance.ROUND_ROBIN)
    assert slots(pool, 3) == [0, 1, 0]
    pool.release(pool.backends[1])
    assert slots(pool, 2) == [1, 0]


@pytest.mark.parametrize("balance", Balance)
def test_a_full_backend_is_passed_over_until_it_has_room(balance):
    """With all of them full nothing is claimable, and a release brings room."""
    pool = pool_of(2, balance=balance, max_in_flight=2)
    assert slots(pool, 5) == [0, 1, 0, 1, None]
    assert pool.outlook() is Outlook.BUSY
    events = told(pool)
    pool.release(pool.backends[1])
    assert (pool.rooms, events) == (1, [])
    assert pool.outlook() is Outlook.CLAIMABLE
    assert slots(pool, 2) == [1, None]


@pytest.mark.parametrize("balance", Balance)
def test_backends_tried_already_can_be_excluded(balance):
    """A retry goes to another backend, or nowhere."""
    pool = pool_of(2, balance=balance)
    first, second = pool.backends
    assert pool.claim(excluding=(first.id,)) is second
    assert pool.claim(excluding={first.id}) is second
    assert pool.claim(excluding=[first.id, second.id]) is None


def test_a_release_without_a_claim_is_an_error_and_the_count_stays_at_zero():
    """A fault of the caller must not make a drain look complete for ever."""
    for limit in (0, 3):
        pool = pool_of(1, max_in_flight=limit)
        with pytest.raises(UnbalancedRelease):
            pool.release(pool.backends[0])
        assert pool.in_flight(pool.backends[0]) == 0


def test_an_exchange_can_be_released_after_its_backend_has_left_the_pool():
    """And the backend does not come back by that."""
    pool = pool_of(1, max_in_flight=1)
    backend = pool.claim()
    assert backend is not None
    pool.remove(backend)
    pool.release(backend)
    assert pool.in_flight(backend) == 0
    assert pool.claim() is None


# Who is claimable.


@pytest.mark.parametrize("health", Health)
@pytest.mark.parametrize("state", BackendState)
def test_only_ready_and_healthy_is_claimable(state, health):
    """For every pair of state and health, however the two were reached."""
    pool = pool_of(1, filled=False)
    backend = pool.add(slot=0, generation=1, address=ADDRESS, state=state, health=health, now=0.0)
    expected = state is BackendState.READY and health is Health.HEALTHY
    assert backend.claimable is expected
    assert (pool.claim() is backend) is expected
    assert pool.ready_slots() == ({0} if expected else frozenset())


def test_a_probe_that_passes_never_readmits():
    """Health and rotation are two axes; only the verb brings a draining backend back."""
    pool = pool_of(1)
    backend = pool.backends[0]
    pool.move(backend, BackendState.DRAINING, now=1.0)
    for health in (Health.UNHEALTHY, Health.UNKNOWN, Health.HEALTHY):
        pool.set_health(backend, health)
        assert not backend.claimable
        assert pool.claim() is None
    pool.move(backend, BackendState.READY, now=2.0)
    assert pool.claim() is backend


def test_an_unhealthy_backend_keeps_its_exchanges_and_gets_no_new_one():
    """Until a verdict says otherwise."""
    pool = pool_of(2)
    first = pool.claim()
    assert first is not None
    pool.set_health(first, Health.UNHEALTHY)
    assert slots(pool, 2) == [1, 1]
    assert pool.in_flight(first) == 1
    pool.set_health(first, Health.HEALTHY)
    assert slots(pool, 1) == [0]


def test_an_illegal_move_changes_nothing():
    """And nobody is told."""
    pool = pool_of(1)
    events = told(pool)
    backend = pool.backends[0]
    with pytest.raises(IllegalTransition):
        pool.move(backend, BackendState.STOPPING, now=9.0)
    assert (backend.state, backend.since, backend.claimable) == (BackendState.READY, 0.0, True)
    assert events == []


def test_a_paused_pool_lets_nothing_be_claimed():
    """What is in flight goes on, and resuming frees everybody who waits."""
    pool = pool_of(1, max_in_flight=1)
    backend = pool.claim()
    assert backend is not None
    events = told(pool)
    pool.pause()
    pool.pause()
    pool.release(backend)
    assert pool.claim() is None
    assert pool.outlook() is Outlook.EXPECTED
    assert events == [PoolPaused("web")]
    pool.resume()
    pool.resume()
    assert events[1:] == [PoolResumed("web")]
    assert pool.claim() is backend


def test_a_changed_definition_holds_at_once():
    """Limits, size and balance; what is above a lowered limit drains down to it."""
    pool = pool_of(2)
    assert slots(pool, 6) == [0, 1, 0, 1, 0, 1]
    pool.reconfigure(balance=Balance.ROUND_ROBIN, size=3, max_in_flight=2)
    assert pool.claim() is None
    first = pool.backends[0]
    pool.release(first)
    assert pool.claim() is None
    pool.release(first)
    assert pool.claim() is first
    assert pool.slot_numbers() == [0, 1, 2]
    pool.reconfigure(balance=Balance.LEAST_IN_FLIGHT, size=2, max_in_flight=0)
    assert slots(pool, 2) == [0, 1]


# Drains.


def test_a_drain_is_complete_when_the_last_exchange_ends():
    """Not before, and exactly once."""
    pool = pool_of(1)
    backend = pool.backends[0]
    assert slots(pool, 2) == [0, 0]
    events = told(pool)
    pool.move(backend, BackendState.DRAINING, now=1.0)
    pool.release(backend)
    assert BackendDrained(backend) not in events
    pool.release(backend)
    assert events.count(BackendDrained(backend)) == 1


def test_a_drain_with_nothing_in_flight_is_complete_at_once():
    """Whoever waits needs no second way to find out."""
    pool = pool_of(2)
    backend = pool.backends[0]
    events = told(pool)
    pool.move(backend, BackendState.DRAINING, now=1.0)
    assert events == [
        BackendMoved(backend, BackendState.READY, BackendState.DRAINING),
        BackendDrained(backend),
    ]


def test_a_full_backend_that_drains_does_not_free_capacity():
    """Its room is nobody's room any more."""
    pool = pool_of(2, max_in_flight=1)
    backend = pool.claim()
    assert backend is not None
    pool.move(backend, BackendState.DRAINING, now=1.0)
    events = told(pool)
    pool.release(backend)
    assert events == [BackendDrained(backend)]


# Is it worth waiting?


def test_a_supervised_pool_hopes_from_the_start():
    """Nobody has to announce the boot."""
    assert pool_of(2, filled=False).outlook() is Outlook.EXPECTED


def test_a_crash_leaves_hope_for_the_respawn():
    """Nobody has to announce it; the moment between death and respawn loses no request."""
    pool = pool_of(1)
    events = told(pool)
    backend = pool.backends[0]
    pool.move(backend, BackendState.STOPPED, now=1.0)
    pool.remove(backend)
    assert pool.outlook() is Outlook.EXPECTED
    assert NothingExpected("web") not in events
    assert pool.lost_slots() == frozenset()


def fail_to_start(pool: JoinedPool, slot: int, *, generation: int = 1) -> None:
    """A start that fails, to the end."""
    backend = pool.add(slot=slot, generation=generation, address=ADDRESS, now=0.0)
    pool.move(backend, BackendState.FAILED, now=0.0)
    pool.move(backend, BackendState.STOPPED, now=0.0)
    pool.remove(backend)


def test_a_crash_loop_ends_the_hope_even_while_the_next_try_is_starting():
    """Failed starts in a row answer 503 at once; one that becomes ready ends the row."""
    pool = pool_of(1, filled=False)
    events = told(pool)
    for _ in range(CRASH_LOOP - 1):
        fail_to_start(pool, 0)
        assert pool.outlook() is Outlook.EXPECTED
    fail_to_start(pool, 0)
    assert pool.outlook() is Outlook.HOPELESS
    assert events.count(NothingExpected("web")) == 1
    assert pool.lost_slots() == {0}
    backend = pool.add(slot=0, generation=1, address=ADDRESS, now=0.0)
    assert pool.outlook() is Outlook.HOPELESS
    pool.move(backend, BackendState.READY, now=0.0)
    assert pool.outlook() is Outlook.EXPECTED
    assert pool.lost_slots() == frozenset()


def test_another_generation_starts_with_a_clean_record():
    """The failures of old code say nothing about new code."""
    pool = pool_of(1, filled=False)
    for _ in range(CRASH_LOOP):
        fail_to_start(pool, 0)
    pool.add(slot=0, generation=2, address=ADDRESS, now=0.0)
    assert pool.outlook() is Outlook.EXPECTED


def test_an_unhealthy_process_of_ours_is_waited_for():
    """It lives and is probed; it may come back any moment."""
    pool = pool_of(1)
    pool.set_health(pool.backends[0], Health.UNHEALTHY)
    assert pool.outlook() is Outlook.EXPECTED


def test_a_slot_drained_by_hand_is_not_waited_for_unless_announced():
    """It returns only when an operator says so; a rollout announces its replacement."""
    pool = pool_of(1)
    pool.move(pool.backends[0], BackendState.DRAINING, now=1.0)
    assert pool.outlook() is Outlook.HOPELESS
    pool.announce(0)
    assert pool.outlook() is Outlook.EXPECTED
    pool.add(slot=0, generation=2, address=ADDRESS, now=1.0)
    assert pool.outlook() is Outlook.EXPECTED


def test_a_locked_pool_waits_for_what_lives_and_for_nothing_else():
    """Nobody respawns in it; unlocking brings the hope back."""
    pool = pool_of(2)
    pool.announce(1)
    events = told(pool)
    pool.lock("rollout r1 failed")
    pool.lock("a later reason")
    assert pool.locked == "rollout r1 failed"
    first, second = pool.backends
    pool.set_health(first, Health.UNHEALTHY)
    pool.move(second, BackendState.STOPPED, now=1.0)
    pool.remove(second)
    assert pool.outlook() is Outlook.EXPECTED
    pool.move(first, BackendState.STOPPED, now=1.0)
    assert pool.outlook() is Outlook.HOPELESS
    assert events.count(NothingExpected("web")) == 1
    assert events[0] == PoolLocked("web", "rollout r1 failed")
    pool.unlock()
    pool.unlock()
    assert pool.outlook() is Outlook.EXPECTED
    assert events.count(PoolUnlocked("web")) == 1


def test_a_static_pool_hopes_only_for_its_first_probes():
    """Somebody else runs those addresses: unhealthy means 503 at once."""
    pool = pool_of(2, supervised=False, filled=False)
    assert pool.outlook() is Outlook.HOPELESS
    first, second = (
        pool.add(slot=slot, generation=1, address=ADDRESS, state=BackendState.READY, now=0.0) for slot in (0, 1)
    )
    assert pool.outlook() is Outlook.EXPECTED
    pool.set_health(first, Health.UNHEALTHY)
    assert pool.outlook() is Outlook.EXPECTED
    pool.set_health(second, Health.UNHEALTHY)
    assert pool.outlook() is Outlook.HOPELESS
    pool.set_health(second, Health.HEALTHY)
    assert pool.outlook() is Outlook.CLAIMABLE
    assert pool.lost_slots() == frozenset()
    assert not pool.expects(0)


# What observers are told.


def test_observers_are_told_of_every_change_once_and_in_order():
    """The life of one backend, as it is told."""
    pool = pool_of(1, filled=False)
    events = told(pool)
    backend = pool.add(slot=0, generation=1, address=ADDRESS, now=0.0)
    pool.move(backend, BackendState.READY, now=1.0)
    pool.set_health(backend, Health.HEALTHY)
    pool.set_health(backend, Health.HEALTHY)
    pool.move(backend, BackendState.STOPPED, now=2.0)
    pool.remove(backend)
    assert events == [
        BackendAdded(backend),
        BackendMoved(backend, BackendState.STARTING, BackendState.READY),
        HealthChanged(backend, Health.UNKNOWN, Health.HEALTHY),
        BackendMoved(backend, BackendState.READY, BackendState.STOPPED),
        BackendRemoved(backend),
    ]


def test_what_an_observer_brings_about_is_told_after_the_event_at_hand():
    """Every observer sees the same order, even the one that changes the pool."""
    pool = pool_of(1, filled=False)

    def admit(event: object) -> None:
        match event:
            case BackendAdded(backend):
                pool.move(backend, BackendState.READY, now=1.0)
            case _:
                pass

    pool.observe(admit)
    events = told(pool)
    backend = pool.add(slot=0, generation=1, address=ADDRESS, now=0.0)
    assert events == [BackendAdded(backend), BackendMoved(backend, BackendState.STARTING, BackendState.READY)]


def test_a_broken_observer_does_not_cost_the_others_an_event():
    """Its fault is raised when everybody has been told."""
    pool = pool_of(1, filled=False)

    def broken(event: object) -> None:
        raise LookupError(event)

    pool.observe(broken)
    events = told(pool)
    with pytest.raises(ExceptionGroup) as caught:
        ready(pool, 0)
    assert caught.group_contains(LookupError)
    assert events == [BackendAdded(pool.backends[0])]


def test_an_observation_can_be_ended_twice():
    """The second time does nothing, also when the same callback observes again."""
    pool = pool_of(1)
    events: list[object] = []
    stop_observing = pool.observe(events.append)
    stop_observing()
    stop_observing()
    pool.pause()
    assert events == []


def test_a_view_shows_old_and_new_of_a_slot_and_does_not_change():
    """While one replaces the other, both are in it."""
    pool = pool_of(2)
    old = pool.backends[1]
    new = pool.add(slot=1, generation=2, address=ADDRESS, now=5.0, pid=4711)
    view = pool.view()
    pool.remove(old)
    assert [backend.id for backend in view.backends if backend.slot == 1] == [old.id, new.id]
    assert [backend.generation for backend in view.backends if backend.slot == 1] == [1, 2]
    assert view.expecting


def test_a_drain_is_told_once_also_when_its_backend_is_gone_before():
    """Its last exchange ends after it was removed; a second word of that changes nothing."""
    pool = pool_of(2)
    backend = pool.claim()
    assert backend is not None
    events: list[object] = []
    pool.observe(events.append)
    pool.move(backend, BackendState.DRAINING, now=1.0)
    pool.remove(backend)
    assert BackendDrained(backend) not in events
    pool.release(backend)
    pool.note_idle(backend.id, pool.version)
    assert events.count(BackendDrained(backend)) == 1


def test_a_drain_that_began_anew_is_not_ended_by_the_word_of_the_first():
    """It says by which version the backend was idle."""
    pool = pool_of(1)
    backend = pool.claim()
    assert backend is not None
    pool.move(backend, BackendState.DRAINING, now=1.0)
    first = pool.version
    pool.move(backend, BackendState.READY, now=2.0)
    pool.move(backend, BackendState.DRAINING, now=3.0)
    events: list[object] = []
    pool.observe(events.append)
    pool.note_idle(backend.id, first)
    assert events == []
    pool.note_idle(backend.id, pool.version)
    assert events == [BackendDrained(backend)]


def test_in_a_pool_that_no_data_plane_serves_a_drain_is_over_at_once():
    """Nobody can have anything in flight."""
    pool = Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=1, supervised=True)
    backend = pool.add(slot=0, generation=1, address=ADDRESS, state=BackendState.READY, now=0.0)
    events: list[object] = []
    pool.observe(events.append)
    pool.move(backend, BackendState.DRAINING, now=1.0)
    assert events[-1] == BackendDrained(backend)


def test_ids_are_unique_across_pools():
    """One number names one backend for the life of the process."""
    ids = [backend.id for pool in (pool_of(3), pool_of(3)) for backend in pool.backends]
    assert len(set(ids)) == 6


def test_an_ejected_backend_is_the_last_choice() -> None:
    """Nothing is claimed for it while there is another, also not when one of its exchanges ends; else it serves."""
    pool = pool_of(2, max_in_flight=2)
    bad, good = pool.backends
    told: list[object] = []
    pool.claim([good.id])
    pool.observe(told.append)
    pool.eject(bad, 3.0)
    pool.eject(bad, 3.0)
    assert told == [BackendEjected(bad, 3.0)]
    assert slots(pool, 3) == [1, 1, None]  # the other is full, and then it is waited for
    assert pool.outlook() is Outlook.BUSY
    pool.release(bad)
    assert pool.claim() is None
    assert pool.ready_slots() == {0, 1}
    pool.set_health(good, Health.UNHEALTHY)
    assert slots(pool, 1) == [0]
    pool.set_health(good, Health.HEALTHY)
    assert pool.claim() is None
    pool.eject(bad, 0)
    assert slots(pool, 2) == [0, None]


def test_a_full_ejected_backend_does_not_come_back_by_an_end() -> None:
    """The end of an exchange makes room in it, which is for nobody."""
    pool = pool_of(2, max_in_flight=1)
    bad, good = pool.backends
    pool.claim([good.id])
    pool.eject(bad, 3.0)
    pool.release(bad)
    assert slots(pool, 2) == [1, None]


def test_why_a_slot_is_not_well_is_known_until_it_is() -> None:
    """Through further starts and an unlock; a backend that can be claimed, or is drained, has nothing to explain."""
    pool = pool_of(1, filled=False)
    moved: list[LastError | None] = []
    pool.observe(lambda event: moved.append(event.error) if isinstance(event, BackendMoved) else None)
    why = LastError(text="exited with status 1: no database", exit="exit code 1")
    first = pool.add(slot=0, generation=1, address=ADDRESS, now=0.0)
    pool.note_error(0, why)
    pool.move(first, BackendState.FAILED, now=1.0)
    assert moved == [why]
    pool.lock("for the test")
    pool.unlock()
    pool.remove(first)
    second = pool.add(slot=0, generation=2, address=ADDRESS, now=2.0)
    assert pool.last_error(0) == why
    pool.move(second, BackendState.READY, now=3.0)
    pool.set_health(second, Health.HEALTHY)
    assert pool.last_error(0) is None
    pool.set_health(second, Health.UNHEALTHY, "status 500")
    assert pool.last_error(0) == LastError(text="unhealthy: status 500")
    pool.set_health(second, Health.HEALTHY)
    # What a rollout started beside it failed, and it was drained later.
    pool.note_error(0, why)
    assert pool.last_error(0) is None
    pool.move(second, BackendState.DRAINING, now=4.0)
    assert pool.last_error(0) is None


def test_a_start_that_had_no_process_counts_as_failed() -> None:
    """Or nothing would ever be given up for a directory that is gone."""
    pool = pool_of(1, filled=False)
    for attempt in range(1, CRASH_LOOP + 1):
        assert pool.expects(0)
        pool.note_error(0, LastError(text="no such directory"), unborn=True)
        assert pool.failed_starts(0) == attempt
    assert not pool.expects(0)
