"""A file that a backend named in place of a response: what the response said of it goes on."""

from __future__ import annotations

from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Final

from hotswap.core.files.conditions import MAX_DATE
from hotswap.edge.files.stored_file import StoredFile

if TYPE_CHECKING:
    from hotswap.core.http.messages import ResponseHead
    from hotswap.edge.files.open_file import OpenFile

PRIVATE: Final = b"Cache-Control: private, no-cache\r\n"
"""Of a file of which the app says nothing: it may be one person's."""

_OF_THE_FILE: Final = frozenset(
    (
        b"accept-ranges",
        b"content-digest",
        b"content-encoding",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"date",
        b"digest",
        b"repr-digest",
        b"x-accel-buffering",
    )
)
"""What the response says of a body that is not sent."""
_OF_UNCHANGED: Final = frozenset(
    (b"cache-control", b"content-location", b"etag", b"expires", b"set-cookie", b"vary", b"x-content-type-options")
)
"""What a 304 says too (RFC 9110 15.4.5)."""


class NamedFile(StoredFile):
    """A file with the fields of the response that named it, where that has them."""

    __slots__ = ()

    def __init__(self, file: OpenFile, path: bytes, body: bytes | None, head: ResponseHead) -> None:
        """Join what the file and the response say.

        Args:
            file: itself, open.
            path: below its root.
            body: its content, if it is small.
            head: of the response.
        """
        super().__init__(file, path, body, name=path)
        said: dict[bytes, bytes] = {}
        lines, unchanged = [], []
        for line in head.lines:
            name, _, value = line.partition(b":")
            name = name.lower()
            if name not in _OF_THE_FILE:
                lines.append(line)
                said[name] = value.strip()
                if name in _OF_UNCHANGED:
                    unchanged.append(line)
        typed = b"content-type" in said
        self.etag = said.get(b"etag", self.etag)
        modified = said.get(b"last-modified")
        if modified is not None:
            self.modified_text = modified
            self.modified = _seconds(modified, self.modified)
        for line in self.lines:
            name = line.partition(b":")[0].lower()
            if name in said or name == b"cache-control" or (name == b"x-content-type-options" and typed):
                continue
            lines.append(line)
            if name == b"etag":
                unchanged.append(line)
        if b"cache-control" not in said and b"expires" not in said:
            lines.append(PRIVATE)
            unchanged.append(PRIVATE)
        self.lines, self.unchanged_lines = lines, unchanged


def _seconds(date: bytes, otherwise: int) -> int:
    try:
        parsed = parsedate_tz(date[:MAX_DATE].decode("ascii"))
        return otherwise if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError, IndexError, TypeError):
        return otherwise
