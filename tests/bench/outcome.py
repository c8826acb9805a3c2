"""What one load brought, and the sample that a measurement makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the client saw.

    Attributes:
        requests: exchanges (or WebSocket messages) that ended well.
        seconds: how long the load took.
        body_bytes: bytes of bodies moved, either way.
        p50: median latency in seconds.
        p99: latency in seconds that one in a hundred exceeds.
        errors: exchanges that ended otherwise: refused, cut, timed out, or answered with an error status.
        processor_seconds: of the proxy, where the load alone knows which part counts; 0.0 where none does.
        details: further figures that only this load knows.
    """

    requests: int
    seconds: float
    body_bytes: int = 0
    p50: float
    p99: float
    errors: int = 0
    processor_seconds: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One case on one proxy in one round: what the client saw, and what it cost the proxy.

    Attributes:
        case: name of the case.
        proxy: name of the proxy, or ``direct`` for the origin without one.
        round: number from 0.
        outcome: the client's view.
        processor_seconds: used by the proxy's processes meanwhile.
        memory_bytes: of the proxy's processes right after.
    """

    case: str
    proxy: str
    round: int
    outcome: Outcome
    processor_seconds: float
    memory_bytes: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.outcome.requests / self.outcome.seconds if self.outcome.seconds else 0.0

    @property
    def bytes_rate(self) -> float:
        """Bytes of bodies a second."""
        return self.outcome.body_bytes / self.outcome.seconds if self.outcome.seconds else 0.0

    @property
    def processor_per_request(self) -> float:
        """Processor seconds of the proxy for one request."""
        return self.processor_seconds / self.outcome.requests if self.outcome.requests else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of ``values`` lie: nearest rank; 0.0 without values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
