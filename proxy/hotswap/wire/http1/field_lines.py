"""Cache of parsed field lines of HTTP/1.1: most lines repeat with every request of a connection.

llhttp judges each head as a whole; only then are its lines looked at here, so a line is known to be `name ":" value`
and nothing else. What a line means depends on nothing but its bytes, and the same `User-Agent`, `Accept` or `Date`
comes a thousand times: a line that was read before costs one lookup. Lines that are long or secret are read anew each
time, and a full memory is emptied, which is cheaper than an order of eviction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from hotswap.core.http.messages import Field

MEMORY_LINES: Final = 1024
MEMORY_BYTES: Final = 256
"""Longer lines are not remembered, so that a memory is bounded in bytes too (some 512 KiB)."""
SECRET: Final = frozenset(
    (
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        b"set-cookie",
        b"x-api-key",
        b"x-forwarded-access-token",
    )
)
"""Fields that are not kept longer than their message."""


class FieldLines(dict[bytes, bytes | Field | None]):
    """Bounded cache from a field line, without its line end, to its classification.

    An end-to-end field is one line as it is written to the other side, its line end included; a special one is its
    name in lower case and its value; None is a field to be dropped. Values are without the white space around them.

    Args:
        special: whether a field of that lower-case name is taken out of a head.
        underscores: whether names with an underscore are passed on. CGI and WSGI fold "-" and "_" into one name (P4).
    """

    __slots__ = ("_special", "_underscores")

    def __init__(self, special: Callable[[bytes], bool], *, underscores: bool) -> None:
        super().__init__()
        self._special = special
        self._underscores = underscores

    def __missing__(self, line: bytes) -> bytes | Field | None:
        name, _, value = line.partition(b":")
        value = value.strip(b" \t")
        lower = name.lower()
        meaning: bytes | Field | None
        if self._special(lower):
            meaning = (lower, value)
        elif b"_" in name and not self._underscores:
            meaning = None
        else:
            meaning = b"%b: %b\r\n" % (name, value)
        if len(line) <= MEMORY_BYTES and lower not in SECRET:
            if len(self) >= MEMORY_LINES:
                self.clear()
            self[line] = meaning
        return meaning

    def part(self, lines: Iterable[bytes]) -> tuple[list[bytes], list[Field]]:
        """Split the lines of a head into end-to-end lines and special fields, both in order."""
        going_on: list[bytes] = []
        special: list[Field] = []
        for line in lines:
            meaning = self[line]
            if type(meaning) is bytes:
                going_on.append(meaning)
            elif meaning is not None:
                special.append(meaning)  # type: ignore[arg-type]  # type() is what mypy does not narrow by
        return going_on, special
