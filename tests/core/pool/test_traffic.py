"""What a generation has served: buckets, quantiles, samples."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.pool.traffic import BUCKETS, COARSE, FINE_BOUNDS, Served, quantile, sample
from hotswap.core.tally import DURATION_BOUNDS

DURATIONS = st.floats(min_value=0.0, max_value=100.0)


@given(DURATIONS)
def test_the_fine_buckets_are_parts_of_the_coarse_ones(duration: float) -> None:
    """So one search is enough for both histograms."""
    assert COARSE[bisect_left(FINE_BOUNDS, duration)] == bisect_left(DURATION_BOUNDS, duration)


@given(st.lists(st.floats(min_value=0.0001, max_value=60.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_real_one(durations: list[float], part: float) -> None:
    """Which is how wrong it can be."""
    counts = [0] * BUCKETS
    for duration in durations:
        counts[bisect_left(FINE_BOUNDS, duration)] += 1
    found = quantile(counts, len(durations), part)
    rank = next(rank for rank in range(1, len(durations) + 1) if rank >= part * len(durations))
    real = bisect_left(FINE_BOUNDS, sorted(durations)[rank - 1])
    lower = FINE_BOUNDS[real - 1] if real else 0.0
    assert lower <= found <= FINE_BOUNDS[min(real, len(FINE_BOUNDS) - 1)]


def test_a_sample_counts_what_failed_and_times_everything() -> None:
    """An answer of 503 is an answer, and its time is one."""
    counts = Served()[1]
    counts[bisect_left(FINE_BOUNDS, 0.004)] += 3
    counts[BUCKETS + bisect_left(FINE_BOUNDS, 70.0)] += 1
    taken = sample(counts)
    assert taken is not None
    assert (taken.requests, taken.errors) == (4, 1)
    assert 0.0035 <= taken.p50 <= 0.005
    assert taken.p99 == 60.0


def test_nothing_served_is_no_sample() -> None:
    """A quantile of nothing would be an invention."""
    assert sample([0] * (2 * BUCKETS)) is None


@pytest.mark.parametrize("generation", [0, 7])
def test_a_generation_is_there_when_it_is_counted_first(generation: int) -> None:
    """Nobody has to announce it."""
    served = Served()
    served[generation][0] += 1
    assert served == {generation: [1, *[0] * (2 * BUCKETS - 1)]}
