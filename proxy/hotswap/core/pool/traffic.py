"""Traffic of each generation of a pool: rate, latency and failures.

Theory: a generation has one flat list of counts, the durations of what went well by bucket, then the same
again for what ended in 5xx. So an exchange costs one increment, at the place its duration already gave, and
everything that is shown is a difference of two copies of the list. The buckets are finer than those of the
metrics, which are sums of them, so a quantile is off by a fifth at most.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hotswap.core.tally import DURATION_BOUNDS

FINE_BOUNDS = (
    *(0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.0007),
    *(0.001, 0.0015, 0.002, 0.0025, 0.0035, 0.005, 0.007),
    *(0.01, 0.015, 0.02, 0.025, 0.035, 0.05, 0.07),
    *(0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7),
    *(1.0, 1.5, 2.0, 2.5, 3.5, 5.0, 7.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
"""Upper bounds of the buckets, in seconds; those of `DURATION_BOUNDS` are among them."""

BUCKETS = len(FINE_BOUNDS) + 1
"""How many buckets there are; the last one is everything above."""

COARSE = tuple(bisect_left(DURATION_BOUNDS, bound) for bound in (*FINE_BOUNDS, float("inf")))
"""The bucket of `DURATION_BOUNDS` that each bucket is a part of."""

NO_GENERATION = 0
"""Stands for the proxy itself, which answers what no backend has taken."""


class Served(dict[int, list[int]]):
    """Histogram counts of one pool by generation: `BUCKETS` of successes, then `BUCKETS` of failures.

    A plain dictionary with a default, because it is looked into for every exchange.
    """

    def __missing__(self, generation: int) -> list[int]:
        counts = self[generation] = [0] * (2 * BUCKETS)
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSample:
    """Traffic of one interval.

    Attributes:
        requests: exchanges that ended.
        errors: how many of them were answered 5xx.
        p50, p99: half, and all but a hundredth, took at most so long, in seconds.
    """

    requests: int
    errors: int
    p50: float
    p99: float


def sample(difference: Sequence[int]) -> TrafficSample | None:
    """Sum up the counts of an interval; None when nothing was served in it."""
    requests = sum(difference)
    if not requests:
        return None
    errors = sum(difference[BUCKETS:])
    merged = [well + failed for well, failed in zip(difference[:BUCKETS], difference[BUCKETS:], strict=True)]
    return TrafficSample(
        requests=requests, errors=errors, p50=quantile(merged, requests, 0.5), p99=quantile(merged, requests, 0.99)
    )


def quantile(counts: Iterable[int], total: int, part: float) -> float:
    """Quantile of a histogram in seconds, interpolated linearly within its bucket.

    What lies above the last bound is told as the last bound.
    """
    wanted = part * total
    seen = 0
    for count, (lower, upper) in zip(counts, pairwise((0.0, *FINE_BOUNDS, FINE_BOUNDS[-1])), strict=True):
        if count and seen + count >= wanted:
            return lower + (upper - lower) * (wanted - seen) / count
        seen += count
    return FINE_BOUNDS[-1]
