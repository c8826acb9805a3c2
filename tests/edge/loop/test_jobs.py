"""Blocking calls in threads: their results come back in a turn of the loop, and none holds it up."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
import trio.testing

from hotswap.edge.loop.jobs import Jobs
from hotswap.edge.loop.poller import Poller


class Owner:
    """Whoever asks; keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.event = trio.Event()

    def tell(self, what: object) -> None:
        """A result, an error or a crash."""
        self.told.append(what)
        self.event.set()

    on_crash = tell


@asynccontextmanager
async def open_jobs() -> AsyncIterator[Jobs]:
    """Jobs with a loop that serves them."""
    poller = Poller()
    jobs = Jobs(poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.serve)
        await nursery.start(jobs.serve)
        yield jobs
        nursery.cancel_scope.cancel()
    poller.close()


def fail(error: Exception) -> None:
    """A call that fails."""
    raise error


async def test_a_result_comes_back_in_the_loop():
    """From another thread, to the thread of the loop."""
    owner = Owner()
    places: list[int] = []

    def done(place: int) -> None:
        places.extend((place, threading.get_ident()))
        owner.tell(place)

    async with open_jobs() as jobs:
        jobs.begin(owner, threading.get_ident, done, owner.tell, limiter=trio.CapacityLimiter(1))
        await owner.event.wait()
    made_in, came_to = places
    assert made_in != threading.get_ident() == came_to


async def test_an_error_of_the_system_is_told_and_a_defect_is_contained():
    """The one to `failed`, the other to the owner; the next call is made all the same."""
    async with open_jobs() as jobs:
        for error in (FileNotFoundError(2, "gone"), ValueError("ours")):
            owner = Owner()
            jobs.begin(owner, partial(fail, error), owner.tell, owner.tell, limiter=trio.CapacityLimiter(1))
            await owner.event.wait()
            assert owner.told == [error]


async def test_what_is_asked_for_before_the_start_is_made_then():
    """Nothing is lost."""
    owner = Owner()
    poller = Poller()
    jobs = Jobs(poller)
    jobs.begin(owner, lambda: "done", owner.tell, owner.tell, limiter=trio.CapacityLimiter(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.serve)
        await nursery.start(jobs.serve)
        await owner.event.wait()
        nursery.cancel_scope.cancel()
    poller.close()
    assert owner.told == ["done"]


async def test_a_call_that_hangs_holds_up_neither_others_nor_the_end():
    """One of another kind runs meanwhile, and cancelling leaves the thread behind."""
    hangs = threading.Event()
    slow, quick = Owner(), Owner()
    try:
        async with open_jobs() as jobs:
            jobs.begin(slow, hangs.wait, slow.tell, slow.tell, limiter=trio.CapacityLimiter(1))
            jobs.begin(quick, lambda: "done", quick.tell, quick.tell, limiter=trio.CapacityLimiter(1))
            await quick.event.wait()
        assert slow.told == []
    finally:
        hangs.set()


async def test_a_call_that_must_not_be_left_behind_is_waited_for():
    """The end of the plane waits for it, and for no other."""
    begun, finish, owner = threading.Event(), threading.Event(), Owner()
    finished: list[bool] = []

    def work() -> None:
        begun.set()
        finished.append(finish.wait(10))

    async with trio.open_nursery() as nursery:
        async with open_jobs() as jobs:
            jobs.begin(owner, work, owner.tell, owner.tell, limiter=trio.CapacityLimiter(1), abandon=False)
            await trio.to_thread.run_sync(begun.wait)
            nursery.start_soon(_release_later, finish)
        assert finished == [True]


async def _release_later(finish: threading.Event) -> None:
    """Let a call end, when all else has had its turn."""
    await trio.testing.wait_all_tasks_blocked()
    finish.set()
