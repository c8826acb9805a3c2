"""The compatibility number as it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.rollout.compatibility import MAX_LENGTH, Unreadable, parse_compatibility


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"1", "1"),
        (b"1\n", "1"),
        (b"  7 \r\n8\n", "7"),
        (b"2\rold mac", "2"),
        (b"\xef\xbb\xbf3\n", "3"),
        (b"abc-\xc3\xa9", "abc-\u00e9"),
        (b"4\n\xff\xfe", "4"),
        (b"x" * MAX_LENGTH, "x" * MAX_LENGTH),
    ],
)
def test_the_number_is_the_first_line_without_white_space(content, number):
    """Whatever follows the first line does not matter, not even bytes that are no text."""
    assert parse_compatibility(content, origin="RESTART_EPOCH") == number


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "RESTART_EPOCH is empty"),
        (b"\n1\n", "first line of RESTART_EPOCH is empty"),
        (b" \t\n1", "first line of RESTART_EPOCH is empty"),
        (b"\xff\n", "not UTF-8"),
        (b"1\x002", "control characters"),
        (b"1\x1b[31m", "control characters"),
        (b"x" * (MAX_LENGTH + 1), "longer than"),
    ],
)
def test_what_cannot_be_a_number_is_unreadable_and_says_why(content, why):
    """It is a value, not an exception: a broken file refuses a reload and does nothing else."""
    read = parse_compatibility(content, origin="RESTART_EPOCH")
    assert isinstance(read, Unreadable)
    assert why in read.detail
    assert str(read) == f"unreadable: {read.detail}"


@given(st.binary(max_size=600))
def test_no_content_raises(content):
    """Nothing that new code contains can hurt the proxy."""
    read = parse_compatibility(content, origin="x")
    assert isinstance(read, Unreadable) or (read.strip() == read and 0 < len(read) <= MAX_LENGTH)
