"""Parses and writes the hops of `X-Forwarded-For` and `Forwarded` (RFC 7239).

It is text of a peer that is trusted, and of whoever stands before it, who is not: what is no address is never taken for
one, and what is written on is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from hotswap.core.http.messages import Field, valid_host

LONGEST_NODE: Final = 64
"""Bytes of an address, or of what stands for one; what is longer is none."""

LONGEST_CHAIN: Final = 2048
"""Bytes of what is told of hops that are looked at, some hundred of them: a client may have begun with any number.

Of `X-Forwarded-For` the end is, which is what the proxies next to us wrote. A `Forwarded` that is longer tells nothing,
and neither does one with a quote that is never closed: its quotes mean what they mean from its beginning on.
"""

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME: Final = re.compile(rb"unknown|_[A-Za-z0-9._-]+", re.IGNORECASE)
# A quote that is never closed reaches to the end, so neither of them can fail late and begin anew.
_QUOTED: Final = rb'"(?:[^"\\]|\\.?)*(?:"|\Z)'
_ELEMENTS: Final = re.compile(rb'(?:[^,"]|%b)+' % _QUOTED, re.DOTALL)
_PAIRS: Final = re.compile(rb'(?:[^;"]|%b)+' % _QUOTED, re.DOTALL)
_CLOSED: Final = re.compile(rb'(?:[^"\\]|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)
"""Every quote is closed, so that what is written behind it is no part of one."""
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop: a node, and what it used.

    Attributes:
        node: its address without a port, or another name; perhaps neither.
        host: the host it asked for; empty if that is not told.
        proto: the scheme it came by; likewise.
    """

    node: bytes
    host: bytes = b""
    proto: bytes = b""


def told_hops(forwarded: list[Field]) -> list[Hop]:
    """Hops in order of travel: those of `X-Forwarded-For`, or of `Forwarded` where it is missing."""
    if any(name == b"x-forwarded-for" for name, _ in forwarded):
        chain = b",".join(value for name, value in forwarded if name == b"x-forwarded-for")
        if len(chain) > LONGEST_CHAIN:
            chain = chain[-LONGEST_CHAIN:].partition(b",")[2]
        return [Hop(node) for hop in chain.split(b",") if (node := _without_port(hop.strip(b' \t"')))]
    return _told_by_forwarded(forwarded) or []


def agree(forwarded: list[Field], hops: list[Hop], host: bytes, proto: bytes) -> bool:
    """Whether `Forwarded` says nothing of the same hops that differs from `X-Forwarded-…`."""
    others = _told_by_forwarded(forwarded)
    return (
        others is not None
        and [hop.node for hop in others] == [hop.node for hop in hops]
        and all(hop.host in (b"", host) and hop.proto in (b"", proto) for hop in others)
    )


def _told_by_forwarded(forwarded: list[Field]) -> list[Hop] | None:
    values = [value for name, value in forwarded if name == b"forwarded"]
    if sum(map(len, values)) > LONGEST_CHAIN or not all(map(_CLOSED.fullmatch, values)):
        return None
    return [hop for value in values for hop in _parse_forwarded(value)]


def _parse_forwarded(value: bytes) -> Iterator[Hop]:
    for element in _ELEMENTS.findall(value):
        told: dict[bytes, bytes] = {}
        for pair in _PAIRS.findall(element):
            name, _, text = pair.partition(b"=")
            told.setdefault(name.strip(b" \t").lower(), _unquoted(text.strip(b" \t")))
        node = _without_port(told.get(b"for", b""))
        if node:
            host, proto = told.get(b"host", b""), told.get(b"proto", b"")
            yield Hop(node, host if valid_host(host) else b"", proto if is_token(proto) else b"")


def _unquoted(text: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", text[1:].removesuffix(b'"')) if text.startswith(b'"') else text


def _without_port(node: bytes) -> bytes:
    if node.startswith(b"["):
        return node[1 : node.find(b"]")] if b"]" in node else node
    return node.partition(b":")[0] if node.count(b":") == 1 else node


def node_address(node: bytes) -> IPv4Address | IPv6Address | None:
    """The address of a node, or None; one with a zone is None, since a zone may be any text."""
    return _address(node) if len(node) <= LONGEST_NODE else None


@lru_cache(maxsize=1024)
def _address(node: bytes) -> IPv4Address | IPv6Address | None:
    if b"%" in node:
        return None
    try:
        return ip_address(node.decode("ascii"))
    except ValueError:
        return None


def is_name(node: bytes) -> bool:
    """Whether a node is a name instead of an address: `unknown`, or one that a proxy made up (RFC 7239 6.2, 6.3)."""
    return len(node) <= LONGEST_NODE and _NAME.fullmatch(node) is not None


def is_token(text: bytes) -> bool:
    """Whether a text may be written without quotes (RFC 9110 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def quoted(text: bytes) -> bytes:
    """Quote a value of `Forwarded` unless it is a token (RFC 7239 4)."""
    return text if is_token(text) else b'"%b"' % text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def plain_node(node: bytes) -> bytes:
    """Format a node for `X-Forwarded-For`; what is neither address nor name becomes unknown."""
    return node if is_name(node) or node_address(node) is not None else b"unknown"


def written_node(node: bytes) -> bytes:
    """Format a node for `Forwarded`."""
    plain = plain_node(node)
    return b'"[%b]"' % plain if b":" in plain else plain


def first_of(values: bytes) -> bytes:
    """The first member of a list, which the first of several proxies wrote."""
    return values.partition(b",")[0].strip()
