"""What backends are told of a client, whoever stands before us and whatever the client wrote."""

from __future__ import annotations

import re
import time
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.forwarding import Peer, counted_down
from hotswap.core.http.messages import Field, RequestHead, valid_host

PROXIES = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))


def told(
    *fields: Field, host: bytes = b"shop.example", trusted: bool = True, prefix: bytes = b""
) -> dict[bytes, bytes]:
    """The fields that a backend gets about a client, by name in lower case."""
    head = RequestHead()
    head.host = host
    head.forwarded = list(fields) or None
    peer = Peer(address="127.0.0.1", scheme=b"http", port=80, trusted=trusted, proxies=PROXIES)
    lines = peer.lines(head, prefix).split(b"\r\n")[:-1]
    names = [line.partition(b": ")[0].lower() for line in lines]
    assert len(set(names)) == len(names)
    assert head.forwarded == (list(fields) or None)
    return {name: line.partition(b": ")[2] for name, line in zip(names, lines, strict=True)}


def client(*fields: Field) -> bytes:
    """Who the log says the client is."""
    head = RequestHead()
    head.forwarded = list(fields)
    return Peer(address="127.0.0.1", scheme=b"http", port=80, trusted=True, proxies=PROXIES).client_of(head)


# The grammar of RFC 7239 4, for what we write.
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
PAIR = rb'(?:for|host|proto)=(?:%b|"(?:[^"\\]|\\.)*")' % TOKEN
ELEMENT = rb"%b(?:;%b)*" % (PAIR, PAIR)
FORWARDED = re.compile(rb"%b(?:, %b)*" % (ELEMENT, ELEMENT))


@pytest.mark.parametrize(
    "host",
    [b"a.test;for=6.6.6.6;proto=https", b"x;by=evil", b"a=b", b"a:80", b"[::1]", b"(a)", b"a.test", b""],
)
def test_a_host_adds_nothing_to_forwarded(host: bytes) -> None:
    """It is quoted unless it is a token; found: `;` and `=` may stand in a host."""
    assert not host or valid_host(host)
    forwarded = told(host=host, trusted=False)[b"forwarded"]
    assert FORWARDED.fullmatch(forwarded)
    bare = re.sub(rb'"[^"]*"', b"", forwarded)
    assert (bare.count(b"for="), bare.count(b"host="), bare.count(b"proto="), bare.count(b";")) == (1, 1, 1, 2)


def test_behind_a_balancer_of_x_forwarded_the_other_language_says_the_same() -> None:
    """Found: it said what our own connection is, and contradicted it."""
    fields = told((b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https"))
    assert fields[b"forwarded"] == (
        b"for=198.51.100.7;host=shop.example;proto=https, for=127.0.0.1;host=shop.example;proto=http"
    )
    fields = told((b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"eu.shop:8443"))
    assert fields[b"forwarded"] == b'for=127.0.0.1;host="eu.shop:8443";proto=https'


def test_what_a_client_wrote_in_the_language_that_its_balancer_does_not_speak_is_dropped() -> None:
    """`Forwarded` and `X-Real-IP` are made of what the balancer says."""
    fields = told(
        (b"forwarded", b"for=127.0.0.1;proto=https;host=admin.internal"),
        (b"x-real-ip", b"127.0.0.1"),
        (b"x-forwarded-for", b"198.51.100.7"),
    )
    assert b"admin" not in fields[b"forwarded"]
    assert fields[b"forwarded"].startswith(b"for=198.51.100.7;")
    assert fields[b"x-real-ip"] == b"198.51.100.7"


def test_a_balancer_that_speaks_both_languages_is_continued_in_both() -> None:
    """As long as they agree; what contradicts the other is not its word."""
    chain = ((b"x-forwarded-for", b"198.51.100.7, 10.0.0.1"), (b"x-forwarded-proto", b"https"))
    spoken = b"for=198.51.100.7;proto=https;by=_edge, for=10.0.0.1"
    assert told(*chain, (b"forwarded", spoken))[b"forwarded"].startswith(spoken + b", for=127.0.0.1;")
    for other in (
        spoken.replace(b"https", b"http"),
        spoken + b";host=admin.internal",
        b"for=6.6.6.6, " + spoken,
        spoken.partition(b",")[0],
        b"proto=https",
    ):
        fields = told(*chain, (b"forwarded", other))
        assert fields[b"forwarded"].startswith(b"for=198.51.100.7;host=shop.example;proto=https, for=10.0.0.1, ")


def test_behind_a_balancer_of_forwarded_the_other_language_says_the_same() -> None:
    """Of the hop that tells of the client, not of what stands before it, which the client may have written."""
    fields = told(
        (b"forwarded", b'for=6.6.6.6;host=evil;proto=ftp, for="[2001:db8::1]:4711";host="eu.shop:444";proto=https'),
        (b"forwarded", b"for=10.0.0.9;proto=http"),
        (b"x-forwarded-proto", b"ftp"),
        (b"x-forwarded-host", b"evil"),
    )
    assert fields[b"x-forwarded-for"] == b"6.6.6.6, 2001:db8::1, 10.0.0.9, 127.0.0.1"
    assert fields[b"x-forwarded-proto"] == b"https"
    assert fields[b"x-forwarded-host"] == b"eu.shop:444"
    assert fields[b"x-forwarded-port"] == b"444"
    assert fields[b"forwarded"].endswith(b"proto=http, for=127.0.0.1;host=shop.example;proto=http")


def test_what_a_proxy_says_of_a_port_or_a_prefix_goes_on() -> None:
    """And `X-Real-IP` of a proxy that says nothing else of its client."""
    fields = told((b"x-real-ip", b"198.51.100.7"), (b"x-forwarded-prefix", b"/shop"))
    assert (fields[b"x-real-ip"], fields[b"x-forwarded-prefix"]) == (b"198.51.100.7", b"/shop")
    assert fields[b"x-forwarded-for"] == b"127.0.0.1"


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (b"198.51.100.7", b"198.51.100.7"),
        (b"6.6.6.6, 198.51.100.7, 10.0.0.1", b"198.51.100.7"),
        (b"198.51.100.7:4711", b"198.51.100.7"),
        (b"[2001:db8::1]:4711", b"2001:db8::1"),
        (b"unknown", b"unknown"),
        (b"_hidden-1", b"_hidden-1"),
        (b"6.6.6.6 - admin [01/Jan/2020:00:00:00 +0000]", b"127.0.0.1"),
        (b"9.9.9.9 - admin, 10.0.0.1", b"10.0.0.1"),
        (b"fe80::1%x - admin [y]", b"127.0.0.1"),
        (b"_" + b"x" * 100, b"127.0.0.1"),
        (b"", b"127.0.0.1"),
    ],
)
def test_a_client_is_an_address_or_a_name_of_the_standard(chain: bytes, expected: bytes) -> None:
    """Found: any text was, and moved the columns of the combined log."""
    assert client((b"x-forwarded-for", chain)) == expected


@pytest.mark.parametrize(
    "value",
    [
        b'for="1.2.3.4, 6.6.6.6"',
        b'for="1.2.3.4;for=6.6.6.6"',
        b'for=1.2.3.4;host="a, b\\"c"',
        b'for="1.2.3.4',
        b'"',
        b'for="\\',
    ],
)
def test_quotes_end_where_they_end(value: bytes) -> None:
    """Nothing inside of them becomes a hop, a host or a field."""
    fields = told((b"forwarded", value))
    assert b"6.6.6.6" not in fields[b"x-forwarded-for"]
    assert fields[b"x-forwarded-host"] == b"shop.example"
    assert fields[b"x-forwarded-for"].count(b",") <= 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"]),
            st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
            .map(str.encode)
            .map(bytes.strip),
        ),
        max_size=5,
    )
)
def test_whatever_a_trusted_peer_passes_on_forwarded_is_of_the_grammar(fields: list[Field]) -> None:
    """Each parameter once in each element."""
    forwarded = told(*fields)[b"forwarded"]
    assert FORWARDED.fullmatch(forwarded)
    for element in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", forwarded).split(b", "):
        names = [pair.partition(b"=")[0] for pair in element.split(b";")]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("unit", [b'"\\', b'"', b'\\"', b'for="', b",", b";", b"for=a,", b'"a",'])
def test_hops_cost_linear_time(unit: bytes) -> None:
    """However quotes and escapes are heaped."""
    began = time.thread_time()
    told((b"forwarded", unit * (60_000 // len(unit))))
    assert time.thread_time() - began < 1


def test_counting_down_leaves_the_head_as_it_is() -> None:
    """The same head may stand for the next request of a connection of HTTP/2."""
    head = RequestHead()
    head.fields = ((b"Max-Forwards", b"3"), (b"a", b"b"))
    counted = counted_down(head)
    assert counted is not None
    assert counted.fields == ((b"Max-Forwards", b"2"), (b"a", b"b"))
    assert head.fields == ((b"Max-Forwards", b"3"), (b"a", b"b"))
    head.fields = ((b"max-forwards", b"0"),)
    assert counted_down(head) is None
    head.fields = ((b"max-forwards", b"x"),)
    assert counted_down(head) is head


@pytest.mark.parametrize("begun", [b"6.6.6.6, " * 7000, b"10.0.0.9," * 7000, b"," * 60_000, b'"' * 60_000])
def test_the_client_is_found_at_the_end_of_a_chain_of_any_length(begun: bytes) -> None:
    """It wrote the beginning itself; only what the proxies wrote behind it is looked at."""
    fields = [(b"x-forwarded-for", begun), (b"x-forwarded-for", b"192.0.2.7, 10.0.0.1")]
    assert client(*fields) == b"192.0.2.7"
    assert told(*fields)[b"x-forwarded-for"].endswith(b"192.0.2.7, 10.0.0.1, 127.0.0.1")
    assert FORWARDED.fullmatch(told(*fields)[b"forwarded"])


def test_a_forwarded_without_end_tells_nothing() -> None:
    """What its quotes mean is known from its beginning on alone, and that is the client's."""
    fields = [(b"forwarded", b"for=6.6.6.6;x=" + b'"a",' * 1000 + b"for=192.0.2.7")]
    assert client(*fields) == b"127.0.0.1"
    assert told(*fields)[b"forwarded"] == b"for=127.0.0.1;host=shop.example;proto=http"


@pytest.mark.parametrize(
    "value", [b'for="6.6.6.6, for=192.0.2.7', b'"', b'for=6.6.6.6;x="a\\"', b"for=6.6.6.6\\", b'a"b"c"']
)
@pytest.mark.parametrize("more", [(), ((b"forwarded", b"for=192.0.2.7"),)], ids=["one line", "two lines"])
def test_a_quote_that_is_never_closed_tells_nothing(value: bytes, more: tuple[Field, ...]) -> None:
    """Found: it went on, and what we wrote behind it was a part of the client's quote."""
    fields = [(b"forwarded", value), *more]
    assert client(*fields) == b"127.0.0.1"
    assert told(*fields)[b"forwarded"] == b"for=127.0.0.1;host=shop.example;proto=http"
    assert told(*fields)[b"x-forwarded-for"] == b"127.0.0.1"
    chain = (b"x-forwarded-for", b"192.0.2.7")
    assert told(*fields, chain)[b"forwarded"].startswith(b"for=192.0.2.7;host=shop.example;")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ((), None),
        (((b"x-hotswap-client", b"6.6.6.6"),), None),
        (((b"x-forwarded-for", b"6.6.6.6, 198.51.100.7, 10.0.0.1"),), b"198.51.100.7"),
        (((b"x-forwarded-for", b"6.6.6.6, 198.51.100.7"), (b"x-hotswap-client", b"6.6.6.6")), b"198.51.100.7"),
        (((b"x-forwarded-for", b"6.6.6.6, what is this"),), b"127.0.0.1"),
        (((b"x-forwarded-for", b"6.6.6.6, unknown"),), b"unknown"),
        (((b"forwarded", b'for=6.6.6.6, for="[2001:db8::9]:80"'),), b"2001:db8::9"),
    ],
)
def test_which_of_several_hops_is_the_client_is_told(fields: tuple[Field, ...], named: bytes | None) -> None:
    """It is the one of the log, and never what somebody wrote; with a single hop that is the client."""
    found = told(*fields)
    assert found.get(b"x-hotswap-client") == named
    if named is None:
        assert found[b"x-forwarded-for"] == b"127.0.0.1"
    else:
        assert client(*fields) == named


def test_a_client_that_is_not_trusted_names_nobody() -> None:
    """Its own field is dropped."""
    assert b"x-hotswap-client" not in told((b"x-hotswap-client", b"6.6.6.6"), trusted=False)


@pytest.mark.parametrize(
    ("said", "own", "prefix"),
    [
        ((), b"", None),
        ((), b"/api", b"/api"),
        ((b"/outer",), b"/api", b"/outer/api"),
        ((b"/outer/",), b"/api", b"/outer/api"),
        ((b"/outer",), b"", b"/outer"),
        ((b"/a, /b/", b"/c"), b"/d", b"/a/b/c/d"),
        ((b"/",), b"/api", b"/api"),
        ((b"/",), b"", None),
        ((b"//evil.test",), b"/api", b"/api"),
        ((b"/%2Fevil.test",), b"/api", b"/api"),
        ((b"/\\evil.test",), b"/api", b"/api"),
        ((b"/%5cevil.test",), b"/api", b"/api"),
        ((b"/a/../b",), b"/api", b"/api"),
        ((b"/a/%2e%2e",), b"/api", b"/api"),
        ((b"/%0d%0aSet-Cookie: x",), b"/api", b"/api"),
        ((b"https://evil.test/x",), b"/api", b"/api"),
        ((b"/" + b"a" * 2000,), b"/api", b"/api"),
    ],
)
def test_the_prefix_of_a_trusted_proxy_is_continued(said: tuple[bytes, ...], own: bytes, prefix: bytes | None) -> None:
    """It is put before links, so what could be read as another host is none; our own stands behind it."""
    fields = told(*((b"x-forwarded-prefix", value) for value in said), prefix=own)
    assert fields.get(b"x-forwarded-prefix") == prefix


def test_the_prefix_of_anybody_else_is_replaced() -> None:
    """Also where nothing is taken off."""
    said = (b"x-forwarded-prefix", b"/evil")
    assert told(said, trusted=False, prefix=b"/api")[b"x-forwarded-prefix"] == b"/api"
    assert b"x-forwarded-prefix" not in told(said, trusted=False)
