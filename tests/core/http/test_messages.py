"""Heads of requests and responses, and what their parts may be."""

from __future__ import annotations

import pytest

from hotswap.core.http.messages import MAX_HOST, RequestHead, ResponseHead, parse_tokens, valid_host


def test_fields_are_lines_taken_apart():
    """In order and in the sender's spelling; the first of a name is found in any case of letters."""
    head = ResponseHead()
    head.fields = ((b"X-A", b"1"), (b"x-b", b""), (b"x-a", b"2: 3"))
    assert head.lines == [b"X-A: 1\r\n", b"x-b: \r\n", b"x-a: 2: 3\r\n"]
    assert head.fields == ((b"X-A", b"1"), (b"x-b", b""), (b"x-a", b"2: 3"))
    assert (head.field(b"x-a"), head.field(b"x-b"), head.field(b"x")) == (b"1", b"", None)


def test_a_body_follows_if_it_is_chunked_or_has_a_length():
    """A length of nothing is none."""
    told: list[bool] = []
    head = RequestHead()
    for length, chunked in ((None, False), (0, False), (1, False), (None, True)):
        head.content_length, head.chunked = length, chunked
        told.append(head.has_body)
    assert told == [False, False, True, True]


@pytest.mark.parametrize(
    "host", [b"example.org", b"example.org:8080", b"example.org:", b"192.0.2.1", b"[2001:db8::1]:80", b"a_b", b"%41"]
)
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(host):
    """RFC 9110 7.2 and RFC 3986 3.2.2."""
    assert valid_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a b",
        b"user@example.org",
        b"example.org/",
        b"example.org:65536",
        b"example.org:x",
        b"[::1",
        b"[:::]",
        b"%4",
        b"a" * (MAX_HOST + 1),
    ],
)
def test_what_is_no_host_is_refused(host):
    """Among it whatever one server takes for a host and another for more (L2)."""
    assert not valid_host(host)


def test_members_of_a_list_are_in_lower_case():
    """Empty ones are none."""
    assert parse_tokens(b"Close, , TE\t,x-Hop") == (b"close", b"te", b"x-hop")
    assert parse_tokens(b"") == ()
