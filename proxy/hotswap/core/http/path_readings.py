"""All interpretations that backends may give to one path.

Backends agree on the bytes of a target and not on what they mean. Each of `STEPS` is something that some server or
framework does: Tomcat and Spring drop `;parameters` (before they decode, or after, or take the path to end there, as
Shiro did), nginx, Apache and Tomcat merge slashes, before dot segments are removed or afterwards, Node's `URL`, PHP's
`parse_url` and Python's `urlsplit` take what follows two slashes for an authority, browsers' rules and Windows take a
backslash for a slash, many keep an encoded slash inside its segment and some decode it later after all, and what stands
behind another server may decode again. Which of them a backend takes, and in which order, is not known here: so every
order of any of them is a reading, as long as something was decoded once (RFC 3986 2.4).

The work is bounded, whatever the path: one with more readings than `MOST_WORK` is enough for is left undecided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

MOST_WORK: Final = 192 * 1024
"""How much is done for one path, in bytes that pass through a step: half a millisecond, because a client of HTTP/2
begins sixteen requests in a turn. A path that people make needs a tenth of it; one of 400 letters that are escaped by
nine bytes each, and one slash, nearly all."""
_STEP_WORK: Final = 1000
_PIECE_WORK: Final = 50
"""What a step costs beside its bytes, and an escape that is decoded or a segment that may be dots, in the same unit."""

_ENCODED_SLASH: Final = re.compile(rb"%2[fF]")
_SLASHES: Final = re.compile(rb"//+")
_PARAMETERS: Final = re.compile(rb";[^/]*")
_AUTHORITY: Final = re.compile(rb"//[^/]*")
_LONG_AUTHORITY: Final = re.compile(rb"//+[^/]*")
_KEPT: Final = b"\0"
"""Stands for an encoded slash that stays inside its segment; `%00` has been refused before."""


class Undecided(Exception):
    """There are too many interpretations to check all of them."""


def without_dots(path: bytes) -> bytes:
    """Remove dot segments (RFC 3986 5.2.4); `..` at the root stays there."""
    if b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def keep_slashes(path: bytes) -> bytes:
    """Decode everything but encoded slashes, which stay inside their segments."""
    return unquote_to_bytes(_ENCODED_SLASH.sub(b"%00", path))


def _behind(authority: re.Pattern[bytes], path: bytes) -> bytes:
    found = authority.match(path)
    return path if found is None else path[found.end() :] or b"/"


Step = Callable[[bytes], bytes]

DECODING: Final[tuple[Step, ...]] = (unquote_to_bytes, keep_slashes)
"""Ways to decode; all else may come before or after."""

STEPS: Final[tuple[tuple[bytes, Step], ...]] = (
    (b"/.", without_dots),
    (b"//", lambda path: _SLASHES.sub(b"/", path)),
    (b"//", lambda path: _behind(_AUTHORITY, path)),
    (b"//", lambda path: _behind(_LONG_AUTHORITY, path)),
    (b"\\", lambda path: path.replace(b"\\", b"/")),
    (b";", lambda path: _PARAMETERS.sub(b"", path)),
    (b";", lambda path: path.partition(b";")[0]),
    (b"?", lambda path: path.partition(b"?")[0]),
    (b"#", lambda path: path.partition(b"#")[0]),
    (_KEPT, lambda path: path.replace(_KEPT, b"/")),
)
"""What is done, and the bytes without which it changes nothing."""

TWICE: Final = 2
"""How often a path is decoded at most."""


def readings(path: bytes) -> Iterator[bytes]:
    """Yield every path that a backend may take a path for, in no order.

    Args:
        path: without query and fragment, beginning with a slash, without bad escapes and NUL.

    Raises:
        Undecided: there are more.
    """
    seen = {(path, 0)}
    waiting = [(path, 0)]
    work = 0
    while waiting:
        reading, decoded = waiting.pop()
        steps = [(step, decoded) for needed, step in STEPS if needed in reading]
        if decoded < TWICE and (b"%" in reading or not decoded):
            steps += [(decode, decoded + 1) for decode in DECODING]
            work += len(DECODING) * _PIECE_WORK * reading.count(b"%")
        if b"/." in reading:
            work += _PIECE_WORK * reading.count(b"/")
        work += len(steps) * (_STEP_WORK + len(reading))
        if work > MOST_WORK:
            raise Undecided
        for step, after in steps:
            found = (step(reading), after)
            if found not in seen:
                seen.add(found)
                waiting.append(found)
                if after:
                    yield found[0]
