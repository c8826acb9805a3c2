"""Random operations, faults and takeovers under load: afterwards all is full, and nothing was lost or left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chaos import run_chaos


@pytest.mark.fail_after(180)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_it_is_full_again_and_no_exchange_is_lost_that_no_kill_touched(
    tmp_path: Path, seed: int
) -> None:
    """`make chaos` does fifty of these; each test is one of them, shorter."""
    account = await run_chaos(tmp_path, seed=seed, acts=8)
    assert account.done
