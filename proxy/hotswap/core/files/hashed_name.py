"""Names that contain a hash of the file's content, as build tools write them: such a file never changes.

It is told by the name alone, so names that people give must not be taken for one: a wrong "immutable" stays in browsers
for a year, a hash that is not recognised costs a question each time. What can be read as words and numbers is none.
"""

from __future__ import annotations

import re
from typing import Final

_HEX: Final = re.compile(rb"[0-9a-f]{8,64}")
_HEX_ALONE: Final = 16
"""Digits from which a whole name is a hash."""
_HEX_LAST: Final = 12
"""Digits from which the end of a name is a hash and no kind of file, as of Django's LICENSE.2c54f4e1ca1c."""
_DATE: Final = re.compile(rb"(?:19|20)[0-9]{6}[a-f]?")
_BASE64: Final = re.compile(rb"[A-Za-z0-9_-]{8}")
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DJANGO: Final = re.compile(rb"[0-9a-f]{12}")
_READABLE: Final = re.compile(rb"[0-9]*+(?:[A-Z]+|[A-Z]?[a-z]+)?(?:[A-Z][a-z]+){0,4}[0-9]*")
"""Words and a number: `template`, `MyWidget`, `Version2`, `2024June`, `README`."""
_INNER_CAPITAL: Final = re.compile(rb".+[A-Z]")
_BUILT: Final = frozenset((b"assets", b"_astro", b"_nuxt"))
"""Directories into which build tools write, where nobody gives names: there a hash may happen to be readable."""
_IMMUTABLE: Final = b"immutable"
"""SvelteKit's directory of what never changes."""


def is_hashed(path: bytes) -> bool:
    """Whether the last segment of a path contains a hash of the content.

    Known are Django's and whitenoise's `base.5af66c1b1797.css`, webpack's `main.8f3b2a1c.chunk.js`, gulp's and Next's
    `app-8f3b2a1c01.js`, Vite's and Rollup's `index-DiwrgTda.js`, esbuild's `chunk-HFDX4IEZ.js`, Astro's
    `index.D1-rgTda.css`, and everything below SvelteKit's `_app/immutable/`.
    """
    *directories, name = path.split(b"/")
    if _IMMUTABLE in directories and b"_app" in directories:
        return True
    first, *pieces = name.split(b".")
    if _UUID.search(name) is not None:
        return False
    if not pieces:
        return False  # without a dot there is nothing in front of the end
    built = not _BUILT.isdisjoint(directories)
    # The last piece is the kind of file, if there is one; the others may be a hash, or end with one.
    if _is_hex_hash(pieces[-1]) and len(pieces[-1]) >= _HEX_LAST:
        return True
    if _HEX.fullmatch(first) and len(first) >= _HEX_ALONE and _is_mixed(first):
        return True
    if any(_is_hash(piece, built=built) for piece in pieces[:-1]):
        return True
    return any(_ends_with_hash(piece, built=built) for piece in (first, *pieces[:-1]))


def is_hashed_anywhere(path: bytes) -> bool:
    """Whether that is so of a file in a directory where people may put theirs, whose names are ids and dates too.

    Known are Django's and whitenoise's, and everything below the directories that build tools write.
    """
    *directories, name = path.split(b"/")
    if is_hashed(path) and not (_BUILT | {_IMMUTABLE}).isdisjoint(directories):
        return True
    pieces = name.split(b".")[1:]
    return any(_DJANGO.fullmatch(piece) is not None and _is_mixed(piece) for piece in pieces)


def _ends_with_hash(piece: bytes, *, built: bool) -> bool:
    if len(piece) > 9 and piece[-9:-8] == b"-" and _is_hash(piece[-8:], built=built):
        return True
    stem, dash, last = piece.rpartition(b"-")
    return bool(dash and stem) and _is_hex_hash(last)


def _is_hash(piece: bytes, *, built: bool) -> bool:
    if _is_hex_hash(piece):
        return True
    if _BASE64.fullmatch(piece) is None or _HEX.fullmatch(piece) is not None:
        return False
    if any(_READABLE.fullmatch(part) is None for part in re.split(rb"[-_]", piece)):
        return True
    return built and _INNER_CAPITAL.match(piece) is not None and piece.upper() != piece


def _is_hex_hash(piece: bytes) -> bool:
    return _HEX.fullmatch(piece) is not None and _is_mixed(piece) and _DATE.fullmatch(piece) is None


def _is_mixed(piece: bytes) -> bool:
    return not piece.isdigit() and not piece.isalpha()
