"""The access line for people: short, on one line, and harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.short_line import LONGEST_PLACE, short_line


def test_it_says_when_what_where_and_how_long() -> None:
    """Time, method, host and path, status, duration, and who answered."""
    line = short_line(b"12:00:05", b"GET", b"example.org", b"/cart?n=1", 200, 0.0123, "web", 0)
    assert line == b"12:00:05 GET example.org/cart?n=1 200 12 ms web/0\n"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0004, b"0.4 ms"), (0.0099, b"9.9 ms"), (0.25, b"250 ms"), (1.25, b"1.2 s"), (75, b"75.0 s")],
)
def test_a_duration_has_the_unit_that_people_read_it_in(seconds: float, told: bytes) -> None:
    """Never more digits than matter."""
    assert short_line(b"T", b"GET", b"h", b"/", 200, seconds) == b"T GET h/ 200 %b\n" % told


def test_what_failed_is_said_and_what_was_no_request_has_a_line() -> None:
    """With the pool alone where no backend was chosen."""
    line = short_line(b"T", b"GET", b"h", b"/", 503, 0.5, "web", None, "no backend is ready")
    assert line == b"T GET h/ 503 500 ms web (no backend is ready)\n"
    assert short_line(b"T", b"", b"", b"", 400, 0.0, error="nonsense") == b"T - - 400 0.0 ms (nonsense)\n"


def test_secrets_are_hidden() -> None:
    """As in every other format."""
    assert b"hunter2" not in short_line(b"T", b"GET", b"h", b"/?password=hunter2", 200, 0.0)


def test_a_long_path_loses_its_middle_and_not_the_status() -> None:
    """The line stays short enough to be one."""
    line = short_line(b"T", b"GET", b"h", b"/" + b"a" * 5000 + b"/end", 200, 0.01, "web", 0)
    assert len(line) < LONGEST_PLACE + 40
    assert line.endswith(b"/end 200 10 ms web/0\n")


@given(method=st.binary(max_size=20), host=st.binary(max_size=50), target=st.binary(max_size=700), error=st.text())
def test_nothing_that_a_client_sends_breaks_the_line_or_reaches_the_terminal(
    method: bytes, host: bytes, target: bytes, error: str
) -> None:
    """One line of printable ASCII, and what is seen of the client has no blanks in it."""
    line = short_line(b"T", method, host, target, 200, 0.1, "web", 1, error)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line[:-1].decode("ascii").isprintable()
    assert line.split(b" ")[3] == b"200"


@pytest.mark.parametrize(("status", "colour"), [(200, b"32"), (304, b"36"), (404, b"33"), (502, b"31")])
def test_a_status_is_coloured_by_its_class(status: int, colour: bytes) -> None:
    """And nothing is coloured where nobody wants it."""
    coloured = short_line(b"T", b"GET", b"h", b"/", status, 0.1, colours=True)
    assert b"\x1b[%bm%d\x1b[0m" % (colour, status) in coloured
    assert b"\x1b" not in short_line(b"T", b"GET", b"h", b"/", status, 0.1)
