"""Whether a request that finds no file is one for a page of a single-page app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotswap.core.files.media_type import is_asset

if TYPE_CHECKING:
    from hotswap.core.http.messages import RequestHead

MAX_ACCEPT: Final = 1024
"""Bytes of `Accept` that are read."""
_PAGES: Final = (b"text/html", b"*/*", b"text/*", b"application/xhtml+xml")


def wants_page(head: RequestHead, path: bytes) -> bool:
    """Whether the page that knows all paths is an answer.

    It is none for what a page loads: a script that is missing must not be answered with HTML, which a browser would
    keep and refuse to run. So what has the end of an asset's name, or accepts no HTML, is not found.

    Args:
        head: of the request.
        path: of the file that was not found.
    """
    if is_asset(path.rpartition(b"/")[2]):
        return False
    accept = head.field(b"accept")
    if not accept:
        return True
    accepted = accept[:MAX_ACCEPT].lower()
    return any(page in accepted for page in _PAGES)
