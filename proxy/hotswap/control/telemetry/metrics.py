"""What `/metrics` answers: the tally as Prometheus families, and gauges read from the state at that moment.

Nothing is counted here. The tally is plain numbers that others bump; the gauges are a view of `status()`, so
a scrape can never disagree with what an operator sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hotswap.control.pools.supervised_backend import ExitReason, StartReason
from hotswap.core.errors import RefusalCode
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.rollout.commands import Outcome
from hotswap.core.tally import DURATION_BOUNDS, Histogram, Tally

Status = Callable[[], Mapping[str, Any]]
"""Gives the state now, as `GET /v1/status` answers it."""


Keys = Iterable[tuple[Any, Any]]
"""Pairs of a label value, or a tuple of them in the order of the labels, and a number."""


def _fill(family: CounterMetricFamily | GaugeMetricFamily, values: Keys) -> Metric:
    for key, value in values:
        family.add_metric([str(part) for part in (key if isinstance(key, tuple) else (key,))], value)
    return family


def counter(name: str, text: str, labels: Sequence[str], counts: Mapping[Any, int]) -> Metric:
    """Make a counter family."""
    family = CounterMetricFamily(f"hotswap_{name}", text, labels=labels)
    return _fill(family, sorted(counts.items(), key=lambda item: str(item[0])))


def gauge(name: str, text: str, labels: Sequence[str], values: Keys) -> Metric:
    """Make a gauge family."""
    return _fill(GaugeMetricFamily(f"hotswap_{name}", text, labels=labels), values)


def from_zero(
    counts: Mapping[tuple[str, str], int], status: Mapping[str, Any], values: Iterable[str]
) -> Mapping[tuple[str, str], int]:
    """Give counts of supervised pools with every value that has not come yet as 0.

    Prometheus sees no increase in a series that begins with 1, so the first failure would raise no alarm.
    """
    pools = [name for name, pool in status["pools"].items() if pool["supervised"]]
    return {(name, str(value)): 0 for name in pools for value in values} | dict(counts)


def histogram(name: str, text: str, label: str, series: Mapping[str, Histogram]) -> Metric:
    """Make a histogram family out of counts that are not cumulative yet."""
    family = HistogramMetricFamily(f"hotswap_{name}", text, labels=[label])
    bounds = [*(str(bound) for bound in DURATION_BOUNDS), "+Inf"]
    for value, one in sorted(series.items()):
        family.add_metric([value], buckets=list(zip(bounds, accumulate(one.counts), strict=True)), sum_value=one.total)
    return family


class Metrics(Collector):
    """What a scrape is answered: this program's families, in the order of the contract, and those of any process."""

    def __init__(self, tally: Tally, status: Status) -> None:
        self._tally = tally
        self._status = status
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Give the scrape, in the format that `CONTENT_TYPE_LATEST` names."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give every family of ours."""
        tally, status = self._tally, self._status()
        starts = from_zero(tally.backend_starts, status, StartReason)
        exits = from_zero(tally.backend_exits, status, ExitReason)
        rollouts = from_zero(tally.rollouts, status, (Outcome.DONE, Outcome.FAILED, Outcome.ABORTED))
        refusals = from_zero(tally.rollout_refusals, status, RefusalCode)
        yield counter("requests", "Exchanges answered.", ("listener", "pool", "method", "code"), tally.requests)
        yield histogram(
            "request_duration_seconds",
            "From the first byte of a request to the last byte of its response.",
            "pool",
            tally.request_duration,
        )
        yield histogram(
            "upstream_duration_seconds",
            "From choosing a backend to the last byte of its response.",
            "pool",
            tally.upstream_duration,
        )
        pools = status["pools"]
        yield gauge("in_flight", "Exchanges claimed and not yet released.", ("pool", "slot"), _in_flight(pools))
        yield gauge("backends", "Backends by state.", ("pool", "state"), _states(pools))
        yield counter("backend_starts", "Backends started.", ("pool", "reason"), starts)
        yield counter("backend_exits", "Backends that ended.", ("pool", "reason"), exits)
        yield counter("rollouts", "Rollouts that ended.", ("pool", "outcome"), rollouts)
        yield counter("rollout_refusals", "Reloads refused.", ("pool", "code"), refusals)
        yield histogram("rollout_duration_seconds", "From trigger to end of a rollout.", "pool", tally.rollout_duration)
        yield counter("retries", "Exchanges sent to another backend.", ("pool", "reason"), tally.retries)
        held = ((name, pool["held"]) for name, pool in pools.items())
        yield gauge("held_requests", "Requests waiting for a backend.", ("pool",), held)
        spooled = ((name, pool["spooled"]) for name, pool in pools.items())
        yield gauge("spooled_bytes", "Bytes of requests and responses that wait in files.", ("pool",), spooled)
        full = {name: tally.spool_full[name] for name in pools}
        yield counter("spool_full", "Bodies passed on as they came, for want of room.", ("pool",), full)
        yield counter("health_checks", "Probes of backends.", ("pool", "result"), tally.health_checks)
        connections = ((name, listener["connections"]) for name, listener in status["listeners"].items())
        yield gauge("connections", "Open connections of clients.", ("listener",), connections)
        locked = ((name, pool["locked"] is not None) for name, pool in pools.items() if pool["supervised"])
        yield gauge("pool_locked", "1 while reloads of the pool are refused after a failed one.", ("pool",), locked)
        yield gauge(
            "certificate_expiry_seconds",
            "Seconds until the certificate for a name expires, of several the first; negative afterwards.",
            ("name",),
            _expiries(status["certificates"], datetime.now(UTC)),
        )
        yield gauge("build_info", "1, with the version that runs.", ("version",), [(status["version"], 1)])
        yield counter("takeovers", "Takeovers that ended.", ("outcome",), tally.takeovers)
        static = tally.static_responses
        yield counter("static_responses", "Requests answered by files.", ("listener", "code"), static)


def _in_flight(pools: Mapping[str, Any]) -> Keys:
    for name, pool in pools.items():
        for slot in pool["slots"]:
            yield (name, slot["slot"]), sum(backend["in_flight"] for backend in slot["backends"])


def _expiries(certificates: Iterable[Mapping[str, Any]], now: datetime) -> Keys:
    left: dict[str, float] = {}
    for certificate in certificates:
        seconds = (datetime.fromisoformat(certificate["expires"]) - now).total_seconds()
        for name in certificate["names"]:
            left[name] = min(seconds, left.get(name, seconds))
    return sorted(left.items())


def _states(pools: Mapping[str, Any]) -> Keys:
    for name, pool in pools.items():
        states: Counter[str] = Counter({str(state): 0 for state in BackendState})
        states.update(str(backend["state"]) for slot in pool["slots"] for backend in slot["backends"])
        yield from (((name, state), count) for state, count in states.items())
