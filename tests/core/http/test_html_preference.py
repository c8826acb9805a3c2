"""Whether a client would rather have HTML than plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.html_preference import MAX_RANGES, accept_field, prefers_html, told_accept
from hotswap.core.http.messages import RequestHead

CHROME = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
FIREFOX = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
IMAGE = b"image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [
        CHROME,
        FIREFOX,
        b"text/html",
        b"TEXT/HTML",
        b"text/html, */*",
        b"text/html;q=0.5, application/json",
        b"text/html;level=1;q=0.5, text/plain;q=0.5",
        b" text/html ;q=1.000",
        b"application/json,text/html",
        b"*/*;q=0.8,text/html;q=0.8",
        b"text/html;q=0.001",
    ],
)
def test_who_names_html_gets_it(accept):
    """With the same weight as text, or more, whatever else it takes."""
    assert prefers_html(accept)


@pytest.mark.parametrize(
    "accept",
    [
        b"",
        b"*/*",
        b"text/*",
        b"application/json",
        b"application/json, text/plain, */*",
        b"application/xhtml+xml",
        IMAGE,
        b"text/html;q=0",
        b"text/html;q=0.0, */*",
        b"text/html;q=0.4, text/plain",
        b"text/html;q=0.4, text/*;q=0.5",
        b"text/html;q=0.4, */*;q=0.5",
        b"text/html;q=2",
        b"text/html;q=",
        b"text/html;q=0.1234",
        b"text/htmlx",
        b"text/html/x",
        b"text/event-stream",
    ],
)
def test_nobody_else_gets_html(accept):
    """Not by a wildcard, not against its own weights, and not by a weight that is none."""
    assert not prefers_html(accept)


def test_the_most_specific_range_says_what_plain_text_is_worth():
    """RFC 9110 12.5.1: `text/plain` goes before `text/*`, and that before `*/*`."""
    assert prefers_html(b"text/html;q=0.5, text/plain;q=0.4, */*")
    assert prefers_html(b"text/html;q=0.5, text/*;q=0.4, */*")
    assert not prefers_html(b"text/html;q=0.5, text/plain;q=0.6, */*;q=0.1")


def test_no_more_than_so_much_of_it_is_read():
    """Whoever sends more names what it prefers first."""
    assert prefers_html(b"text/html," + b"a/b," * 100_000)
    assert not prefers_html(b"a/b," * MAX_RANGES + b"text/html")


@given(st.binary(max_size=200))
def test_whatever_is_sent_has_an_answer(accept):
    """It is nothing but bytes."""
    assert prefers_html(accept) in (True, False)


def test_the_fields_of_a_head_count_as_one():
    """RFC 9110 5.3, in the sender's spelling."""
    head = RequestHead()
    head.lines = [b"aCCept: application/json\r\n", b"Accept-Language: en\r\n", b"accept:  text/html\r\n"]
    assert accept_field(head) == b"application/json,text/html"
    head.lines = [b"Accepts: text/html\r\n"]
    assert accept_field(head) == b""


@pytest.mark.parametrize(
    ("raw", "accept"),
    [
        (b"GET / HTTP/1.1\r\nACCEPT: text/html \r\nX: 1\r\n", b"text/html"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAccept:text/html\r\n", b"text/html"),
        (b"GET / HTTP/1.1\r\nAccept: text/ht", b""),
        (b"GET / HTTP/1.1\r\nX-Accept: text/html\r\n", b""),
        (b"GET /accept:text/html HTTP/1.1\r\n", b""),
        (b"", b""),
    ],
)
def test_it_is_found_in_a_head_that_is_none(raw, accept):
    """As far as a whole line of it has come."""
    assert told_accept(raw) == accept
