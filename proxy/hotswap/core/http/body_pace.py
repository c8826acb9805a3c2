"""Minimum rate of request bodies: the decision behind `body_rate` (R4 of the strictness list)."""

from __future__ import annotations

from typing import Final

BODY_GRACE: Final = 10.0
"""Seconds that may be waited for the pieces of a body, all together, before its rate is looked at."""


def is_too_slow(*, received: int, waited: float, rate: float) -> bool:
    """Whether a body has arrived below the minimum rate.

    Args:
        received: bytes so far.
        waited: seconds in which the client was asked for more and had not sent it.
        rate: bytes a second that are asked for.
    """
    return waited > BODY_GRACE and received < rate * waited
