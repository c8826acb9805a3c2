"""Rates of requests, as the configuration says them."""

from __future__ import annotations

import pytest

from hotswap.core.http.rate import RequestRate, parse_rate


@pytest.mark.parametrize(("text", "interval"), [("10/s", 0.1), ("100/m", 0.6), ("3600/h", 1.0)])
def test_a_rate_is_read_and_written(text, interval):
    """A count and a unit; what is written is what was read."""
    rate = parse_rate(text)
    assert rate.interval == pytest.approx(interval)
    assert str(rate) == text


@pytest.mark.parametrize("text", ["", "0/s", "10", "10/d", "-1/s", "1.5/s", "10 /s", "10/s ", "99999999999/s"])
def test_what_is_no_rate_is_refused(text):
    """With what one is."""
    with pytest.raises(ValueError, match="a number of requests in a time"):
        parse_rate(text)


def test_a_rate_is_a_value():
    """Two of the same are equal."""
    assert parse_rate("10/s") == RequestRate(10, "s")
