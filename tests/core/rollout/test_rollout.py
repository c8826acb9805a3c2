"""A rollout as a whole: turns, ends, the way back, and its report."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from hotswap.core.errors import StartFailure
from hotswap.core.identity import RolloutId
from hotswap.core.rollout.commands import (
    AdmitReplacement,
    ClearSlot,
    Command,
    CutOld,
    DrainOld,
    EndRollout,
    EndStep,
    KillReplacement,
    LockPool,
    Outcome,
    ReadmitOld,
    RetireOld,
    SpawnReplacement,
    WaitForSlots,
)
from hotswap.core.rollout.events import (
    AbortRequested,
    DrainTimedOut,
    OldDrained,
    OldExited,
    ReplacementFailed,
    ReplacementGone,
    ReplacementReady,
    RolloutEvent,
    SlotsSeen,
    WaitTimedOut,
)
from hotswap.core.rollout.queue import QueuedSlot
from hotswap.core.rollout.report import ExchangeCounts
from hotswap.core.rollout.rollout import Role, Rollout
from hotswap.core.rollout.step_table import StepState
from hotswap.core.strategy import OnFailure, Strategy

STARTED = datetime(2024, 5, 17, 12, 0, tzinfo=UTC)
ABORT = AbortRequested()


class Playbook:
    """A rollout and its clock: events go in, the commands that must come out stand beside them."""

    def __init__(
        self,
        *,
        size: int = 2,
        strategy: Strategy = Strategy.DRAIN_FIRST,
        on_failure: OnFailure = OnFailure.LOCK,
        generation: int = 2,
    ) -> None:
        self.now = 100.0
        self.rollout = Rollout(
            id=RolloutId("r1"),
            pool="web",
            trigger="signal",
            strategy=strategy,
            on_failure=on_failure,
            generation=generation,
            queue=[QueuedSlot(slot=slot, generation=1) for slot in range(size)],
            size=size,
            started=STARTED,
            now=self.now,
        )
        self.said = self.rollout.begin(now=self.now)

    def tell(self, event: RolloutEvent, *expected: Command) -> None:
        """One second later this happens, and just these commands must follow."""
        self.now += 1.0
        self.said = self.rollout.on(event, now=self.now)
        assert self.said == expected

    def see(
        self, ready: set[int], *expected: Command, lost: set[int] | None = None, vacant: set[int] | None = None
    ) -> None:
        seen = SlotsSeen(ready=frozenset(ready), lost=frozenset(lost or ()), vacant=frozenset(vacant or ()))
        self.tell(seen, *expected)

    def fill(self, *slots: int, ready: set[int] | None = None) -> None:
        """The first look: these slots are vacant, and are filled at once, whether the others are ready or not."""
        spawns = [(ClearSlot(slot=slot), SpawnReplacement(slot=slot, generation=2)) for slot in slots]
        self.see(ready or set(), *(command for pair in spawns for command in pair), vacant=set(slots))

    def replace(self, slot: int, *, generation: int = 2, then: tuple[Command, ...]) -> None:
        """One slot's turn under drain-first, without trouble."""
        self.see({0, 1, 2}, DrainOld(slot=slot), SpawnReplacement(slot=slot, generation=generation))
        self.tell(OldDrained(slot=slot))
        self.tell(ReplacementReady(slot=slot), AdmitReplacement(slot=slot), RetireOld(slot=slot))
        self.tell(OldExited(slot=slot), EndStep(slot=slot), *then)

    def fail(self, slot: int, *then: Command) -> None:
        """One slot's turn under drain-first, whose replacement fails."""
        self.see({0, 1, 2}, DrainOld(slot=slot), SpawnReplacement(slot=slot, generation=2))
        self.tell(broken(slot), ReadmitOld(slot=slot), KillReplacement(slot=slot))
        self.tell(ReplacementGone(slot=slot), EndStep(slot=slot), *then)

    def ended(self, outcome: Outcome, *, locked: bool = False) -> None:
        assert self.rollout.outcome is outcome
        assert not self.rollout.in_progress
        assert self.rollout.locked is locked
        assert self.rollout.step is None


def broken(slot: int) -> ReplacementFailed:
    return ReplacementFailed(
        slot=slot, reason=StartFailure.EXITED, detail="exit code 3", output=("ImportError: no module",)
    )


FAILED_LOCK = LockPool(reason="rollout r1 failed: the replacement in slot 0 failed: exit code 3")
DONE = EndRollout(outcome=Outcome.DONE)
FAILED = EndRollout(outcome=Outcome.FAILED)
ABORTED = EndRollout(outcome=Outcome.ABORTED)
WAIT = WaitForSlots()


# Slots in which nothing lives when it begins.


def test_vacant_slots_are_filled_all_at_once_and_then_the_others_have_their_turns():
    """There is nothing to drain in them, and nobody is waited for: not for one that is about to be respawned."""
    play = Playbook(size=3)
    play.fill(0, 1)
    assert set(play.rollout.at_hand) == {0, 1}
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), EndStep(slot=1))
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0), WAIT)
    play.replace(2, then=(DONE,))
    play.ended(Outcome.DONE)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_pool_in_which_nothing_serves_is_simply_started(strategy):
    """Whatever the strategy: no old backend is drained, stopped or waited for."""
    play = Playbook(strategy=strategy)
    play.fill(0, 1)
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0))
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), EndStep(slot=1), DONE)
    play.ended(Outcome.DONE)


def test_only_what_is_vacant_when_it_begins_is_filled_at_once():
    """A queued slot that crashes later is respawned from the release it had, and its turn waits for that."""
    play = Playbook(size=3)
    play.fill(0, ready={1, 2})
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0), WAIT)
    play.see({0, 2}, vacant={1})
    play.replace(1, then=(WAIT,))
    play.replace(2, then=(DONE,))


def test_when_one_of_them_cannot_be_filled_the_others_are_given_up():
    """They would come up from a release that was just found wanting; one that is up already stays."""
    play = Playbook(size=3)
    play.fill(0, 1, 2)
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), EndStep(slot=1))
    play.tell(broken(0), KillReplacement(slot=0))
    play.tell(ReplacementGone(slot=0), EndStep(slot=0), KillReplacement(slot=2))
    play.tell(ReplacementReady(slot=2))
    play.tell(ReplacementGone(slot=2), EndStep(slot=2), FAILED_LOCK, FAILED)
    play.ended(Outcome.FAILED, locked=True)
    assert [step.state for step in play.rollout.steps] == [StepState.FAILED, StepState.DONE, StepState.ABORTED]


def test_an_abort_while_they_are_filled_ends_those_that_start_and_keeps_those_that_serve():
    """Nothing is locked: what was left empty goes on being tried, from the release it had."""
    play = Playbook(size=3)
    play.fill(0, 1, 2)
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0))
    play.tell(ABORT, KillReplacement(slot=1), KillReplacement(slot=2))
    play.tell(ReplacementGone(slot=2), EndStep(slot=2))
    play.tell(ReplacementGone(slot=1), EndStep(slot=1), ABORTED)
    play.ended(Outcome.ABORTED)


def test_a_slot_that_was_filled_and_crashes_while_the_others_are_is_respawned_and_fails_it_if_it_is_lost():
    """Its release is the new one by then, and its supervisor's."""
    play = Playbook()
    play.fill(0, 1)
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0))
    assert play.rollout.respawned_by_supervisor(0, 2)
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), EndStep(slot=1), DONE)
    play = Playbook(size=3)
    play.fill(0, 1, ready={2})
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0))
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), EndStep(slot=1), WAIT)
    lock = LockPool(reason="rollout r1 failed: slot 0 did not stay up after it was replaced")
    play.see({1, 2}, lock, FAILED, lost={0})


def test_a_rollback_leaves_a_slot_vacant_that_was_so_and_could_not_be_filled():
    """That is how it was: whoever tried to fill it before goes on with it, and nothing is locked because of it."""
    play = Playbook(on_failure=OnFailure.ROLLBACK)
    play.fill(0, 1)
    play.tell(broken(0), KillReplacement(slot=0))
    play.tell(ReplacementGone(slot=0), EndStep(slot=0), KillReplacement(slot=1))
    play.tell(ReplacementGone(slot=1), EndStep(slot=1), FAILED)
    play.ended(Outcome.FAILED)
    assert play.rollout.rolled_back


def test_a_rollback_returns_a_slot_that_was_filled_and_does_not_wait_for_one_that_was_not():
    """The release before serves in another slot, so there is one to return to."""
    play = Playbook(size=3, on_failure=OnFailure.ROLLBACK)
    play.fill(0, 1, ready={2})
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), EndStep(slot=1))
    play.tell(broken(0), KillReplacement(slot=0))
    play.tell(ReplacementGone(slot=0), EndStep(slot=0), WAIT)
    assert not play.rollout.respawned_by_supervisor(0, 1)
    play.see({1, 2}, DrainOld(slot=1), SpawnReplacement(slot=1, generation=1), vacant={0})
    play.tell(OldDrained(slot=1))
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), RetireOld(slot=1))
    play.tell(OldExited(slot=1), EndStep(slot=1), FAILED)
    play.ended(Outcome.FAILED)
    assert play.rollout.rolled_back


def test_where_nothing_served_before_there_is_nothing_to_return_to():
    """What came up keeps the only release that ever served, and the pool is locked, because it is half of a deploy."""
    play = Playbook(on_failure=OnFailure.ROLLBACK)
    play.fill(0, 1)
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), EndStep(slot=1))
    play.tell(broken(0), KillReplacement(slot=0))
    play.tell(ReplacementGone(slot=0), EndStep(slot=0), FAILED_LOCK, FAILED)
    play.ended(Outcome.FAILED, locked=True)
    assert not play.rollout.rolled_back


# Forward.


def test_the_slots_have_their_turns_one_after_the_other():
    """The next one begins only after the last one has ended and all are ready."""
    play = Playbook()
    assert play.said == (WAIT,)
    play.replace(0, then=(WAIT,))
    play.see({1})
    play.see({0})
    play.replace(1, then=(DONE,))
    play.ended(Outcome.DONE)


def test_the_replacement_serves_while_the_old_one_finishes():
    """It goes on until nothing is in flight."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0))
    play.tell(OldDrained(slot=0), RetireOld(slot=0))
    play.tell(OldExited(slot=0), EndStep(slot=0), WAIT)


def test_what_is_left_at_the_deadline_is_cut():
    """Under drain-first not before the replacement is ready, as the old one may be needed again."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    play.tell(DrainTimedOut(slot=0))
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), CutOld(slot=0), RetireOld(slot=0))
    play.tell(OldDrained(slot=0))
    play.tell(OldExited(slot=0), EndStep(slot=0), WAIT)


def test_surge_has_the_replacement_serve_before_the_old_one_drains():
    """One slot is enough for it."""
    play = Playbook(size=1, strategy=Strategy.SURGE)
    play.see({0}, SpawnReplacement(slot=0, generation=2))
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), DrainOld(slot=0))
    play.tell(OldDrained(slot=0), RetireOld(slot=0))
    play.tell(OldExited(slot=0), EndStep(slot=0), DONE)


def test_stop_first_spawns_when_the_old_one_is_gone():
    """And not a moment earlier."""
    play = Playbook(strategy=Strategy.STOP_FIRST)
    play.see({0, 1}, DrainOld(slot=0))
    play.tell(OldDrained(slot=0), RetireOld(slot=0))
    play.tell(OldExited(slot=0), SpawnReplacement(slot=0, generation=2))
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0), WAIT)


def test_an_old_backend_that_dies_while_draining_is_simply_gone():
    """Its slot is filled when the replacement is ready."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    play.tell(OldExited(slot=0))
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0), WAIT)


def test_a_pool_without_slots_is_done_at_once():
    """No queue, nothing to wait for."""
    assert Playbook(size=0).said == (DONE,)


# Slots that crash.


def test_a_queued_slot_that_crashes_before_its_turn_is_respawned_and_replaced_once():
    """Its turn waits for the respawn; what came back is replaced like any other."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    assert play.rollout.respawned_by_supervisor(1, 1)
    play.tell(OldExited(slot=1))
    play.tell(OldDrained(slot=0))
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), RetireOld(slot=0))
    play.tell(OldExited(slot=0), EndStep(slot=0), WAIT)
    play.see({0})
    play.replace(1, then=(DONE,))
    assert [step.slot for step in play.rollout.steps] == [0, 1]


def test_a_queued_slot_beyond_hope_has_its_turn_first():
    """It is out of rotation anyway, and new code may be what repairs it."""
    play = Playbook(size=3)
    play.see({0, 1}, ClearSlot(slot=2), SpawnReplacement(slot=2, generation=2), lost={2})
    play.tell(ReplacementReady(slot=2), AdmitReplacement(slot=2), EndStep(slot=2), WAIT)
    play.replace(0, then=(WAIT,))


def test_a_slot_beyond_hope_whose_replacement_fails_too_is_tried_with_the_old_release_again():
    """Nobody else fills it meanwhile, so the way back must not wait for somebody else."""
    play = Playbook(on_failure=OnFailure.ROLLBACK)
    play.replace(0, then=(WAIT,))
    play.see({0}, ClearSlot(slot=1), SpawnReplacement(slot=1, generation=2), lost={1})
    play.tell(broken(1), KillReplacement(slot=1))
    play.tell(ReplacementGone(slot=1), EndStep(slot=1), WAIT)
    assert not play.rollout.respawned_by_supervisor(1, 1)
    play.see({0}, ClearSlot(slot=1), SpawnReplacement(slot=1, generation=1))
    play.tell(ReplacementReady(slot=1), AdmitReplacement(slot=1), EndStep(slot=1), WAIT)
    play.replace(0, generation=1, then=(FAILED,))
    play.ended(Outcome.FAILED)


def test_a_replaced_slot_that_does_not_stay_up_fails_the_rollout():
    """New code that starts and then dies must not be rolled any further."""
    play = Playbook()
    play.replace(0, then=(WAIT,))
    lock = LockPool(reason="rollout r1 failed: slot 0 did not stay up after it was replaced")
    play.see({1}, lock, FAILED, lost={0})
    play.ended(Outcome.FAILED, locked=True)
    assert play.rollout.reason == "slot-lost"


def test_waiting_for_slots_ends_too():
    """A slot that stays unhealthy must not keep the rollout in progress for ever."""
    play = Playbook()
    play.see({0})
    lock = LockPool(reason="rollout r1 failed: the slots of the pool did not all become ready in time")
    play.tell(WaitTimedOut(), lock, FAILED)
    assert play.rollout.reason == "slots-not-ready"


def test_an_alarm_of_the_wait_that_rings_during_a_step_is_late():
    """Nothing follows from it, nor from slots seen meanwhile."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    play.tell(WaitTimedOut())
    play.see({0, 1})


def test_who_respawns_a_crashed_process_depends_on_slot_and_generation():
    """The rollout fills the slot at hand until the replacement is admitted; all else is the supervisor's."""
    play = Playbook()
    rollout = play.rollout
    assert rollout.respawned_by_supervisor(0, 1)
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    assert (rollout.role_of(0, 1), rollout.role_of(0, 2)) == (Role.OLD, Role.REPLACEMENT)
    assert (rollout.role_of(0, 7), rollout.role_of(1, 1)) == (None, None)
    assert not rollout.respawned_by_supervisor(0, 1)
    assert not rollout.respawned_by_supervisor(0, 2)
    assert rollout.respawned_by_supervisor(1, 1)
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0))
    assert not rollout.respawned_by_supervisor(0, 1)
    assert rollout.respawned_by_supervisor(0, 2), "a crash after ready is an ordinary one"
    play.tell(ABORT)
    play.tell(OldDrained(slot=0), RetireOld(slot=0))
    play.tell(OldExited(slot=0), EndStep(slot=0), ABORTED)
    assert rollout.respawned_by_supervisor(0, 2)


# Failures.


def test_a_replacement_that_fails_locks_the_pool_and_leaves_the_old_one_serving():
    """The old one is readmitted first; untouched slots stay as they are."""
    play = Playbook()
    play.fail(0, FAILED_LOCK, FAILED)
    play.ended(Outcome.FAILED, locked=True)
    assert (play.rollout.reason, play.rollout.output) == ("exited", ("ImportError: no module",))
    assert [slot.state for slot in play.rollout.report(play.now).slots] == [StepState.FAILED, StepState.PENDING]


def test_a_failure_with_nothing_replaced_needs_no_way_back():
    """With rollback the pool is as it was, so it is not locked either."""
    play = Playbook(on_failure=OnFailure.ROLLBACK)
    play.fail(0, FAILED)
    play.ended(Outcome.FAILED)
    assert play.rollout.rolled_back


def test_a_rollback_returns_the_replaced_slots_one_at_a_time_latest_first():
    """To the generation each had before; the release is the one pinned by it."""
    play = Playbook(size=3, on_failure=OnFailure.ROLLBACK)
    play.replace(0, then=(WAIT,))
    play.replace(1, then=(WAIT,))
    play.fail(2, WAIT)
    assert play.rollout.in_progress
    play.see({0, 1})
    play.replace(1, generation=1, then=(WAIT,))
    play.replace(0, generation=1, then=(FAILED,))
    play.ended(Outcome.FAILED)
    report = play.rollout.report(play.now)
    assert report.rolled_back
    assert report.reason == "exited"
    assert [(slot.slot, slot.rollback, slot.state.value) for slot in report.slots] == [
        (0, False, "done"),
        (1, False, "done"),
        (2, False, "failed"),
        (1, True, "done"),
        (0, True, "done"),
    ]


def test_a_rollback_refills_first_the_slot_that_the_failure_left_empty():
    """Under stop-first the old one is gone; nobody else respawns into that slot meanwhile."""
    play = Playbook(strategy=Strategy.STOP_FIRST, on_failure=OnFailure.ROLLBACK)
    play.see({0, 1}, DrainOld(slot=0))
    play.tell(OldDrained(slot=0), RetireOld(slot=0))
    play.tell(OldExited(slot=0), SpawnReplacement(slot=0, generation=2))
    play.tell(broken(0), KillReplacement(slot=0))
    play.tell(ReplacementGone(slot=0), EndStep(slot=0), WAIT)
    assert not play.rollout.respawned_by_supervisor(0, 1)
    play.see({1}, ClearSlot(slot=0), SpawnReplacement(slot=0, generation=1))
    play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), EndStep(slot=0), FAILED)
    play.ended(Outcome.FAILED)


def test_a_rollback_that_fails_locks_the_pool():
    """There is nothing left to return to; the first reason stays the reason."""
    play = Playbook(on_failure=OnFailure.ROLLBACK)
    play.replace(0, then=(WAIT,))
    play.fail(1, WAIT)
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=1))
    failed = ReplacementFailed(slot=0, reason=StartFailure.TIMED_OUT, detail="not ready in 30 s")
    play.tell(failed, ReadmitOld(slot=0), KillReplacement(slot=0))
    said = play.rollout.on(ReplacementGone(slot=0), now=200.0)
    assert said[0] == EndStep(slot=0)
    assert isinstance(said[1], LockPool)
    assert said[1].reason.endswith(
        "slot 1 failed: exit code 3; then the replacement in slot 0 failed: not ready in 30 s"
    )
    assert said[2:] == (FAILED,)
    play.ended(Outcome.FAILED, locked=True)
    assert play.rollout.reason == "exited"
    assert play.rollout.output == ("ImportError: no module",)


# Aborts and shutdown.


def test_an_abort_between_two_steps_ends_it_at_once():
    """What was replaced stays, what was not stays too, and the pool is not locked."""
    play = Playbook()
    play.replace(0, then=(WAIT,))
    play.tell(ABORT, ABORTED)
    play.ended(Outcome.ABORTED)
    assert play.rollout.reason == "aborted"


def test_an_abort_is_told_once_and_by_whom():
    """The reason is the word for it, the detail a sentence without that word."""
    for reason, by in (("aborted", "by an operator"), ("shutting-down", "because of shutting-down")):
        play = Playbook()
        play.tell(AbortRequested(reason=reason), ABORTED)
        assert play.rollout.detail == f"ended {by} before every slot was replaced"


def test_the_wait_for_other_rollouts_is_not_its_time():
    """It begins when it is performed, and its times count from then on."""
    rollout = Rollout(
        id=RolloutId("r2"),
        pool="api",
        trigger="signal",
        strategy=Strategy.DRAIN_FIRST,
        on_failure=OnFailure.LOCK,
        generation=2,
        queue=[QueuedSlot(slot=0, generation=1)],
        size=1,
        started=STARTED,
        now=100.0,
    )
    assert rollout.report(130.0).seconds == 0.0
    rollout.begin(now=140.0)
    rollout.on(SlotsSeen(ready=frozenset({0}), lost=frozenset()), now=141.0)
    report = rollout.report(145.0)
    assert report.started == STARTED + timedelta(seconds=40)
    assert report.seconds == 5.0
    assert report.slots[0].offsets.turn == 1.0
    assert report.slots[0].seconds.total == 4.0


def test_a_rollout_that_never_began_took_no_time():
    """It was ended while it waited for others."""
    play = Playbook()
    waiting = Rollout(
        id=RolloutId("r2"),
        pool="api",
        trigger="signal",
        strategy=Strategy.DRAIN_FIRST,
        on_failure=OnFailure.LOCK,
        generation=2,
        queue=[],
        size=0,
        started=STARTED,
        now=play.now,
    )
    waiting.on(ABORT, now=play.now + 30)
    for later in (30, 60, 90):
        report = waiting.report(play.now + later)
        assert (report.started, report.seconds) == (STARTED + timedelta(seconds=30), 0.0)


def test_an_abort_while_the_replacement_starts_brings_the_old_one_back():
    """The replacement is killed; asking again changes nothing."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    play.tell(ABORT, ReadmitOld(slot=0), KillReplacement(slot=0))
    play.tell(ABORT)
    play.tell(ReplacementGone(slot=0), EndStep(slot=0), ABORTED)
    play.ended(Outcome.ABORTED)


def test_an_abort_after_the_replacement_serves_lets_the_slot_finish():
    """Then it ends, unless that was the last slot: then it is done."""
    for size, end in ((2, ABORTED), (1, DONE)):
        play = Playbook(size=size, strategy=Strategy.SURGE)
        play.see({0, 1}, SpawnReplacement(slot=0, generation=2))
        play.tell(ReplacementReady(slot=0), AdmitReplacement(slot=0), DrainOld(slot=0))
        play.tell(ABORT)
        play.tell(OldDrained(slot=0), RetireOld(slot=0))
        play.tell(OldExited(slot=0), EndStep(slot=0), end)


def test_an_abort_under_stop_first_calls_the_old_one_back_as_long_as_that_is_possible():
    """Told to go, it goes, and the slot is left to its supervisor."""
    play = Playbook(strategy=Strategy.STOP_FIRST)
    play.see({0, 1}, DrainOld(slot=0))
    play.tell(ABORT, ReadmitOld(slot=0), EndStep(slot=0), ABORTED)

    play = Playbook(strategy=Strategy.STOP_FIRST)
    play.see({0, 1}, DrainOld(slot=0))
    play.tell(OldDrained(slot=0), RetireOld(slot=0))
    play.tell(ABORT)
    play.tell(OldExited(slot=0), EndStep(slot=0), ABORTED)
    assert play.rollout.respawned_by_supervisor(0, 1)


def test_a_shutdown_is_an_abort_with_another_name():
    """The report says which it was."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    play.tell(AbortRequested(reason="shutting-down"), ReadmitOld(slot=0), KillReplacement(slot=0))
    play.tell(ReplacementGone(slot=0), EndStep(slot=0), ABORTED)
    assert play.rollout.reason == "shutting-down"


def test_an_abort_on_the_way_back_leaves_a_failed_and_locked_pool():
    """It failed before it was aborted, and what is there is a mixture."""
    play = Playbook(on_failure=OnFailure.ROLLBACK)
    play.replace(0, then=(WAIT,))
    play.fail(1, WAIT)
    said = play.rollout.on(ABORT, now=200.0)
    assert isinstance(said[0], LockPool)
    assert said[1:] == (FAILED,)
    play.ended(Outcome.FAILED, locked=True)
    assert play.rollout.reason == "exited"


def test_an_abort_asked_for_while_a_failure_is_cleared_away_stops_the_way_back():
    """Nothing further is touched."""
    play = Playbook(on_failure=OnFailure.ROLLBACK)
    play.replace(0, then=(WAIT,))
    play.see({0, 1}, DrainOld(slot=1), SpawnReplacement(slot=1, generation=2))
    play.tell(broken(1), ReadmitOld(slot=1), KillReplacement(slot=1))
    play.tell(ABORT)
    said = play.rollout.on(ReplacementGone(slot=1), now=200.0)
    assert [type(command) for command in said] == [EndStep, LockPool, EndRollout]
    play.ended(Outcome.FAILED, locked=True)


def test_whoever_performs_it_can_end_it_by_force():
    """In progress ends on every path, the performer's own faults included; once."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    said = play.rollout.force_end("KeyError: 'x'", now=150.0)
    assert said == (LockPool(reason="rollout r1 failed: KeyError: 'x'"), FAILED)
    play.ended(Outcome.FAILED, locked=True)
    assert play.rollout.reason == "internal"
    assert play.rollout.force_end("again", now=160.0) == ()


def test_facts_after_the_end_and_about_other_slots_are_dropped():
    """They are true and late."""
    play = Playbook()
    play.tell(OldExited(slot=1))
    play.tell(ReplacementReady(slot=0))
    play.tell(ABORT, ABORTED)
    for event in (ABORT, OldExited(slot=0), WaitTimedOut(), broken(1)):
        play.tell(event)
    play.ended(Outcome.ABORTED)


# The report.


def test_the_report_tells_the_whole_and_each_slot_in_plain_json():
    """Generations, seconds by phase, what became of the exchanges, and what failed with its last lines."""
    play = Playbook()
    play.replace(0, then=(WAIT,))
    play.rollout.steps[0].counts = ExchangeCounts(drained=3, retried=1, held=2, cut=0, longest_delay=0.2)
    play.see({0, 1}, DrainOld(slot=1), SpawnReplacement(slot=1, generation=2))
    play.tell(broken(1), ReadmitOld(slot=1), KillReplacement(slot=1))
    play.rollout.on(ReplacementGone(slot=1), now=120.0)
    report = json.loads(json.dumps(play.rollout.report(now=999.0).to_json()))
    slots = report.pop("slots")
    assert report == {
        "id": "r1",
        "pool": "web",
        "trigger": "signal",
        "strategy": "drain-first",
        "generation": 2,
        "outcome": "failed",
        "reason": "exited",
        "detail": "the replacement in slot 1 failed: exit code 3",
        "started": "2024-05-17T12:00:00+00:00",
        "seconds": 20.0,
        "rolled_back": False,
        "locked": True,
        "output": ["ImportError: no module"],
    }
    assert slots[0] == {
        "slot": 0,
        "state": "done",
        "rollback": False,
        "old_generation": 1,
        "new_generation": 2,
        "seconds": {"starting": 2.0, "draining": 1.0, "stopping": 1.0, "total": 3.0},
        "exchanges": {
            "drained": 3,
            "retried": 1,
            "held": 2,
            "cut": 0,
            "tunnels_closed": 0,
            "longest_delay": 0.2,
        },
        "offsets": {"turn": 1.0, "starting": 1.0, "draining": 1.0, "stopping": 3.0},
        "waited_for": [],
        "killed": False,
        "reason": None,
        "detail": "",
    }
    assert (slots[1]["state"], slots[1]["reason"]) == ("failed", "exited")


def test_a_running_rollout_can_be_asked_too():
    """For the progress that a waiting operator sees."""
    play = Playbook()
    play.see({0, 1}, DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))
    report = play.rollout.report(now=play.now + 4.0)
    assert report.outcome is Outcome.RUNNING
    assert report.seconds == 5.0
    assert [(slot.slot, slot.state.value) for slot in report.slots] == [(0, "starting"), (1, "pending")]
    assert report.slots[0].seconds.starting == 4.0
