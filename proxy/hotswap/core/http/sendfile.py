"""Which file a backend means that has one answered in its place: by `X-Accel-Redirect`, or by `X-Sendfile`.

`X-Accel-Redirect: /protected/a%20b.pdf` is a path as in a URL: the longest prefix of `[pools.X] sendfile` that fits
names the directory, and what is behind it, percent-decoded once, the file beneath it. A query is dropped.
`X-Sendfile: /srv/private/a b.pdf` is the path of a file as it is, below one of these directories.

What apps write into fields is text in Latin-1 or UTF-8, as their server has it (WSGI knows Latin-1 alone), and names of
files are UTF-8: bytes that are not are taken as Latin-1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote_to_bytes

SendfileRoots = tuple[tuple[str, str], ...]
"""Prefix and directory, the longest prefix first, so that the first that fits is the one."""

MAX_VALUE: Final = 8192
"""Bytes of a field that names a file: twice what a path may have (PATH_MAX), since each may be escaped."""
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class SendfileRefusal(StrEnum):
    """Why a field names no file that may be answered; the value is what the log says."""

    NOT_A_PATH = "it is no path that begins with /"
    TOO_LONG = "it is too long for a path"
    BAD_ESCAPE = "it has an escape that is none"
    NOT_PLAIN = "it has a segment . or .., or a NUL byte"
    OUTSIDE = "it is below none of the pool's sendfile entries"
    DIRECTORY = "it names a directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlace:
    """A file beneath a directory.

    Attributes:
        directory: absolute, as the configuration has it.
        path: relative to it, of plain segments.
    """

    directory: str
    path: bytes


def sendfile_roots(table: Mapping[str, str]) -> SendfileRoots:
    """Put the entries of `[pools.X] sendfile` in the order in which they are tried."""
    return tuple(sorted(table.items(), key=lambda entry: -len(entry[0])))


def place_of_uri(value: bytes, roots: SendfileRoots) -> FilePlace | SendfileRefusal:
    """Find what `X-Accel-Redirect` means."""
    path = value.partition(b"?")[0]
    refusal = _judge(path)
    if refusal is not None:
        return refusal
    if _BAD_ESCAPE.search(path):
        return SendfileRefusal.BAD_ESCAPE
    decoded = unquote_to_bytes(_in_utf8(path))
    for prefix, directory in roots:
        if decoded.startswith(prefix.encode()):
            return _place(directory, decoded[len(prefix.encode()) :])
    return SendfileRefusal.OUTSIDE


def place_of_path(value: bytes, roots: SendfileRoots) -> FilePlace | SendfileRefusal:
    """Find what `X-Sendfile` means: in the longest directory that it is below."""
    refusal = _judge(value)
    if refusal is not None:
        return refusal
    path = _in_utf8(value)
    for _, directory in sorted(roots, key=lambda root: -len(root[1])):
        beginning = directory.rstrip("/").encode() + b"/"
        if path.startswith(beginning):
            return _place(directory, path[len(beginning) :])
    return SendfileRefusal.OUTSIDE


def _judge(value: bytes) -> SendfileRefusal | None:
    if len(value) > MAX_VALUE:
        return SendfileRefusal.TOO_LONG
    return None if value.startswith(b"/") else SendfileRefusal.NOT_A_PATH


def _in_utf8(value: bytes) -> bytes:
    if value.isascii():
        return value
    try:
        value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1").encode()
    return value


def _place(directory: str, path: bytes) -> FilePlace | SendfileRefusal:
    """Take a path beneath a directory; repeated slashes are one, as for the file system."""
    segments = [segment for segment in path.split(b"/") if segment]
    if b"\0" in path or b"." in segments or b".." in segments:
        return SendfileRefusal.NOT_PLAIN
    if not segments or path.endswith(b"/"):
        return SendfileRefusal.DIRECTORY
    return FilePlace(directory=directory, path=b"/".join(segments))
