"""What a scrape answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hotswap.control.telemetry.metrics import Metrics
from hotswap.core.tally import Histogram, Tally

CONTRACT = {
    "hotswap_requests": {"listener", "pool", "method", "code"},
    "hotswap_request_duration_seconds": {"pool"},
    "hotswap_upstream_duration_seconds": {"pool"},
    "hotswap_in_flight": {"pool", "slot"},
    "hotswap_backends": {"pool", "state"},
    "hotswap_backend_starts": {"pool", "reason"},
    "hotswap_backend_exits": {"pool", "reason"},
    "hotswap_rollouts": {"pool", "outcome"},
    "hotswap_rollout_refusals": {"pool", "code"},
    "hotswap_rollout_duration_seconds": {"pool"},
    "hotswap_retries": {"pool", "reason"},
    "hotswap_held_requests": {"pool"},
    "hotswap_spooled_bytes": {"pool"},
    "hotswap_spool_full": {"pool"},
    "hotswap_health_checks": {"pool", "result"},
    "hotswap_connections": {"listener"},
    "hotswap_pool_locked": {"pool"},
    "hotswap_certificate_expiry_seconds": {"name"},
    "hotswap_build_info": {"version"},
    "hotswap_static_responses": {"listener", "code"},
    "hotswap_takeovers": {"outcome"},
}


def full_tally() -> Tally:
    """Every series has one value."""
    tally = Tally()
    tally.requests["public", "web", "GET", 200] += 7
    for series in (tally.request_duration, tally.upstream_duration, tally.rollout_duration):
        series.setdefault("web", Histogram()).observe(0.002)
        series.setdefault("web", Histogram()).observe(100.0)
    tally.backend_starts["web", "boot"] += 2
    tally.backend_exits["web", "crashed"] += 1
    tally.rollouts["web", "done"] += 1
    tally.rollout_refusals["web", "pool-locked"] += 1
    tally.retries["web", "connect-failed"] += 1
    tally.health_checks["web", "passed"] += 3
    tally.takeovers["done"] += 1
    tally.spool_full["web"] += 2
    tally.static_responses["public", 200] += 5
    return tally


def status() -> dict[str, Any]:
    """A pool with two slots, one of which is being replaced."""
    return {
        "pools": {
            "web": {
                "supervised": True,
                "held": 4,
                "spooled": 65537,
                "locked": "rollout r1 failed",
                "slots": [
                    {"slot": 0, "backends": [{"state": "ready", "in_flight": 3}]},
                    {
                        "slot": 1,
                        "backends": [
                            {"state": "draining", "in_flight": 2},
                            {"state": "starting", "in_flight": 0},
                        ],
                    },
                ],
            }
        },
        "listeners": {"public": {"bind": ["127.0.0.1:80"], "connections": 9}},
        "version": "1.2.3",
        "certificates": [
            {"names": ["a.example", "b.example"], "expires": "2035-01-01T00:00:00.000Z"},
            {"names": ["b.example"], "expires": "2001-01-01T00:00:00.000Z"},
        ],
    }


def scrape() -> dict[str, Any]:
    """Scrape and parse as Prometheus would."""
    text = Metrics(full_tally(), status).text().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_every_metric_of_the_contract_is_there_with_its_labels() -> None:
    """Names and labels, letter by letter."""
    families = scrape()
    ours = {name for name in families if name.startswith("hotswap_")}
    assert ours == CONTRACT.keys()
    for name, labels in CONTRACT.items():
        samples = families[name].samples
        assert samples, name
        assert {label for label in samples[0].labels if label != "le"} == labels, name


def test_counters_end_in_total() -> None:
    """The sample's name is the contract's."""
    text = Metrics(full_tally(), status).text().decode()
    assert 'hotswap_requests_total{code="200",listener="public",method="GET",pool="web"} 7.0' in text
    assert 'hotswap_takeovers_total{outcome="done"} 1.0' in text


def test_histogram_buckets_are_cumulative_and_end_with_everything() -> None:
    """What the tally keeps apart is added up, and the sum is in seconds."""
    samples = scrape()["hotswap_request_duration_seconds"].samples
    buckets = {s.labels["le"]: s.value for s in samples if s.name.endswith("_bucket")}
    assert buckets["0.001"] == 0
    assert buckets["0.0025"] == 1
    assert buckets["60.0"] == 1
    assert buckets["+Inf"] == 2
    assert next(s.value for s in samples if s.name.endswith("_sum")) == 100.002


def test_gauges_are_read_from_the_state_at_the_scrape() -> None:
    """In flight by slot, backends by state (absent ones as 0), connections, held requests and bodies in files."""
    families = scrape()
    assert {s.labels["slot"]: s.value for s in families["hotswap_in_flight"].samples} == {"0": 3, "1": 2}
    states = {s.labels["state"]: s.value for s in families["hotswap_backends"].samples}
    assert states == {
        "starting": 1,
        "ready": 1,
        "draining": 1,
        "stopping": 0,
        "stopped": 0,
        "failed": 0,
        "backoff": 0,
    }
    assert families["hotswap_held_requests"].samples[0].value == 4
    assert families["hotswap_spooled_bytes"].samples[0].value == 65537
    assert families["hotswap_spool_full"].samples[0].value == 2
    assert families["hotswap_connections"].samples[0].value == 9
    assert families["hotswap_pool_locked"].samples[0].value == 1
    assert families["hotswap_build_info"].samples[0].labels == {"version": "1.2.3"}


def test_a_certificate_counts_down_for_each_of_its_names() -> None:
    """Of two for one name, the one that ends first, which is what an alarm is about."""
    samples = scrape()["hotswap_certificate_expiry_seconds"].samples
    left = {sample.labels["name"]: sample.value for sample in samples}
    assert left.keys() == {"a.example", "b.example"}
    assert left["b.example"] < 0
    assert left["a.example"] == pytest.approx(
        (datetime(2035, 1, 1, tzinfo=UTC) - datetime.now(UTC)).total_seconds(), abs=60
    )


def test_what_alarms_watch_begins_with_0() -> None:
    """A series that begins with 1 has not increased, to Prometheus: the first failure would go unnoticed."""
    text = Metrics(Tally(), status).text().decode()
    for sample in (
        'rollouts_total{outcome="failed",pool="web"}',
        'backend_starts_total{pool="web",reason="crash"}',
        'backend_exits_total{pool="web",reason="crashed"}',
        'rollout_refusals_total{code="pool-locked",pool="web"}',
    ):
        assert f"hotswap_{sample} 0.0" in text
    # What was counted is not hidden by that.
    assert 'hotswap_rollouts_total{outcome="done",pool="web"} 1.0' in Metrics(full_tally(), status).text().decode()


def test_an_empty_tally_is_a_valid_scrape() -> None:
    """The first scrape after the start parses."""
    text = Metrics(Tally(), lambda: status() | {"pools": {}, "listeners": {}}).text().decode()
    assert "# TYPE hotswap_requests_total counter" in text or "# TYPE hotswap_requests counter" in text
