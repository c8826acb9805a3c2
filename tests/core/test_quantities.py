"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.quantities import duration_meant, format_duration, format_size, parse_duration, parse_size, size_meant


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30.0), ("5m", 300.0), ("1.5h", 5400.0), ("2d", 172800.0), ("0s", 0.0), ("0.1s", 0.1)],
)
def test_a_duration_is_read_in_seconds(text, seconds):
    """Each unit counts as what it is called."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "30 s", "-1s", "1e3s", "s", "5min", "١s", "1s\n", "400d", "9" * 400 + "s"])
def test_what_is_no_duration_is_refused_with_what_is_allowed(text):
    """The message shows the form, whatever the mistake was."""
    with pytest.raises(ValueError, match='a string such as "500ms"'):
        parse_duration(text)


def test_a_bare_number_is_told_that_it_has_no_unit():
    """Nobody knows whether 30 is seconds or milliseconds."""
    with pytest.raises(ValueError, match="has no unit"):
        parse_duration("30")


@given(st.integers(min_value=0, max_value=366 * 86400 * 1000))
def test_a_duration_of_whole_milliseconds_survives_writing_and_reading(milliseconds):
    """What `format_duration` writes, `parse_duration` reads as the same time."""
    seconds = milliseconds / 1000
    text = format_duration(seconds)
    if not text.endswith("ms") or milliseconds < 1_000_000:  # %g keeps six digits
        assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("512B", 512), ("64KiB", 65536), ("10MiB", 10485760), ("1GiB", 1 << 30)]
)
def test_a_size_is_read_in_bytes(text, size):
    """Units are powers of 1024."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64", "64kib", "1.5MiB", "-1B", "10 MiB", "9" * 30 + "GiB"])
def test_what_is_no_size_is_refused_with_what_is_allowed(text):
    """The message shows the form, whatever the mistake was."""
    with pytest.raises(ValueError, match='a string such as "512B"'):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("64KB", "64KiB"), ("10m", "10MiB"), ("1 G", "1GiB"), ("4096", "4KiB"), ("1 byte", "1B")]
)
def test_a_decimal_unit_is_told_the_one_to_write(text, meant):
    """KB means 1000 to some and 1024 to others, so the way out is named."""
    with pytest.raises(ValueError, match=f'; write "{meant}"$'):
        parse_size(text)
    parse_size(meant)


@pytest.mark.parametrize(
    ("text", "meant"), [("30", "30s"), ("30 secs", "30s"), ("5 min", "5m"), ("1 Hour", "1h"), ("10 days", "10d")]
)
def test_a_duration_that_can_be_told_is_told_how_to_write_it(text, meant):
    """Words for units are many, and each of them is clear."""
    with pytest.raises(ValueError, match=f'; write "{meant}"$'):
        parse_duration(text)
    parse_duration(meant)


@pytest.mark.parametrize(("value", "meant"), [(30, '"30s"'), (1.5, '"1.5s"'), (True, ""), (-1, ""), ("soon", "")])
def test_a_number_without_quotes_means_seconds(value, meant):
    """A flag is no number, and no time is negative."""
    assert duration_meant(value).partition("; write ")[2] == meant


@pytest.mark.parametrize(("value", "meant"), [(65536, '"64KiB"'), (1.5, ""), (False, ""), ([], "")])
def test_a_number_without_quotes_means_bytes(value, meant):
    """A part of a byte is none."""
    assert size_meant(value).partition("; write ")[2] == meant


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_survives_writing_and_reading(size):
    """What `format_size` writes, `parse_size` reads as the same number."""
    assert parse_size(format_size(size)) == size
