"""Validates request targets and converts them to origin form, for every version of HTTP.

References: RFC 9112 3.2, RFC 9113 8.3.1; `L` and `D` numbers are rows of the strictness list.
"""

from __future__ import annotations

import re
from typing import Final

from hotswap.core.errors import BadRequest
from hotswap.core.http.messages import RequestHead, valid_host

TOLD_BYTES: Final = 2048
"""As much of the target of a request that is refused is told."""
_GOOD = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"#\\")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)


def set_target(head: RequestHead, url: bytes) -> None:
    """Convert a request target to origin form and set it in a head (L3 to L6).

    The head has its method, and its host if one was given besides the target.

    Raises:
        BadRequest: the target is malformed, contradicts the host, or the method is not served.
    """
    method = head.method
    if method == b"CONNECT" or method == b"TRACE":
        raise BadRequest("the method is not allowed here", status=405)
    odd = url.translate(None, _GOOD)
    if odd and (odd.strip(b"\\") or b"\\" in url.partition(b"?")[0]):  # a query means what its app takes it for
        raise BadRequest("the request target is malformed")
    if not url.startswith(b"/"):
        if url == b"*":
            if method != b"OPTIONS":
                raise BadRequest("only OPTIONS may ask for *")
        else:
            absolute = _ABSOLUTE.fullmatch(url)
            if absolute is None or not valid_host(absolute[1]):
                raise BadRequest("the request target is malformed")
            if head.host and head.host.lower() != absolute[1].lower():
                raise BadRequest("the Host differs from the request target")
            head.host = absolute[1]
            url = absolute[2]
            if not url.startswith(b"/"):
                url = b"*" if not url and method == b"OPTIONS" else b"/" + url
    head.target = url
    query = url.find(b"?")
    head.path = url if query < 0 else url[:query]
