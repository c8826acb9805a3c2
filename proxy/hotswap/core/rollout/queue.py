"""Order of a rollout: the queue of slots, from a snapshot of what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

from hotswap.core.strategy import SlotOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedSlot:
    """A slot of the snapshot: its number, what it holds, and since when (seconds, any clock)."""

    slot: int
    generation: int
    since: float = 0.0


def plan_queue(
    slots: Iterable[QueuedSlot], order: SlotOrder, shuffle: Callable[[list[QueuedSlot]], None]
) -> tuple[QueuedSlot, ...]:
    """Sort the snapshot into the order in which the slots have their turn.

    Args:
        slots: what the pool holds now.
        order: the word of the configuration; age is that of the processes, equal ages go by slot number.
        shuffle: puts a list into random order, in place.
    """
    queue = sorted(slots, key=lambda queued: queued.slot)
    match order:
        case SlotOrder.RANDOM:
            shuffle(queue)
        case SlotOrder.OLDEST_FIRST:
            queue.sort(key=lambda queued: queued.since)
        case SlotOrder.NEWEST_FIRST:
            queue.sort(key=lambda queued: -queued.since)
        case _:
            assert_never(order)
    return tuple(queue)
