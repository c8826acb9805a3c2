"""Choosing a backend: one small pure function for each word of `balance`.

Both work on the *rotation* of `Claims`: the backends that could take an exchange now, the one chosen longest ago
first. That order is all the memory they need. A claim moves the chosen one to the end, so round-robin is
"take the first", and a tie among the least loaded goes to the one that has waited longest, which spreads an
idle pool evenly instead of sending every lone request to the first slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, assert_never

from hotswap.core.strategy import Balance


class Loaded(Protocol):
    """Anything that knows how many exchanges are in flight for it."""

    in_flight: int


LoadedT = TypeVar("LoadedT", bound=Loaded)


def least_in_flight(rotation: Sequence[LoadedT]) -> LoadedT:
    """Give the least loaded of a rotation that is not empty; a tie goes to the one chosen longest ago."""
    chosen = rotation[0]
    least = chosen.in_flight
    # Nothing is less loaded than idle, and the first idle one has waited longest: a quiet pool ends here.
    if least:
        for candidate in rotation:
            in_flight = candidate.in_flight
            if in_flight < least:
                chosen = candidate
                if not in_flight:
                    break
                least = in_flight
    return chosen


def round_robin(rotation: Sequence[LoadedT]) -> LoadedT:
    """Give the one chosen longest ago of a rotation that is not empty, however loaded it is."""
    return rotation[0]


def balancer(balance: Balance) -> Callable[[Sequence[LoadedT]], LoadedT]:
    """Give the function behind a word of the configuration."""
    match balance:
        case Balance.LEAST_IN_FLIGHT:
            return least_in_flight
        case Balance.ROUND_ROBIN:
            return round_robin
        case _:
            assert_never(balance)
