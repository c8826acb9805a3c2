"""Which failures of a slot in a row are worth a line of the log: a new reason whole, the same again only counted.

A slot in a crash loop fails every half minute for as long as nobody repairs it, and says the same each time. Who reads
the log needs the reason once, then, ever less often, that it is still so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

KEPT: Final = 8
"""Reasons that are remembered; one that a slot comes back to later than that is told anew."""

_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]+|\d{4,}")
"""What differs from process to process in one and the same complaint: addresses, process ids, times."""


@dataclass(frozen=True, slots=True)
class FailureRow:
    """Reasons that were told since a slot was well, the newest last."""

    reasons: tuple[str, ...] = ()

    def knows(self, reason: str) -> bool:
        """Whether it has been told."""
        return _NUMBER.sub("#", reason) in self.reasons

    def having(self, reason: str) -> FailureRow:
        """Give the row in which it has."""
        alike = _NUMBER.sub("#", reason)
        return FailureRow((*(one for one in self.reasons if one != alike), alike)[-KEPT:])


def is_counted(failures: int) -> bool:
    """Whether so many failures in a row are told: 3 of them, 10, 30, 100 and so on."""
    while failures > 30 and failures % 10 == 0:
        failures //= 10
    return failures in {3, 10, 30}
