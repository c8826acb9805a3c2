"""Which versions hand over to each other, and what is said when they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.errors import RefusalCode, Refused
from hotswap.core.takeover.versions import (
    Agreement,
    HandoffInfo,
    HandoffUnreadable,
    agree,
    parse_handoff_info,
)

RUNS = HandoffInfo(version="1.0", protocol=(1, 3), schema=(2, 4), epoch=7)
ranges = st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda pair: (min(pair), max(pair)))
infos = st.builds(HandoffInfo, version=st.just("1"), protocol=ranges, schema=ranges, epoch=st.integers(1, 2))


def test_what_is_told_is_read() -> None:
    """JSON and back is the same."""
    assert parse_handoff_info(RUNS.to_json()) == RUNS


def test_the_highest_numbers_that_both_take_are_used() -> None:
    """Ranges need only overlap."""
    offered = replace(RUNS, protocol=(2, 9), schema=(1, 3))
    assert agree(RUNS, offered) == Agreement(protocol=3, schema=3)


@given(infos, infos)
def test_what_was_agreed_lies_in_both_ranges(old, new) -> None:
    """And without an agreement there is no such number, or the epochs differ."""
    try:
        answer = agree(old, new)
    except Refused:
        apart = any(
            getattr(old, name)[1] < getattr(new, name)[0] or getattr(new, name)[1] < getattr(old, name)[0]
            for name in ("protocol", "schema")
        )
        assert apart or old.epoch != new.epoch
    else:
        assert old.epoch == new.epoch
        for name in ("protocol", "schema"):
            number = getattr(answer, name)
            for side in (old, new):
                low, high = getattr(side, name)
                assert low <= number <= high


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        (replace(RUNS, epoch=8), "takeover epoch 8 and version 1.0, which runs, has 7"),
        (replace(RUNS, epoch=6), "takeover epoch 6"),
        (replace(RUNS, protocol=(4, 4)), "takeover protocols 4 and version 1.0, which runs, 1 to 3"),
        (replace(RUNS, schema=(1, 1)), "schema 1 and version 1.0, which runs, writes 2 to 4"),
    ],
)
def test_a_disagreement_says_both_numbers_and_what_to_do(offered, said) -> None:
    """An operator need not look anything up."""
    with pytest.raises(Refused) as refused:
        agree(RUNS, offered)
    assert refused.value.code is RefusalCode.COMPATIBILITY_MISMATCH
    assert said in refused.value.detail
    assert "Nothing was changed; stop and start" in refused.value.detail
    assert refused.value.state == {"running": RUNS.to_json(), "new": offered.to_json()}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {**RUNS.to_json(), "program": "nginx"},
        {**RUNS.to_json(), "version": 1},
        {**RUNS.to_json(), "epoch": "1"},
        {**RUNS.to_json(), "epoch": True},
        {**RUNS.to_json(), "protocol": [3, 1]},
        {**RUNS.to_json(), "protocol": [0, 1]},
        {**RUNS.to_json(), "schema": 1},
        {**RUNS.to_json(), "schema": [1]},
    ],
)
def test_what_is_no_such_thing_is_refused(value) -> None:
    """Another program, or an older hotswap that cannot take over."""
    with pytest.raises(HandoffUnreadable):
        parse_handoff_info(value)
