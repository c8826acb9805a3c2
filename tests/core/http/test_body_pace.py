"""`hotswap.core.http.body_pace`."""

from __future__ import annotations

import pytest

from hotswap.core.http.body_pace import BODY_GRACE, is_too_slow


@pytest.mark.parametrize(
    ("received", "waited", "slow"),
    [
        (0, BODY_GRACE, False),
        (0, BODY_GRACE + 0.1, True),
        (500 * 20, 20.0, False),
        (500 * 20 - 1, 20.0, True),
        (1, 1.0, False),
    ],
)
def test_a_body_is_judged_by_its_average_once_the_grace_is_over(received: int, waited: float, slow: bool):
    """Only what was waited for the client counts, and not before ten seconds of it."""
    assert is_too_slow(received=received, waited=waited, rate=500.0) is slow
