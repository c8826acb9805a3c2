"""Sets of HTTP statuses, parsed and formatted: "200-399", "200,204", "200-299,401"."""

from __future__ import annotations

import re
from dataclasses import dataclass

STATUSES_ALLOWED = 'a string of statuses such as "200", "200-399" or "200-299,401", each from 100 to 599'
STATUSES_PATTERN = r"^\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSet:
    """A set of HTTP statuses: `200 in statuses`. Ranges are from the lowest to the highest, both inclusive."""

    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.ranges)

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)


def parse_statuses(text: str) -> StatusSet:
    """Parse a set of statuses.

    Raises:
        ValueError: it is not one, or a range runs backwards; the message says what is allowed.
    """
    if not re.fullmatch(STATUSES_PATTERN, text, re.ASCII):
        raise ValueError(STATUSES_ALLOWED)
    ranges = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        first, last = int(low), int(high or low)
        if not 100 <= first <= last <= 599:
            raise ValueError(STATUSES_ALLOWED)
        ranges.append((first, last))
    return StatusSet(ranges=tuple(ranges))
