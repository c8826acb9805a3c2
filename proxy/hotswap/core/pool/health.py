"""Health verdict over consecutive probes.

One probe proves little, so a verdict changes only after several of the same kind in a row: `healthy_after`
passes or `unhealthy_after` failures. Between the two thresholds the last verdict stands; one pass wipes out
all failures counted so far, and the other way round. A new backend is `unknown`, which is not claimable: it
starts down.

A verdict says nothing about rotation: a draining backend whose probes pass stays draining.
"""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.pool.lifecycle import Health


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Result of one probe.

    Attributes:
        ok: the backend answered in time with an expected status.
        status: the status it answered with, or None when no answer came.
        detail: what happened, in words for the log; empty when `ok`.
        asked: the backend was asked; False where the proxy had no descriptor to ask with, which says nothing of it.
    """

    ok: bool
    status: int | None = None
    detail: str = ""
    asked: bool = True


class HealthVerdict:
    """Health of one backend, with thresholds for consecutive passes and failures.

    Attributes:
        healthy_after, unhealthy_after: passes, or failures, in a row that change the verdict; at least 1.
        health: the verdict as of the last probe.
        passes: probes passed in a row, 0 after a failure.
        failures: probes failed in a row, 0 after a pass.
    """

    __slots__ = ("failures", "health", "healthy_after", "passes", "unhealthy_after")

    def __init__(self, *, healthy_after: int, unhealthy_after: int, health: Health = Health.UNKNOWN) -> None:
        """Start with no probe seen, from another verdict than `unknown` for a backend that was proven elsewhere."""
        self.healthy_after = healthy_after
        self.unhealthy_after = unhealthy_after
        self.health = health
        self.passes = 0
        self.failures = 0

    def observe(self, ok: bool) -> Health:
        """Count one probe and give the verdict that now holds."""
        if ok:
            self.failures = 0
            self.passes += 1
            if self.passes >= self.healthy_after:
                self.health = Health.HEALTHY
        else:
            self.passes = 0
            self.failures += 1
            if self.failures >= self.unhealthy_after:
                self.health = Health.UNHEALTHY
        return self.health
