"""What backends may take a path for."""

from __future__ import annotations

import pytest

from hotswap.core.http.path_readings import Undecided, readings, without_dots


@pytest.mark.parametrize(
    ("path", "some"),
    [
        (b"/a", {b"/a"}),
        (b"/a%2fb", {b"/a/b", b"/a\0b"}),
        (b"/a/../b", {b"/b", b"/a/../b"}),
        (b"/a/..;x/b", {b"/b", b"/a/..;x/b", b"/a/.."}),
        (b"//a/b", {b"//a/b", b"/a/b", b"/b"}),
        (b"/a\\b", {b"/a\\b", b"/a/b"}),
        (b"/%2561", {b"/%61", b"/a"}),
        (b"/a%3fb", {b"/a?b", b"/a"}),
        (b"/a%23b", {b"/a#b", b"/a"}),
    ],
)
def test_a_path_is_read_in_every_way_that_some_server_has(path, some):
    """Each of them was decoded once at least."""
    assert some <= set(readings(path))


def test_a_plain_path_has_one_reading():
    """As nearly all have."""
    assert set(readings(b"/a/b.c")) == {b"/a/b.c"}


def test_a_path_with_too_many_readings_is_left_undecided():
    """The work is bounded, whatever the path."""
    with pytest.raises(Undecided):
        list(readings(b"/a;b//%5c..%252f" * 100))


@pytest.mark.parametrize(
    ("path", "without"),
    [(b"/a/./b", b"/a/b"), (b"/a/../../b", b"/b"), (b"/a/..", b"/"), (b"/a/.", b"/a/"), (b"/.a/..b", b"/.a/..b")],
)
def test_dot_segments_are_removed(path, without):
    """RFC 3986 5.2.4; at the root they stay there."""
    assert without_dots(path) == without
