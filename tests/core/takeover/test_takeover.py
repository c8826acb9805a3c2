"""Both sides of a takeover, pair by pair: what each state does on each event, and what no state does."""

from __future__ import annotations

from itertools import product

import pytest

from hotswap.core.state_machine import UnexpectedEvent, ends_of
from hotswap.core.takeover.new import (
    NEW_DEADLINES,
    NEW_TABLE,
    NewCommand,
    NewEvent,
    NewState,
    new_side,
)
from hotswap.core.takeover.old import (
    OLD_DEADLINES,
    OLD_FAILURES,
    OLD_TABLE,
    OWNED_BY_US,
    OldCommand,
    OldEvent,
    OldState,
    old_side,
)

OLD_ENDS = {OldState.REFUSED, OldState.ABORTED, OldState.RETURNED, OldState.GONE}
NEW_ENDS = {NewState.ALONE, NewState.LEFT}

WE_ACCEPT = set(OldState) - {OldState.PROBATION, OldState.DRAINING, OldState.GONE}
"""The states in which the old side accepts."""

WE_OWN = {NewState.PROBATION, NewState.OWNER, NewState.ALONE}
"""The states in which the new side accepts and the backends are its own."""

BEFORE_COMMIT = (
    OldState.GREETING,
    OldState.LISTENERS,
    OldState.STATE,
    OldState.BACKENDS,
    OldState.PREPARING,
    OldState.CHANGES,
)


@pytest.mark.parametrize(("state", "event"), list(product(OldState, OldEvent)))
def test_every_pair_of_the_old_side_is_a_row_or_an_error(state, event) -> None:
    """A row goes where it says; a missing one changes nothing."""
    machine = old_side(now=0.0, start=state)
    row = OLD_TABLE.get((state, event))
    if row is None:
        assert not machine.knows(event)
        with pytest.raises(UnexpectedEvent):
            machine.on(event, now=1.0)
        assert machine.state is state
        return
    assert machine.on(event, now=1.0) == row.commands
    assert machine.state is row.then
    assert machine.ended is (row.then in OLD_ENDS)


@pytest.mark.parametrize(("state", "event"), list(product(NewState, NewEvent)))
def test_every_pair_of_the_new_side_is_a_row_or_an_error(state, event) -> None:
    """A row goes where it says; a missing one changes nothing."""
    machine = new_side(now=0.0)
    machine.state = state
    row = NEW_TABLE.get((state, event))
    if row is None:
        with pytest.raises(UnexpectedEvent):
            machine.on(event, now=1.0)
        assert machine.state is state
        return
    assert machine.on(event, now=1.0) == row.commands
    assert machine.state is row.then


def test_each_side_ends_where_nothing_leads_out() -> None:
    """And nowhere else."""
    assert ends_of(OLD_TABLE) == OLD_ENDS
    assert ends_of(NEW_TABLE) == NEW_ENDS


def test_the_old_side_survives_whatever_the_new_one_does() -> None:
    """In every state before the drain, death, silence and a broken channel all have an answer."""
    for state in set(OldState) - OLD_ENDS - {OldState.PREFLIGHT}:
        assert (state, OldEvent.PEER_DIED) in OLD_TABLE, state
        assert (state, OldEvent.DEADLINE_PASSED) in OLD_TABLE, state
        assert (state, OldEvent.CHANNEL_BROKEN) in OLD_TABLE, state
        assert (state, OldEvent.STOP_ASKED) in OLD_TABLE, state
        assert state in OLD_DEADLINES


def test_the_new_side_survives_whatever_the_old_one_does() -> None:
    """In every state death and a broken channel have an answer, and every state but ownership ends by itself."""
    for state in set(NewState) - NEW_ENDS:
        # It dies once.
        assert ((state, NewEvent.PEER_DIED) in NEW_TABLE) is (state is not NewState.ORPHANED), state
        assert (state, NewEvent.CHANNEL_BROKEN) in NEW_TABLE, state
        assert ((state, NewEvent.DEADLINE_PASSED) in NEW_TABLE) is (state in NEW_DEADLINES), state


def test_before_the_commit_a_failure_changes_nothing() -> None:
    """The old side accepts and owns throughout, and its rows command nothing that touches clients or backends."""
    harmless = {OldCommand.KILL_NEW, OldCommand.SEND_REFUSE, OldCommand.REPORT_FAILURE}
    for (state, _event), row in OLD_TABLE.items():
        if row.then in (OldState.ABORTING, OldState.ABORTED, OldState.REFUSED):
            assert set(row.commands) <= harmless, row
            assert state in WE_ACCEPT & OWNED_BY_US


def test_backends_return_only_when_the_new_process_is_gone() -> None:
    """Whatever takes them back, it is its death that allows it."""
    for row in OLD_TABLE.values():
        if OldCommand.TAKE_BACK in row.commands:
            assert row.event is OldEvent.PEER_DIED
            assert row.then is OldState.RETURNED


def test_our_hands_are_off_the_backends_before_commit_is_said() -> None:
    """LET_GO stands before SEND_COMMIT, in the only row that has either."""
    (row,) = [row for row in OLD_TABLE.values() if OldCommand.SEND_COMMIT in row.commands]
    assert row.commands.index(OldCommand.LET_GO) < row.commands.index(OldCommand.SEND_COMMIT)
    assert row.then is OldState.COMMITTED


def test_accepting_ends_only_on_the_word_of_the_new_side() -> None:
    """And begins again in every row that leaves probation backwards."""
    for row in OLD_TABLE.values():
        if OldCommand.STOP_ACCEPTING in row.commands:
            assert row.event is OldEvent.LIVE_RECEIVED
        if row.state not in WE_ACCEPT and row.then in WE_ACCEPT:
            assert row.commands[0] is OldCommand.ACCEPT_AGAIN


def test_listeners_close_and_the_service_manager_is_told_only_after_probation() -> None:
    """Until then everything could return; and before the new side, which then says itself that it is ready."""
    for row in OLD_TABLE.values():
        if OldCommand.CLOSE_LISTENERS in row.commands or OldCommand.TELL_MAINPID in row.commands:
            assert row.state is OldState.PROBATION
            assert row.then is OldState.DRAINING
            assert row.commands[:2] == (OldCommand.TELL_MAINPID, OldCommand.SEND_RELEASED)


def test_every_takeover_is_reported_once() -> None:
    """On each way out: a failure when it enters an end that is one; a success, or the stop, when probation is over."""
    for row in OLD_TABLE.values():
        failed = row.then in OLD_ENDS & OLD_FAILURES and row.state not in OLD_ENDS
        assert (OldCommand.REPORT_FAILURE in row.commands) is failed, row
        released = row.state is OldState.PROBATION and row.then is OldState.DRAINING
        stopped = released and row.event in (OldEvent.STOP_ASKED, OldEvent.STOPPING_RECEIVED)
        assert (OldCommand.REPORT_SUCCESS in row.commands) is (released and not stopped), row
        assert (OldCommand.REPORT_STOP in row.commands) is stopped, row


def test_nothing_returns_after_a_stop() -> None:
    """Whichever process was told: the other hears of it, and the death of the new one then brings nothing back."""
    for event in (OldEvent.STOP_ASKED, OldEvent.STOPPING_RECEIVED):
        machine = old_side(now=0.0, start=OldState.PROBATION)
        commands = machine.on(event, now=1.0)
        assert (OldCommand.STOP_NEW in commands) is (event is OldEvent.STOP_ASKED)
        assert OldCommand.HURRY_CLIENTS in commands
        assert machine.on(OldEvent.PEER_DIED, now=2.0) == (OldCommand.HURRY_CLIENTS,)


def test_what_became_ready_meanwhile_is_handed_over_before_the_commit() -> None:
    """As often as there is more, within the time of the step."""
    machine = old_side(now=0.0, start=OldState.CHANGES)
    for now in (1.0, 2.0):
        assert machine.on(OldEvent.MORE_READY, now=now) == (OldCommand.SEND_CHANGES,)
    assert (machine.state, machine.deadline) == (OldState.CHANGES, 10.0)
    assert OldCommand.LET_GO in machine.on(OldEvent.ACKNOWLEDGED, now=3.0)


def test_the_new_side_serves_exactly_when_it_owns() -> None:
    """It begins with SERVE, and nothing but the end of the process takes it away."""
    for row in NEW_TABLE.values():
        assert (NewCommand.SERVE in row.commands) is (row.state not in WE_OWN and row.then in WE_OWN), row
        assert row.state not in WE_OWN or row.then in WE_OWN, row


def test_empty_slots_are_filled_only_when_nothing_can_be_taken_back() -> None:
    """SETTLE is commanded once, on entering ownership for good."""
    settled = {NewState.OWNER, NewState.ALONE}
    for row in NEW_TABLE.values():
        assert (NewCommand.SETTLE in row.commands) is (row.state not in settled and row.then in settled), row


def test_the_reason_is_what_went_wrong_first() -> None:
    """Everything that follows from it does not overwrite it."""
    machine = old_side(now=0.0, start=OldState.BACKENDS)
    machine.on(OldEvent.NAK_RECEIVED, now=1.0, detail="no room for descriptors")
    machine.on(OldEvent.CHANNEL_BROKEN, now=1.0, detail="the channel was closed")
    machine.on(OldEvent.PEER_DIED, now=2.0, detail="exit code 1")
    assert machine.ended
    assert (machine.failed_in, machine.reason) == (OldState.BACKENDS, "no room for descriptors")


def test_a_success_has_no_reason() -> None:
    """Probation that is over is no failure."""
    machine = old_side(now=0.0, start=OldState.PROBATION, limits={OldState.PROBATION: 1.0, OldState.DRAINING: 4.0})
    assert machine.deadline == 1.0
    machine.on(OldEvent.DEADLINE_PASSED, now=1.0)
    assert (machine.failed_in, machine.reason, machine.deadline) == (None, "", 5.0)


def test_progress_gives_more_time_and_other_news_does_not() -> None:
    """PREPARED has 60 s from the last PROGRESS; a hurry does not lengthen the drain."""
    machine = old_side(now=0.0, start=OldState.PREPARING)
    machine.on(OldEvent.PROGRESS_RECEIVED, now=50.0)
    assert machine.deadline == 110.0
    machine = old_side(now=0.0, start=OldState.DRAINING)
    machine.on(OldEvent.HURRY_RECEIVED, now=50.0)
    assert machine.deadline == 330.0


def test_a_new_process_that_is_stuck_in_its_probation_is_ended() -> None:
    """Signs of life do not lengthen the probation; without them everything returns, once it is dead."""
    machine = old_side(now=0.0, start=OldState.PROBATION)
    assert machine.on(OldEvent.PROGRESS_RECEIVED, now=3.0) == ()
    assert machine.deadline == 10.0
    commands = machine.on(OldEvent.PEER_SILENT, now=8.0, detail="nothing for 5 s")
    assert commands == (OldCommand.ACCEPT_AGAIN, OldCommand.KILL_NEW)
    assert machine.on(OldEvent.PEER_DIED, now=8.1)[0] is OldCommand.TAKE_BACK
    assert (machine.failed_in, machine.reason) == (OldState.PROBATION, "nothing for 5 s")


def test_limits_come_before_every_other_deadline() -> None:
    """Before those of the table, and of what the other side says."""
    old = old_side(now=0.0, start=OldState.PROBATION, limits={OldState.PROBATION: 1.0})
    assert old.deadline == 1.0
    new = new_side(now=0.0, limits={NewState.GREETING: 2.0, NewState.LISTENERS: 3.0})
    new.allow(NewState.LISTENERS, 30.0)
    assert new.deadline == 2.0
    new.on(NewEvent.WELCOMED, now=1.0)
    assert new.deadline == 4.0


def test_ends_have_no_deadline() -> None:
    """Nothing is waited for any more."""
    machine = old_side(now=0.0, start=OldState.GREETING)
    machine.on(OldEvent.PEER_DIED, now=1.0)
    assert machine.deadline is None
