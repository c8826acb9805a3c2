"""What hotswap must reach beside its peers: ratios inside one run, the median of its rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from tests.bench.measure import DIRECT
from tests.bench.outcome import Sample
from tests.bench.proxies.peer import ProxyName

# Of one case and one round: the samples by proxy.
Round = Mapping[str, Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A promise about one case.

    Attributes:
        case: where it is measured.
        title: what is compared with what.
        ratio: of one round; KeyError when a proxy is not in it, ZeroDivisionError when nothing was measured.
        bound: what the median must reach.
        at_least: whether the bound is the least or the most.
        stretch: a bound that would be better still.
    """

    case: str
    title: str
    ratio: Callable[[Round], float]
    bound: float
    at_least: bool = True
    stretch: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a bar; ``value`` and ``met`` are None when it could not be measured."""

    case: str
    title: str
    bound: float
    at_least: bool
    stretch: float | None
    value: float | None
    rounds: int
    met: bool | None


def judge(samples: Iterable[Sample], *, cases: Collection[str]) -> tuple[Verdict, ...]:
    """Return the verdict on every bar of ``cases``."""
    rounds: dict[tuple[str, int], dict[str, Sample]] = {}
    for sample in samples:
        rounds.setdefault((sample.case, sample.round), {})[sample.proxy] = sample
    return tuple(
        _judge(bar, [by_proxy for (case, _), by_proxy in sorted(rounds.items()) if case == bar.case])
        for bar in BARS
        if bar.case in cases
    )


def _judge(bar: Bar, rounds: list[dict[str, Sample]]) -> Verdict:
    ratios = []
    for by_proxy in rounds:
        try:
            ratios.append(bar.ratio(by_proxy))
        except (KeyError, ZeroDivisionError):
            continue
    value = statistics.median(ratios) if ratios else None
    met = None if value is None else value >= bar.bound if bar.at_least else value <= bar.bound
    return Verdict(
        case=bar.case,
        title=bar.title,
        bound=bar.bound,
        at_least=bar.at_least,
        stretch=bar.stretch,
        value=value,
        rounds=len(ratios),
        met=met,
    )


def _requests_for_the_same_processor_time(peer: ProxyName) -> Callable[[Round], float]:
    return lambda by_proxy: by_proxy[peer].processor_per_request / _own(by_proxy).processor_per_request


def _processor_time(peer: ProxyName) -> Callable[[Round], float]:
    return lambda by_proxy: _own(by_proxy).processor_per_request / by_proxy[peer].processor_per_request


def _rate(peer: ProxyName) -> Callable[[Round], float]:
    return lambda by_proxy: _own(by_proxy).rate / by_proxy[peer].rate


def _added_latency(by_proxy: Round) -> float:
    direct = by_proxy[DIRECT].outcome.p50
    return (_own(by_proxy).outcome.p50 - direct) / (by_proxy[ProxyName.NGINX].outcome.p50 - direct)


def _idle_kib(by_proxy: Round) -> float:
    return _own(by_proxy).outcome.details["idle_bytes"] / 1024


def _rollout_p99(by_proxy: Round) -> float:
    outcome = _own(by_proxy).outcome
    return outcome.p99 / outcome.details["steady_p99"]


def _boots_p99(by_proxy: Round) -> float:
    outcome = _own(by_proxy).outcome
    return outcome.p99 / outcome.details["boots_p99"]


def _own(by_proxy: Round) -> Sample:
    return by_proxy[ProxyName.HOTSWAP]


def _requests_bar(case: str, peer: ProxyName, bound: float, *, stretch: float | None = None) -> Bar:
    return Bar(
        case=case,
        title=f"requests for the same processor time, times {peer}",
        ratio=_requests_for_the_same_processor_time(peer),
        bound=bound,
        stretch=stretch,
    )


BARS = (
    _requests_bar("get-32", ProxyName.NGINX, 0.33, stretch=0.5),
    _requests_bar("get-32", ProxyName.ENVOY, 1.2, stretch=2.0),
    _requests_bar("get-32", ProxyName.CADDY, 2.0, stretch=3.0),
    _requests_bar("tls-get", ProxyName.NGINX, 0.33),
    _requests_bar("tls-get", ProxyName.ENVOY, 1.0),
    _requests_bar("tls-get", ProxyName.CADDY, 1.5),
    _requests_bar("h2-get", ProxyName.CADDY, 0.7, stretch=1.0),
    _requests_bar("h2-get", ProxyName.HYPERCORN, 2.0),
    _requests_bar("post-4k", ProxyName.NGINX, 0.3),
    _requests_bar("post-4k", ProxyName.CADDY, 1.5),
    Bar(
        case="static-20k",
        title="processor time, times nginx with sendfile",
        ratio=_processor_time(ProxyName.NGINX),
        bound=2.0,
        at_least=False,
    ),
    Bar(case="download-100m", title="rate, times nginx", ratio=_rate(ProxyName.NGINX), bound=0.9),
    Bar(
        case="download-100m",
        title="processor time, times nginx",
        ratio=_processor_time(ProxyName.NGINX),
        bound=1.2,
        at_least=False,
    ),
    Bar(
        case="get-1",
        title="added latency p50, times what nginx adds",
        ratio=_added_latency,
        bound=2.5,
        at_least=False,
    ),
    Bar(case="idle-10k", title="KiB for an idle connection", ratio=_idle_kib, bound=12.0, at_least=False),
    Bar(case="rollout", title="p99, times the steady p99", ratio=_rollout_p99, bound=1.5, at_least=False),
    Bar(
        case="rollout",
        title="p99, times that beside as many boots alone",
        ratio=_boots_p99,
        bound=1.5,
        at_least=False,
    ),
)
