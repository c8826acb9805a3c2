"""One slot's turn in a rollout, as three tables: one for each strategy, one row a transition.

A step has two processes to think of, the old one and its replacement, and a state says where both of them
are:

| state | the old backend | the replacement |
|---|---|---|
| `pending` | serves | is not there yet |
| `starting` | drains (drain-first) or serves (surge) | starts |
| `starting-drained` | has nothing in flight, and waits in case it is needed again | starts |
| `starting-overdue` | has had its `drain_timeout` and is left alone as long as it may be needed again | starts |
| `starting-alone` | is gone | starts |
| `draining` | drains | serves; under stop-first it is not there yet |
| `stopping` | was told to go | serves; under stop-first it is not there yet |
| `reverting` | serves again, if it is alive | failed, is being killed |
| `aborting` | serves again, if it is alive | no longer wanted, is being killed |
| `abandoning` | was told to go and cannot be called back | will not come (stop-first) |
| `done`, `failed`, `aborted` | the end | |

Three rules shaped the rows. The old backend is given up only when the replacement is ready (except under
stop-first, whose point it is), so a drain that is over early or late waits in `starting`. After a failure the
old one is readmitted *before* the replacement is killed, because capacity comes back that instant. An abort
reverts a step only as long as that restores what was before; when the replacement serves already, the step is
finished.

Rows from a state to itself without commands are facts that are true but too late to matter, such as the alarm
of a drain that has just ended. Every pair without a row is a fault of the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from hotswap.core.rollout.commands import (
    AdmitReplacement,
    ClearSlot,
    CutOld,
    DrainOld,
    EndStep,
    KillReplacement,
    ReadmitOld,
    RetireOld,
    SpawnReplacement,
    StepCommand,
)
from hotswap.core.rollout.events import (
    AbortRequested,
    DrainTimedOut,
    OldDrained,
    OldExited,
    ReplacementFailed,
    ReplacementGone,
    ReplacementReady,
    SlotFoundEmpty,
    StepEvent,
    StepStarted,
)
from hotswap.core.state_machine import Row, StateTable, make_table
from hotswap.core.strategy import Strategy


class StepState(StrEnum):
    """Where a step is."""

    PENDING = "pending"
    STARTING = "starting"
    STARTING_DRAINED = "starting-drained"
    STARTING_OVERDUE = "starting-overdue"
    STARTING_ALONE = "starting-alone"
    DRAINING = "draining"
    STOPPING = "stopping"
    REVERTING = "reverting"
    ABORTING = "aborting"
    ABANDONING = "abandoning"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


StepRow = Row[StepState, type[StepEvent], type[StepCommand]]


def _row(state: StepState, event: type[StepEvent], then: StepState, *commands: type[StepCommand]) -> StepRow:
    return Row(state, event, then, commands)


_S = StepState

_ALWAYS = (
    # A queued slot that crashes before its turn is respawned by its supervisor; what came back is replaced.
    _row(_S.PENDING, OldExited, _S.PENDING),
    _row(_S.PENDING, SlotFoundEmpty, _S.STARTING_ALONE, ClearSlot, SpawnReplacement),
    _row(_S.STARTING_ALONE, ReplacementReady, _S.DONE, AdmitReplacement, EndStep),
    _row(_S.STARTING_ALONE, ReplacementFailed, _S.REVERTING, KillReplacement),
    _row(_S.STARTING_ALONE, AbortRequested, _S.ABORTING, KillReplacement),
    # The exchanges of a process that died are released after its death is known.
    _row(_S.STARTING_ALONE, OldDrained, _S.STARTING_ALONE),
    _row(_S.STARTING_ALONE, DrainTimedOut, _S.STARTING_ALONE),
    _row(_S.REVERTING, ReplacementGone, _S.FAILED, EndStep),
    _row(_S.REVERTING, ReplacementReady, _S.REVERTING),
    _row(_S.REVERTING, ReplacementFailed, _S.REVERTING),
    _row(_S.REVERTING, OldDrained, _S.REVERTING),
    _row(_S.REVERTING, DrainTimedOut, _S.REVERTING),
    _row(_S.REVERTING, OldExited, _S.REVERTING),
    _row(_S.REVERTING, AbortRequested, _S.REVERTING),
    _row(_S.ABORTING, ReplacementGone, _S.ABORTED, EndStep),
    _row(_S.ABORTING, ReplacementReady, _S.ABORTING),
    _row(_S.ABORTING, ReplacementFailed, _S.ABORTING),
    _row(_S.ABORTING, OldDrained, _S.ABORTING),
    _row(_S.ABORTING, DrainTimedOut, _S.ABORTING),
    _row(_S.ABORTING, OldExited, _S.ABORTING),
    _row(_S.ABORTING, AbortRequested, _S.ABORTING),
)

# The end of a step whose replacement serves already.
_SERVED = (
    _row(_S.DRAINING, OldDrained, _S.STOPPING, RetireOld),
    _row(_S.DRAINING, DrainTimedOut, _S.STOPPING, CutOld, RetireOld),
    _row(_S.DRAINING, OldExited, _S.DONE, EndStep),
    _row(_S.DRAINING, AbortRequested, _S.DRAINING),
    _row(_S.STOPPING, OldExited, _S.DONE, EndStep),
    _row(_S.STOPPING, OldDrained, _S.STOPPING),
    _row(_S.STOPPING, DrainTimedOut, _S.STOPPING),
    _row(_S.STOPPING, AbortRequested, _S.STOPPING),
)

_DRAIN_FIRST = (
    _row(_S.PENDING, StepStarted, _S.STARTING, DrainOld, SpawnReplacement),
    _row(_S.STARTING, ReplacementReady, _S.DRAINING, AdmitReplacement),
    _row(_S.STARTING, ReplacementFailed, _S.REVERTING, ReadmitOld, KillReplacement),
    _row(_S.STARTING, OldDrained, _S.STARTING_DRAINED),
    _row(_S.STARTING, DrainTimedOut, _S.STARTING_OVERDUE),
    _row(_S.STARTING, OldExited, _S.STARTING_ALONE),
    _row(_S.STARTING, AbortRequested, _S.ABORTING, ReadmitOld, KillReplacement),
    _row(_S.STARTING_DRAINED, ReplacementReady, _S.STOPPING, AdmitReplacement, RetireOld),
    _row(_S.STARTING_DRAINED, ReplacementFailed, _S.REVERTING, ReadmitOld, KillReplacement),
    _row(_S.STARTING_DRAINED, DrainTimedOut, _S.STARTING_DRAINED),
    _row(_S.STARTING_DRAINED, OldExited, _S.STARTING_ALONE),
    _row(_S.STARTING_DRAINED, AbortRequested, _S.ABORTING, ReadmitOld, KillReplacement),
    _row(_S.STARTING_OVERDUE, ReplacementReady, _S.STOPPING, AdmitReplacement, CutOld, RetireOld),
    _row(_S.STARTING_OVERDUE, ReplacementFailed, _S.REVERTING, ReadmitOld, KillReplacement),
    _row(_S.STARTING_OVERDUE, OldDrained, _S.STARTING_DRAINED),
    _row(_S.STARTING_OVERDUE, OldExited, _S.STARTING_ALONE),
    _row(_S.STARTING_OVERDUE, AbortRequested, _S.ABORTING, ReadmitOld, KillReplacement),
)

_SURGE = (
    _row(_S.PENDING, StepStarted, _S.STARTING, SpawnReplacement),
    _row(_S.STARTING, ReplacementReady, _S.DRAINING, AdmitReplacement, DrainOld),
    _row(_S.STARTING, ReplacementFailed, _S.REVERTING, KillReplacement),
    _row(_S.STARTING, OldExited, _S.STARTING_ALONE),
    _row(_S.STARTING, AbortRequested, _S.ABORTING, KillReplacement),
)

_STOP_FIRST = (
    _row(_S.PENDING, StepStarted, _S.DRAINING, DrainOld),
    _row(_S.DRAINING, OldDrained, _S.STOPPING, RetireOld),
    _row(_S.DRAINING, DrainTimedOut, _S.STOPPING, CutOld, RetireOld),
    _row(_S.DRAINING, OldExited, _S.STARTING_ALONE, SpawnReplacement),
    _row(_S.DRAINING, AbortRequested, _S.ABORTED, ReadmitOld, EndStep),
    _row(_S.STOPPING, OldExited, _S.STARTING_ALONE, SpawnReplacement),
    _row(_S.STOPPING, OldDrained, _S.STOPPING),
    _row(_S.STOPPING, DrainTimedOut, _S.STOPPING),
    _row(_S.STOPPING, AbortRequested, _S.ABANDONING),
    _row(_S.ABANDONING, OldExited, _S.ABORTED, EndStep),
    _row(_S.ABANDONING, OldDrained, _S.ABANDONING),
    _row(_S.ABANDONING, DrainTimedOut, _S.ABANDONING),
    _row(_S.ABANDONING, AbortRequested, _S.ABANDONING),
)

StepTable = StateTable[StepState, type[StepEvent], type[StepCommand]]

TABLES: Mapping[Strategy, StepTable] = MappingProxyType(
    {
        Strategy.DRAIN_FIRST: make_table((*_DRAIN_FIRST, *_SERVED, *_ALWAYS)),
        Strategy.SURGE: make_table((*_SURGE, *_SERVED, *_ALWAYS)),
        Strategy.STOP_FIRST: make_table((*_STOP_FIRST, *_ALWAYS)),
    }
)
"""The rows of each strategy by state and event."""
