"""Verdicts over probes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.pool.health import HealthVerdict
from hotswap.core.pool.lifecycle import Health


def verdicts(probes: str, *, healthy_after: int, unhealthy_after: int, health: Health = Health.UNKNOWN) -> str:
    """Feed passes (+) and failures (-), and give the verdict after each as its first letter (n: unknown)."""
    verdict = HealthVerdict(healthy_after=healthy_after, unhealthy_after=unhealthy_after, health=health)
    letter = {Health.UNKNOWN: "n", Health.HEALTHY: "h", Health.UNHEALTHY: "u"}
    return "".join(letter[verdict.observe(probe == "+")] for probe in probes)


@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        ("+++", "nhh"),
        ("-+-+", "nnnn"),
        ("---", "nnu"),
        ("++--", "nhhh"),
        ("++---", "nhhhu"),
        ("++--+--", "nhhhhhh"),
        ("++---+", "nhhhuu"),
        ("++---++", "nhhhuuh"),
        ("---+-++", "nnuuuuh"),
    ],
)
def test_a_verdict_changes_only_after_enough_probes_of_a_kind_in_a_row(probes, expected):
    """Two passes make healthy, three failures unhealthy, and either wipes out what was counted of the other."""
    assert verdicts(probes, healthy_after=2, unhealthy_after=3) == expected


def test_a_backend_proven_elsewhere_starts_from_that_verdict():
    """An adopted backend need not be proven again, and can still fail."""
    assert verdicts("--", healthy_after=5, unhealthy_after=2, health=Health.HEALTHY) == "hu"


@given(st.lists(st.booleans()), st.integers(1, 4), st.integers(1, 4))
def test_the_verdict_is_that_of_the_last_long_enough_run(probes, healthy_after, unhealthy_after):
    """The counter agrees with the definition: look back for the last run that reached its threshold."""
    verdict = HealthVerdict(healthy_after=healthy_after, unhealthy_after=unhealthy_after)
    for ok in probes:
        verdict.observe(ok)
    expected = Health.UNKNOWN
    for end in range(1, len(probes) + 1):
        if end >= healthy_after and all(probes[end - healthy_after : end]):
            expected = Health.HEALTHY
        if end >= unhealthy_after and not any(probes[end - unhealthy_after : end]):
            expected = Health.UNHEALTHY
    assert verdict.health is expected
