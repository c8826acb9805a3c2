"""The phases of the process, pair by pair."""

from __future__ import annotations

from itertools import product

import pytest

from hotswap.core.process.phases import (
    LENT,
    ON_TRIAL,
    PHASE_STARTS,
    PHASE_TABLE,
    READY,
    STOPPING,
    Phase,
    PhaseEvent,
)
from hotswap.core.state_machine import Machine, UnexpectedEvent, ends_of

P = Phase

TABLE: dict[PhaseEvent, dict[Phase, Phase]] = {
    PhaseEvent.ACCEPTED: {P.STARTING: P.BOOTING, P.SUCCEEDING: P.ON_TRIAL, P.STOPPING: P.STOPPING},
    PhaseEvent.BOOTED: {P.BOOTING: P.SERVING},
    PhaseEvent.SETTLED: {
        P.ON_TRIAL: P.SERVING,
        P.STOPPING_ON_TRIAL: P.STOPPING,
        P.STOPPING: P.STOPPING,
    },
    PhaseEvent.TAKEOVER_BEGUN: {P.SERVING: P.BEING_REPLACED},
    PhaseEvent.TAKEOVER_COMMITTED: {
        P.BEING_REPLACED: P.HANDED_OVER,
        P.STOPPING_REPLACED: P.STOPPING_REPLACED,
    },
    PhaseEvent.TAKEOVER_RETURNED: {
        P.BEING_REPLACED: P.SERVING,
        P.HANDED_OVER: P.SERVING,
        P.STOPPING_REPLACED: P.STOPPING,
    },
    PhaseEvent.TAKEOVER_RELEASED: {P.HANDED_OVER: P.DEPARTING, P.STOPPING_REPLACED: P.STOPPING_DEPARTING},
    PhaseEvent.TAKEOVER_ENDED: {P.DEPARTING: P.DEPARTED, P.STOPPING_DEPARTING: P.STOPPING_DEPARTING},
    PhaseEvent.STOP_ASKED: {
        P.STARTING: P.STOPPING,
        P.BOOTING: P.STOPPING,
        P.SERVING: P.STOPPING,
        P.SUCCEEDING: P.STOPPING,
        P.ON_TRIAL: P.STOPPING_ON_TRIAL,
        P.BEING_REPLACED: P.STOPPING_REPLACED,
        P.HANDED_OVER: P.STOPPING_REPLACED,
        P.DEPARTING: P.STOPPING_DEPARTING,
        P.DEPARTED: P.STOPPING_DEPARTING,
        P.STOPPING: P.STOPPING,
        P.STOPPING_ON_TRIAL: P.STOPPING_ON_TRIAL,
        P.STOPPING_REPLACED: P.STOPPING_REPLACED,
        P.STOPPING_DEPARTING: P.STOPPING_DEPARTING,
    },
    PhaseEvent.START_FAILED: {P.STARTING: P.STOPPED, P.SUCCEEDING: P.STOPPED, P.STOPPING: P.STOPPED},
    PhaseEvent.ENDED: {
        P.DEPARTED: P.STOPPED,
        P.STOPPING: P.STOPPED,
        P.STOPPING_ON_TRIAL: P.STOPPED,
        P.STOPPING_REPLACED: P.STOPPED,
        P.STOPPING_DEPARTING: P.STOPPED,
    },
}
"""Written down once more, by event: where each phase goes, and no other phase knows the event."""

LATE = set(PhaseEvent) - {PhaseEvent.BOOTED, PhaseEvent.TAKEOVER_BEGUN, PhaseEvent.START_FAILED, PhaseEvent.ENDED}
"""What tasks may still say when all has ended."""


def next_phase(phase: Phase, event: PhaseEvent) -> Phase:
    """Where a process goes from a phase."""
    machine = Machine("a process", PHASE_TABLE, phase)
    machine.on(event)
    return machine.state


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, PhaseEvent)))
def test_every_pair_is_a_row_or_an_error(phase: Phase, event: PhaseEvent) -> None:
    """As the table above has it."""
    then = phase if phase is P.STOPPED and event in LATE else TABLE[event].get(phase)
    if then is None:
        with pytest.raises(UnexpectedEvent, match=f"a process that is {phase} does not know {event}"):
            next_phase(phase, event)
    else:
        assert next_phase(phase, event) is then


def test_every_phase_is_reached_and_ends() -> None:
    """From one of the two starts, and down to the end."""
    reached, todo = set(PHASE_STARTS), list(PHASE_STARTS)
    while todo:
        phase = todo.pop()
        for row in PHASE_TABLE.values():
            if row.state is phase and row.then not in reached:
                reached.add(row.then)
                todo.append(row.then)
    assert reached == set(Phase)
    ending = set(ends_of(PHASE_TABLE))
    assert ending == {P.STOPPED}
    while more := {row.state for row in PHASE_TABLE.values() if row.then in ending} - ending:
        ending |= more
    assert ending == set(Phase)


def test_a_stop_is_never_taken_back() -> None:
    """Whatever becomes of a takeover meanwhile."""
    for row in PHASE_TABLE.values():
        assert row.state not in STOPPING or row.then in STOPPING, row


def test_every_phase_can_be_stopped() -> None:
    """By a signal that may come at any moment, as often as it likes."""
    for phase in set(Phase) - {P.STOPPED}:
        assert next_phase(phase, PhaseEvent.STOP_ASKED) in STOPPING


def test_backends_are_lent_between_the_commit_and_the_return() -> None:
    """Only the two events change whose they are, but for a stop, which leaves that to the takeover."""
    for row in PHASE_TABLE.values():
        if row.event in (PhaseEvent.STOP_ASKED, PhaseEvent.ENDED):
            continue
        lent = row.state in LENT
        if row.event is PhaseEvent.TAKEOVER_RETURNED:
            assert row.then not in LENT
        elif row.event is PhaseEvent.TAKEOVER_COMMITTED:
            assert row.then in LENT or row.then is P.STOPPED
        elif row.state is not P.STOPPED:
            assert (row.then in LENT) is lent, row


def test_the_sets_do_not_contradict_each_other() -> None:
    """Who is told to stop is not ready, and who is on trial has not handed anything over."""
    assert not READY & STOPPING
    assert not ON_TRIAL & LENT
