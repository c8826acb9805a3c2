"""Hosts, prefixes and the spellings of a path: where a request goes, and which are refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.routing import (
    CACHE_ENTRIES,
    CACHE_KEY_BYTES,
    PathRefusal,
    RouteMatch,
    Router,
    bare_host,
)


@dataclass(frozen=True)
class Definition:
    """A route as the configuration has it."""

    pool: str
    path: str = "/"
    hosts: tuple[str, ...] = ()
    strip_prefix: bool = False


def pool_of(router: Router, path: bytes, host: bytes = b"example.org") -> str | PathRefusal | None:
    """The pool's name, or why there is none."""
    match = router.match(host, path)
    return match.pool if isinstance(match, RouteMatch) else match


HOSTS = Router(
    (
        Definition("any"),
        Definition("any-api", path="/api"),
        Definition("wild", hosts=("*.example.org",)),
        Definition("deeper", hosts=("*.b.example.org",)),
        Definition("exact", hosts=("www.example.org", "[::1]"), path="/"),
        Definition("only-docs", hosts=("docs.example.net",), path="/docs"),
    )
)


@pytest.mark.parametrize(
    ("host", "pool"),
    [
        (b"www.example.org", "exact"),
        (b"WWW.Example.ORG:8443", "exact"),
        (b"www.example.org.", "exact"),
        (b"www.example.org.:80", "exact"),
        (b"[::1]:8443", "exact"),
        (b"[::1]", "exact"),
        (b"a.example.org", "wild"),
        (b"a.c.example.org", "wild"),
        (b"a.b.example.org", "deeper"),
        (b"b.example.org", "wild"),
        (b"example.org", "any"),
        (b"xexample.org", "any"),
        (b".example.org", "any"),
        (b"", "any"),
        (b"docs.example.net", "any"),
    ],
)
def test_an_exact_host_beats_a_wildcard_and_a_wildcard_beats_any(host: bytes, pool: str) -> None:
    """The longest wildcard wins, labels are respected, case, port and final dot mean nothing."""
    assert pool_of(HOSTS, b"/x", host) == pool


def test_a_more_exact_host_beats_a_longer_path() -> None:
    """The host decides first; a host without a fitting prefix falls through to the routes for any host."""
    assert pool_of(HOSTS, b"/api/x", b"www.example.org") == "exact"
    assert pool_of(HOSTS, b"/docs", b"docs.example.net") == "only-docs"
    assert pool_of(HOSTS, b"/api", b"docs.example.net") == "any-api"


PATHS = Router((Definition("root"), Definition("api", path="/api"), Definition("v2", path="/api/v2/")))


@pytest.mark.parametrize(
    ("path", "pool"),
    [
        (b"/", "root"),
        (b"", "root"),
        (b"*", "root"),
        (b"/ap", "root"),
        (b"/apix", "root"),
        (b"/API", "root"),
        (b"/api", "api"),
        (b"/api/", "api"),
        (b"/api/v1", "api"),
        (b"/api/v2x", "api"),
        (b"/api/v2", "v2"),
        (b"/api/v2/x", "v2"),
        (b"/%61pi", "api"),
        (b"/%61%70%69/%76%32", "v2"),
        (b"/x%20y", "root"),
        (b"/api/x%2fy", "api"),
        (b"/api/x%2Fy", "api"),
        (b"/x//y", "root"),
        (b"/x/../y", "root"),
        (b"/api/a/../b", "api"),
        (b"/api/.well-known", "api"),
        (b"/api/x;v=1", "api"),
        (b"/%2561pi", "root"),
        (b"/x/%252e%252e/api", "root"),
    ],
)
def test_the_longest_prefix_at_a_segment_boundary_wins(path: bytes, pool: str) -> None:
    """An escape is decoded once for matching; what all readings agree on is routed."""
    assert pool_of(PATHS, path) == pool


@pytest.mark.parametrize(
    "path",
    [
        b"/x/../api",
        b"/x/%2e%2e/api",
        b"/x/.%2E/api",
        b"/x%2f..%2fapi",
        b"/x/..%2fapi",
        b"/%2fapi",
        b"//api",
        b"/./api",
        b"/api/..",
        b"/api/../x",
        b"/api%2f..%2fx",
        b"/api%2fv2",
        b"/api%2f",
        b"/api//v2",
        b"/api/..;/x",
        b"/x/..;a=b/api",
        b"/api;a=b/v2",
        b"/x/..%5capi",
        b"/%5capi",
        b"/api%5cv2",
        b"/api/v2/%2e%2e/v1",
        b"/../api",
        b"/x/..//api",
    ],
)
def test_a_path_that_backends_read_as_different_routes_is_refused(path: bytes) -> None:
    """No spelling steps from one pool into another."""
    assert pool_of(PATHS, path) is PathRefusal.AMBIGUOUS


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        (b"/a%00b", PathRefusal.ENCODED_NUL),
        (b"/a\0b", PathRefusal.ENCODED_NUL),
        (b"/a%", PathRefusal.BAD_ESCAPE),
        (b"/a%2", PathRefusal.BAD_ESCAPE),
        (b"/a%zz", PathRefusal.BAD_ESCAPE),
        (b"/a%%30", PathRefusal.BAD_ESCAPE),
        (b"a", PathRefusal.NOT_A_PATH),
        (b"http://example.org/", PathRefusal.NOT_A_PATH),
        (b"/a?b", PathRefusal.NOT_A_PATH),
        (b"/a#b", PathRefusal.NOT_A_PATH),
    ],
)
def test_what_is_no_path_is_refused(path: bytes, refusal: PathRefusal) -> None:
    """Even where one route takes everything."""
    assert pool_of(PATHS, path) is refusal
    assert pool_of(Router(()), path) is refusal


def test_without_a_route_there_is_no_match() -> None:
    """An unknown host or path is None, for clean and for unclear paths."""
    router = Router((Definition("web", path="/a", hosts=("example.org",)),))
    assert router.match(b"example.org", b"/b") is None
    assert router.match(b"example.org", b"/b//c") is None
    assert router.match(b"example.net", b"/a") is None


def test_readings_that_lead_to_the_same_pool_are_not_ambiguous() -> None:
    """What matters is where the request goes, not which route sends it there."""
    router = Router((Definition("web"), Definition("web", path="/api")))
    assert pool_of(router, b"/x/../api") == "web"


@pytest.mark.parametrize(
    ("path", "target", "rewritten"),
    [
        (b"/api", b"/api", b"/"),
        (b"/api", b"/api?a=b", b"/?a=b"),
        (b"/api/", b"/api/", b"/"),
        (b"/api/x", b"/api/x?y", b"/x?y"),
        (b"/%61pi/x", b"/%61pi/x", b"/x"),
        (b"/api//name/x", b"/api//name/x", b"/name/x"),
        (b"/api/%2fx", b"/api/%2fx", b"/%2fx"),
        (b"/api/a/../b", b"/api/a/../b", b"/a/../b"),
    ],
)
def test_a_stripped_prefix_leaves_an_origin_form(path: bytes, target: bytes, rewritten: bytes) -> None:
    """The prefix is taken off as it was spelled, and the rest begins with exactly one slash."""
    router = Router((Definition("api", path="/api", strip_prefix=True),))
    match = router.match(b"example.org", path)
    assert isinstance(match, RouteMatch)
    assert match.rewrite(target) == rewritten


def test_a_target_is_untouched_when_nothing_is_stripped() -> None:
    """What is forwarded is what was sent, however it was read for matching."""
    match = PATHS.match(b"example.org", b"/%61pi//x")
    assert isinstance(match, RouteMatch)
    assert match.rewrite(b"/%61pi//x?y") == b"/%61pi//x?y"


def test_the_first_of_two_equal_routes_wins() -> None:
    """A slash at the end of a path means nothing, and `*` is any host."""
    router = Router((Definition("first", path="/a/"), Definition("second", path="/a", hosts=("*",))))
    assert pool_of(router, b"/a") == "first"


def test_answers_are_kept_within_bounds() -> None:
    """The cache forgets instead of growing, and keeps no long keys; answers stay the same."""
    for number in range(CACHE_ENTRIES + 10):
        assert pool_of(PATHS, b"/api/%d" % number) == "api"
    assert len(PATHS._cache) <= CACHE_ENTRIES
    before = len(PATHS._cache)
    assert pool_of(PATHS, b"/api/" + b"x" * CACHE_KEY_BYTES) == "api"
    assert len(PATHS._cache) == before


@given(
    st.lists(
        st.sampled_from([b"/", b"a", b"api", b"..", b".", b"%2f", b"%2e", b"%5c", b";", b"%61", b"//", b"x"]),
        max_size=8,
    )
)
def test_what_goes_to_the_open_pool_is_never_read_as_the_closed_one(pieces: list[bytes]) -> None:
    """Whatever a backend does with dots, slashes and escapes, it does not leave its route."""
    path = b"/" + b"".join(pieces)
    pool = pool_of(PATHS, path)
    if pool == "root":
        decoded = path.replace(b"%61", b"a").replace(b"%2f", b"/").replace(b"%2e", b".").replace(b"%5c", b"/")
        kept: list[bytes] = []
        for segment in decoded.split(b"/"):
            if segment.partition(b";")[0] == b"..":
                del kept[-1:]
            elif segment.partition(b";")[0] not in (b"", b"."):
                kept.append(segment.partition(b";")[0])
        assert kept[:1] != [b"api"]


def test_a_bare_host_has_no_port() -> None:
    """IPv6 keeps its brackets; what does not end stays as it is."""
    assert bare_host(b"Example.org:80") == b"example.org"
    assert bare_host(b"[2001:DB8::1]:80") == b"[2001:db8::1]"
    assert bare_host(b"[::1") == b"[::1"
