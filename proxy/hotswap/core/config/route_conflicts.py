"""Checks of one route across its keys: what contradicts what answers, or says nothing without another key.

As in `hotswap.core.config.conflicts` the document is read as it was parsed, and what is of a wrong type is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from hotswap.core.config.findings import Finding
from hotswap.core.config.key_lines import Location
from hotswap.core.errors import written

Raw = Mapping[str, object]

EMPTY: Final = ("", 0, False, None)
"""What a key says that says nothing; a list or a table that is empty besides."""

_NOT_REDIRECTED: Final = (
    *("pool", "files", "fallback", "strip_prefix", "allow", "deny", "rate", "burst", "basic_auth"),
    *("body_bytes", "response_timeout", "idle_timeout"),
)
"""Keys of a route that say nothing of requests that are redirected."""


def find_route_conflicts(location: Location, route: Raw, pools: Raw) -> Iterator[Finding]:
    """Find what contradicts itself in a route.

    Args:
        location: of the route.
        route: its table.
        pools: the tables of all pools.
    """
    redirect, files = route.get("redirect"), route.get("files")
    if isinstance(redirect, str) and redirect:
        for key in _NOT_REDIRECTED:
            if _says(route, key):
                wrong = "left out where redirect is given; all requests are redirected"
                yield Finding((*location, key), route[key], wrong)
        return
    if _says(route, "burst") and not _says(route, "rate"):
        yield Finding((*location, "burst"), route["burst"], 'left out without rate; write rate = "10/s" as well')
    if _says(route, "fallback") and not _says(route, "files"):
        wrong = 'left out, or with files = "dist"; it is a file below that directory'
        yield Finding((*location, "fallback"), route["fallback"], wrong)
    if isinstance(files, str) and files:
        yield from _files(location, route, files, pools)
    yield from _networks(location, route)


def _says(route: Raw, key: str) -> bool:
    value = route.get(key)
    return not (value in EMPTY or value == [] or value == {})


def _files(location: Location, route: Raw, files: str, pools: Raw) -> Iterator[Finding]:
    if route.get("strip_prefix") is True:
        wrong = (
            "left out with files: what follows the path of the route is looked up as it is; for a pool that wants the "
            "prefix gone, add a route of its own with a longer path"
        )
        yield Finding((*location, "strip_prefix"), True, wrong)
    if files.startswith("/"):
        return
    pool = route.get("pool", "")
    if pool == "":
        supervised = [name for name, table in pools.items() if isinstance(table, Mapping) and "server" in table]
        near = f": add pool = {written(supervised[0])}" if len(supervised) == 1 else ""
        yield Finding(
            (*location, "files"),
            files,
            f"an absolute path, or with a pool, in whose releases a relative one is looked up{near}",
        )
    elif isinstance(pool, str):
        table = pools.get(pool)
        if isinstance(table, Mapping) and "server" not in table and "addresses" in table:
            wrong = f"an absolute path; the backends of {pool} are run by something else, so it has no releases here"
            yield Finding((*location, "files"), files, wrong)


def _networks(location: Location, route: Raw) -> Iterator[Finding]:
    """Find networks that are let in and kept out in one."""
    allowed, denied = route.get("allow"), route.get("deny")
    if isinstance(allowed, list) and isinstance(denied, list):
        for index, network in enumerate(denied):
            if isinstance(network, str) and network in allowed:
                wrong = "another network than one of allow; deny is the stronger, so nobody of it would be served"
                yield Finding((*location, "deny", index), network, wrong)
