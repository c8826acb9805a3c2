"""Heads as they are forwarded: requests to backends, responses to clients, and the client's identity.

Heads are written afresh, never copied: single spaces, one `Host`, our own framing (RFC 9112; F20).
From an untrusted peer, the fields in which proxies speak of the client are replaced; from a trusted one they are
continued (RFC 7239 8.1). A proxy speaks one of two languages, `X-Forwarded-…` or `Forwarded`, and lets the other pass
as its client wrote it, so one is believed (`X-Forwarded-For` where it comes) and the other written anew from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from ipaddress import IPv4Network, IPv6Network
from typing import Final
from urllib.parse import unquote_to_bytes

from hotswap.core.http.hops import (
    Hop,
    agree,
    first_of,
    is_name,
    is_token,
    node_address,
    plain_node,
    quoted,
    told_hops,
    written_node,
)
from hotswap.core.http.messages import Field, RequestHead, ResponseHead

REASONS: Final = {
    200: b"OK",
    206: b"Partial Content",
    301: b"Moved Permanently",
    302: b"Found",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    418: b"I'm a teapot",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    423: b"Locked",
    425: b"Too Early",
    426: b"Upgrade Required",
    428: b"Precondition Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    451: b"Unavailable For Legal Reasons",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    507: b"Insufficient Storage",
    508: b"Loop Detected",
}
"""Reason phrases of the answers that the proxy gives itself."""


_LONGEST_PREFIX: Final = 1024
_PREFIX: Final = re.compile(rb"(?:/[A-Za-z0-9._~!$&'()*+=:@%-]+)+")
_UNFIT_IN_PREFIX: Final = re.compile(rb"//|/\.\.?/|[\\\x00-\x1f\x7f]")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~+/=:@,;|-]{1,128}")
_OWN: Final = frozenset(
    (
        b"forwarded",
        b"x-hotswap-client",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-request-id",
    )
)
"""Fields about the client that the proxy writes itself; from trusted peers, the others go on as they came."""


class Peer:
    """The client's end of one connection, as far as a backend should believe it.

    Args:
        address: the client's IP address as text, or "unknown" (a Unix socket has none).
        scheme: b"http" or b"https".
        port: port of the listener the client reached; 0 for a Unix socket, which has none.
        trusted: whether the forwarded fields it sends are believed.
        proxies: networks of those whose word about who came to them is believed too.
    """

    __slots__ = ("_block", "_host", "_proxies", "address", "may_ask_for", "node", "port", "scheme", "trusted")

    may_ask_for: Callable[[bytes], bool] | None
    """Whether a host is one of the certificate that the client was shown; None where it asked for no name."""

    def __init__(
        self,
        *,
        address: str,
        scheme: bytes,
        port: int,
        trusted: bool,
        proxies: Sequence[IPv4Network | IPv6Network] = (),
    ) -> None:
        self.address = address.encode("ascii", "replace")
        self.node = b'"[%b]"' % self.address if b":" in self.address else self.address
        self.scheme = scheme
        self.port = b"%d" % port if port else b""
        self.trusted = trusted
        self.may_ask_for = None
        self._proxies = proxies
        self._host: bytes | None = None
        self._block = b""

    def client_of(self, head: RequestHead) -> bytes:
        """Address of the client: the right-most untrusted hop, else the peer's own.

        What stands further left was written by whoever that is, who may have written anything. It is an address, or
        what RFC 7239 6 allows instead of one; nothing else is taken for a client.
        """
        if not self.trusted or head.forwarded is None:
            return self.address
        return self._client_among(told_hops(head.forwarded))[0]

    def _client_among(self, hops: Sequence[Hop]) -> tuple[bytes, Hop | None]:
        """The client among the hops, and the hop that tells of it."""
        client, teller = self.address, None
        for hop in reversed(hops):
            address = node_address(hop.node)
            if address is None and not is_name(hop.node):
                break
            client, teller = hop.node, hop
            if address is None or not any(address in network for network in self._proxies):
                break
        return client, teller

    def lines(self, head: RequestHead, prefix: bytes = b"") -> bytes:
        """The forwarding fields of a request, as lines of its head.

        Args:
            head: the request.
            prefix: what is taken off its path on the way, as `RouteMatch.prefix`.
        """
        if self.trusted and head.forwarded is not None:
            return self._continued(head, head.forwarded, prefix)
        host = head.host
        if host != self._host:
            self._host = host
            self._block = self._fresh(host)
        return self._block + b"X-Forwarded-Prefix: %b\r\n" % prefix if prefix else self._block

    def _fresh(self, host: bytes) -> bytes:
        port = self.port or _port_of(host, self.scheme)
        return (
            b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n"
            b"Forwarded: %b\r\n" % (self.address, self.scheme, host, port, self._element(host))
        )

    def _element(self, host: bytes, scheme: bytes | None = None) -> bytes:
        return b"for=%b;host=%b;proto=%b" % (self.node, quoted(host), self.scheme if scheme is None else scheme)

    def _continued(self, head: RequestHead, forwarded: list[Field], prefix: bytes) -> bytes:
        told = {name: b", ".join(values) for name, values in _gathered(forwarded).items()}
        chain = told.get(b"x-forwarded-for")
        hops = told_hops(forwarded)
        client, teller = self._client_among(hops)
        if chain is None and teller is not None:
            # The peer speaks `Forwarded`: what it says of the client is what the others are made of.
            chain = b", ".join(plain_node(hop.node) for hop in hops)
            scheme = teller.proto or told.get(b"x-forwarded-proto", self.scheme)
            host = teller.host or told.get(b"x-forwarded-host", head.host)
            elements = told[b"forwarded"] + b", " + self._element(head.host)
        else:
            scheme = told.get(b"x-forwarded-proto", self.scheme)
            host = told.get(b"x-forwarded-host", head.host)
            spoken = told.get(b"forwarded")
            if spoken is not None and agree(forwarded, hops, first_of(host), first_of(scheme)):
                elements = spoken + b", " + self._element(head.host)  # the peer speaks both
            else:
                elements = self._elements(hops, head.host, host, scheme)
        # The client reached that proxy's port, not ours, so where it does not say which, the rest of what it says does.
        port = told.get(b"x-forwarded-port") or _port_of(host, scheme)
        lines = [
            b"X-Forwarded-For: %b\r\n" % (chain + b", " + self.address if chain else self.address),
            b"X-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n" % (scheme, host, port),
            b"Forwarded: %b\r\n" % elements,
        ]
        if chain:
            # Which of the hops it is depends on the listener, and is not for a backend to find out.
            lines.append(b"X-Hotswap-Client: %b\r\n" % plain_node(client))
        prefix = _prefix_of(told.get(b"x-forwarded-prefix", b"")) + prefix
        if prefix:
            lines.append(b"X-Forwarded-Prefix: %b\r\n" % prefix)
        if hops and b"x-real-ip" in told:
            told[b"x-real-ip"] = client  # which the peer may have let pass
        lines += [b"%b: %b\r\n" % field for field in told.items() if field[0] not in _OWN]
        return b"".join(lines)

    def _elements(self, hops: Sequence[Hop], own_host: bytes, host: bytes, scheme: bytes) -> bytes:
        """What `X-Forwarded-…` says, in the words of `Forwarded`: the first hop has the client's host and scheme."""
        scheme, host = first_of(scheme), first_of(host)
        proto = scheme if is_token(scheme) else self.scheme
        if not hops:
            return self._element(host, proto)
        elements = [b"for=%b" % written_node(hop.node) for hop in hops]
        elements[0] = b"%b;host=%b;proto=%b" % (elements[0], quoted(host), proto)
        return b", ".join([*elements, self._element(own_host)])


def _gathered(forwarded: list[Field]) -> dict[bytes, list[bytes]]:
    gathered: dict[bytes, list[bytes]] = {}
    for name, value in forwarded:
        gathered.setdefault(name, []).append(value)
    return gathered


def _prefix_of(told: bytes) -> bytes:
    """The path that proxies before us took off, each its own part of it; empty where it is none.

    An app puts it before every link, so nothing is believed that could be read as a host, or climbs.
    """
    parts = [part.strip().removesuffix(b"/") for part in told.split(b",")]
    joined = b"".join(parts)
    if len(joined) > _LONGEST_PREFIX or not all(part == b"" or _PREFIX.fullmatch(part) for part in parts):
        return b""
    plain = unquote_to_bytes(joined)
    return b"" if _UNFIT_IN_PREFIX.search(plain + b"/") else joined


def _port_of(host: bytes, scheme: bytes) -> bytes:
    """The port of a host as a client writes it, or the default of the scheme; of several, what the first proxy told."""
    port = first_of(host).rpartition(b"]")[2].partition(b":")[2]
    if port.isdigit():
        return port
    return b"443" if first_of(scheme).lower() in (b"https", b"wss") else b"80"


def counted_down(head: RequestHead) -> RequestHead | None:
    """Decrement `Max-Forwards` of a request, where it has one (RFC 9110 7.6.2; P6).

    Returns:
        The head to forward, another one if something is counted; None when the request is for the proxy itself.
    """
    value = head.field(b"max-forwards")
    if value is None or not value.isdigit() or len(value) > 18:
        return head
    left = int(value)
    if not left:
        return None
    told = b"%d" % (left - 1)
    # Heads are values: the same one may stand for the next request of its connection.
    counted = copy(head)
    counted.fields = [(name, told if name.lower() == b"max-forwards" else value) for name, value in head.fields]
    return counted


def request_id_of(head: RequestHead, peer: Peer) -> bytes | None:
    """The request id that a trusted peer gave, or None; what could break a log or a field out is none."""
    if peer.trusted and head.forwarded is not None:
        for name, value in head.forwarded:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                return value
    return None


def write_request(
    head: RequestHead, peer: Peer, *, target: bytes, prefix: bytes = b"", request_id: bytes, retried: bool = False
) -> bytes:
    """Serialise the head of a request for a backend, over HTTP/1.1 and with its own framing.

    Args:
        head: the client's request.
        peer: who sent it.
        target: the request target, without a prefix that the route takes off.
        prefix: that prefix, as `RouteMatch.prefix`.
        request_id: what `X-Request-ID` says.
        retried: whether the request may have reached a backend before; marked for those who look.
    """
    rest = b""
    if head.chunked:
        rest = b"Transfer-Encoding: chunked\r\n"
    elif head.content_length is not None:
        rest = b"Content-Length: %d\r\n" % head.content_length
    if head.expect_continue:
        rest += b"Expect: 100-continue\r\n"
    if head.upgrade is not None:
        option = b"TE, Upgrade" if head.te_trailers else b"Upgrade"
        rest += b"Connection: %b\r\nUpgrade: %b\r\n" % (option, head.upgrade)
    elif head.te_trailers:
        rest += b"Connection: TE\r\n"  # a sender of TE has to say so (RFC 9110 10.1.4)
    if head.te_trailers:
        rest += b"TE: trailers\r\n"
    if retried:
        rest += b"X-Hotswap-Retry: 1\r\n"
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%bX-Request-ID: %b\r\n\r\n" % (
        head.method,
        target,
        head.host,
        b"".join(head.lines),
        peer.lines(head, prefix),
        rest,
        request_id,
    )


def write_response(head: ResponseHead, *, version: int, no_body: bool, close: bool, keep_alive: bool = False) -> bytes:
    """Serialise the head of a response for an HTTP/1 client.

    A body of unknown length becomes chunked for HTTP/1.1 and ends with the connection for HTTP/1.0 (RFC 9112 6.1).

    Args:
        head: the backend's response.
        version: 10 or 11, what the client speaks.
        no_body: whether the answer has none whatever its fields say (HEAD).
        close: whether the connection ends after it.
        keep_alive: whether an HTTP/1.0 client asked to keep it and may.
    """
    status = head.status
    length = head.content_length
    if length is not None and status >= 200 and status != 204:
        framing = b"Content-Length: %d\r\n" % length
    elif status >= 200 and status != 204 and status != 304 and version == 11 and (not no_body or head.chunked):
        framing = b"Transfer-Encoding: chunked\r\n"
    else:
        framing = b""
    if close:
        framing += b"Connection: close\r\n"
    elif keep_alive:
        framing += b"Connection: keep-alive\r\n"
    elif status == 101 and head.upgrade is not None:
        framing += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
    return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (status, head.reason, b"".join(head.lines), framing)


ALLOWED_METHODS: Final = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
"""What a 405 tells (RFC 9110 15.5.6): the proxy itself refuses TRACE and CONNECT."""


def error_head(status: int, fields: tuple[Field, ...] = ()) -> tuple[ResponseHead, bytes]:
    """Head and body of an answer of the proxy's own: fixed text, nothing of what the client sent, no version."""
    body = b"%d %b\n" % (status, REASONS.get(status, b"Error"))
    return own_head(status, b"text/plain; charset=utf-8", fields, len(body)), body


def own_head(status: int, media_type: bytes, fields: tuple[Field, ...], size: int) -> ResponseHead:
    """Head of an answer of the proxy's own, whose body is so many bytes of a media type."""
    head = ResponseHead()
    head.status = status
    head.reason = REASONS.get(status, b"Error")
    head.fields = [
        (b"Content-Type", media_type),
        (b"Cache-Control", b"no-store"),
        *((ALLOWED_METHODS,) if status == 405 and not any(name == b"Allow" for name, _ in fields) else ()),
        *fields,
    ]
    head.content_length = size
    return head
