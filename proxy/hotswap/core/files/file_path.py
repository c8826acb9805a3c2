"""Path of a file below a root, out of the path of a request."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

MAX_PATH: Final = 4095
"""Bytes of a path that a kernel takes (PATH_MAX, with its NUL)."""

WELL_KNOWN: Final = b".well-known"
"""The one name with a dot in front that is answered, at the top of a site (RFC 8615)."""


def file_path(path: bytes, prefix: bytes) -> bytes | None:
    """Map the path of a request to that of a file.

    It is decoded once. Slashes that follow each other are one, as to nginx. Nothing hidden has a path: a segment that
    begins with a dot, and so `..`, is none, a backslash and NUL are in none.

    Args:
        path: of the request, raw, without its query.
        prefix: path of the route, decoded, without a slash at the end.

    Returns:
        The path relative to the root; with a slash at its end, or empty, if a directory is asked for. None if there
        can be no such file.
    """
    if b"%" in path:
        path = unquote_to_bytes(path)
    if path == prefix:
        return b""
    if not path.startswith(prefix + b"/"):
        return None
    rest = path[len(prefix) + 1 :]
    if len(rest) > MAX_PATH or b"\0" in rest or b"\\" in rest:
        return None
    if b"//" in rest or rest.startswith(b"/"):
        directory = rest.endswith(b"/")
        rest = b"/".join(filter(None, rest.split(b"/")))
        if directory and rest:
            rest += b"/"
    if rest.startswith(b".") and (prefix or rest.partition(b"/")[0] != WELL_KNOWN):
        return None
    if b"/." in rest:
        return None
    return rest
