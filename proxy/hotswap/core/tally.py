"""Counters and histograms behind `/metrics`: plain numbers, one dictionary update each.

The data plane bumps these for every exchange, so nothing here locks, formats or allocates label objects;
`hotswap.control.telemetry.metrics` turns a tally into Prometheus families when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

DURATION_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the duration histograms, in seconds (those of Prometheus clients, a little lower at the left)."""


class Histogram:
    """Histogram of durations by upper bound, not cumulative; the last bucket is everything above."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATION_BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration, in seconds."""
        self.counts[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True, kw_only=True)
class Tally:
    """All counters of a data plane; the field names are the metric names of the contract.

    Keys are the label values in the order the contract lists the labels.
    """

    requests: Counter[tuple[str, str, str, int]] = field(default_factory=Counter)
    request_duration: dict[str, Histogram] = field(default_factory=dict)
    upstream_duration: dict[str, Histogram] = field(default_factory=dict)
    backend_starts: Counter[tuple[str, str]] = field(default_factory=Counter)
    backend_exits: Counter[tuple[str, str]] = field(default_factory=Counter)
    rollouts: Counter[tuple[str, str]] = field(default_factory=Counter)
    rollout_refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    rollout_duration: dict[str, Histogram] = field(default_factory=dict)
    retries: Counter[tuple[str, str]] = field(default_factory=Counter)
    health_checks: Counter[tuple[str, str]] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)
    takeovers: Counter[str] = field(default_factory=Counter)
    spool_full: Counter[str] = field(default_factory=Counter)
    static_responses: Counter[tuple[str, int]] = field(default_factory=Counter)
