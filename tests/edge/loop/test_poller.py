"""Turns: who has much to do gives way to the others, and nothing is forgotten meanwhile."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import trio

from hotswap.edge.loop.poller import DEADLINES, EVENTS, READ, SLICE, TURN, Poller
from hotswap.edge.loop.timers import NEVER

pytestmark = pytest.mark.fail_after(10)

WORK = 0.0004
"""Seconds that each handler takes, by a clock that only they move."""
MANY = 100


class Hand:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Worker:
    """Works for a while whenever it is called."""

    def __init__(self, hand: Hand, *, fails: bool = False) -> None:
        self.hand = hand
        self.fails = fails
        self.deadline, self.armed = math.inf, NEVER
        self.calls = 0
        self.crashes = 0
        self.begun = trio.Event()

    def on_ready(self, _events: int) -> None:
        """Its socket is ready."""
        self.work()

    def on_deadline(self) -> None:
        """Its time is over."""
        self.work()

    def work(self) -> None:
        """Take a while, and perhaps fail."""
        self.calls += 1
        self.begun.set()
        self.hand.now += WORK
        if self.fails:
            raise RuntimeError("on purpose")

    def on_crash(self, _error: Exception) -> None:
        """It has failed."""
        self.crashes += 1


@contextmanager
def opened() -> Iterator[tuple[Poller, Hand]]:
    """A poller that waits for nobody."""
    hand = Hand()
    poller = Poller(clock=hand, linger=0)
    try:
        yield poller, hand
    finally:
        poller.close()


def due_together(poller: Poller, hand: Hand) -> list[Worker]:
    """Many whose time is over, every other of whom fails."""
    workers = [Worker(hand, fails=number % 2 == 0) for number in range(MANY)]
    for worker in workers:
        poller.timers.set(worker, hand.now + 1)
    hand.now += 1
    return workers


def test_deadlines_that_pass_together_are_served_a_few_at_a_time() -> None:
    """Each once, and who fails keeps nobody from his."""
    with opened() as (poller, hand):
        workers = due_together(poller, hand)
        ends: list[float] = [hand.now]
        poller.turn_ends.append(lambda: ends.append(hand.now))
        while poller.run_deadlines():
            pass
        assert max(later - earlier for earlier, later in pairwise(ends)) < DEADLINES + 2 * WORK
        assert [worker.calls for worker in workers] == [1] * MANY
        assert sum(worker.crashes for worker in workers) == MANY / 2
        assert not poller.run_deadlines()


async def test_others_have_their_turn_between_deadlines(autojump_clock: trio.testing.MockClock) -> None:
    """A task of trio's, and whose socket is ready."""
    with opened() as (poller, hand):
        workers = due_together(poller, hand)
        left, right = socket.socketpair()
        with left, right:
            ready = Worker(hand)
            poller.watch(left.fileno(), ready, READ)
            served: list[int] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poller.serve)
                await workers[0].begun.wait()
                right.send(b"x")
                while not workers[-1].calls:
                    served.append(sum(worker.calls for worker in workers))
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        assert ready.calls == 1
        assert len(set(served)) > MANY * WORK / (DEADLINES + 2 * WORK) / 2, served


@pytest.mark.parametrize("asked", ["by sockets", "soon", "soon, all at once"])
def test_a_turn_is_over_when_its_time_is(asked: str) -> None:
    """By the clock as it is then, not as it was before the work; what is left is served in the next."""
    with opened() as (poller, hand):
        workers = [Worker(hand) for _ in range(MANY)]
        pairs = [socket.socketpair() for _ in range(MANY)]
        try:
            ask(poller, workers, pairs, asked)
            began, turns = hand.now, 0
            while poller._turn():
                assert hand.now - began < TURN + (EVENTS + 1) * WORK
                began, turns = hand.now, turns + 1
        finally:
            for pair in pairs:
                for sock in pair:
                    sock.close()
        assert [worker.calls for worker in workers] == [1] * MANY
        assert turns >= 5


def ask(poller: Poller, workers: list[Worker], pairs: list[tuple[socket.socket, socket.socket]], how: str) -> None:
    """Have all of them called: their sockets are ready, or they are asked for, each by the one before or all now."""
    if how == "by sockets":
        for worker, (left, right) in zip(workers, pairs, strict=True):
            poller.watch(left.fileno(), worker, READ)
            right.send(b"x")
        return
    if how == "soon, all at once":
        for worker in workers:
            poller.soon(worker, worker.work)
        return

    def go_on(following: Iterator[Worker]) -> Callable[[], None]:
        def work() -> None:
            worker = next(following)
            worker.work()
            if worker is not workers[-1]:
                poller.soon(worker, go_on(following))

        return work

    poller.soon(workers[0], go_on(iter(workers)))


def test_who_is_ready_is_served_before_all_of_those_who_ask_again() -> None:
    """Found: those who asked had the whole turn, and whoever came with one request waited for it twice."""
    with opened() as (poller, hand):
        left, right = socket.socketpair()
        with left, right:
            workers = [Worker(hand) for _ in range(MANY)]
            before: list[tuple[int, bool]] = []

            class Late(Worker):
                """Becomes ready when the first of the others is at work."""

                def work(self) -> None:
                    before.append((sum(worker.calls for worker in workers), poller.behind))
                    left.recv(1)

            poller.watch(left.fileno(), Late(hand), READ)

            def first() -> None:
                workers[0].work()
                right.send(b"x")

            poller.soon(workers[0], first)
            ask(poller, workers[1:], [], "soon, all at once")
            while poller._turn():
                pass
        ((count, behind),) = before
        assert count <= SLICE / WORK + 1
        assert (behind, poller.behind) == (True, False)
        assert [worker.calls for worker in workers] == [1] * MANY
