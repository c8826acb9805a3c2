"""`hotswap.wire.http1.field_lines`: what is remembered means the same the second time, and is bounded."""

from __future__ import annotations

import pytest

from hotswap.core.http.field_names import is_request_special, is_response_special
from hotswap.core.http.messages import RequestHead
from hotswap.wire.http1.field_lines import MEMORY_BYTES, MEMORY_LINES, FieldLines

LINES = [b"Host: a.example", b"ACCEPT:  text/html \t", b"X_Real_Ip: 6.6.6.6", b"accept:", b"Content-Length:5"]


def test_lines_mean_the_same_each_time():
    """In order; names keep their spelling, values lose the white space around them."""
    lines = FieldLines(is_request_special, underscores=False)
    expected = (
        [b"ACCEPT: text/html\r\n", b"accept: \r\n"],
        [(b"host", b"a.example"), (b"content-length", b"5")],
    )
    assert lines.part(LINES) == expected
    assert len(lines) == len(LINES)
    assert lines.part(LINES) == expected


def test_what_backends_name_with_underscores_goes_on():
    """It is for the client to read, and no server folds it."""
    assert FieldLines(is_response_special, underscores=True).part([b"x_y: 1"]) == ([b"x_y: 1\r\n"], [])


@pytest.mark.parametrize(
    "line",
    [b"Cookie: session=1", b"AUTHORIZATION: Basic x", b"Set-Cookie: a=b", b"X-Long: " + b"x" * MEMORY_BYTES],
)
def test_what_is_secret_or_long_is_not_kept(line: bytes):
    """It is understood all the same."""
    lines = FieldLines(is_response_special, underscores=False)
    assert lines.part([line]) == ([line + b"\r\n"], [])
    assert not lines


def test_a_memory_is_bounded():
    """It begins again when it is full."""
    lines = FieldLines(is_response_special, underscores=False)
    for number in range(3 * MEMORY_LINES):
        lines.part([b"X-Number: %d" % number])
        assert len(lines) <= MEMORY_LINES


def test_fields_of_a_head_are_its_lines():
    """Set as fields, read as fields, found by their lower-case name."""
    head = RequestHead()
    head.fields = [(b"Accept", b"*/*"), (b"X-A", b"b: c")]
    assert head.lines == [b"Accept: */*\r\n", b"X-A: b: c\r\n"]
    assert head.fields == ((b"Accept", b"*/*"), (b"X-A", b"b: c"))
    assert (head.field(b"x-a"), head.field(b"x")) == (b"b: c", None)
