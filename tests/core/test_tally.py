"""What is counted."""

from __future__ import annotations

from hotswap.core.tally import DURATION_BOUNDS, Histogram


def test_a_duration_is_counted_under_the_first_bound_that_holds_it():
    """A bound is inclusive, as Prometheus has it, and the last bucket is everything above."""
    histogram = Histogram()
    for seconds in (0.0, DURATION_BOUNDS[0], 0.0011, DURATION_BOUNDS[-1], 1e6):
        histogram.observe(seconds)
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-2], histogram.counts[-1]) == (2, 1, 1, 1)
    assert len(histogram.counts) == len(DURATION_BOUNDS) + 1
    assert histogram.total == sum((0.0, DURATION_BOUNDS[0], 0.0011, DURATION_BOUNDS[-1], 1e6))
