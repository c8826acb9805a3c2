"""Waits between a crash and the next start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.backoff import STABLE_AFTER, Backoff


def crashed(times: int) -> Backoff:
    backoff = Backoff()
    for _ in range(times):
        backoff = backoff.after_crash(ready_for=1.0)
    return backoff


def test_nothing_crashed_nothing_waited():
    """The first start is at once."""
    assert Backoff().wait(0.5) == 0.0


def test_the_wait_doubles_up_to_the_cap():
    """A tenth of a second is not noticed once; half a minute does no harm for ever."""
    waits = [crashed(times).wait(0.0) for times in range(1, 12)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])


@given(st.integers(1, 5000), st.floats(0.0, 1.0, exclude_max=True))
def test_jitter_takes_away_up_to_half(times, jitter):
    """And never more, nor does any number of crashes overflow."""
    whole = crashed(min(times, 100)).wait(0.0)
    backoff = Backoff(crashes=times)
    assert backoff.wait(0.0) == whole
    assert whole / 2 <= backoff.wait(jitter) <= whole


def test_a_stable_minute_ends_the_row():
    """The next crash is news, and waits as short as the first."""
    assert crashed(8).after_crash(ready_for=STABLE_AFTER).wait(0.0) == pytest.approx(0.1)
    assert crashed(8).after_crash(ready_for=STABLE_AFTER - 1).wait(0.0) == pytest.approx(25.6)
