"""Table of a route: `[[routes]]`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from hotswap.core.config.fields import (
    Count,
    FilePath,
    Flag,
    Host,
    Network,
    OwnDuration,
    OwnPeriod,
    OwnSizeLimit,
    RateField,
    RedirectTarget,
    Table,
    TreePath,
    UrlPath,
)

PLAIN = frozenset({"hosts", "path", "strip_prefix", "pool"})
"""Keys that say what matches and which pool answers, and nothing more."""


class RouteTable(Table):
    """A match on host and path prefix, naming what answers: a pool, files, or a redirect."""

    hosts: tuple[Host, ...] = ()
    """Host names, or `*.example.org` for every name below it; empty: any."""

    path: UrlPath = "/"
    """Prefix, matched at `/` boundaries; the longest one wins."""

    strip_prefix: Flag = False
    """Remove the prefix before the request goes to the backend, which is told by `X-Forwarded-Prefix`."""

    pool: str = ""
    """Name of the pool that answers; with `files`, what answers where there is no such file."""

    files: TreePath = ""
    """Directory of files that are answered: a relative one is looked up in each release of the pool that serves,
    newest first, and in the two before; an absolute one is that directory (media)."""

    fallback: TreePath = ""
    """File below `files` that is answered where none is found, such as "index.html" of a single-page app."""

    redirect: RedirectTarget = ""
    """Scheme and host to go to, such as "https://example.org"; path and query stay. 301, and 308 to what is neither GET
    nor HEAD, so that method and body stay too."""

    allow: tuple[Network, ...] = ()
    """Networks of clients that are served; 403 for all others. Empty: every client. The client is who comes to the
    listener, or whom its trusted_proxies tell of; one without an address, at a Unix socket, is in no network."""

    deny: tuple[Network, ...] = ()
    """Networks of clients that are answered 403, although `allow` has them."""

    rate: RateField = None
    """Requests of one client address (of IPv6 its /64), such as "10/s", "100/m" or "1000/h", evenly spread: "10/s" is
    one every 100 ms, and what may come at once besides is `burst`. 429 with Retry-After above that. Empty: any."""

    burst: Count = 0
    """So many more than `rate` allows may come at once, such as the parts of a page; earned again at the rate."""

    basic_auth: FilePath = ""
    """File of `user:hash` lines, as "htpasswd -B" writes them with bcrypt, or with scrypt; 401 without a user of it.
    Read with the configuration, and again by each reload."""

    headers: Mapping[str, str] = Field(default_factory=dict)
    """Fields of every response, whoever answers, that are set: `{ X-Frame-Options = "DENY" }`. The empty value removes
    one; `Set-Cookie` is added to the app's own. What belongs to one connection, such as Content-Length, is not among
    them."""

    body_bytes: OwnSizeLimit = ""
    """Body of a request, or "unlimited"; 413 above that. Empty: as the listener has it, which this may raise too."""

    response_timeout: OwnDuration = ""
    """How long a backend may take until it begins to answer; "0s": any time. Empty: as the pool has it."""

    idle_timeout: OwnPeriod = ""
    """How long nothing may move of a request, its answer or its WebSocket. Empty: as the listener has it, which alone
    says how long a connection is kept between requests."""

    compress: Flag = True
    """false: answers are not compressed, whatever the listener says."""

    log: Flag = True
    """false: requests have no line in the access log; metrics count them all the same."""

    @property
    def ruled(self) -> bool:
        """Whether it says more than what matches and which pool answers."""
        fields = type(self).model_fields.items()
        said = (name for name, key in fields if getattr(self, name) != key.get_default(call_default_factory=True))
        return not PLAIN.issuperset(said)
