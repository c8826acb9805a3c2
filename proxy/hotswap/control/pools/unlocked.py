"""What the end of a pool's lock did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    """What the end of a lock did.

    Attributes:
        refilled: slots that were empty, each of which is started again from the release that it had.
        serving: slots that serve at this moment; where there are none, a reload starts the pool from the new release.
    """

    refilled: tuple[int, ...] = ()
    serving: tuple[int, ...] = ()
