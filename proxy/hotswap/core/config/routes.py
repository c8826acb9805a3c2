"""The table `[[routes]]`."""

from __future__ import annotations

from hotswap.core.config.fields import Flag, Host, Table, UrlPath


class RouteTable(Table):
    """A match on host and path prefix, naming a pool."""

    hosts: tuple[Host, ...] = ()
    """Host names, or `*.example.org` for every name below it; empty: any."""

    path: UrlPath = "/"
    """Prefix, matched at `/` boundaries; the longest one wins."""

    strip_prefix: Flag = False
    """Remove the prefix before the request goes to the backend."""

    pool: str
    """Name of the pool that answers."""
