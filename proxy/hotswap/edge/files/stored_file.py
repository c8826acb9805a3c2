"""What is known of one file that is answered: the fields of its answers, and its content if that is small."""

from __future__ import annotations

import os
from email.utils import formatdate
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from hotswap.core.files.media_type import media_type

if TYPE_CHECKING:
    from hotswap.edge.files.open_file import OpenFile

SMALL: Final = 64 * 1024
"""Bytes up to which the content is kept, and sent with the head in one call; larger files are sent as they are read."""

FOREVER: Final = b"Cache-Control: public, max-age=31536000, immutable\r\n"
ASK_AGAIN: Final = b"Cache-Control: no-cache\r\n"
"""It may be kept, but not be used without asking whether it has changed."""


class StoredFile:
    """One file, or a compressed sibling of one, as it was when it was opened.

    The entity tag of a small one is made from its content, so that the same file has the same in each release and on
    each machine; that of a large one from its size and time.

    Attributes:
        path: below its root.
        identity: see `OpenFile`.
        size: bytes.
        modified: whole seconds since 1970.
        modified_text: the same as Last-Modified says it.
        etag: strong, with its quotes.
        lines: of the head of an answer with content.
        unchanged_lines: of the head of a 304 (RFC 9110 15.4.5).
        body: the content, if it is small.
    """

    __slots__ = (
        "body",
        "etag",
        "identity",
        "lines",
        "modified",
        "modified_text",
        "path",
        "size",
        "unchanged_lines",
    )

    def __init__(
        self,
        file: OpenFile,
        path: bytes,
        body: bytes | None,
        *,
        name: bytes,
        hashed: bool = False,
        coding: bytes = b"",
        vary: bool = False,
    ) -> None:
        """Make the fields.

        Args:
            file: itself, open.
            path: below its root.
            body: its content, if it is small.
            name: path of what is asked for, of which this may be a sibling.
            hashed: its name has a hash of its content.
            coding: of the content.
            vary: there are siblings.
        """
        self.path = path
        self.identity = file.identity
        self.size = file.size
        self.body = body
        self.modified = file.modified // 1_000_000_000
        self.modified_text = formatdate(self.modified, usegmt=True).encode()
        if body is None:
            self.etag = b'"%x-%x"' % (file.modified, file.size)
        else:
            self.etag = b'"%b"' % blake2b(body, digest_size=12).hexdigest().encode()
        self.unchanged_lines = [
            b"ETag: %b\r\n" % self.etag,
            FOREVER if hashed else ASK_AGAIN,
            *((b"Vary: Accept-Encoding\r\n",) if vary else ()),
        ]
        self.lines = [
            b"Content-Type: %b\r\n" % media_type(name),
            b"X-Content-Type-Options: nosniff\r\n",
            b"Last-Modified: %b\r\n" % self.modified_text,
            b"Accept-Ranges: bytes\r\n",
            *self.unchanged_lines,
            *((b"Content-Encoding: %b\r\n" % coding,) if coding else ()),
        ]


def read_small(file: OpenFile, *, cached: bool) -> bytes | None:
    """Read the whole content of a small file; None of a large one.

    Args:
        file: to read.
        cached: never wait for a disk.

    Raises:
        BlockingIOError: `cached`, and not all of it is in memory, or its file system cannot tell.
        OSError: it cannot be read, or was cut short meanwhile.
    """
    if file.size > SMALL:
        return None
    if not file.size:
        return b""
    if not cached:
        body = os.pread(file.fd, file.size, 0)
    else:
        buffer = bytearray(file.size)
        try:
            got = os.preadv(file.fd, [buffer], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            raise
        except OSError as error:  # EOPNOTSUPP, of overlays and old file systems
            raise BlockingIOError(*error.args) from None
        body = bytes(buffer)
        if got < file.size:
            raise BlockingIOError(0, "only a part is in memory")
    if len(body) < file.size:
        raise OSError(0, "the file was cut short")
    return body
