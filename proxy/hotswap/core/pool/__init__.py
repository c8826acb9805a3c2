"""Pools: what control decides about them, and what the data plane claims of them.

`Pool` and `Backend` are control's alone, `claims` and `withdrawal` the data plane's; between them go `PoolView` one way
and `Report` the other. What is named here is what control needs; the data plane takes its parts from their modules, and
no more. Why it is cut this way: `docs/explanation/control-and-data-plane.md`.
"""

from __future__ import annotations

from hotswap.core.backend import Backend
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
from hotswap.core.pool.reports import Ejected, Idle, Report
from hotswap.core.pool.slot_record import CRASH_LOOP
from hotswap.core.pool.snapshot import PoolSnapshot, SlotSnapshot
from hotswap.core.pool.view import Applied, PoolView
from hotswap.core.pool.withdrawal import Released

__all__ = [
    "CRASH_LOOP",
    "Applied",
    "Backend",
    "BackendAdded",
    "BackendDrained",
    "BackendEjected",
    "BackendMoved",
    "BackendRemoved",
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
    "Released",
    "Report",
    "SlotSnapshot",
]
