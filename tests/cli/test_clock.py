"""Moments and durations in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hotswap.cli.clock import clock_words, duration_words, moment


@pytest.mark.parametrize(("seconds", "words"), [(5.9, "5s"), (65, "1m 5s"), (3600, "1h 0m"), (90061, "1d 1h")])
def test_a_duration_has_its_two_greatest_units(seconds: float, words: str) -> None:
    """More says nothing more."""
    assert duration_words(seconds) == words


def test_a_moment_of_today_has_no_date() -> None:
    """One of another day has it; what is no moment is a dash."""
    at = "2026-11-30T12:00:05.123Z"
    assert clock_words(at, datetime(2026, 11, 30, 23, tzinfo=UTC)) == "12:00:05"
    assert clock_words(at, datetime(2026, 12, 1, tzinfo=UTC)) == "2026-11-30 12:00:05"
    assert clock_words(None, datetime(2026, 12, 1, tzinfo=UTC)) == "-"


@pytest.mark.parametrize("at", ["2026-11-30T12:00:05.123Z", "2026-11-30T12:00:05Z"])
def test_a_moment_has_no_more_than_its_seconds(at: str) -> None:
    """With or without fractions."""
    assert moment(at) == "2026-11-30 12:00:05"
    assert moment(None) == "-"
