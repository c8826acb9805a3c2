"""Who may speak to the admin API: not a web page that somebody else's site opened in the operator's browser.

Four checks, each against one way in, in this order:

- **Host** (DNS rebinding): a page from `evil.example` can make that name mean 127.0.0.1 and then speak to us
  as its own origin. The name it used is in `Host`, so over TCP only loopback names and the address the
  connection arrived at are served. A Unix socket cannot be reached from a page.
- **Origin** and **Sec-Fetch-Site** (forged requests): a page may *send* a POST anywhere, it only cannot read
  the answer. Browsers say where a request comes from; what comes from elsewhere may not change anything.
- **Body**: what a form can send without asking (RFC 9110, Fetch "simple" requests) is no order: a body is JSON or there
  is none, and it is small.
- **Token**: with `token_file`, everything but liveness, readiness and the page itself needs it. A request
  that carries it passes the Host check, for no page can know it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.control.admin.page import PAGE_FILES
from proxy.control.admin.problems import ProblemResponse
from proxy.control.token_file import TokenFile
from proxy.core.messages import valid_host
from proxy.core.routing import bare_host

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", *(f"/page/{name}" for name in PAGE_FILES)})
"""What is answered without the token: it holds no state but "ready or not", and probes send no token."""

MOST_BODY = 64 * 1024
"""Bytes a body may have. No call reads one; clients that send an empty object are not to be refused for it."""

READS = frozenset({"GET", "HEAD", "OPTIONS"})

SAME_SITE = frozenset({"same-origin", "none"})
"""`none` is the operator typing the address."""


def host_of(authority: str) -> str:
    """Give the host of `host[:port]` without the port, lower-case, brackets removed; "" when it is anything else."""
    written = authority.encode("ascii", "replace")
    return bare_host(written).decode().strip("[]") if valid_host(written) else ""


def is_loopback(host: str) -> bool:
    """Tell whether a host can only mean this machine, whatever a name server says."""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def same_address(one: str, other: str) -> bool:
    """Tell whether two texts are the same IP address, however written."""
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def _judge_body(headers: Headers) -> ProblemResponse | None:
    if "transfer-encoding" not in headers and headers.get("content-length", "0") == "0":
        # Nothing in it that could be of a wrong kind; many clients name a form all the same. Where an order comes from
        # was judged before.
        return None
    media_type = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return ProblemResponse(
            415,
            "not-json",
            f"an order has a body of application/json or none, not of {media_type}",
            {"content_type": headers.get("content-type")},
        )
    if "transfer-encoding" in headers:
        return ProblemResponse(411, "length-required", "a body has to say its length")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > MOST_BODY:
        return ProblemResponse(413, "body-too-large", f"a body may have {MOST_BODY} bytes", {"content_length": length})
    return None


class Guard:
    """ASGI middleware with the four checks; what it refuses gets a problem and goes no further."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = (), token: TokenFile | None = None) -> None:
        """Stand before an application.

        Args:
            app: what is guarded.
            hosts: names under which it was told to listen, beside loopback and its addresses.
            token: what callers have to send; None when nothing is asked of them.
        """
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with the reason why not."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            problem = self._judge(scope)
            if problem is not None:
                await problem(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _judge(self, scope: Scope) -> ProblemResponse | None:
        headers = Headers(scope=scope)
        known = self._token is not None and self._token.matches(headers.get("authorization", ""))
        if not known and not self._host_allowed(headers.get("host"), scope.get("server")):
            return ProblemResponse(
                403,
                "host-not-allowed",
                f"this is the admin API of hotswap, and it is not called {headers.get('host')!r}; "
                "use its address, a loopback name, or the token",
                {"host": headers.get("host")},
            )
        if scope["method"] not in READS and not self._origin_allowed(headers):
            return ProblemResponse(
                403,
                "origin-not-allowed",
                "a page of another origin may not change anything here",
                {"origin": headers.get("origin"), "sec_fetch_site": headers.get("sec-fetch-site")},
            )
        if scope["method"] not in READS and (problem := _judge_body(headers)) is not None:
            return problem
        if self._token is not None and not known and scope["path"] not in OPEN_PATHS:
            return ProblemResponse(
                401,
                "token-required",
                "send the token of [admin].token_file as Authorization: Bearer",
                headers={"WWW-Authenticate": 'Bearer realm="hotswap"'},
            )
        return None

    def _host_allowed(self, authority: str | None, server: tuple[str, int | None] | None) -> bool:
        # No browser leaves the field out, and Hypercorn gives no server address for a Unix socket.
        if server is None or authority is None:
            return True
        host = host_of(authority)
        return is_loopback(host) or host in self._hosts or same_address(host, server[0])

    @staticmethod
    def _origin_allowed(headers: Headers) -> bool:
        if headers.get("sec-fetch-site", "same-origin") not in SAME_SITE:
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        scheme, separator, authority = origin.partition("://")
        return bool(separator) and scheme in {"http", "https"} and authority.lower() == headers.get("host", "").lower()
