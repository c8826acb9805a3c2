"""When a backend that fails is left out, and for how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.pool.ejection import FAILURES, FIRST_PAUSE, FORGIVEN_AFTER, LONGEST_PAUSE, Conduct


def fail_often(conduct: Conduct, now: float) -> list[bool]:
    """As many failures in a row as eject."""
    return [conduct.fail(now) for _ in range(FAILURES)]


def test_only_failures_in_a_row_eject() -> None:
    """A response in between begins the count anew."""
    conduct = Conduct()
    for _ in range(3):
        assert not any(conduct.fail(10.0) for _ in range(FAILURES - 1))
        conduct.succeed()
    assert fail_often(conduct, 10.0) == [False] * (FAILURES - 1) + [True]
    assert conduct.ejected_until == 10.0 + FIRST_PAUSE


def test_who_is_ejected_already_is_not_ejected_again() -> None:
    """What was under way, or came because there is no other, fails without making it worse."""
    conduct = Conduct()
    fail_often(conduct, 10.0)
    assert not any(conduct.fail(10.5) for _ in range(3 * FAILURES))
    assert conduct.ejected_until == 10.0 + FIRST_PAUSE


def test_the_pause_grows_to_its_limit_and_a_quiet_minute_forgives() -> None:
    """Twice as long each time."""
    conduct = Conduct()
    now, pauses = 0.0, []
    for _ in range(8):
        fail_often(conduct, now)
        pauses.append(conduct.ejected_until - now)
        now = conduct.ejected_until
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    now += FORGIVEN_AFTER + 1
    fail_often(conduct, now)
    assert conduct.ejected_until == now + FIRST_PAUSE


# Times are whole 1/64 seconds, whose sums are exact: it is not the rounding of an addition that is tested.
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50 * 64).map(lambda ticks: ticks / 64))))
def test_a_pause_is_always_bounded(steps: list[tuple[bool, float]]) -> None:
    """Whatever happens and when."""
    conduct, now = Conduct(), 0.0
    for good, passed in steps:
        now += passed
        if good:
            conduct.succeed()
        elif conduct.fail(now):
            assert FIRST_PAUSE <= conduct.ejected_until - now <= LONGEST_PAUSE
        assert conduct.ejected_until <= now + LONGEST_PAUSE
