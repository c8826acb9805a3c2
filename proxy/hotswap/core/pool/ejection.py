"""Passive health: ejects a backend for a while after consecutive failures, whatever its probes say.

What counts is the `blame` of `hotswap.core.http.retry`: a connect that failed, a fresh connection that broke, an answer
that did not come or broke off. `FAILURES` of them in a row, without a whole response in between, eject a backend; each
time it happens again the pause is twice as long, and a quiet minute wipes that out. Ejection is a preference and no
state: the pool uses ejected backends when it has no other, so the last ready one is never lost to it.
"""

from __future__ import annotations

from typing import Final

FAILURES: Final = 5
"""In a row; Envoy's number for the same."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds of the first ejection, and the most they grow to."""
FORGIVEN_AFTER: Final = 60.0
"""Seconds without an ejection after which the next one is short again."""


class Conduct:
    """Consecutive failures and ejections of one backend; times are seconds of any clock.

    Attributes:
        failures: blamed failures in a row.
        ejected_until: when it may be used again; 0 when it was never ejected.
    """

    __slots__ = ("_pause", "ejected_until", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self.ejected_until = 0.0
        self._pause = 0.0

    def fail(self, now: float) -> bool:
        """Count a failure that is the backend's fault.

        Returns:
            Whether the backend is to be ejected, until `ejected_until`.
        """
        self.failures += 1
        if self.failures < FAILURES or now < self.ejected_until:
            return False
        self.failures = 0
        forgiven = now - self.ejected_until > FORGIVEN_AFTER
        self._pause = FIRST_PAUSE if forgiven or not self._pause else min(LONGEST_PAUSE, self._pause * 2)
        self.ejected_until = now + self._pause
        return True

    def succeed(self) -> None:
        """Reset the count: a complete response came."""
        self.failures = 0
