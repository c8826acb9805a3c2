"""Room for one more connection: how many descriptors clients may take, and which idle connections end to make some.

Descriptors are shared by everything, so clients are not given all of them: `RESERVE` of the limit stays for connections
to backends, and half of that for what an operator needs (probes, the admin API, new processes). Where clients have
taken theirs, the newest connection over which nothing was ever asked is worth least, and those of the client that holds
the most of them go first: one client that opens thousands takes nothing from the others, and who was there before the
flood is spared. Then go those that have waited the longest since their last answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Final, Generic, TypeVar

RESERVE: Final = 0.25
MOST_RESERVED: Final = 1024
"""The share of the descriptors that is kept from clients, and the most of them that anybody needs."""

SHARE_AT_ONCE: Final = 16
"""One in so many of the idle connections ends at a time, so that looking at all of them is not done for each client."""

T = TypeVar("T")


def client_descriptors(limit: int) -> int:
    """How many descriptors may be open for another client to be accepted, of `limit` that this process may open."""
    return limit - _reserve(limit)


def upstream_descriptors(limit: int) -> int:
    """How many may be open for another connection to a backend to be made."""
    return limit - _reserve(limit) // 2


def _reserve(limit: int) -> int:
    return min(int(limit * RESERVE), MOST_RESERVED)


@dataclass(frozen=True, slots=True)
class Idle(Generic[T]):
    """A connection over which nothing is under way.

    Attributes:
        connection: itself.
        client: whose it is.
        since: for how long it has been so, as a point in time.
        asked: it has brought a request before.
    """

    connection: T
    client: Hashable
    since: float
    asked: bool = False


def choose_to_end(idle: Iterable[Idle[T]]) -> list[T]:
    """Choose the idle connections that end to make room: one in `SHARE_AT_ONCE`, and at least one if there is any.

    Linear in their number, but for sorting them.
    """
    held: dict[Hashable, list[Idle[T]]] = {}
    for one in idle:
        held.setdefault(one.client, []).append(one)
    count = -(-sum(map(len, held.values())) // SHARE_AT_ONCE)
    for connections in held.values():
        connections.sort(key=_worth, reverse=True)  # what is worth least is last, to be taken by `pop`
    heap = [(-len(connections), number, connections) for number, connections in enumerate(held.values())]
    heapify(heap)
    chosen: list[T] = []
    while len(chosen) < count:
        _, number, connections = heap[0]
        chosen.append(connections.pop().connection)
        heapreplace(heap, (-len(connections), number, connections))
    return chosen


def _worth(one: Idle[T]) -> tuple[bool, float]:
    return (True, one.since) if one.asked else (False, -one.since)
