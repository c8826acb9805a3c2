"""Pools: what control decides about them, and what the data plane claims of them.

`Pool` and `Backend` are control's alone, `Claims` and `Candidate` the data plane's; between them go `PoolView` one way
and `Report` the other. `Release` is how the data plane lets go of a backend. Why it is cut this way:
`docs/explanation/control-and-data-plane.md`.
"""

from __future__ import annotations

from hotswap.core.backend import Backend
from hotswap.core.pool.candidate import Candidate
from hotswap.core.pool.claims import Claims, UnbalancedRelease
from hotswap.core.pool.events import (
    BackendAdded,
    BackendDrained,
    BackendEjected,
    BackendMoved,
    BackendRemoved,
    HealthChanged,
    NothingExpected,
    PoolEvent,
    PoolLocked,
    PoolPaused,
    PoolResumed,
    PoolUnlocked,
)
from hotswap.core.pool.outlook import Outlook
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.release import Act, Release, Stage
from hotswap.core.pool.reports import Ejected, Idle, Report
from hotswap.core.pool.slot_record import CRASH_LOOP
from hotswap.core.pool.snapshot import PoolSnapshot, SlotSnapshot
from hotswap.core.pool.view import Applied, BackendView, PoolView

__all__ = [
    "CRASH_LOOP",
    "Act",
    "Applied",
    "Backend",
    "BackendAdded",
    "BackendDrained",
    "BackendEjected",
    "BackendMoved",
    "BackendRemoved",
    "BackendView",
    "Candidate",
    "Claims",
    "Ejected",
    "HealthChanged",
    "Idle",
    "NothingExpected",
    "Outlook",
    "Pool",
    "PoolEvent",
    "PoolLocked",
    "PoolPaused",
    "PoolResumed",
    "PoolSnapshot",
    "PoolUnlocked",
    "PoolView",
    "Release",
    "Report",
    "SlotSnapshot",
    "Stage",
    "UnbalancedRelease",
]
