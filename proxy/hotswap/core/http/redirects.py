"""Where redirects of routes lead: another scheme and host, with the path and query of the request."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes

_STRANGE: Final = re.compile(rb"[^!-~]|[\"<>\\^`{|}]")
"""Bytes that no URI has (RFC 3986 2), which readers of one might take for something else."""


def location_at(origin: bytes, target: bytes) -> bytes:
    """Give the Location (RFC 9110 10.2.2) of a request target at another origin.

    Whatever the target is, the result is at that origin: there is a slash behind the authority.

    Args:
        origin: scheme and authority, as the configuration has them.
        target: in origin-form, or `*`.
    """
    if not target.startswith(b"/"):
        target = b"/"
    if _STRANGE.search(target) is not None:
        target = _STRANGE.sub(lambda found: quote_from_bytes(found[0], safe="").encode(), target)
    return origin + target
