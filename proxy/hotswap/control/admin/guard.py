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

from collections.abc import Collection, Mapping

from hotswap.control.admin.messages import AdminRequest, AdminResponse
from hotswap.control.admin.page import PAGE_FILES
from hotswap.control.admin.problems import problem
from hotswap.control.configuration.token_file import TokenFile
from hotswap.core.address import ip_of
from hotswap.core.config.conflicts import is_loopback
from hotswap.core.http.messages import valid_host
from hotswap.core.http.routing import bare_host

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", *(f"/page/{name}" for name in PAGE_FILES)})
"""What is answered without the token: it holds no state but "ready or not", and probes send no token."""

MOST_DROPPED = 64 * 1024
"""Bytes of a body that no call reads; clients that send an empty object are not to be refused for it."""
MOST_READ = 4 * 1024 * 1024
"""Bytes of a body that a call reads: a page of 1 MiB, in the escapes of JSON."""

READS = frozenset({"GET", "HEAD", "OPTIONS"})

SAME_SITE = frozenset({"same-origin", "none"})
"""`none` is the operator typing the address."""


def host_of(authority: str) -> str:
    """Give the host of `host[:port]` without the port, lower-case, brackets removed; "" when it is anything else."""
    written = authority.encode("ascii", "replace")
    return bare_host(written).decode().strip("[]") if valid_host(written) else ""


def same_address(one: str, other: str) -> bool:
    """Tell whether two texts are the same IP address, however written."""
    return ip_of(one) is not None and ip_of(one) == ip_of(other)


def _judge_body(fields: Mapping[str, str], most: int) -> AdminResponse | None:
    if "transfer-encoding" not in fields and fields.get("content-length", "0") == "0":
        # Nothing in it that could be of a wrong kind; many clients name a form all the same. Where an order comes from
        # was judged before.
        return None
    media_type = fields.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return problem(
            415,
            "not-json",
            f"an order has a body of application/json or none, not of {media_type}",
            {"content_type": fields.get("content-type")},
        )
    if "transfer-encoding" in fields:
        return problem(411, "length-required", "a body has to say its length")
    length = fields.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > most:
        return problem(413, "body-too-large", f"a body may have {most} bytes", {"content_length": length})
    return None


class Guard:
    """The four checks; what they refuse gets a problem and goes no further."""

    def __init__(self, *, hosts: Collection[str] = (), token: TokenFile | None = None) -> None:
        """Decide who may speak.

        Args:
            hosts: names under which it was told to listen, beside loopback and its addresses.
            token: what callers have to send; None when nothing is asked of them.
        """
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token

    def judge(self, request: AdminRequest, *, most_body: int = MOST_DROPPED) -> AdminResponse | None:
        """Say why a request is not served; None when it is.

        Args:
            request: its head.
            most_body: bytes that its body may have.
        """
        fields = request.fields
        known = self._token is not None and self.trusts(request)
        if not known and not self._host_allowed(fields.get("host"), request.address):
            return problem(
                403,
                "host-not-allowed",
                f"this is the admin API of hotswap, and it is not called {fields.get('host')!r}; "
                "use its address, a loopback name, or the token",
                {"host": fields.get("host")},
            )
        if request.method not in READS and not self._origin_allowed(fields):
            return problem(
                403,
                "origin-not-allowed",
                "a page of another origin may not change anything here",
                {"origin": fields.get("origin"), "sec_fetch_site": fields.get("sec-fetch-site")},
            )
        if fields.get("upgrade", "").lower() == "websocket":
            return problem(403, "no-websocket", "there is no WebSocket here; /v1/events has what changes")
        if request.method not in READS and (refused := _judge_body(fields, most_body)) is not None:
            return refused
        if self._token is not None and not known and request.path not in OPEN_PATHS:
            return problem(
                401,
                "token-required",
                "send the token of [admin].token_file as Authorization: Bearer",
                fields={"WWW-Authenticate": 'Bearer realm="hotswap"'},
            )
        return None

    def trusts(self, request: AdminRequest) -> bool:
        """Tell whether whoever asks may see more than "ready or not": they sent the token, or none is asked for."""
        return self._token is None or self._token.matches(request.fields.get("authorization", ""))

    def _host_allowed(self, authority: str | None, address: str | None) -> bool:
        # No browser leaves the field out, and no page reaches a Unix socket.
        if address is None or authority is None:
            return True
        host = host_of(authority)
        # A name below localhost is this machine as well, whatever a name server says (RFC 6761 6.3).
        return is_loopback(host) or host.endswith(".localhost") or host in self._hosts or same_address(host, address)

    @staticmethod
    def _origin_allowed(fields: Mapping[str, str]) -> bool:
        if fields.get("sec-fetch-site", "same-origin") not in SAME_SITE:
            return False
        origin = fields.get("origin")
        if origin is None:
            return True
        scheme, separator, authority = origin.partition("://")
        return bool(separator) and scheme in {"http", "https"} and authority.lower() == fields.get("host", "").lower()
