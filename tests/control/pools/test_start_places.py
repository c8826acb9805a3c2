"""Places for backends that boot: bounded, in order, and given back whatever happens."""

from __future__ import annotations

import os

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from hotswap.control.pools.process_facts import processor_seconds
from hotswap.control.pools.start_places import StartPlaces
from tests.support.pool_stage import open_pool, supervised_table


@given(
    places=st.integers(min_value=1, max_value=3),
    starts=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 4), st.booleans()), max_size=12),
)
def test_never_more_than_there_are_places_and_all_have_their_turn(places, starts):
    """Or one more, where two pools start; who waits is cancelled or served, and in the end all places are free."""
    busy, most, served = 0, 0, 0

    async def start(all_: StartPlaces, pool: str, slot: int, seconds: int, patient: bool) -> None:
        nonlocal busy, most, served
        with trio.move_on_after(1000 if patient else 1):
            place = await all_.take(pool, (0, slot))
            busy += 1
            most = max(most, busy)
            try:
                await trio.sleep(seconds)
                served += 1
            finally:
                busy -= 1
                place.give_back()
                place.give_back()

    async def run() -> None:
        all_ = StartPlaces(places)
        async with trio.open_nursery() as nursery:
            for pool, slot, seconds, patient in starts:
                nursery.start_soon(start, all_, pool, slot, seconds, patient)
        assert most <= places + (len({pool for pool, *_ in starts}) > 1)
        assert served >= sum(patient for *_, patient in starts)
        assert not all_.wanted
        with trio.fail_after(1):
            for _ in range(places):
                await all_.take("a", (0, 0))

    trio.run(run, clock=MockClock(autojump_threshold=0))


async def test_the_lowest_rank_is_next(autojump_clock):
    """A slot that fails again and again comes after those that have not been tried, and slot 0 of a pool before 1."""
    places = StartPlaces(1)
    first = await places.take("a", (0, 0))
    order: list[tuple[int, int]] = []

    async def wait(rank: tuple[int, int]) -> None:
        place = await places.take("a", rank)
        order.append(rank)
        place.give_back()

    async with trio.open_nursery() as nursery:
        for rank in ((3, 0), (0, 1), (0, 0)):
            nursery.start_soon(wait, rank)
        await trio.testing.wait_all_tasks_blocked()
        first.give_back()
    assert order == [(0, 0), (0, 1), (3, 0)]


async def test_one_pool_never_has_all_of_them(autojump_clock):
    """What never becomes ready in one holds no other up, not even where that needs several starts."""
    places = StartPlaces(2)
    stuck = [await places.take("stuck", (0, slot)) for slot in range(2)]
    with trio.move_on_after(1):
        await places.take("stuck", (0, 2))
    with trio.fail_after(1):
        first = await places.take("web", (0, 0))
    with trio.move_on_after(1) as waiting:
        await places.take("web", (0, 1))
    assert waiting.cancelled_caught
    first.give_back()
    with trio.fail_after(1):
        (await places.take("web", (0, 1))).give_back()
    for place in stuck:
        place.give_back()


async def test_one_that_only_waits_gives_its_place_to_the_next(tmp_path):
    """Four backends that sleep before they listen, and one place: they need not wait for each other to be ready."""
    table = supervised_table(tmp_path, "faulty.plain", "--boot-seconds", "3", size=4)
    async with open_pool(table, full=False) as stage:
        object.__setattr__(stage.surroundings, "places", StartPlaces(1))
        await stage.wait(lambda: len(stage.pool.core.backends) == 4)
        assert not stage.ready


def test_processor_time_is_that_of_the_whole_tree():
    """It grows with what is done, and a process that is gone has used none."""
    before = processor_seconds(os.getpid())
    sum(range(3_000_000))
    assert processor_seconds(os.getpid()) > before
    assert processor_seconds(2**22 + 1) == 0
