"""Compatibility number of a release: old and new code run side by side only if it is the same.

It is whatever the first line of the file (or of the command's output) holds, stripped of white space, and it
is compared for equality only: a lower one is as incompatible as a higher one. It is captured when the code
that runs now was started, and read again from the new release, at the place the new processes will really run
in, at each trigger.

What cannot be read is a value too (`Unreadable`), never an exception on its way up: a broken file refuses a
reload and does nothing else. Unreadable is: nothing there, an empty first line, bytes that are not UTF-8,
control characters, more than `MAX_LENGTH` characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

CompatibilityNumber = NewType("CompatibilityNumber", str)
"""A number that was read; text, because nothing is done with it but comparing."""

MAX_LENGTH = 256
"""Longest number in characters: room for any hash or version, and too little to flood a log."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The number could not be read; `detail` says why, for a person."""

    detail: str

    def __str__(self) -> str:
        return f"unreadable: {self.detail}"


Compatibility = CompatibilityNumber | Unreadable


def parse_compatibility(content: bytes, *, origin: str) -> Compatibility:
    """Parse the number from a file's content or a command's output.

    Args:
        content: all of it, or at least its first line.
        origin: what it came from, for the detail of an unreadable one.
    """
    # Universal newlines, as every editor and shell on this planet may end a line; not the exotic ones of
    # `str.splitlines`, which would cut a number at a form feed and hide it.
    first = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").partition(b"\n")[0]
    try:
        number = first.decode().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        return Unreadable(f"the first line of {origin} is not UTF-8")
    if not number:
        return Unreadable(f"the first line of {origin} is empty" if content else f"{origin} is empty")
    if len(number) > MAX_LENGTH:
        return Unreadable(f"the first line of {origin} is longer than {MAX_LENGTH} characters")
    if not number.isprintable():
        return Unreadable(f"the first line of {origin} has control characters in it")
    return CompatibilityNumber(number)
