"""In which order the slots of a pool have their turn."""

from __future__ import annotations

from random import Random

import pytest

from hotswap.core.rollout.queue import QueuedSlot, plan_queue
from hotswap.core.strategy import SlotOrder

AGED = [
    QueuedSlot(slot=2, generation=1, since=30.0),
    QueuedSlot(slot=0, generation=1, since=20.0),
    QueuedSlot(slot=1, generation=3, since=10.0),
    QueuedSlot(slot=3, generation=1, since=20.0),
]


@pytest.mark.parametrize(
    ("order", "slots"), [(SlotOrder.OLDEST_FIRST, [1, 0, 3, 2]), (SlotOrder.NEWEST_FIRST, [2, 0, 3, 1])]
)
def test_age_is_that_of_the_processes(order, slots):
    """Equal ages go by slot number."""

    def never(queue: list[QueuedSlot]) -> None:
        raise AssertionError("nothing random is asked for")

    assert [queued.slot for queued in plan_queue(AGED, order, never)] == slots


def test_random_order_is_what_the_shuffle_makes_of_it():
    """Every slot once, in an order that the caller's dice decide."""
    queues = {
        tuple(queued.slot for queued in plan_queue(AGED, SlotOrder.RANDOM, Random(seed).shuffle)) for seed in range(200)
    }
    assert len(queues) == 24
    assert all(sorted(queue) == [0, 1, 2, 3] for queue in queues)
