"""Performs a rollout: passes facts of a pool to `hotswap.core.rollout.rollout`, and carries out the commands it gives.

Theory. All decisions are in the core machine; this module has none but how to carry a command out. A command
that takes time becomes a task, whose end is the next fact. Facts are put into a queue that one plain loop
empties, so a command that brings a fact about at once (a drain with nothing in flight) cannot re-enter the
machine in the middle of a list of commands.

Whatever happens in here, the rollout ends: a defect ends it by force, which locks the pool, and so does being
cancelled.
"""

from __future__ import annotations

from collections import deque
from typing import assert_never

import trio

from hotswap.control.pools.contained_tasks import ContainedTasks
from hotswap.control.pools.start_places import Place
from hotswap.control.pools.supervised_backend import ExitReason, StartReason, SupervisedBackend
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.rollout.telling import RolloutTelling
from hotswap.control.rollout.turn import Turn
from hotswap.core.errors import BackendError, StartFailed, StartFailure
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.events import BackendDrained, PoolEvent
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import BackendState
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
from hotswap.core.rollout.rollout import Role, Rollout
from hotswap.core.rollout.step import Step
from hotswap.core.strategy import Strategy
from hotswap.processes.own_time import sleep_own_time


class RolloutRun:
    """One rollout while it is performed.

    Attributes:
        rollout: the machine that decides.
        begun: it is being performed, or was.
        dropped: it was taken out of the queue before it began.
        ended: set when it has ended, in whatever way.
    """

    def __init__(self, pool: SupervisedPool, rollout: Rollout) -> None:
        self.rollout = rollout
        self.begun = False
        self.dropped = False
        self.ended = trio.Event()
        self._pool = pool
        self._surroundings = pool.surroundings
        self._telling = RolloutTelling(pool, rollout)
        self._log = self._telling.log
        self._tasks = ContainedTasks(self._log, "rollout.crashed", on_crash=self._break_off)
        self._facts: deque[RolloutEvent] = deque()
        self._busy = False
        self._turns: dict[int, Turn] = {}
        self._waiting: trio.CancelScope | None = None

    async def perform(self) -> None:
        """Perform it from beginning to end; never raises because of it.

        **Cancellation** ends it by force; backends that it started live on and belong to the pool.
        """
        rollout, pool = self.rollout, self._pool
        self.begun = True
        pool.run = self
        pool.marked = None
        pool.recycler.break_off()
        self._telling.started()
        stop_observing = pool.core.observe(self._observe)
        try:
            async with trio.open_nursery() as nursery:
                self._tasks.nursery = nursery
                self._carry_out_all(rollout.begin(now=trio.current_time()))
                self._take_in()
                await self.ended.wait()
                nursery.cancel_scope.cancel()
        except Exception as error:
            self._log.error("rollout.crashed", exc_info=error)
        finally:
            stop_observing()
            self._force_end("it was broken off")
            self._tasks.nursery = None

    def abort(self, reason: str = "aborted") -> None:
        """Ask it to end: at once where that costs nothing, else after the slot at hand."""
        self._log.warning("rollout.abort_requested", reason=reason)
        self._take_in(AbortRequested(reason=reason))

    def drop(self, reason: str) -> None:
        """End it before it has begun, because nobody wants its end any more; those behind it go on."""
        self.dropped = True
        self.abort(reason)

    async def look_at_drain(self) -> None:
        """Note in the step at hand what its drain waits for, as it is now."""
        for turn in tuple(self._turns.values()):
            await turn.look_at_drain(self._surroundings.plane)

    def note_exit(self, backend: Backend) -> None:
        """Take in that a backend died which nobody had told to go."""
        if self.rollout.role_of(backend.slot, backend.generation) is Role.OLD:
            self._take_in(OldExited(slot=backend.slot))

    # Facts go in.

    def _observe(self, event: PoolEvent) -> None:
        match event:
            case BackendDrained(backend=backend):
                # Another of the same generation may be on its way out of the slot.
                turn = self._turns.get(backend.slot)
                if turn is not None and turn.old is not None and turn.old.backend is backend:
                    self._take_in(OldDrained(slot=backend.slot))
            case _ if self._waiting is not None:
                self._take_in(self._look())
            case _:
                return

    def _look(self) -> SlotsSeen:
        pool, core = self._pool, self._pool.core
        ready, slots = core.ready_slots(), frozenset(range(core.size))
        alive = slots & {member.backend.slot for member in pool.members.serving()}
        drained = frozenset(slot for slot in alive if pool.is_drained(slot))
        # One that becomes ready and dies again and again is as lost as one that never does: its waits are long by then.
        looping = {slot for slot in slots - alive if slot in pool.slots and pool.slots[slot].looping}
        return SlotsSeen(
            ready=ready,
            lost=core.lost_slots() | looping,
            vacant=slots - alive,
            drained=drained,
            unwell=alive - drained - ready,
        )

    def _take_in(self, *facts: RolloutEvent) -> None:
        """Put facts in, and carry out what follows; called from anywhere, never raises."""
        self._facts.extend(facts)
        if self._busy:
            return
        self._busy = True
        try:
            while self._facts:
                fact = self._facts.popleft()
                commands = self.rollout.on(fact, now=trio.current_time())
                self._note_turns()
                self._carry_out_all(commands)
        except Exception as error:
            self._log.error("rollout.crashed", exc_info=error)
            self._break_off(error)
        finally:
            self._busy = False

    def _note_turns(self) -> None:
        """Tell of the steps at hand that have moved on, and begin a turn with each new one."""
        for step in self.rollout.at_hand.values():
            self._note_turn(step)

    def _note_turn(self, step: Step) -> None:
        turn = self._turns.get(step.slot)
        if turn is None or turn.step is not step:
            self._end_waiting()
            plane = self._surroundings.plane
            before = plane.pool_counts(self._pool.name)
            plane.restart_longest_hold(self._pool.name)
            turn = self._turns[step.slot] = Turn(
                step=step,
                old=self._pool.members.find(step.slot, step.old_generation),
                starting=trio.CancelScope(),
                before=before,
            )
            turn.enter(self.rollout.id)
            self._telling.turn_began(step)
        if step.state is not turn.told:
            turn.told = step.state
            self._telling.step_moved(step)

    # Commands are carried out.

    def _carry_out_all(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        pool = self._pool
        match command:
            case WaitForSlots():
                self._wait_for_slots()
            case ClearSlot(slot=slot):
                pool.clear_slot(slot)
            case DrainOld(slot=slot):
                self._drain_old(slot)
            case SpawnReplacement(slot=slot, generation=generation):
                self._tasks.start(self._spawn_replacement, slot, generation)
            case AdmitReplacement(slot=slot):
                new = self._turns[slot].new
                assert new is not None
                pool.admit(new)
            case CutOld(slot=slot):
                self._turns[slot].overdue = True
            case RetireOld(slot=slot):
                self._retire_old(slot)
            case ReadmitOld(slot=slot):
                self._readmit_old(slot)
            case KillReplacement(slot=slot):
                self._tasks.start(self._kill_replacement, slot)
            case EndStep(slot=slot):
                self._end_turn(slot)
            case LockPool(reason=reason):
                pool.lock(reason)
            case EndRollout(outcome=outcome):
                self._end(outcome)
            case _:
                assert_never(command)

    def _wait_for_slots(self) -> None:
        self._end_waiting()
        self._waiting = trio.CancelScope()
        self._tasks.start(self._alarm_waiting, self._waiting)
        self._take_in(self._look())

    def _end_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    async def _alarm_waiting(self, waiting: trio.CancelScope) -> None:
        # As long as a backend may take to start: a slot that crashed meanwhile has its respawn within it.
        timeout = self._pool.releases[self.rollout.generation].table.start_timeout
        with waiting:
            await sleep_own_time(timeout)
            self._waiting = None
            self._take_in(WaitTimedOut())

    def _drain_old(self, slot: int) -> None:
        turn = self._turns[slot]
        old = turn.old
        if old is None or not old.alive:
            return
        drain_timeout = old.release.table.drain_timeout
        turn.in_flight = self._surroundings.plane.in_flight(old.backend)
        old.drain_deadline = trio.current_time() + drain_timeout
        old.log.info("backend.draining", in_flight=turn.in_flight, drain_timeout=drain_timeout)
        if old.backend.state is not BackendState.DRAINING:
            self._pool.members.drain(old)
        elif not turn.in_flight:
            # An operator has drained it already, and that it is done was told then.
            self._take_in(OldDrained(slot=slot))
        self._tasks.start(self._alarm_drain, slot, drain_timeout)

    async def _alarm_drain(self, slot: int, drain_timeout: float) -> None:
        step, old = self._turns[slot].step, self._turns[slot].old
        last_quarter = drain_timeout / 4
        await sleep_own_time(drain_timeout - last_quarter)
        if self.rollout.at_hand.get(slot) is step and old is not None and old.alive:
            self._surroundings.plane.close_tunnels(old.backend, within=last_quarter)
        await sleep_own_time(last_quarter)
        if self.rollout.at_hand.get(slot) is step:
            self._take_in(DrainTimedOut(slot=slot))

    async def _spawn_replacement(self, slot: int, generation: int) -> None:
        turn, pool = self._turns[slot], self._pool
        reason = StartReason.ROLLBACK if turn.step.rollback else StartReason.ROLLOUT
        place: Place | None = None
        with turn.starting:
            try:
                # In one go with the look at the scope: what was cancelled before it began starts nothing.
                await trio.lowlevel.checkpoint()
                release = pool.releases[generation]
                if self.rollout.strategy is Strategy.STOP_FIRST:
                    await pool.members.wait_gone(slot)
                if turn.old is None:
                    # Several may be filled at once; what takes the place of another is alone, and waits for nobody.
                    place = await self._surroundings.places.take(pool.name, (0, slot))
                    turn.step.note_spawned(trio.current_time())
                turn.new = pool.members.launch(slot, generation, release, reason, rollout=self.rollout.id)
                if place is not None:
                    pool.tasks.start(place.watch, turn.new.process.pid)
                await pool.members.bring_up(turn.new)
            except StartFailed as failure:
                self._replacement_failed(slot, failure.reason, failure.detail, failure.output)
            except BackendError as error:
                self._replacement_failed(slot, StartFailure.CANNOT_SERVE, error.detail)
            else:
                self._take_in(ReplacementReady(slot=slot))
            finally:
                if place is not None:
                    place.give_back()

    def _replacement_failed(self, slot: int, reason: StartFailure, detail: str, output: tuple[str, ...] = ()) -> None:
        self._telling.replacement_failed(slot, reason, detail, output)
        member = self._turns[slot].new
        if member is None:
            self._pool.entries.note_error(slot, LastError(text=detail))
        else:
            self._pool.members.note_failure(member, detail)
        self._take_in(ReplacementFailed(slot=slot, reason=reason, detail=detail, output=output))

    def _retire_old(self, slot: int) -> None:
        turn = self._turns[slot]
        if turn.old is not None and turn.old.alive:
            # Before anything else happens, so that its end from here on is no crash.
            turn.old.expect(ExitReason.STOPPED)
            self._tasks.start(self._retire, turn, turn.old)

    async def _retire(self, turn: Turn, old: SupervisedBackend) -> None:
        members = self._pool.members
        if turn.overdue:
            turn.note_cut(*await members.let_finish(old, timeout=0.0, event="backend.drain_timed_out", publish=True))
        self._take_in(OldExited(slot=turn.step.slot, killed=await members.retire(old)))

    def _readmit_old(self, slot: int) -> None:
        old = self._turns[slot].old
        if old is not None:
            old.drain_deadline = None
            # What an operator has drained stays drained.
            if not self._pool.is_drained(slot) and self._pool.members.readmit(old):
                old.log.info("backend.readmitted")

    async def _kill_replacement(self, slot: int) -> None:
        turn = self._turns[slot]
        turn.starting.cancel()
        if turn.new is not None:
            try:
                await self._pool.members.discard(turn.new)
            finally:
                self._pool.entries.bury(turn.new.backend)
        self._take_in(ReplacementGone(slot=slot))

    # Ends.

    def _end_turn(self, slot: int) -> None:
        turn = self._turns.pop(slot)
        turn.leave()
        turn.step.counts = turn.counts(self._surroundings.plane.pool_counts(self._pool.name))
        if not turn.cut:
            turn.step.waited_for = ()
        self._telling.turn_ended(turn.step.report(trio.current_time()))

    def _force_end(self, detail: str) -> None:
        """End it wherever it is; nothing happens when it has ended."""
        self._carry_out_all(self.rollout.force_end(detail, now=trio.current_time()))

    def _break_off(self, error: Exception) -> None:
        self._force_end(f"a defect of the proxy: {error!r}")

    def _end(self, outcome: Outcome) -> None:
        rollout, pool = self.rollout, self._pool
        self._end_waiting()
        report = rollout.report(trio.current_time())
        pool.run = None
        pool.marked = None
        for turn in self._turns.values():
            turn.leave()
        if outcome is Outcome.DONE:
            pool.pin(rollout.generation)
        self._telling.ended(outcome, report)
        if outcome is not Outcome.DONE:
            pool.refill(StartReason.REFILL)
        pool.forget_releases()
        self.ended.set()
