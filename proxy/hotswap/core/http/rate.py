"""Rate of requests, as the configuration says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

RATE_ALLOWED: Final = 'a number of requests in a time, such as "10/s", "100/m" or "1000/h"'
RATE_PATTERN: Final = r"^[1-9][0-9]{0,8}/[smh]$"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class RequestRate:
    """So many requests in a time; `str()` writes it as the configuration does.

    Attributes:
        count: requests, at least one.
        unit: `s`, `m` or `h`.
    """

    count: int
    unit: str

    @property
    def interval(self) -> float:
        """Seconds from one request to the next."""
        return _SECONDS[self.unit] / self.count

    def __str__(self) -> str:
        return f"{self.count}/{self.unit}"


def parse_rate(text: str) -> RequestRate:
    """Parse a rate such as "10/s".

    Raises:
        ValueError: it is none; the text says what one is.
    """
    if re.fullmatch(RATE_PATTERN, text) is None:
        raise ValueError(RATE_ALLOWED + rate_meant(text))
    count, _, unit = text.partition("/")
    return RequestRate(int(count), unit)


def rate_meant(value: object) -> str:
    """Give `; write "…"` for a rate as others write it, such as `10r/s` or `10 per minute`."""
    found = re.fullmatch(r"([1-9][0-9]{0,8}) ?[a-z]{0,8} ?(?:(?:/|per) ?([smh])[a-z]{0,6})?", str(value)[:40].lower())
    return f'; write "{found[1]}/{found[2] or "s"}"' if found else ""
