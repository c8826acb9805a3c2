"""Heads of requests and responses, common to every version of HTTP.

A head is split while it is read: fields that travel end to end are in `lines`, in order and in the sender's spelling,
each as HTTP/1.1 writes it, because that is what nearly all of them become; `fields` takes them apart for whoever needs
names and values. Those that bind one connection or that the proxy answers for itself (`hotswap.core.http.field_names`)
are taken out and kept as attributes, so that whoever forwards a head cannot forward one of them by accident.

These classes are made for every exchange, and a frozen dataclass costs four times as much to make: what has not been
said of a head is read from the class, so that making one sets nothing. Nobody changes one after its parser handed it
over.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Final

from hotswap.core.memory import Memory

Field = tuple[bytes, bytes]
"""Name in the sender's spelling, value without surrounding white space."""

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""Methods that may be sent again (RFC 9110 9.2.2)."""

TOKEN: Final = b"!#$%&'*+-.^_`|~" + string.digits.encode() + string.ascii_letters.encode()
"""The bytes that a token is made of (RFC 9110 5.6.2): `not word.translate(None, TOKEN)` is quick and linear."""
VALUE: Final = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
"""The bytes that a field value is made of (RFC 9110 5.5)."""


class Head:
    """The end-to-end part of a head, common to requests and responses."""

    lines: list[bytes]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The end-to-end fields as names and values, made anew each time; to change them, set it."""
        return tuple((name, value[:-2]) for name, _, value in (line.partition(b": ") for line in self.lines))

    @fields.setter
    def fields(self, fields: Iterable[Field]) -> None:
        self.lines = [b"%b: %b\r\n" % field for field in fields]

    def field(self, name: bytes) -> bytes | None:
        """The first end-to-end field of that lower-case name, or None."""
        beginning = name + b": "
        for line in self.lines:
            if line[: len(beginning)].lower() == beginning:
                return line[len(beginning) : -2]
        return None


class RequestHead(Head):
    """Head of a request.

    `target` is what goes into a request line in origin form (or `*`); `path` is the target without its query.
    `version` is 10, 11 or 20. `content_length` is None when there is no body or its length is not told in advance;
    `chunked` means the latter. `complete` says that nothing follows the head. `upgrade` is the lower-case token of an
    upgrade that both `Connection` and `Upgrade` ask for, else None.
    """

    method = b""
    target = b""
    path = b""
    host = b""
    version = 11
    forwarded: list[Field] | None = None
    content_length: int | None = None
    chunked = False
    complete = False
    keep_alive = True
    expect_continue = False
    te_trailers = False
    upgrade: bytes | None = None

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.chunked or bool(self.content_length)


class ResponseHead(Head):
    """Head of a response.

    `content_length` is None when the length is not told; then `chunked` or the end of the connection ends the body.
    `complete` says that nothing follows; then `body` is the whole body, if it came together with the head.
    `keep_alive` says that the connection can carry another exchange, `dated` that there is a Date among its fields.
    `buffering` is what `X-Accel-Buffering` says, None where it does not; it is for proxies, not for clients.
    `file_fields` are those by which a backend has a file answered in its place, names in lower case.
    """

    status = 0
    reason = b""
    version = 11
    body: bytes | None = None
    content_length: int | None = None
    chunked = False
    complete = False
    keep_alive = True
    dated = False
    buffering: bool | None = None
    upgrade: bytes | None = None
    file_fields: list[Field] | None = None


BUFFERING: Final = {b"yes": True, b"no": False}
"""The values of `X-Accel-Buffering`; others say nothing."""

MAX_HOST: Final = 1024
"""Bytes of a host with its port: four times what a name of the DNS may have, since each of its bytes may be escaped."""
_HOST: Final = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|(?:[A-Za-z0-9_~!$&'()*+;=.-]|%[0-9A-Fa-f]{2})++)(?::([0-9]{0,5}))?",
)


def _is_host(host: bytes) -> bool:
    if len(host) > MAX_HOST:
        return False
    match = _HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > 65535:
        return False
    if match[1] is None:
        return True
    try:
        IPv6Address(match[1].decode())
    except ValueError:
        return False
    return True


valid_host: Final = Memory(_is_host, entries=1024, key_bytes=128).__getitem__
"""Whether a `Host` or authority is `uri-host [":" port]` (RFC 9110 7.2, RFC 3986 3.2.2), without userinfo.

A port may be empty (RFC 3986 3.2.3), and means the default of the scheme then.
"""

MAX_LIST: Final = 1024
"""Bytes of a list of tokens, and its tokens at most: nobody has to say so much of a connection."""
MAX_TOKENS: Final = 64
MAX_INTERIMS: Final = 32
"""Informational responses before the final one: each is a head, and no window or length bounds them."""


def _split_list(value: bytes) -> tuple[bytes, ...]:
    return tuple(token for part in value.split(b",") if (token := part.strip(b" \t").lower()))


parse_tokens: Final = Memory(_split_list, entries=256, key_bytes=128).__getitem__
"""The lower-case members of a comma-separated list such as `Connection`, empty ones left out."""
