"""Rollouts on a real pool, with processes that do whatever Hypothesis can think of.

The machine performs the commands of a rollout as the control floor does, on a `Pool` with traffic in it;
processes are entries of a table that become ready, fail, crash and exit when a rule says so. What must hold
at every moment is written as invariants, what must hold at the end is checked by `teardown`, which lets the
world come to rest.
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hotswap.core.address import TcpAddress
from hotswap.core.errors import StartFailure
from hotswap.core.identity import RolloutId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.events import BackendDrained
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.slot_record import CRASH_LOOP
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
from hotswap.core.rollout.rollout import Role, Rollout
from hotswap.core.rollout.step_table import StepState
from hotswap.core.strategy import Balance, OnFailure, Strategy
from tests.support.joined_pool import JoinedPool

ADDRESS = TcpAddress("127.0.0.1", 1)
LIVING = {BackendState.STARTING, BackendState.READY, BackendState.DRAINING, BackendState.STOPPING}


class RolloutMachine(RuleBasedStateMachine):
    """One pool, one rollout, many accidents."""

    @initialize(
        strategy=st.sampled_from(Strategy),
        on_failure=st.sampled_from(OnFailure),
        found=st.lists(
            st.sampled_from(["serving", "serving", "vacant", "starting", "drained", "unwell"]), min_size=1, max_size=4
        ),
    )
    def boot(self, strategy: Strategy, on_failure: OnFailure, found: list[str]) -> None:
        size = len(found)
        self.pool = JoinedPool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=size, supervised=True)
        self.pinned = dict.fromkeys(range(size), 1)
        self.drained = {slot for slot in range(size) if found[slot] == "drained"}
        for slot in range(size):
            if found[slot] != "vacant":
                backend = self.pool.add(slot=slot, generation=1, address=ADDRESS, now=0.0)
                if found[slot] != "starting":
                    self.become_ready(backend)
            if found[slot] == "unwell":
                self.pool.set_health(self.pool.backends[-1], Health.UNHEALTHY)
        self.claimed: Counter[Backend] = Counter()
        self.crashed = {
            slot for slot in range(size) if found[slot] in ("vacant", "starting")
        }  # slots that wait for a respawn by the supervisor
        self.dying: set[Backend] = set()  # replacements that were killed and are not reaped yet
        self.deadlines: set[int] = set()  # slots whose drain deadline may still pass
        self.overdue: set[int] = set()
        self.spawned: Counter[tuple[int, int]] = Counter()
        self.wanted_out: set[int] = set()  # slots out of rotation because of the rollout
        self.filled: set[int] = set()  # slots that were empty, and that it fills
        self.vacant = frozenset(self.crashed)
        self.served = len(self.vacant) < size
        self.ends: list[Outcome] = []
        self.events: deque[RolloutEvent] = deque()
        self.pumping = False
        self.rollout = Rollout(
            id=RolloutId("r1"),
            pool="web",
            trigger="test",
            strategy=strategy,
            on_failure=on_failure,
            generation=2,
            queue=[QueuedSlot(slot=slot, generation=1) for slot in range(size)],
            size=size,
            started=datetime(2024, 5, 17, tzinfo=UTC),
            now=0.0,
        )
        self.pool.observe(self.hear)
        self.perform(self.rollout.begin(now=0.0))

    # The performer, in small.

    def hear(self, event: object) -> None:
        match event:
            case BackendDrained(backend) if self.role(backend) is Role.OLD:
                self.tell(OldDrained(slot=backend.slot))
            case _:
                pass

    def tell(self, event: RolloutEvent) -> None:
        self.events.append(event)
        if self.pumping:
            return
        self.pumping = True
        while self.events:
            self.perform(self.rollout.on(self.events.popleft(), now=0.0))
        self.pumping = False

    def look(self) -> None:
        slots = frozenset(range(self.pool.size))
        alive = slots & {b.slot for b in self.pool.backends if b.state in (BackendState.READY, BackendState.DRAINING)}
        drained = alive & self.drained
        ready = self.pool.ready_slots()
        self.tell(
            SlotsSeen(
                ready=ready,
                lost=self.pool.lost_slots(),
                vacant=slots - alive,
                drained=drained,
                unwell=alive - drained - ready,
            )
        )

    def role(self, backend: Backend) -> Role | None:
        return self.rollout.role_of(backend.slot, backend.generation)

    def find(self, slot: int, role: Role) -> Backend | None:
        """The backend that a command is about; None if it is dead already."""
        step = next(step for step in reversed(self.rollout.steps) if step.slot == slot)
        generation = step.old_generation if role is Role.OLD else step.new_generation
        for backend in self.pool.backends:
            if (backend.slot, backend.generation) == (slot, generation):
                return backend
        return None

    def become_ready(self, backend: Backend) -> None:
        self.pool.move(backend, BackendState.READY, now=0.0)
        if backend.slot in self.drained:
            self.pool.move(backend, BackendState.DRAINING, now=0.0)
        self.pool.set_health(backend, Health.HEALTHY)

    def bury(self, backend: Backend) -> None:
        """The process is gone, and with it its exchanges."""
        if backend.state is not BackendState.STOPPED:
            self.pool.move(backend, BackendState.STOPPED, now=0.0)
        self.pool.remove(backend)
        for _ in range(self.claimed.pop(backend, 0)):
            self.pool.release(backend)

    def perform(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            self.perform_one(command)

    def perform_one(self, command: Command) -> None:
        match command:
            case WaitForSlots():
                self.wanted_out.clear()
                self.filled.clear()
                self.look()
            case ClearSlot(slot=slot):
                self.crashed.discard(slot)
                for backend in [b for b in self.pool.backends if b.slot == slot]:
                    assert backend.state is BackendState.STARTING, "nothing that serves is cleared away"
                    self.pool.move(backend, BackendState.STOPPING, now=0.0)
                    self.bury(backend)
                assert not self.wanted_out, "what is empty is filled while nothing is out of rotation"
                self.filled.add(slot)
            case DrainOld(slot=slot):
                self.begin_turn(slot)
                old = self.find(slot, Role.OLD)
                self.deadlines.add(slot)
                self.overdue.discard(slot)
                if old is not None:
                    self.pool.announce(slot)
                    if old.state is not BackendState.DRAINING:
                        self.pool.move(old, BackendState.DRAINING, now=0.0)
                    elif not self.pool.in_flight(old):
                        self.tell(OldDrained(slot=slot))
            case SpawnReplacement(slot=slot, generation=generation):
                self.begin_turn(slot)
                self.spawned[slot, generation] += 1
                assert self.spawned[slot, generation] == 1, "a slot is replaced exactly once"
                self.pool.add(slot=slot, generation=generation, address=ADDRESS, now=0.0)
            case AdmitReplacement(slot=slot):
                new = self.find(slot, Role.REPLACEMENT)
                assert new is not None
                self.pinned[slot] = new.generation
                self.become_ready(new)
            case CutOld(slot=slot):
                assert slot in self.overdue, "nothing is cut before the deadline"
                old = self.find(slot, Role.OLD)
                assert old is not None
                for _ in range(self.claimed.pop(old, 0)):
                    self.pool.release(old)
            case RetireOld(slot=slot):
                old = self.find(slot, Role.OLD)
                assert old is not None
                assert self.pool.in_flight(old) == 0, "nobody is told to stop with something in flight"
                self.pool.move(old, BackendState.STOPPING, now=0.0)
            case ReadmitOld(slot=slot):
                old = self.find(slot, Role.OLD)
                assert old is not None
                if slot not in self.drained:
                    self.pool.move(old, BackendState.READY, now=0.0)
            case KillReplacement(slot=slot):
                new = self.find(slot, Role.REPLACEMENT)
                if new is None:
                    self.tell(ReplacementGone(slot=slot))
                else:
                    assert self.pool.in_flight(new) == 0
                    self.dying.add(new)
            case EndStep(slot=slot):
                self.wanted_out.discard(slot)
                self.filled.discard(slot)
                step = next(step for step in reversed(self.rollout.steps) if step.slot == slot)
                assert self.find(slot, Role.OLD if step.state is StepState.DONE else Role.REPLACEMENT) is None
            case LockPool(reason=reason):
                self.pool.lock(reason)
            case EndRollout(outcome=outcome):
                self.ends.append(outcome)
                if not self.pool.locked:
                    filled = {backend.slot for backend in self.pool.backends}
                    self.crashed |= set(range(self.pool.size)) - filled

    def begin_turn(self, slot: int) -> None:
        if slot in self.filled:
            return
        if slot not in self.wanted_out:
            assert not self.wanted_out, "one slot at a time"
            assert not self.filled, "what is empty is filled first"
            others = set(range(self.pool.size)) - {slot}
            unwell = {backend.slot for backend in self.pool.backends if backend.state is BackendState.READY}
            queued = {report.slot for report in self.rollout.report(0.0).slots if report.state is StepState.PENDING}
            settled = self.pool.ready_slots() | self.pool.lost_slots() | self.left_empty() | (unwell & queued)
            settled |= {b.slot for b in self.pool.backends if b.state is BackendState.DRAINING} & self.drained
            assert others <= settled, "only after ready"
        self.wanted_out.add(slot)

    def left_empty(self) -> set[int]:
        """Slots that a failed step left empty, and that the way back has not refilled yet."""
        return {slot for slot in range(self.pool.size) if not self.rollout.respawned_by_supervisor(slot, 0)}

    # What processes, clients and operators do.

    @rule(good=st.booleans())
    def the_replacement_ends_its_start(self, good: bool) -> None:
        for backend in self.pool.backends:
            if self.role(backend) is Role.REPLACEMENT and backend.state is BackendState.STARTING:
                failed = ReplacementFailed(slot=backend.slot, reason=StartFailure.UNHEALTHY)
                self.tell(ReplacementReady(slot=backend.slot) if good else failed)
                return

    @rule()
    def the_replacement_exits_while_it_starts(self) -> None:
        for backend in self.pool.backends:
            starting = self.role(backend) is Role.REPLACEMENT and backend.state is BackendState.STARTING
            if starting and backend not in self.dying:
                self.pool.move(backend, BackendState.FAILED, now=0.0)
                self.bury(backend)
                self.tell(ReplacementFailed(slot=backend.slot, reason=StartFailure.EXITED))
                return

    @rule()
    def a_killed_replacement_is_reaped(self) -> None:
        for backend in list(self.dying):
            self.dying.discard(backend)
            self.pool.move(backend, BackendState.FAILED, now=0.0)
            self.bury(backend)
            self.tell(ReplacementGone(slot=backend.slot))

    @rule()
    def a_backend_that_was_told_to_stop_exits(self) -> None:
        for backend in [b for b in self.pool.backends if b.state is BackendState.STOPPING]:
            self.bury(backend)
            self.tell(OldExited(slot=backend.slot))

    @rule()
    def the_drain_deadline_passes(self) -> None:
        for slot in list(self.deadlines):
            self.deadlines.discard(slot)
            self.overdue.add(slot)
            self.tell(DrainTimedOut(slot=slot))

    @rule(data=st.data())
    def a_serving_backend_crashes(self, data: st.DataObject) -> None:
        serving = [b for b in self.pool.backends if b.state in (BackendState.READY, BackendState.DRAINING)]
        if not serving:
            return
        backend = data.draw(st.sampled_from(serving))
        role = self.role(backend)
        ours = self.rollout.respawned_by_supervisor(backend.slot, backend.generation)
        self.bury(backend)
        if role is Role.OLD:
            self.tell(OldExited(slot=backend.slot))
        if ours and not self.pool.locked:
            self.crashed.add(backend.slot)
        self.look()

    @precondition(lambda self: self.crashed)
    @rule(data=st.data(), good=st.booleans())
    def the_supervisor_respawns(self, data: st.DataObject, good: bool) -> None:
        slot = data.draw(st.sampled_from(sorted(self.crashed)))
        if self.pool.locked:
            self.crashed.clear()
            return
        backend = self.pool.add(slot=slot, generation=self.pinned[slot], address=ADDRESS, now=0.0)
        if good:
            self.crashed.discard(slot)
            self.become_ready(backend)
        else:
            self.pool.move(backend, BackendState.FAILED, now=0.0)
            self.bury(backend)
        self.look()

    @precondition(lambda self: self.crashed)
    @rule(data=st.data())
    def a_slot_cannot_be_filled_any_more(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.crashed)))
        for _ in range(CRASH_LOOP):
            if slot in self.crashed and not self.pool.locked:
                backend = self.pool.add(slot=slot, generation=self.pinned[slot], address=ADDRESS, now=0.0)
                self.pool.move(backend, BackendState.FAILED, now=0.0)
                self.bury(backend)
        self.look()

    @rule(data=st.data(), health=st.sampled_from([Health.HEALTHY, Health.UNHEALTHY]))
    def probes_change_their_verdict(self, data: st.DataObject, health: Health) -> None:
        if self.pool.backends:
            self.pool.set_health(data.draw(st.sampled_from(self.pool.backends)), health)
            self.look()

    @rule()
    def a_request_comes(self) -> None:
        backend = self.pool.claim()
        if backend is not None:
            assert backend.state is BackendState.READY
            self.claimed[backend] += 1

    @rule()
    def every_request_ends(self) -> None:
        for backend, number in list(self.claimed.items()):
            del self.claimed[backend]
            for _ in range(number):
                self.pool.release(backend)

    # Not in the first step, or most rollouts would end before anything has happened.
    @rule(reason=st.sampled_from(["aborted", "shutting-down"]))
    @precondition(lambda self: len(self.rollout.steps) > 1)
    def somebody_aborts(self, reason: str) -> None:
        self.tell(AbortRequested(reason=reason))

    @rule()
    @precondition(lambda self: len(self.rollout.steps) > 1)
    def the_wait_takes_too_long(self) -> None:
        self.tell(WaitTimedOut())

    # What holds at every moment.

    @invariant()
    def one_slot_at_a_time(self) -> None:
        assert len(self.wanted_out) <= 1

    @invariant()
    def several_are_at_hand_only_where_nothing_could_be_lost(self) -> None:
        if len(self.rollout.at_hand) > 1:
            assert not self.wanted_out
            assert set(self.rollout.at_hand) <= self.filled

    @invariant()
    def the_way_back_leads_to_a_release_that_serves(self) -> None:
        back = {step.slot for step in self.rollout.steps if step.rollback}
        assert self.served or not back
        filled = {step.slot for step in self.rollout.steps if step.state is StepState.DONE and not step.rollback}
        assert back & self.vacant <= filled

    @invariant()
    def what_an_operator_has_drained_stays_drained(self) -> None:
        assert not self.pool.ready_slots() & self.drained

    @invariant()
    def it_ends_once_and_then_nothing_is_in_progress(self) -> None:
        assert len(self.ends) == (0 if self.rollout.in_progress else 1)
        if self.ends:
            assert self.ends == [self.rollout.outcome]
            assert self.rollout.step is None
            assert not self.dying

    @invariant()
    def no_slot_holds_more_than_the_old_one_and_its_replacement(self) -> None:
        held = Counter(backend.slot for backend in self.pool.backends)
        for slot, number in held.items():
            assert number <= (2 if slot in self.rollout.at_hand else 1)

    @invariant()
    def the_pool_is_locked_only_by_an_unrepaired_failure(self) -> None:
        if self.pool.locked:
            assert self.rollout.outcome is Outcome.FAILED
            assert not self.rollout.rolled_back

    @invariant()
    def a_rollout_that_is_done_has_replaced_every_slot(self) -> None:
        if self.rollout.outcome is Outcome.DONE:
            assert set(self.pinned.values()) == {2}
        if self.rollout.rolled_back:
            assert set(self.pinned.values()) == {1}

    def teardown(self) -> None:
        """A world that comes to rest ends the rollout, and every process is ready or reaped."""
        if not hasattr(self, "rollout"):
            return
        for _ in range(60):
            self.every_request_ends()
            for backend in self.pool.backends:
                self.pool.set_health(backend, Health.HEALTHY)
            for slot in sorted(self.crashed):
                self.crashed.discard(slot)
                if not self.pool.locked:
                    self.become_ready(self.pool.add(slot=slot, generation=self.pinned[slot], address=ADDRESS, now=0.0))
            self.the_replacement_ends_its_start(good=True)
            self.a_killed_replacement_is_reaped()
            self.a_backend_that_was_told_to_stop_exits()
            self.look()
        assert not self.rollout.in_progress
        for backend in self.pool.backends:
            assert backend.state is (BackendState.DRAINING if backend.slot in self.drained else BackendState.READY)
        if not self.pool.locked:
            assert self.pool.ready_slots() == set(range(self.pool.size)) - self.drained


TestRollout = RolloutMachine.TestCase
