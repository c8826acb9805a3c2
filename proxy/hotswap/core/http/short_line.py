"""Formats an access line as people read it on a terminal: `12:00:05 GET example.org/cart 200 12 ms web/0`.

What a client sent cannot end the line or reach the terminal as a control sequence: everything outside printable ASCII
is escaped. Secrets are hidden as in every other format (`hotswap.core.http.access_log`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hotswap.core.http.access_log import hide_secrets

LONGEST_PLACE: Final = 120
"""Characters of host and path that are shown; of longer ones the middle is left out."""

_SHOWN: Final = bytes(range(0x21, 0x7F))
_RESET: Final = b"\x1b[0m"
_DIM: Final = b"\x1b[2m"
_COLOURS: Final = {1: b"\x1b[36m", 2: b"\x1b[32m", 3: b"\x1b[36m", 4: b"\x1b[33m", 5: b"\x1b[31m"}
"""Colours by the first digit of a status."""


def short_line(
    time: bytes,
    method: bytes,
    host: bytes,
    target: bytes,
    status: int,
    duration: float,
    pool: str = "",
    slot: int | None = None,
    error: str = "",
    *,
    colours: bool = False,
) -> bytes:
    """Format one exchange on one line, line feed included.

    Args:
        time: of the day, when it ended.
        method: as sent; empty when no request could be read, which is written as `-`.
        host: as sent.
        target: in origin-form, with its query.
        status: what was answered.
        duration: in seconds.
        pool: the pool's name, or empty.
        slot: the backend's slot, or None.
        error: what failed, in one sentence, or empty.
        colours: whether the reader is a terminal that has them.
    """
    place = _shorten(_shown(host + hide_secrets(target)))
    code = b"%d" % status
    if colours:
        time, code = _DIM + time + _RESET, _COLOURS.get(status // 100, b"") + code + _RESET
    words = [time, _shown(method) or b"-", place or b"-", code, _duration(duration)]
    if pool:
        words.append(_backend(pool, slot))
    if error:
        words.append(b"(%b)" % _shorten(_shown(error.encode("utf-8", "backslashreplace"), spaces=True)))
    return b" ".join(words) + b"\n"


@lru_cache(maxsize=256)
def _backend(pool: str, slot: int | None) -> bytes:
    return (pool if slot is None else f"{pool}/{slot}").encode()


def _duration(seconds: float) -> bytes:
    if seconds < 1:
        return b"%.0f ms" % (seconds * 1000) if seconds >= 0.01 else b"%.1f ms" % (seconds * 1000)
    return b"%.1f s" % seconds


def _shown(text: bytes, *, spaces: bool = False) -> bytes:
    text = text[: 4 * LONGEST_PLACE] + text[-LONGEST_PLACE:] if len(text) > 5 * LONGEST_PLACE else text
    if not text.translate(None, _SHOWN + b" " if spaces else _SHOWN):
        return text
    kept = _SHOWN + b" " if spaces else _SHOWN
    return b"".join(bytes((byte,)) if byte in kept else b"\\x%02x" % byte for byte in text)


def _shorten(text: bytes) -> bytes:
    if len(text) <= LONGEST_PLACE:
        return text
    half = (LONGEST_PLACE - 3) // 2
    return text[:half] + b"..." + text[-half:]
