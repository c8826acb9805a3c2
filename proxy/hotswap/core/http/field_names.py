"""Classifies field names: connection fields, and those that the proxy sets itself, are not forwarded.

Names are in lower case throughout.
"""

from __future__ import annotations

from typing import Final

CONNECTION_FIELDS: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)
"""Fields of one connection (RFC 9110 7.6.1 and those that RFC 7540 and history added); never forwarded as they came."""

# Every X-Forwarded-* is another: there are many, and one server believes what its neighbour has never heard of.
_PREFIX: Final = b"x-forwarded-"
_FORWARDED: Final = frozenset((b"forwarded", b"x-hotswap-client", b"x-real-ip", b"x-request-id"))

FILE_FIELDS: Final = frozenset(
    (b"x-accel-redirect", b"x-sendfile", b"x-accel-charset", b"x-accel-expires", b"x-accel-limit-rate")
)
"""Fields by which a backend tells the proxy to answer a file in its place, and how; never for a client."""

# `Proxy` is dropped for good (httpoxy, CVE-2016-5385), what daphne takes for `root_path` from anybody, and what tells
# some frameworks how the proxy before them answers files, by which a client would have any file of theirs answered.
_NEVER: Final = frozenset((b"proxy", b"daphne-root-path", b"x-accel-mapping", b"x-sendfile-type"))
_REQUEST: Final = CONNECTION_FIELDS | _FORWARDED | _NEVER | {b"host", b"content-length", b"expect"}
_RESPONSE: Final = CONNECTION_FIELDS | FILE_FIELDS | {b"content-length", b"x-accel-buffering"}
_END_TO_END: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"cookie", b"authorization", b"content-type")
)


def tells_of_client(name: bytes) -> bool:
    """Whether a field tells of the client, as proxies do: it is believed from trusted peers only."""
    return name.startswith(_PREFIX) or name in _FORWARDED


def is_request_special(name: bytes) -> bool:
    """Whether a field of a request is taken out of its end-to-end fields."""
    return name in _REQUEST or name.startswith(_PREFIX)


def is_response_special(name: bytes) -> bool:
    """Whether a field of a response is taken out of its end-to-end fields."""
    return name in _RESPONSE


def may_be_nominated(name: bytes) -> bool:
    """Whether a client may have a field removed by naming it in `Connection`, as a field of one hop."""
    return name not in _END_TO_END and not tells_of_client(name)


_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"))


def nominated_fields(tokens: tuple[bytes, ...]) -> frozenset[bytes]:
    """The fields that the members of a `Connection` name, as against the options that are its own."""
    return _NONE if _OPTIONS.issuperset(tokens) else frozenset(tokens) - _OPTIONS


_NONE: Final[frozenset[bytes]] = frozenset()
