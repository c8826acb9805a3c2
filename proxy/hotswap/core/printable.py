"""Escapes and shortens foreign text for a terminal."""

from __future__ import annotations

import re
from typing import Final

LONGEST_TEXT: Final = 2000
"""Characters of a text from elsewhere (of a library, a program, a peer) in an error and an access line."""
LONGEST_VALUE: Final = 8192
"""Characters of any value in a line of the log or in an event: as long as a line that a backend writes."""

# What a terminal would obey instead of show: C0 and C1 controls, apart from tab and newline.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Marks that change the direction of what follows (UAX 9), by which a line can be made to read as another one.
_REORDERING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    r"""Escape control characters as `\xNN`: output of backends and clients must not control the operator's terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(text: str) -> str:
    """Put a text on one line: line ends become `; `, other control characters and what reorders letters escapes."""
    if text.isprintable():
        return text
    joined = "; ".join(part for part in text.splitlines() if part.strip())
    return _REORDERING.sub(lambda found: f"\\u{ord(found[0]):04x}", escape_controls(joined))


def bounded(text: str, most: int = LONGEST_TEXT) -> str:
    """Truncate a text that is longer than anybody reads, such as input that a library quotes in its error."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def bounded_value(value: object, most: int = LONGEST_TEXT) -> object:
    """Truncate every text in a value that is to become JSON."""
    match value:
        case str():
            return bounded(value, most)
        case list():
            return [bounded_value(item, most) for item in value]
        case tuple():
            return tuple(bounded_value(item, most) for item in value)
        case dict():
            return {key: bounded_value(item, most) for key, item in value.items()}
        case _:
            return value
