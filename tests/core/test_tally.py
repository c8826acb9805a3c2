"""What is counted."""

from __future__ import annotations

from hotswap.core.tally import DURATION_BOUNDS, Histogram, Tally


def test_a_duration_is_counted_under_the_first_bound_that_holds_it():
    """A bound is inclusive, as Prometheus has it, and the last bucket is everything above."""
    histogram = Histogram()
    for seconds in (0.0, DURATION_BOUNDS[0], 0.0011, DURATION_BOUNDS[-1], 1e6):
        histogram.observe(seconds)
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-2], histogram.counts[-1]) == (2, 1, 1, 1)
    assert len(histogram.counts) == len(DURATION_BOUNDS) + 1
    assert histogram.total == sum((0.0, DURATION_BOUNDS[0], 0.0011, DURATION_BOUNDS[-1], 1e6))


def test_a_series_begins_with_its_first_duration():
    """Each label has a histogram of its own."""
    tally = Tally()
    tally.observe(tally.request_duration, "web", 0.1)
    tally.observe(tally.request_duration, "web", 0.2)
    tally.observe(tally.request_duration, "api", 0.3)
    assert {name: sum(series.counts) for name, series in tally.request_duration.items()} == {"web": 2, "api": 1}
    assert not tally.upstream_duration
