"""The tables of a slot's turn: every state with every event, for each strategy."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from hotswap.core.rollout.commands import CutOld, ReadmitOld, RetireOld, SpawnReplacement
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
from hotswap.core.rollout.step_table import TABLES, StepState
from hotswap.core.state_machine import Machine, UnexpectedEvent, ends_of
from hotswap.core.strategy import Strategy

ENDS = {StepState.DONE, StepState.FAILED, StepState.ABORTED}

COLUMNS = {
    "started": StepStarted,
    "empty": SlotFoundEmpty,
    "ready": ReplacementReady,
    "failed": ReplacementFailed,
    "gone": ReplacementGone,
    "drained": OldDrained,
    "overdue": DrainTimedOut,
    "exited": OldExited,
    "abort": AbortRequested,
}

TWO_ENDS = """
reverting        .        .     reverting reverting failed  reverting reverting reverting reverting
aborting         .        .     aborting  aborting  aborted aborting  aborting  aborting  aborting
done             .        .     .         .         .       .         .         .         .
failed           .        .     .         .         .       .         .         .         .
aborted          .        .     .         .         .       .         .         .         .
"""

ALONE = """
starting-alone   .        .     done      reverting .       starting-alone starting-alone . aborting
"""

SERVED = """
draining         .        .     .         .         .       stopping  stopping  done      draining
stopping         .        .     .         .         .       stopping  stopping  done      stopping
abandoning       .        .     .         .         .       .         .         .         .
"""

UNUSED = """
starting-drained .        .     .         .         .       .         .         .         .
starting-overdue .        .     .         .         .       .         .         .         .
"""

GRIDS = {
    # started    empty          ready    failed    gone drained          overdue          exited         abort
    Strategy.DRAIN_FIRST: """
pending          starting starting-alone . .   .    .                .                pending        .
starting         . .      draining reverting   .    starting-drained starting-overdue starting-alone aborting
starting-drained . .      stopping reverting   .    .                starting-drained starting-alone aborting
starting-overdue . .      stopping reverting   .    starting-drained .                starting-alone aborting
"""
    + ALONE
    + SERVED
    + TWO_ENDS,
    Strategy.SURGE: """
pending          starting starting-alone . .   .    .                .                pending        .
starting         . .      draining reverting   .    .                .                starting-alone aborting
"""
    + UNUSED
    + ALONE
    + SERVED
    + TWO_ENDS,
    Strategy.STOP_FIRST: """
pending          draining starting-alone . .   .    .                .                pending        .
starting         . .      .        .           .    .                .                .              .
draining         . .      .        .           .    stopping         stopping         starting-alone aborted
stopping         . .      .        .           .    stopping         stopping         starting-alone abandoning
abandoning       . .      .        .           .    abandoning       abandoning       aborted        abandoning
"""
    + UNUSED
    + ALONE
    + TWO_ENDS,
}
"""Where each event leads, written out a second time on purpose; a dot is the illegal case."""


def expected(strategy: Strategy) -> dict[tuple[StepState, str], str]:
    """Read a grid."""
    lines = [line.split() for line in GRIDS[strategy].splitlines() if line.strip()]
    return {(StepState(line[0]), name): cell for line in lines for name, cell in zip(COLUMNS, line[1:], strict=True)}


@pytest.mark.parametrize("strategy", Strategy)
def test_a_step_ends_in_one_of_three_ways(strategy):
    """Whatever its strategy."""
    assert ends_of(TABLES[strategy]) == ENDS


def test_the_columns_are_all_the_events():
    """So that a new event cannot be forgotten here."""
    assert set(COLUMNS.values()) == set(get_args(StepEvent))


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(("strategy", "state"), list(product(Strategy, StepState)))
def test_every_state_with_every_event_leads_where_it_should_or_is_refused(strategy, state, name):
    """The grids leave no pair out."""
    leads_to = expected(strategy)[state, name]
    machine = Machine("a step", TABLES[strategy], state)
    if leads_to == ".":
        with pytest.raises(UnexpectedEvent, match=COLUMNS[name].__name__):
            machine.on(COLUMNS[name])
    else:
        machine.on(COLUMNS[name])
        assert machine.state is StepState(leads_to)


@pytest.mark.parametrize("strategy", Strategy)
def test_nobody_is_retired_before_he_drained_or_the_deadline_passed(strategy):
    """And nothing is cut before the deadline."""
    for row in TABLES[strategy].values():
        overdue = row.event is DrainTimedOut or row.state is StepState.STARTING_OVERDUE
        drained = row.event is OldDrained or row.state is StepState.STARTING_DRAINED
        assert (CutOld in row.commands) is (overdue and RetireOld in row.commands)
        assert RetireOld not in row.commands or overdue or drained


@pytest.mark.parametrize("strategy", Strategy)
def test_the_old_backend_is_readmitted_before_anything_else_is_done(strategy):
    """Capacity comes back that instant."""
    for row in TABLES[strategy].values():
        assert ReadmitOld not in row.commands or row.commands[0] is ReadmitOld


@pytest.mark.parametrize("strategy", Strategy)
def test_every_state_that_is_reached_leads_to_an_end(strategy):
    """No step can be caught half-way."""
    rows = TABLES[strategy].values()
    for start in {row.then for row in rows}:
        reached, new = set(), {start}
        while new:
            reached |= new
            new = {row.then for row in rows if row.state in new} - reached
        assert reached & ENDS


@pytest.mark.parametrize("strategy", Strategy)
def test_no_path_spawns_twice(strategy):
    """A spawn is followed by states that do not spawn."""
    rows = TABLES[strategy].values()
    new = {row.then for row in rows if SpawnReplacement in row.commands}
    reached: set[StepState] = set()
    while new:
        reached |= new
        new = {row.then for row in rows if row.state in new} - reached
    assert not any(SpawnReplacement in row.commands for row in rows if row.state in reached)


def test_stop_first_spawns_only_when_the_old_one_is_gone():
    """That is its point."""
    for row in TABLES[Strategy.STOP_FIRST].values():
        assert SpawnReplacement not in row.commands or row.event in (OldExited, SlotFoundEmpty)
