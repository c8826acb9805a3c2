"""Compresses with gzip (RFC 1952), with a header that may be padded so that lengths tell nothing.

The padding is the name of a file, which every decoder skips and none shows. ISA-L does the work where the package
`isal` is installed, and else zlib, which takes four times as long for the same size.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

try:
    from isal import isal_zlib as deflate

    LIBRARY = "isal"
except ImportError:
    deflate = zlib  # type: ignore[misc]
    LIBRARY = "zlib"

LEVEL: Final = 1
"""Of both libraries: the next one takes longer for a few per cent."""
_RAW: Final = -15
"""Deflate with a window of 32 KiB, and neither header nor trailer of its own."""
_SYNC: Final = 2
"""zlib's Z_SYNC_FLUSH."""
_PLAIN: Final = b"\x1f\x8b\x08\x00\0\0\0\0\x00\xff"
_NAMED: Final = b"\x1f\x8b\x08\x08\0\0\0\0\x00\xff"
"""Headers without a time, of an unknown system; the second one is followed by a name that ends with a NUL."""


def write_gzip_header(padding: int) -> bytes:
    """The header of a member, with so many bytes more than needed."""
    return _NAMED + b"-" * (padding - 1) + b"\0" if padding else _PLAIN


def compress_gzip(data: bytes, padding: int = 0) -> bytes:
    """Compress a whole body, with so many bytes more than needed."""
    return b"%b%b%b" % (
        write_gzip_header(padding),
        deflate.compress(data, LEVEL, wbits=_RAW),
        struct.pack("<II", deflate.crc32(data), len(data)),
    )


class GzipEncoder:
    """Encoder of one body, which comes in pieces.

    Args:
        padding: so many bytes more than needed.
    """

    __slots__ = ("_checksum", "_deflater", "_head", "_size")

    def __init__(self, padding: int = 0) -> None:
        self._deflater: Any = deflate.compressobj(LEVEL, zlib.DEFLATED, _RAW)
        self._head = write_gzip_header(padding)
        self._checksum = 0
        self._size = 0

    def encode(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take a piece; gives what can be sent already, which may be nothing."""
        self._checksum = deflate.crc32(data, self._checksum)
        self._size += len(data)
        return self._headed(self._deflater.compress(data))

    def flush(self) -> bytes:
        """Give all of what was taken, so that the other side can decode it."""
        return self._headed(self._deflater.flush(_SYNC))

    def end(self) -> bytes:
        """Give the rest; nothing may follow."""
        return self._headed(self._deflater.flush()) + struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF)

    def _headed(self, data: bytes) -> bytes:
        head = self._head
        if head and data:
            self._head = b""
            return head + data
        return data
