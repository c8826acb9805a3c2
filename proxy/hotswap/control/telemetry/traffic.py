"""The last minutes of traffic, for those who look: a sample a second of every pool and each of its generations.

Theory: the data plane only counts up. Once a second the counts are compared with those of the second before,
and the differences are kept as samples, in rings as long as `KEPT`. Seconds without traffic leave no sample,
so an idle proxy keeps nothing. Ticks number the seconds; who looks again asks for those after the last one it
knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import sub
from typing import Any

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.telemetry.events import utc_now
from hotswap.core.pool.traffic import BUCKETS, TrafficSample, sample

INTERVAL = 1.0
"""Seconds between two samples."""

KEPT = 300
"""How many ticks back samples are kept."""

WHOLE = -1
"""The key of a pool's own series among those of its generations."""

Series = deque[tuple[int, TrafficSample]]


class TrafficRecorder:
    """The samples of every pool.

    Attributes:
        tick: number of the newest sample; 0 before the first.
    """

    def __init__(
        self, served: Callable[[], Mapping[str, Mapping[int, Sequence[int]]]], over: Callable[[str, int], None]
    ) -> None:
        """Begin without samples.

        Args:
            served: gives the counts of every pool now, by generation.
            over: takes pool and generation of counts that need not be kept any longer.
        """
        self.tick = 0
        self._served = served
        self._over = over
        self._at = utc_now()
        self._before: dict[tuple[str, int], list[int]] = {}
        self._series: dict[tuple[str, int], Series] = {}

    async def serve(self, log: FilteringBoundLogger) -> None:
        """Take samples until cancelled."""
        while True:
            await trio.sleep(INTERVAL)
            try:
                self.take()
            except Exception as error:
                log.error("traffic.crashed", exc_info=error)

    def take(self) -> None:
        """Take a sample of everything."""
        self.tick += 1
        self._at = utc_now()
        served = self._served()
        for pool, generations in served.items():
            total = [0] * (2 * BUCKETS)
            for generation, counts in tuple(generations.items()):
                key = (pool, generation)
                now = list(counts)
                before = self._before.get(key)
                # A pool that was made anew under its old name counts from 0 again.
                grown = now if before is None or any(map(int.__gt__, before, now)) else list(map(sub, now, before))
                self._before[key] = now
                if any(grown):
                    self._keep(key, sample(grown))
                    total = [one + other for one, other in zip(total, grown, strict=True)]
                elif key not in self._series:
                    # It has served nothing for as long as is shown, so it is over, or will be counted anew.
                    self._over(pool, generation)
                    del self._before[key]
            self._keep((pool, WHOLE), sample(total))
        self._forget(served)

    def _keep(self, key: tuple[str, int], taken: TrafficSample | None) -> None:
        if taken is not None:
            self._series.setdefault(key, deque()).append((self.tick, taken))

    def _forget(self, pools: Collection[str]) -> None:
        for (pool, generation), series in tuple(self._series.items()):
            while series and series[0][0] <= self.tick - KEPT:
                series.popleft()
            if not series or pool not in pools:
                del self._series[pool, generation]
        for pool, generation in tuple(self._before):
            if pool not in pools:
                del self._before[pool, generation]

    def tell(self, after: int = 0) -> dict[str, object]:
        """Give the samples after a tick, ready for JSON."""
        pools: dict[str, dict[str, Any]] = {name: {"samples": [], "generations": {}} for name in self._served()}
        for (pool, generation), series in self._series.items():
            if pool not in pools:
                continue
            told = [_row(tick, taken) for tick, taken in series if tick > after]
            if generation == WHOLE:
                pools[pool]["samples"] = told
            else:
                pools[pool]["generations"][str(generation)] = told
        return {"tick": self.tick, "at": self._at, "interval": INTERVAL, "kept": KEPT, "pools": pools}


def _row(tick: int, taken: TrafficSample) -> Sequence[float]:
    return (tick, taken.requests, taken.errors, round(taken.p50, 6), round(taken.p99, 6))
