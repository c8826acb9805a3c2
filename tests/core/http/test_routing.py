"""Hosts, prefixes and the spellings of a path: where a request goes, and which are refused."""

from __future__ import annotations

import re
import time
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotswap.core.config.listeners import RedirectTable
from hotswap.core.config.routes import RouteTable
from hotswap.core.http.messages import RequestHead
from hotswap.core.http.path_readings import MOST_WORK, Undecided, readings
from hotswap.core.http.routing import (
    CACHE_ENTRIES,
    CACHE_KEY_BYTES,
    PathRefusal,
    RouteMatch,
    Router,
    bare_host,
    location_of,
)


def route(pool: str, path: str = "/", hosts: tuple[str, ...] = (), *, strip_prefix: bool = False) -> RouteTable:
    """A route as the configuration has it."""
    return RouteTable(pool=pool, path=path, hosts=hosts, strip_prefix=strip_prefix)


class Clean:
    """Prefixes as a backend has them, of a path that is read already."""

    @staticmethod
    def match(_host: bytes, path: bytes) -> RouteMatch:
        """The longest at a segment boundary."""
        for pool, prefix in (("v2", b"/api/v2"), ("api", b"/api")):
            if (path + b"/").startswith(prefix + b"/"):
                return RouteMatch(pool=pool)
        return RouteMatch(pool="root")


def pool_of(router: Router | Clean, path: bytes, host: bytes = b"example.org") -> str | PathRefusal | None:
    """The pool's name, or why there is none."""
    match = router.match(host, path)
    return match.pool if isinstance(match, RouteMatch) else match


HOSTS = Router(
    (
        route("any"),
        route("any-api", path="/api"),
        route("wild", hosts=("*.example.org",)),
        route("deeper", hosts=("*.b.example.org",)),
        route("exact", hosts=("www.example.org", "[::1]"), path="/"),
        route("only-docs", hosts=("docs.example.net",), path="/docs"),
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


CLEAN = Clean()
PATHS = Router((route("root"), route("api", path="/api"), route("v2", path="/api/v2/")))


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
        (b"/%2561pix", "root"),
        (b"/x/%252e%252e/y", "root"),
        (b"/api/https%3A%2F%2Fexample.org%2Fa%252Fb%3Fc%23d", "api"),
        (b"/x/http://example.org//api/y;z", "root"),
        (b"/api/" + b"%E3%81%82" * 400 + b"%2Fx", "api"),
    ],
)
def test_the_longest_prefix_at_a_segment_boundary_wins(path: bytes, pool: str) -> None:
    """An escape is decoded once for matching; what all readings agree on is routed, though some decode twice."""
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
        b"/a%2fb/..;/api/x",
        b"/api/..;/x//..;/",
        b"/%5c./api/..;/",
        b"/%5c./api/x",
        b"//x/api",
        b"///x/api",
        b"/\\x/api",
        b"/%5cx/api",
        b"/%2fx%2fapi",
        b"/x/..;/api",
        b"/x/..%3b/api",
        b"/x/%2e%2e%3ba=b/api",
        b"/api/x/..;/..;/y",
        b"/api/x//..;/..;/y",
        b"/api/..;",
        b"/api;/../x",
        b"/api%3fx",
        b"/api%23x",
        b"/x/..\\api",
        b"/x\\..\\api",
        b"/x/%2e.;/%61pi",
        b"/%2561pi",
        b"/x/%252e%252e/api",
        b"/x%252f..%252fapi",
        b"/x/..%253b/api",
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
    router = Router((route("web", path="/a", hosts=("example.org",)),))
    assert router.match(b"example.org", b"/b") is None
    assert router.match(b"example.org", b"/b//c") is None
    assert router.match(b"example.net", b"/a") is None


def test_readings_that_lead_to_the_same_pool_are_not_ambiguous() -> None:
    """What matters is where the request goes, not which route sends it there."""
    router = Router((route("web"), route("web", path="/api")))
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
    router = Router((route("api", path="/api", strip_prefix=True),))
    match = router.match(b"example.org", path)
    assert isinstance(match, RouteMatch)
    assert match.rewrite(target) == rewritten


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/api", b"/api"),
        ("/api/", b"/api"),
        ("/", b""),
        ("/%61pi", b"/api"),
        ("/a%20b/c", b"/a%20b/c"),
        ("/käse", b"/k%C3%A4se"),
        ("/a,b", b"/a%2Cb"),
        ("/a%22b", b"/a%22b"),
    ],
)
def test_a_prefix_is_told_in_one_spelling(path: str, prefix: bytes) -> None:
    """As the route has it, whatever the request wrote, and fit for a URL and a list."""
    match = Router((route("api", path=path, strip_prefix=True),)).match(b"x", path.encode())
    assert isinstance(match, RouteMatch)
    assert match.prefix == prefix
    match = Router((route("api", path=path),)).match(b"x", path.encode())
    assert isinstance(match, RouteMatch)
    assert match.prefix == b""


def test_a_target_is_untouched_when_nothing_is_stripped() -> None:
    """What is forwarded is what was sent, however it was read for matching."""
    match = PATHS.match(b"example.org", b"/%61pi//x")
    assert isinstance(match, RouteMatch)
    assert match.rewrite(b"/%61pi//x?y") == b"/%61pi//x?y"


def test_the_first_of_two_equal_routes_wins() -> None:
    """A slash at the end of a path means nothing, and `*` is any host."""
    router = Router((route("first", path="/a/"), route("second", path="/a")))
    assert pool_of(router, b"/a") == "first"


def test_answers_are_kept_within_bounds() -> None:
    """The cache forgets instead of growing, and keeps no long keys; answers stay the same."""
    for number in range(CACHE_ENTRIES + 10):
        assert pool_of(PATHS, b"/api/%d" % number) == "api"
    assert len(PATHS._cache) <= CACHE_ENTRIES
    before = len(PATHS._cache)
    assert pool_of(PATHS, b"/api/" + b"x" * CACHE_KEY_BYTES) == "api"
    assert len(PATHS._cache) == before


def dots_resolved(path: bytes, *, merge: bool) -> bytes:
    """Without dot segments; where slashes are merged, an empty segment is none that `..` could take away."""
    kept: list[bytes] = []
    for segment in path.split(b"/")[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b"." and (segment or not merge):
            kept.append(segment)
    return b"/" + b"/".join(kept)


def stripped(path: bytes) -> bytes:
    """Without parameters."""
    return b"/".join(segment.partition(b";")[0] for segment in path.split(b"/"))


def tomcat(path: bytes) -> bytes:
    """Parameters go, then it decodes, takes backslashes for slashes, merges slashes and removes dots."""
    return dots_resolved(unquote_to_bytes(stripped(path)).replace(b"\\", b"/"), merge=True)


def jetty(path: bytes) -> bytes:
    """Encoded slashes stay until dots are removed, empty segments count."""
    kept = path.replace(b"%2f", b"%252f").replace(b"%2F", b"%252F")
    return unquote_to_bytes(dots_resolved(unquote_to_bytes(stripped(kept)), merge=False))


def spring(path: bytes) -> bytes:
    """It decodes before parameters go."""
    return dots_resolved(stripped(unquote_to_bytes(path)), merge=True)


def shiro(path: bytes) -> bytes:
    """The first parameter is the end."""
    return dots_resolved(unquote_to_bytes(path).partition(b";")[0], merge=True)


def nginx(path: bytes) -> bytes:
    """Once decoded it merges slashes and removes dots."""
    return dots_resolved(unquote_to_bytes(path), merge=True)


def node(path: bytes) -> bytes:
    """`new URL(path, base)`: backslashes are slashes, two slashes begin an authority, dots go before it is decoded."""
    path = path.replace(b"\\", b"/").replace(b"%2e", b".").replace(b"%2E", b".")
    if path.startswith(b"//"):
        path = b"/" + path.lstrip(b"/").partition(b"/")[2]
    return unquote_to_bytes(dots_resolved(path, merge=False))


def php(path: bytes) -> bytes:
    """`parse_url`, then `urldecode`, by an application that normalizes by itself."""
    if path.startswith(b"//"):
        path = b"/" + path[2:].partition(b"/")[2]
    return dots_resolved(unquote_to_bytes(path), merge=True)


def werkzeug(path: bytes) -> bytes:
    """Decoded, with its slashes merged."""
    return re.sub(b"/+", b"/", unquote_to_bytes(path))


def twice(path: bytes) -> bytes:
    """Behind another server that has decoded already."""
    return nginx(unquote_to_bytes(path))


BACKENDS = (unquote_to_bytes, tomcat, jetty, spring, shiro, nginx, node, php, werkzeug, twice)
PIECES = [
    b"/",
    b"//",
    b"\\",
    b"%2f",
    b"%5c",
    b"..",
    b".",
    b"%2e",
    b";",
    b"%3b",
    b"a",
    b"api",
    b"%61pi",
    b"v2",
    b"%252f",
]


@settings(max_examples=1000)
@given(st.lists(st.sampled_from(PIECES), max_size=9))
def test_no_backend_reads_a_path_as_another_route(pieces: list[bytes]) -> None:
    """Whatever one of them does with dots, slashes, parameters and escapes, what is routed does not leave its route."""
    path = b"/" + b"".join(pieces)
    pool = pool_of(PATHS, path)
    if pool is not PathRefusal.AMBIGUOUS:
        for backend in BACKENDS:
            assert pool_of(CLEAN, backend(path)) == pool, backend


@given(
    st.sampled_from([b"..;/", b"%252f", b"//", b"%5c", b"\\a;b/", b"%2e/", b"a/b;c//d%2fe%5c..%3f", b"%61", b";%2f"])
)
def test_a_path_costs_at_most_so_much(unit: bytes) -> None:
    """Found: tens of milliseconds for a path of 64 KB; counted are the bytes that pass through steps."""
    path = b"/api/" + unit * (65_000 // len(unit))
    seconds = min(seconds_of(path) for _ in range(3))
    assert seconds < 0.05
    try:
        assert sum(map(len, readings(path))) < MOST_WORK
    except Undecided:
        pass


def seconds_of(path: bytes) -> float:
    """Processor time of routing a path."""
    began = time.thread_time()
    PATHS.match(b"example.org", path)
    return time.thread_time() - began


def test_where_every_path_goes_to_one_pool_nothing_is_ambiguous() -> None:
    """There is nothing to step into."""
    router = Router((route("web"),))
    assert pool_of(router, b"/a%2fb/..;/api/x\\..//%5c") == "web"


@pytest.mark.parametrize(
    "path",
    [
        b"/" + quote("мир; труд// май.. ", safe="/").encode() * 40,
        b"/" + quote(quote("日本語;//../x/")).encode() * 40,
        b"/r/https%253A%252F%252Fexample.org%252Fcb%253Fa%253D1;b//c",
        b"//" * 300 + b"x",
    ],
    ids=["many escapes", "escaped twice", "a URL", "many slashes"],
)
def test_a_path_that_does_not_name_another_route_is_no_riddle(path: bytes) -> None:
    """However much there is in it that backends read in different ways (found: 400 where there was too much)."""
    router = Router((route("web"), route("admin", path="/admin"), route("api", path="/v1/api")))
    assert pool_of(router, path) == "web"
    assert pool_of(router, path + b"/..;" * 9 + b"/%2561dmin/") is PathRefusal.AMBIGUOUS
    assert pool_of(router, path + b"/..;" * 9 + b"/v1%2fapi/") is PathRefusal.AMBIGUOUS


def test_a_long_path_is_matched_by_its_front() -> None:
    """Wherever an escape is cut."""
    for length in range(40):
        assert pool_of(PATHS, b"/api/" + b"x" * length + b"%61" * 40) == "api"
        assert pool_of(PATHS, b"/%61%70%69" + b"%78" * length) == ("root" if length else "api")


def test_a_bare_host_has_no_port() -> None:
    """IPv6 keeps its brackets; what does not end stays as it is."""
    assert bare_host(b"Example.org:80") == b"example.org"
    assert bare_host(b"[2001:DB8::1]:80") == b"[2001:db8::1]"
    assert bare_host(b"[::1") == b"[::1"


@pytest.mark.parametrize(
    ("host", "target", "redirect", "location"),
    [
        (b"Example.org:80", b"/a?b=%20", {}, b"https://example.org/a?b=%20"),
        (b"example.org", b"/", {"port": 443}, b"https://example.org/"),
        (b"example.org", b"/", {"port": 8443}, b"https://example.org:8443/"),
        (b"example.org", b"/", {"scheme": "http", "port": 443}, b"http://example.org:443/"),
        (b"[::1]:8080", b"*", {}, b"https://[::1]/"),
    ],
    ids=["plain", "default port", "port", "port of another scheme", "address"],
)
def test_a_redirect_keeps_host_and_target(host: bytes, target: bytes, redirect: dict[str, object], location: bytes):
    """Its port is written unless it is the scheme's own."""
    head = RequestHead()
    head.host, head.target = host, target
    assert location_of(RedirectTable.model_validate(redirect), head) == location
