"""What `Retry-After` says: not before the pool can serve, as far as anybody knows, and not the same for all."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.identity import BackendId
from hotswap.core.pool.retry_after import LONGEST, UNKNOWN_START, StartTimes, retry_after

ONE, TWO = BackendId(1), BackendId(2)


def test_the_next_start_takes_as_long_as_the_last() -> None:
    """And what has passed of it is not waited for again."""
    starts = StartTimes()
    assert starts.remaining(0.0) == UNKNOWN_START
    starts.note_added(ONE, 10.0)
    starts.note_claimable(ONE, 22.0)
    assert starts.remaining(30.0) == 12.0  # none is under way: a whole one
    starts.note_added(TWO, 30.0)
    assert starts.remaining(33.0) == 9.0
    starts.note_added(ONE, 35.0)
    assert starts.remaining(36.0) == 6.0  # the first to come


def test_a_start_that_is_overdue_is_in_its_middle() -> None:
    """The longer it takes, the longer it will."""
    starts = StartTimes()
    starts.note_added(ONE, 0.0)
    assert starts.remaining(UNKNOWN_START + 5) == UNKNOWN_START + 5
    starts.note_gone(ONE)
    assert starts.remaining(100.0) == UNKNOWN_START


def test_who_was_claimable_before_teaches_nothing() -> None:
    """A backend that only became healthy again did not start."""
    starts = StartTimes()
    starts.note_claimable(ONE, 50.0)
    starts.note_gone(ONE)
    assert starts.typical == UNKNOWN_START


@given(st.floats(0, 1000))
def test_clients_are_spread_behind_the_estimate(estimate: float) -> None:
    """Whole seconds, at least one, never less than the estimate, and bounded."""
    random = Random(1)
    told = {retry_after(estimate, random.random) for _ in range(200)}
    assert min(told) >= max(1, min(LONGEST, estimate))
    assert max(told) <= min(LONGEST, estimate + max(2.0, estimate / 2) + 1)
    if 2 <= estimate < 100:
        assert len(told) > 1
