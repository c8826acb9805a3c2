"""Which backend is due, and when it may be replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.pool.recycling import (
    LONGEST_WAIT,
    SPREAD,
    BackendLife,
    PoolStanding,
    RecycleLimits,
    RecycleReason,
    may_recycle,
    most_due,
    must_give_way,
    wait_after_failures,
)

LIMITS = RecycleLimits(requests=100, age=60.0, memory=1000)
YOUNG = BackendLife(slot=0, served=0, age=0.0, memory=500, first_memory=400)
WELL = PoolStanding(size=2, ready=2)


@pytest.mark.parametrize(
    ("life", "reason"),
    [
        (YOUNG, None),
        (replace(YOUNG, served=99, age=59.0, memory=999), None),
        (replace(YOUNG, served=100), RecycleReason.REQUESTS),
        (replace(YOUNG, age=60.0), RecycleReason.AGE),
        (replace(YOUNG, memory=1000), RecycleReason.MEMORY),
        (replace(YOUNG, served=110, age=90.0), RecycleReason.AGE),
    ],
)
def test_a_backend_is_due_at_its_limit(life: BackendLife, reason: RecycleReason | None):
    """The one that it is furthest beyond is the reason."""
    due = most_due(LIMITS, [life])
    assert due == (None if reason is None else (life, reason))


def test_without_limits_none_is_ever_due():
    """That is the default."""
    assert not RecycleLimits().any
    assert most_due(RecycleLimits(), [replace(YOUNG, served=10**9, age=1e9, memory=1 << 50)]) is None


def test_the_furthest_beyond_its_limit_is_first():
    """And of equals the lowest slot."""
    lives = [replace(YOUNG, slot=slot, served=served) for slot, served in enumerate((100, 150, 150, 120))]
    due = most_due(LIMITS, lives)
    assert due is not None
    assert due[0].slot == 1


def test_limits_are_spread_so_that_slots_do_not_come_due_together():
    """Upwards, and not that of memory."""
    late = replace(YOUNG, share=1.0)
    stretched = 1 + SPREAD
    assert most_due(LIMITS, [replace(late, served=100, age=60.0)]) is None
    assert most_due(LIMITS, [replace(late, served=round(100 * stretched))]) is not None
    assert most_due(LIMITS, [replace(late, memory=1000)]) is not None


def test_a_limit_below_a_new_backend_replaces_none():
    """It would be replaced for ever, and nothing be gained."""
    large = replace(YOUNG, memory=1500, first_memory=1000)
    assert large.outgrown_at_birth(LIMITS)
    assert most_due(LIMITS, [large]) is None
    assert most_due(LIMITS, [replace(large, served=100)]) is not None


@pytest.mark.parametrize(
    ("change", "may"),
    [
        ({}, True),
        ({"ready": 1}, False),
        *(({name: True}, False) for name in ("ending", "rollout", "locked", "paused", "drained", "leaving")),
    ],
)
def test_recycling_waits_for_everything_else(change: dict[str, bool], may: bool):
    """A deploy, an operator, a crash, a takeover, and the one before."""
    assert may_recycle(replace(WELL, **change)) is may


@pytest.mark.parametrize(("change", "must"), [({}, False), ({"ready": 1}, True), ({"paused": True}, True)])
def test_a_replacement_gives_way_where_the_old_backend_is_needed(change: dict[str, bool], must: bool):
    """Or where everything is to stand still."""
    assert must_give_way(replace(WELL, **change)) is must


@given(st.integers(min_value=1, max_value=10_000))
def test_failures_make_it_wait_longer(failures: int):
    """Up to an hour."""
    assert wait_after_failures(0) == 0
    assert 0 < wait_after_failures(failures) <= wait_after_failures(failures + 1) <= LONGEST_WAIT
