"""Descriptor limits of clients and backends, and which idle connections are ended to stay below them.

Descriptors are shared by everything, so clients are not given all of them: `RESERVE` of what is not taken by others
(log files, processes of backends) stays for connections to backends, and these leave a few for what an operator needs
(probes, the admin API, new processes). Where clients have taken theirs, the newest connection over which nothing was
ever asked is worth least, and those of the client that holds the most of them go first: one client that opens thousands
takes nothing from the others, and who was there before the flood is spared. Then go those that have waited the longest
since their last answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Final, Generic, TypeVar

RESERVE: Final = 0.25
MOST_RESERVED: Final = 1024
"""The share of the descriptors that is kept from clients, and the most of them that anybody needs."""
OPERATOR_RESERVE: Final = 1 / 16
MOST_FOR_OPERATOR: Final = 128
"""The same of those that are kept from connections to backends as well."""

SHARE_AT_ONCE: Final = 16
"""One in so many of the idle connections ends at a time, so that looking at all of them is not done for each client."""

T = TypeVar("T")


def client_descriptors(limit: int, *, others: int = 0) -> int:
    """How many descriptors may be open for another client to be accepted.

    Args:
        limit: how many this process may open.
        others: how many of those that are open are neither of clients nor to backends.
    """
    return limit - min(int((limit - others) * RESERVE), MOST_RESERVED)


def upstream_descriptors(limit: int) -> int:
    """How many may be open for another connection to a backend to be made."""
    return limit - min(int(limit * OPERATOR_RESERVE), MOST_FOR_OPERATOR)


@dataclass(frozen=True, slots=True)
class Idle(Generic[T]):
    """An idle connection.

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
    """Choose idle connections to end: one in `SHARE_AT_ONCE`, and at least one if there is any.

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
