"""Compressed siblings of a file, and which of them a client is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hotswap.core.http.accept_encoding import choose_coding, parse_weights

SUFFIXES: Final = {b"br": b".br", b"zstd": b".zst", b"gzip": b".gz"}
"""What a name has at its end when the content has that coding."""

STALE: Final = 2_000_000_000
"""Nanoseconds that a sibling may be older than its original: what copies a tree gives them times in any order."""


def choose_sibling(accept_encoding: bytes, sizes: Mapping[bytes, int]) -> bytes:
    """Choose the coding of the answer.

    Args:
        accept_encoding: what the client says; empty for nothing.
        sizes: bytes of each sibling by its coding.

    Returns:
        Of those that the client wants most the smallest; empty for the file as it is.
    """
    if not accept_encoding:
        return b""
    return choose_coding(parse_weights(accept_encoding), sorted(sizes, key=sizes.__getitem__)) or b""


def is_current(*, modified: int, original: int) -> bool:
    """Whether a sibling is one of its original as it is now, by when both were modified, in nanoseconds."""
    return modified >= original - STALE
