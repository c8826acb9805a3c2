"""What proxies before us say of those who came to them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from hotswap.core.http.hops import (
    LONGEST_CHAIN,
    Hop,
    agree,
    first_of,
    node_address,
    plain_node,
    quoted,
    told_hops,
    written_node,
)


def test_one_language_is_read_and_x_forwarded_for_first():
    """Ports, quotes and brackets away."""
    both = [(b"forwarded", b"for=192.0.2.9"), (b"x-forwarded-for", b'192.0.2.1:80, "[2001:db8::1]:81"')]
    assert told_hops(both) == [Hop(b"192.0.2.1"), Hop(b"2001:db8::1")]
    assert told_hops(both[:1]) == [Hop(b"192.0.2.9")]
    assert told_hops([]) == []


def test_forwarded_tells_of_host_and_scheme():
    """As far as they are what they should be."""
    value = b'for="[2001:db8::1]:80";Host=shop.example;proto=https, for=_a;host="a b";proto="a b", by=192.0.2.7'
    assert told_hops([(b"forwarded", value)]) == [Hop(b"2001:db8::1", b"shop.example", b"https"), Hop(b"_a")]


def test_of_a_long_chain_the_end_is_read():
    """It is what the proxies next to us wrote."""
    chain = b", ".join([b"192.0.2.1"] * LONGEST_CHAIN) + b", 192.0.2.2"
    hops = told_hops([(b"x-forwarded-for", chain)])
    assert hops[-1] == Hop(b"192.0.2.2")
    assert len(hops) < LONGEST_CHAIN // 10


def test_both_languages_agree_where_they_say_the_same():
    """Of the same hops, in the same order; what one does not tell is no difference."""
    told = [(b"forwarded", b"for=192.0.2.1;host=shop, for=192.0.2.2")]
    assert agree(told, [Hop(b"192.0.2.1"), Hop(b"192.0.2.2")], b"shop", b"https")
    assert not agree(told, [Hop(b"192.0.2.1"), Hop(b"192.0.2.2")], b"other", b"https")
    assert not agree(told, [Hop(b"192.0.2.2"), Hop(b"192.0.2.1")], b"shop", b"https")
    assert not agree([(b"forwarded", b'for="')], [], b"", b"")


@pytest.mark.parametrize(
    ("node", "plain", "written"),
    [
        (b"192.0.2.1", b"192.0.2.1", b"192.0.2.1"),
        (b"2001:db8::1", b"2001:db8::1", b'"[2001:db8::1]"'),
        (b"_hidden", b"_hidden", b"_hidden"),
        (b"fe80::1%x", b"unknown", b"unknown"),
        (b"<script>", b"unknown", b"unknown"),
        (b"_" + b"a" * 64, b"unknown", b"unknown"),
    ],
)
def test_what_is_neither_address_nor_name_is_unknown(node, plain, written):
    """In either language (RFC 7239 6)."""
    assert plain_node(node) == plain
    assert written_node(node) == written


def test_an_address_is_one_without_a_zone():
    """A zone may be any text."""
    assert node_address(b"2001:db8::1") == ip_address("2001:db8::1")
    assert node_address(b"fe80::1%eth0") is None


def test_values_are_quoted_where_they_have_to_be():
    """RFC 7239 4."""
    assert quoted(b"https") == b"https"
    assert quoted(b'a"\\') == b'"a\\"\\\\"'
    assert first_of(b" https , http") == b"https"
