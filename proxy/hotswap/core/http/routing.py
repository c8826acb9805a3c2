"""Router: matches host and path prefix of a request to a pool.

Hosts: an exact name beats a wildcard (`*.example.org`, one label or more, the longest suffix first), a
wildcard beats "any". Within one of these the longest path prefix wins, and a prefix ends at a segment
boundary: `/api` is the prefix of `/api` and `/api/x`, never of `/apix`. A host without a fitting prefix falls
through to the next weaker kind, because a route without hosts says that it is for every host.

Paths: the raw target is forwarded untouched, so a route has to hold for **every** way in which a backend may
read it (`hotswap.core.http.path_readings`). A path that contains none of the bytes these readings differ about is
matched as it stands. Any other is decoded once (RFC 3986, 2.4) and routed, and then once more for each reading;
if all agree the answer is that route, and if they do not, the path is refused as ambiguous (400) rather than
guessed, so that no spelling steps from one pool into another. `%00` and escapes that are none are refused always.

The hot path is one dictionary lookup: answers are kept for each (host, path) pair, up to a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from hotswap.core.http.path_readings import Undecided, keep_slashes, readings

if TYPE_CHECKING:
    from hotswap.core.config.listeners import RedirectTable
    from hotswap.core.config.routes import RouteTable
    from hotswap.core.http.messages import RequestHead

CACHE_ENTRIES: Final = 4096
"""How many answers are kept. A full cache is emptied: cheaper than an order of eviction."""

CACHE_KEY_BYTES: Final = 512
"""Longer keys are not kept, so that the cache is bounded in bytes too (2 MiB of keys at most)."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PLAIN_IN_PREFIX: Final = "/!$&'()*+=:@~"
"""What a path may contain unescaped (RFC 3986 3.3), but for the comma and semicolon that would part a field."""
_UNCLEAR: Final = re.compile(rb"[%\\;?#\x00]|//|/\.")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_STRUCTURAL_ESCAPE: Final = re.compile(rb"%(?:2[3-5eEfF]|3[bBfF]|5[cC])")
"""An escape of a byte that readings differ about; 2[3-5] has `$` in it, which does no harm."""
_STRUCTURAL: Final = re.compile(rb"[\\;]|//|/\.")


class PathRefusal(StrEnum):
    """Why a path is answered with 400 instead of being routed; the value is the word in the log."""

    NOT_A_PATH = "not-a-path"
    BAD_ESCAPE = "bad-escape"
    ENCODED_NUL = "encoded-nul"
    AMBIGUOUS = "ambiguous-path"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """The pool a request is for, and the bytes to take from the front of its target.

    `strip` is the prefix **as this request spells it** (`/%61pi` for a route `/api`), empty when nothing is stripped.
    `prefix` is the same as the route spells it, escaped so that it can stand in a URL and in a list of a field.
    `rule` is the index of its route where that says more than these two, else None.
    """

    pool: str
    strip: bytes = b""
    prefix: bytes = b""
    rule: int | None = None

    def rewrite(self, target: bytes) -> bytes:
        """Return the target for the backend: `target`, in origin-form, without the stripped prefix.

        The result begins with exactly one slash: some parsers read a target like `//name/x` as an authority.
        """
        if not self.strip:
            return target
        rest = target.removeprefix(self.strip).lstrip(b"/")
        return b"/" + rest


@dataclass(frozen=True, slots=True)
class _Prefix:
    """One route of one host: its prefix without a slash at the end, so that of `/` is empty."""

    prefix: bytes
    inside: bytes
    match: RouteMatch


class Router:
    """Routing table of a configuration.

    A router never changes; a new configuration makes a new one. Of two routes with the same host and path the
    first wins.
    """

    __slots__ = ("_any", "_cache", "_exact", "_wildcards")

    def __init__(self, routes: Sequence[RouteTable]) -> None:
        hosts: dict[bytes, dict[bytes, _Prefix]] = {}
        for index, route in enumerate(routes):
            prefix = unquote_to_bytes(route.path).rstrip(b"/")
            strip = prefix if route.strip_prefix else b""
            told = quote(strip, safe=_PLAIN_IN_PREFIX).encode()
            match = RouteMatch(pool=route.pool, strip=strip, prefix=told, rule=index if route.ruled else None)
            for name in route.hosts or ("",):
                table = hosts.setdefault(bare_host(name.encode()), {})
                table.setdefault(prefix, _Prefix(prefix, prefix + b"/", match))
        ordered = {
            host: tuple(sorted(table.values(), key=lambda entry: -len(entry.prefix))) for host, table in hosts.items()
        }
        self._any = ordered.pop(b"", ())
        # ".example.org": the star is gone, the dot stays, so that a suffix test respects labels.
        self._wildcards = {host[1:]: table for host, table in ordered.items() if host.startswith(b"*.")}
        self._exact = {host: table for host, table in ordered.items() if not host.startswith(b"*.")}
        self._cache: dict[tuple[bytes, bytes], RouteMatch | PathRefusal | None] = {}

    def match(self, host: bytes, path: bytes) -> RouteMatch | PathRefusal | None:
        """Find the pool for a request.

        Args:
            host: the authority as the request names it, in any case, with or without a port; empty for none.
            path: the path of the target without its query, raw; `*` and the empty path are taken for `/`.

        Returns:
            The match; None when no route fits (404); a `PathRefusal` when the path must not be routed (400).
        """
        key = (host, path)
        try:
            return self._cache[key]
        except KeyError:
            pass
        answer = self._find(bare_host(host), path)
        if len(host) + len(path) <= CACHE_KEY_BYTES:
            if len(self._cache) >= CACHE_ENTRIES:
                self._cache.clear()
            self._cache[key] = answer
        return answer

    def _find(self, host: bytes, path: bytes) -> RouteMatch | PathRefusal | None:
        if path in (b"", b"*"):
            path = b"/"
        if not path.startswith(b"/"):
            return PathRefusal.NOT_A_PATH
        tables = tuple(self._tables(host))
        if _UNCLEAR.search(path) is None:
            found = _longest(tables, path)
            return None if found is None else found.match
        # A query or a fragment here means that the caller has not taken the target apart.
        if b"?" in path or b"#" in path:
            return PathRefusal.NOT_A_PATH
        if b"%00" in path or b"\0" in path:
            return PathRefusal.ENCODED_NUL
        if _BAD_ESCAPE.search(path) is not None:
            return PathRefusal.BAD_ESCAPE
        found = _longest(tables, keep_slashes(_front(tables, path)))
        outcome = None if found is None else found.match
        if not _agreed(tables, path, outcome):
            return PathRefusal.AMBIGUOUS
        if found is None or not found.match.strip:
            return outcome
        return replace(found.match, strip=_spelled(path, found.prefix))

    def _tables(self, host: bytes) -> Iterator[tuple[_Prefix, ...]]:
        exact = self._exact.get(host)
        if exact is not None:
            yield exact
        dot = host.find(b".") if self._wildcards else -1
        while dot >= 0:  # the leftmost dot leaves the longest suffix
            table = self._wildcards.get(host[dot:]) if dot else None
            if table is not None:
                yield table
            dot = host.find(b".", dot + 1)
        yield self._any


def bare_host(authority: bytes) -> bytes:
    """Return a host in lower case, without port and without the dot that may end a full name."""
    host = authority.lower()
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1] or host
    return host.partition(b":")[0].removesuffix(b".")


def location_of(redirect: RedirectTable, head: RequestHead) -> bytes:
    """Location of a redirect: the same host and path."""
    host = bare_host(head.host)
    if b":" in host and not host.startswith(b"["):
        host = b"[%b]" % host
    scheme = redirect.scheme.value
    port = b"" if redirect.port is None or redirect.port == _DEFAULT_PORTS[scheme] else b":%d" % redirect.port
    return b"%b://%b%b%b" % (scheme.encode(), host, port, b"/" if head.target == b"*" else head.target)


def _longest(tables: Sequence[tuple[_Prefix, ...]], path: bytes) -> _Prefix | None:
    for table in tables:
        for entry in table:
            if path.startswith(entry.inside) or path == entry.prefix:
                return entry
    return None


def _front(tables: Sequence[tuple[_Prefix, ...]], path: bytes) -> bytes:
    """The part of a path that decides which prefix it has, however it is escaped; no escape in it is cut."""
    most = 3 * (2 + max((len(entry.prefix) for table in tables for entry in table), default=0))
    if len(path) <= most:
        return path
    front = path[:most]
    last = front.rfind(b"%", most - 2)
    return front if last < 0 else front[:last]


def _agreed(tables: Sequence[tuple[_Prefix, ...]], path: bytes, outcome: RouteMatch | None) -> bool:
    """Whether all interpretations of a path lead to the same outcome."""
    if _STRUCTURAL.search(path) is None and _STRUCTURAL_ESCAPE.search(path) is None:
        return True  # there is one reading
    entries = [entry for table in tables for entry in table]
    others = [entry.inside for entry in entries if entry.match != outcome]
    whole = outcome is None or any(not entry.prefix and entry.match == outcome for entry in entries)
    if whole and not _named(others, path):
        return True  # nothing in it leads elsewhere
    try:
        for reading in readings(path):
            found = _longest(tables, reading)
            if (None if found is None else found.match) != outcome:
                return False
    except Undecided:
        return False
    return True


def _named(prefixes: Sequence[bytes], path: bytes) -> bool:
    """Whether a path contains the first segment of one of these prefixes, however often it is decoded.

    What readings do cuts a path into segments, and these shorter: none of them joins what was apart.
    """
    if not prefixes:
        return False
    once = unquote_to_bytes(path)
    texts = (path, once, unquote_to_bytes(once))
    return any(prefix.split(b"/", 2)[1] in text for prefix in prefixes for text in texts)


def _spelled(path: bytes, prefix: bytes) -> bytes:
    """Return the front of the raw `path` that has as many segments as `prefix`."""
    end = 0
    for _ in range(prefix.count(b"/")):
        end = path.find(b"/", end + 1)
        if end < 0:
            return path
    return path[:end]
