"""The picture of a rollout: what its bars say."""

from __future__ import annotations

from typing import Any

import pytest

from hotswap.cli.picture import CELLS, bar, phase_shares, usual_seconds
from hotswap.core.rollout.step_table import StepState

USUAL = {"starting": 1.0, "draining": 1.0, "stopping": 1.0}


def step(state: str, **offsets: float) -> dict[str, Any]:
    """The turn of a slot as the admin API tells it."""
    began = {"turn": 0.0, "starting": None, "draining": None, "stopping": None, **offsets}
    return {
        "slot": 0,
        "state": state,
        "offsets": began,
        "seconds": dict.fromkeys(("starting", "draining", "stopping"), 0),
    }


@pytest.mark.parametrize("state", list(StepState))
def test_every_state_has_bars_between_nothing_and_all(state: StepState) -> None:
    """However long it takes, and only what is over is full."""
    for now in (0.0, 0.5, 10.0, 1e6):
        shares = phase_shares(step(state, starting=0.0, draining=0.0, stopping=0.0), now, 1, 2, USUAL)
        assert all(0 <= share <= 1 for share in shares)
        assert (shares == (1, 1, 1)) is (state is StepState.DONE)


def test_a_bar_grows_while_the_replacement_starts_and_fills_when_it_is_ready() -> None:
    """A start that takes longer than usual slows down and never fills."""
    at = [phase_shares(step("starting", starting=0.0), now, 0, 0, USUAL)[0] for now in (0.0, 0.5, 1.0, 60.0)]
    assert at == sorted(at)
    assert at[0] == 0
    assert at[-1] < 1
    assert phase_shares(step("draining", starting=0.0), 1.0, 0, 0, USUAL)[0] == 1


def test_a_drain_goes_by_what_is_still_in_flight() -> None:
    """A quarter is left of what there was."""
    assert phase_shares(step("draining", starting=0.0, draining=0.5), 1.0, 2, 8, USUAL)[1] == 0.75


def test_what_is_usual_is_learned_from_the_turns_before() -> None:
    """Until then it is assumed."""
    done = step("done")
    done["seconds"]["starting"] = 8.0
    assert usual_seconds([done, step("pending")])["starting"] == 8.0
    assert usual_seconds([step("pending")])["starting"] == 2.0


def test_a_bar_is_as_wide_as_every_other() -> None:
    """So that they stand below each other."""
    assert {len(bar(share, "draining", "draining")) for share in (0.0, 0.33, 1.0)} == {CELLS}
