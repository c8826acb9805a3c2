"""Sets of statuses as people write them."""

from __future__ import annotations

import pytest

from hotswap.core.http.statuses import StatusSet, parse_statuses


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("200", {200}, {199, 201}),
        ("200-399", {200, 301, 399}, {199, 400}),
        ("200-299,401", {200, 299, 401}, {300, 400, 402}),
    ],
)
def test_a_set_of_statuses_contains_its_ranges(text, inside, outside):
    """Both ends of a range belong to it, and the set is written as it was read."""
    statuses = parse_statuses(text)
    assert all(status in statuses for status in inside)
    assert not any(status in statuses for status in outside)
    assert str(statuses) == text


@pytest.mark.parametrize("text", ["", "2xx", "200-", "99", "600", "399-200", "200, 204", "200-299-300"])
def test_what_is_no_set_of_statuses_is_refused(text):
    """Among them ranges that run backwards and numbers that are no status."""
    with pytest.raises(ValueError, match='a string of statuses such as "200"'):
        parse_statuses(text)


def test_equal_sets_of_statuses_are_equal_values():
    """A reload compares pools by value."""
    assert parse_statuses("200-399") == StatusSet(ranges=((200, 399),))
