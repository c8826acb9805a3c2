"""Deadlines: who is told, when, and who is let go."""

from __future__ import annotations

import math
import weakref

from hotswap.edge.loop.timers import FEW, HORIZON, NEVER, Timers


def all_due(timers: Timers, now: float) -> list[object]:
    """Those that are due, in the order in which they are told."""
    return list(iter(lambda: timers.due(now), None))


class Connection:
    """What has a deadline."""

    def __init__(self) -> None:
        self.deadline, self.armed = math.inf, NEVER

    def on_deadline(self) -> None:
        """Nothing."""

    def on_crash(self, error: Exception) -> None:
        """Nothing."""


def test_a_deadline_comes_once_and_not_before_its_time() -> None:
    """However often it was moved, and however far it is away."""
    timers, one, two = Timers(), Connection(), Connection()
    timers.due(1000.0)
    timers.set(one, 1000.0 + 10 * HORIZON)
    timers.set(two, 1005.0)
    two.deadline = 1006.0  # moved further away, without a word
    came = []
    for tick in range(int(20 * HORIZON * 10)):
        now = 1000.0 + tick / 10
        came += [(timed, now) for timed in all_due(timers, now)]
    assert came == [(two, 1006.0), (one, 1000.0 + 10 * HORIZON)]
    assert (one.deadline, len(timers)) == (math.inf, 0)


def test_a_deadline_may_come_nearer() -> None:
    """It is told at the nearer time, and that is all."""
    timers, one = Timers(), Connection()
    timers.due(1000.0)
    timers.set(one, 1100.0)
    timers.set(one, 1001.0)
    assert all_due(timers, 1001.0) == [one]
    assert [timed for tick in range(200) for timed in all_due(timers, 1001.0 + tick)] == []


def test_who_has_ended_is_let_go_at_once_and_so_is_the_room_of_many() -> None:
    """A flood of short connections is not as many dead ones, and those that live are told as ever."""
    timers, one = Timers(), Connection()
    timers.due(1000.0)
    timers.set(one, 1005.0)
    gone = []
    for _ in range(5 * FEW):
        short = Connection()
        timers.set(short, 1008.0)
        timers.set(short, 1004.0)  # its first place is empty from now on
        timers.forget(short)
        gone.append(weakref.ref(short))
    del short
    assert [ref for ref in gone if ref() is not None] == []
    assert len(timers) <= 2 * FEW
    assert all_due(timers, 1004.5) == []
    assert all_due(timers, 1005.0) == [one]
    assert all_due(timers, 1010.0) == []
    assert len(timers) == 0


def test_who_has_no_deadline_any_more_is_let_go() -> None:
    """Soon, and not when the deadline would have been: a connection that has ended takes no memory for long."""
    timers, one = Timers(), Connection()
    timers.due(1000.0)
    timers.set(one, 1000.0 + 100 * HORIZON)
    one.deadline = math.inf
    gone = weakref.ref(one)
    del one
    assert gone() is not None
    assert timers.due(1000.0 + HORIZON) is None
    assert gone() is None
