"""Parses and formats durations and sizes: "500ms", "30s", "5m"; "64KiB", "10MiB".

A number without a unit is refused, because nobody can tell seconds from milliseconds in it. Inside the
program a duration is a float of seconds and a size an int of bytes.
"""

from __future__ import annotations

import re

DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

DURATION_ALLOWED = 'a duration, a string such as "500ms", "30s", "5m" or "1h"'
SIZE_ALLOWED = 'a size, a string such as "512B", "64KiB", "10MiB" or "1GiB"'

DURATION_PATTERN = r"^(\d+(\.\d+)?)(ms|s|m|h|d)$"
SIZE_PATTERN = r"^(\d+)(B|KiB|MiB|GiB)$"

_LONGEST = 366 * 86400.0
_LARGEST = 1 << 50
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_SIZE = re.compile(SIZE_PATTERN, re.ASCII)
_NUMBER_AND_WORD = r"(\d+(?:\.\d+)?) ?([a-z]*)\.?"
_UNIT = "(ms|s|m|h|d)"
_DURATION_WORDS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
_SIZE_WORDS = {
    **dict.fromkeys(("", "b", "byte", "bytes"), "B"),
    **dict.fromkeys(("k", "kb", "ki", "kib"), "KiB"),
    **dict.fromkeys(("m", "mb", "mi", "mib"), "MiB"),
    **dict.fromkeys(("g", "gb", "gi", "gib"), "GiB"),
}


def parse_duration(text: str) -> float:
    """Parse a duration.

    Args:
        text: digits, optionally a fraction, and one of the units ms, s, m, h and d.

    Returns:
        Seconds, zero or more, at most a year.

    Raises:
        ValueError: it is not a duration; the message says what is allowed.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{DURATION_ALLOWED}{duration_meant(text)}")
    # 0.1 has no exact float; microseconds are finer than anything here is measured in.
    seconds = round(float(match[1]) * DURATION_UNITS[match[3]], 6)
    if seconds > _LONGEST:
        raise ValueError(f"{DURATION_ALLOWED}, at most a year")
    return seconds


def duration_meant(value: object) -> str:
    """Give `; write "…"` when a value can be told to mean a duration, else nothing. A number alone means seconds."""
    parts = re.split(_UNIT, value.replace(" ", "")) if isinstance(value, str) and len(value) <= 40 else []
    if len(parts) > 3 and not parts[-1] and all(number.isascii() and number.isdigit() for number in parts[:-1:2]):
        seconds = sum(int(number) * DURATION_UNITS[unit] for number, unit in zip(parts[::2], parts[1::2], strict=False))
        return f'; write "{format_duration(seconds)}"' if seconds <= _LONGEST else ""
    match = _number_and_word(value)
    unit = _DURATION_WORDS.get(match[2]) if match is not None else None
    if match is None or unit is None or float(match[1]) * DURATION_UNITS[unit] > _LONGEST:
        return ""
    bare = "; it has no unit" if not match[2] else ""
    return f'{bare}; write "{match[1]}{unit}"'


def size_meant(value: object) -> str:
    """Give `; write "…"` when a value can be told to mean a size, else nothing. A number alone means bytes."""
    match = _number_and_word(value)
    unit = _SIZE_WORDS.get(match[2]) if match is not None else None
    if match is None or unit is None or "." in match[1] or len(match[1]) > 15:
        return ""
    size = int(match[1]) * SIZE_UNITS[unit]
    if size > _LARGEST:
        return ""
    bare = "; it has no unit" if not match[2] else ""
    return f'{bare}; write "{format_size(size)}"'


def _number_and_word(value: object) -> re.Match[str] | None:
    """Read a number with a word behind it, however it is written; None of everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = value if isinstance(value, str) else f"{value}"
    return re.fullmatch(_NUMBER_AND_WORD, text.strip().lower(), re.ASCII) if len(text) <= 40 else None


def format_duration(seconds: float) -> str:
    """Format a duration in the largest unit that needs no fraction; the reverse of `parse_duration`."""
    milliseconds = round(seconds * 1000, 3)
    if milliseconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        size = DURATION_UNITS[unit] * 1000
        if milliseconds % size == 0:
            return f"{int(milliseconds // size)}{unit}"
    return f"{milliseconds:g}ms"


def parse_size(text: str) -> int:
    """Parse a size.

    Args:
        text: digits and one of the units B, KiB, MiB and GiB (powers of 1024).

    Returns:
        Bytes, zero or more.

    Raises:
        ValueError: it is not a size; the message says what is allowed.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{SIZE_ALLOWED}{size_meant(text)}")
    size = int(match[1]) * SIZE_UNITS[match[2]] if len(match[1]) <= 18 else _LARGEST + 1
    if size > _LARGEST:
        raise ValueError(f"{SIZE_ALLOWED}, at most 1024 TiB")
    return size


def format_size(size: int) -> str:
    """Format a number of bytes in the largest unit that needs no fraction; the reverse of `parse_size`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit}"
    return f"{size}B"
