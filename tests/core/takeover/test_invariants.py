"""Both sides of a takeover in one world in which anything may go wrong at any moment.

Messages are lost or cut off, either process dies or falls silent until the other has waited too long, work
fails. Backends start, become ready, crash and leave meanwhile. Three things must hold whatever happens: a backend
never has two owners, none is without an owner and without a guardian that would end it, and there is always somebody
who accepts, or who is about to notice that it is his turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hotswap.core.state_machine import Machine
from hotswap.core.takeover.ledgers import AdoptionLedger, BackendMissing, HandingLedger
from hotswap.core.takeover.new import NewCommand, NewEvent, NewState, new_side
from hotswap.core.takeover.old import OldCommand, OldEvent, OldState, old_side

TO_NEW = {
    OldCommand.SEND_WELCOME: NewEvent.WELCOMED,
    OldCommand.SEND_REFUSE: NewEvent.REFUSED,
    OldCommand.SEND_LISTENERS: NewEvent.LISTENER_RECEIVED,
    OldCommand.SEND_RELEASED: NewEvent.RELEASED_RECEIVED,
    OldCommand.SEND_BYE: NewEvent.BYE_RECEIVED,
}
TO_OLD = {
    NewCommand.SEND_ACK: OldEvent.ACKNOWLEDGED,
    NewCommand.SEND_NAK: OldEvent.NAK_RECEIVED,
    NewCommand.SEND_PREPARED: OldEvent.PREPARED_RECEIVED,
    NewCommand.SEND_LIVE: OldEvent.LIVE_RECEIVED,
}


class Life(Enum):
    """Where a backend is."""

    STARTING = auto()
    READY = auto()
    LEAVING = auto()
    """It is on its way out: its slot or its pool is gone."""
    DEAD = auto()


@dataclass(eq=False)
class Backend:
    """A backend, with what the world knows of it."""

    number: int
    life: Life

    @property
    def alive(self) -> bool:
        """It has a process."""
        return self.life is not Life.DEAD


@dataclass(eq=False)
class Watch:
    """A guardian: ends what it watches when nobody holds its pipe any more."""

    holders: set[str]
    watched: set[Backend] = field(default_factory=set)

    def close(self, holder: str) -> None:
        """One process holds the pipe no more."""
        self.holders.discard(holder)
        if not self.holders:
            for backend in self.watched:
                backend.life = Life.DEAD


class Accident(Enum):
    """What should not happen, and does."""

    OLD_DIES = auto()
    NEW_DIES = auto()
    LOSS_TO_OLD = auto()
    LOSS_TO_NEW = auto()
    END_FOR_OLD = auto()
    END_FOR_NEW = auto()
    OLD_WAITS_TOO_LONG = auto()
    NEW_WAITS_TOO_LONG = auto()
    WORK_FAILS = auto()
    STOP = auto()
    NEW_IS_STOPPED = auto()


RECEIVING = (NewState.GREETING, NewState.LISTENERS, NewState.BACKENDS)
"""States of the new side in which it has too little to serve alone."""

Message = tuple[NewEvent, tuple[tuple[Backend, bool], ...]]
"""What the new side hears, and the backends that come with it: each alive, or gone."""

LIMBO = frozenset({OldState.COMMITTED, OldState.RETURNING, OldState.PROBATION})
"""States of the old side in which backends may be on their way to the new one, or back."""


class Takeover(RuleBasedStateMachine):
    """The world: two processes, a channel with a direction each, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.old: Machine[OldState, OldEvent, OldCommand] = old_side(now=0.0)
        self.new: Machine[NewState, NewEvent, NewCommand] | None = None
        self.old_alive, self.new_alive = True, False
        self.old_accepts, self.new_accepts = True, False
        self.old_owns, self.new_owns = True, False
        self.to_old: deque[OldEvent] = deque()
        self.to_new: deque[Message] = deque()
        self.gap_to_old = self.gap_to_new = False
        self.channel_ended_for_old = self.channel_ended_for_new = False
        self.death_of_new_untold = self.death_of_old_untold = False
        self.died_too_early = False
        self.preparing = False
        self.accidents: list[tuple[Accident, int]] = []
        self.steps = 0
        self.made = 0
        self.own = Watch({"old"})
        self.theirs = Watch({"new"})
        self.of_old: set[Backend] = set()
        self.of_new: set[Backend] = set()
        self.going: tuple[Backend, ...] = ()
        self.handing: HandingLedger[Backend] = HandingLedger()
        self.queue: deque[Backend] = deque()
        self.all_acknowledged = False
        self.adopting: AdoptionLedger[Backend] = AdoptionLedger()
        for life in (Life.READY, Life.READY, Life.STARTING, Life.LEAVING):
            self.start_in_old(life)

    # Backends: each is watched by the guardian of whoever starts it, from its first moment on.

    def start_in_old(self, life: Life) -> None:
        backend = self.make_backend(life)
        self.of_old.add(backend)
        self.own.watched.add(backend)

    def make_backend(self, life: Life) -> Backend:
        self.made += 1
        return Backend(self.made, life)

    def serving(self) -> list[Backend]:
        return sorted((one for one in self.of_old if one.life is Life.READY), key=lambda one: one.number)

    def hand_next(self) -> None:
        if not self.queue:
            self.all_acknowledged = True
            return
        backend = self.queue.popleft()
        self.handing.note_sent(backend)
        self.to_new.append((NewEvent.BACKEND_RECEIVED, ((backend, backend.alive),)))

    def let_go(self) -> None:
        self.going = self.handing.going(self.serving())
        for backend in self.of_old - set(self.going):
            match backend.life:
                case Life.STARTING:
                    backend.life = Life.DEAD
                case Life.READY:
                    backend.life = Life.LEAVING
        self.of_old -= set(self.going)

    def settle(self) -> None:
        self.theirs.watched |= self.of_new
        self.own.watched -= self.of_new
        self.own.close("new")

    # What the commands do in this world.

    def tell_old(self, event: OldEvent) -> None:
        if not self.old_alive or self.old.ended:
            return
        if not self.old.knows(event):
            event = OldEvent.CHANNEL_BROKEN
            if not self.old.knows(event):
                return
        for command in self.old.on(event, now=self.now):
            self.do_old(command)
        if self.old.state is OldState.GONE:
            self.end_old()

    def do_old(self, command: OldCommand) -> None:
        match command:
            case OldCommand.SPAWN_NEW:
                self.new, self.new_alive = new_side(now=self.now), True
                self.to_old.append(OldEvent.HELLO_ACCEPTED)
            case OldCommand.KILL_NEW:
                self.end_new()
            case OldCommand.SEND_STATE:
                announced = self.handing.announce(self.serving())
                self.to_new.append((NewEvent.STATE_RECEIVED, tuple((backend, True) for backend in announced)))
            case OldCommand.SEND_BACKENDS:
                self.queue.extend(self.handing.announced)
                self.hand_next()
            case OldCommand.SEND_CHANGES:
                self.queue.extend(self.handing.due(self.serving()))
                self.hand_next()
            case OldCommand.LET_GO:
                self.old_owns = False
                self.let_go()
            case OldCommand.SEND_COMMIT:
                self.to_new.append((NewEvent.COMMIT_RECEIVED, tuple((backend, True) for backend in self.going)))
            case OldCommand.TAKE_BACK:
                self.old_owns = True
                self.of_old |= set(self.going)
                self.going = ()
            case OldCommand.STOP_ACCEPTING:
                self.old_accepts = False
            case OldCommand.ACCEPT_AGAIN:
                self.old_accepts = True
            case OldCommand.CLOSE_LISTENERS:
                # Ours for good are those that stayed.
                self.going = ()
            case _ if command in TO_NEW:
                self.to_new.append((TO_NEW[command], ()))

    def tell_new(self, event: NewEvent, came: Iterable[tuple[Backend, bool]] = ()) -> None:
        machine = self.new
        if machine is None or not self.new_alive or machine.ended:
            return
        if not machine.knows(event):
            event = NewEvent.CHANNEL_BROKEN
            if not machine.knows(event):
                return
        ours: Iterable[Backend] = self.adopting.received
        match event:
            case NewEvent.STATE_RECEIVED:
                self.own.holders.add("new")
                self.adopting.expect(backend for backend, _ in came)
            case NewEvent.BACKEND_RECEIVED:
                for backend, alive in came:
                    self.adopting.note_received(backend, gone=not alive)
            case NewEvent.COMMIT_RECEIVED:
                try:
                    ours = self.adopting.commit(backend for backend, _ in came)
                except BackendMissing:
                    event = NewEvent.FAILED
        for command in machine.on(event, now=self.now):
            match command:
                case NewCommand.SERVE:
                    self.new_accepts = self.new_owns = True
                    self.of_new |= set(ours)
                case NewCommand.SETTLE:
                    self.settle()
                case NewCommand.PREPARE:
                    self.preparing = True
                case NewCommand.LEAVE:
                    self.end_new()
                case _ if command in TO_OLD:
                    self.to_old.append(TO_OLD[command])
        if machine.state is NewState.BACKENDS and self.adopting.complete:
            self.tell_new(NewEvent.SET_COMPLETE)

    def end_new(self) -> None:
        if self.new_alive:
            self.new_alive = self.new_accepts = self.new_owns = False
            self.death_of_new_untold = True
            self.of_new.clear()
            self.own.close("new")
            self.theirs.close("new")
            # What it had sent can still be read; what was sent to it is gone.
            self.to_new.clear()

    def end_old(self) -> None:
        if self.old_alive:
            if self.old.state is OldState.GONE:
                # It ends what is its own before it ends itself.
                for backend in self.of_old:
                    backend.life = Life.DEAD
            self.old_alive = self.old_accepts = self.old_owns = False
            self.death_of_old_untold = True
            self.of_old.clear()
            self.own.close("old")
            self.to_old.clear()

    # What may happen: things go on, in any order, backends live their lives, and there are a few accidents.

    @initialize(accidents=st.lists(st.tuples(st.sampled_from(Accident), st.integers(0, 45)), max_size=2))
    def begin(self, accidents: list[tuple[Accident, int]]) -> None:
        """Few accidents, each after so many steps: with many, hardly a takeover would get far."""
        self.accidents = accidents

    @rule(which=st.integers(0, 3))
    def go_on(self, which: int) -> None:
        """One of the things that are due is done."""
        due = [action for possible, action in self.actions() if possible]
        if due:
            due[which % len(due)]()
        self.steps += 1
        for accident, after in self.accidents:
            if after == self.steps:
                self.have_accident(accident)

    def actions(self) -> list[tuple[object, Callable[[], None]]]:
        waits = self.old_alive and self.old.state in (OldState.PROBATION, OldState.DRAINING) and not self.to_old
        drained = not any(backend.alive for backend in self.of_old)
        return [
            (self.old.state is OldState.PREFLIGHT, lambda: self.tell_old(OldEvent.PREFLIGHT_PASSED)),
            (self.to_old and self.old_alive and not self.all_acknowledged, self.deliver_to_old),
            (self.to_new and self.new_alive, self.deliver_to_new),
            (self.all_acknowledged and self.old_alive, self.finish_handing),
            (self.preparing and self.new_alive, lambda: self.finish_preparing(NewEvent.PREPARED)),
            (self.death_of_new_untold and not self.to_old, self.notice_death_of_new),
            (self.death_of_old_untold and not self.to_new, self.notice_death_of_old),
            (waits and self.old.state is OldState.PROBATION, lambda: self.wait_too_long(self.old)),
            (waits and self.old.state is OldState.DRAINING and drained, lambda: self.tell_old(OldEvent.DRAINED)),
        ]

    def have_accident(self, accident: Accident) -> None:
        match accident:
            case Accident.OLD_DIES:
                self.kill_old()
            case Accident.NEW_DIES:
                self.end_new()
            case Accident.LOSS_TO_OLD if self.to_old:
                # The message behind it shows it.
                self.to_old.popleft()
                self.gap_to_old = True
            case Accident.LOSS_TO_NEW if self.to_new:
                self.to_new.popleft()
                self.gap_to_new = True
            case Accident.END_FOR_OLD:
                self.tell_old(OldEvent.CHANNEL_BROKEN)
            case Accident.END_FOR_NEW:
                self.tell_new(NewEvent.CHANNEL_BROKEN)
            case Accident.OLD_WAITS_TOO_LONG:
                self.wait_too_long(self.old)
            case Accident.NEW_WAITS_TOO_LONG if self.new is not None:
                self.wait_too_long(self.new)
            case Accident.WORK_FAILS if self.preparing and self.new_alive:
                self.finish_preparing(NewEvent.FAILED)
            case Accident.WORK_FAILS if self.old.state is OldState.PREFLIGHT:
                self.tell_old(OldEvent.PREFLIGHT_FAILED)
            case Accident.STOP if not self.old.ended and self.old.knows(OldEvent.STOP_ASKED):
                self.tell_old(OldEvent.STOP_ASKED)
            case Accident.NEW_IS_STOPPED if self.new is not None and self.new.state is NewState.PROBATION:
                self.to_old.append(OldEvent.STOPPING_RECEIVED)

    def deliver_to_old(self) -> None:
        event = self.to_old.popleft()
        if self.gap_to_old:
            self.tell_old(OldEvent.CHANNEL_BROKEN)
        elif event is OldEvent.ACKNOWLEDGED and self.old.state in (OldState.BACKENDS, OldState.CHANGES):
            self.hand_next()
        else:
            self.tell_old(event)

    def deliver_to_new(self) -> None:
        event, came = self.to_new.popleft()
        if self.gap_to_new:
            self.tell_new(NewEvent.CHANNEL_BROKEN)
        else:
            self.tell_new(event, came)

    def finish_handing(self) -> None:
        """Everything was acknowledged; what is ready by now goes too before the old side lets go."""
        self.all_acknowledged = False
        more = self.old.state is OldState.CHANGES and self.handing.due(self.serving())
        self.tell_old(OldEvent.MORE_READY if more else OldEvent.ACKNOWLEDGED)

    def finish_preparing(self, event: NewEvent) -> None:
        self.preparing = False
        assert self.new is not None
        if self.new.state is NewState.ORPHANED and event is NewEvent.FAILED:
            self.died_too_early = True
        self.tell_new(event)

    def notice_death_of_new(self) -> None:
        """Behind everything that it had sent."""
        self.death_of_new_untold = False
        self.tell_old(OldEvent.PEER_DIED)

    def notice_death_of_old(self) -> None:
        """Behind everything that it had sent."""
        self.death_of_old_untold = False
        # With too little to serve; only a supervisor that starts the program anew can help.
        self.died_too_early |= self.new is not None and self.new.state in RECEIVING
        self.tell_new(NewEvent.PEER_DIED)

    def kill_old(self) -> None:
        if self.old_alive:
            # One that dies alone before anybody could help is nobody's fault here.
            self.died_too_early |= not self.new_alive or (self.new is not None and self.new.state in RECEIVING)
            self.end_old()

    def wait_too_long(self, machine: Machine[OldState, OldEvent, OldCommand] | Machine[NewState, NewEvent, NewCommand]):
        """Time passes until the deadline of one side; the other was silent, or its messages are slow."""
        if machine.deadline is None:
            return
        self.now = max(self.now, machine.deadline)
        if machine is self.old:
            self.tell_old(OldEvent.DEADLINE_PASSED)
            return
        self.died_too_early |= machine.state is NewState.ORPHANED
        self.tell_new(NewEvent.DEADLINE_PASSED)

    @rule(what=st.sampled_from([Life.READY, Life.DEAD, Life.STARTING]), which=st.integers(0, 5))
    def change_backends(self, what: Life, which: int) -> None:
        """A backend becomes ready, one ends by itself, or another one is started, by whoever owns them."""
        mine = sorted(self.of_old | self.of_new, key=lambda backend: backend.number)
        match what:
            case Life.STARTING if self.old_alive and self.old_owns and len(mine) < 8:
                self.start_in_old(Life.STARTING)
            case Life.STARTING if self.new_alive and "new" not in self.own.holders and self.new_owns and len(mine) < 8:
                backend = self.make_backend(Life.STARTING)
                self.of_new.add(backend)
                self.theirs.watched.add(backend)
            case Life.READY | Life.DEAD if which < len(mine):
                backend = mine[which]
                if backend.life is Life.STARTING or what is Life.DEAD:
                    backend.life = what

    # What must hold.

    @invariant()
    def a_backend_has_one_owner_at_most(self) -> None:
        """Whoever is alive."""
        assert not (self.old_owns and self.new_owns)

    @invariant()
    def each_backend_has_one_owner_at_most(self) -> None:
        """Whatever was sent, and whatever was believed of it."""
        assert not self.of_old & self.of_new

    @invariant()
    def no_backend_is_lost(self) -> None:
        """It has an owner, or whoever decides about it lives and it is watched: so it ends with him at worst."""
        for backend in self.own.watched | self.theirs.watched:
            if not backend.alive or backend in self.of_old or backend in self.of_new:
                continue
            watched = backend in self.own.watched and bool(self.own.holders)
            returning = self.old_alive and self.old.state in LIMBO and backend in self.going
            coming = self.new_alive and "new" in self.own.holders and not self.old_alive
            assert watched
            assert returning or coming

    @invariant()
    def no_guardian_ends_what_somebody_owns(self) -> None:
        """Each proxy has the other's guardian forget what it has adopted, and nothing else."""
        assert not self.of_new & self.own.watched or self.own.holders

    @invariant()
    def somebody_accepts(self) -> None:
        """Or is about to learn that he has to; unless both are dead, or the only one who could died."""
        if self.old_accepts or self.new_accepts:
            return
        if not self.old_alive and not self.new_alive:
            return
        if self.old_alive:
            # The new side had everything, for good, and died.
            assert self.death_of_new_untold or self.old.state in (OldState.DRAINING, OldState.GONE)
        else:
            orphaned = self.new is not None and self.new.state is NewState.ORPHANED
            assert self.died_too_early or self.death_of_old_untold or orphaned

    @invariant()
    def a_takeover_that_failed_leaves_the_old_side_whole(self) -> None:
        """It accepts and owns, as before."""
        if self.old_alive and self.old.state in (OldState.REFUSED, OldState.ABORTED, OldState.RETURNED):
            assert self.old_accepts
            assert self.old_owns
            assert not self.new_owns
            assert self.old.state is OldState.REFUSED or self.old.reason

    def teardown(self) -> None:
        """Without an accident it comes about; and when every process has died, no backend is left."""
        if not any(after <= self.steps for _, after in self.accidents):
            due: list[Callable[[], None]] = [lambda: None]
            while due:
                due[0]()
                for backend in self.of_old:
                    # What is on its way out has its time.
                    backend.life = Life.DEAD if backend.life is Life.LEAVING else backend.life
                due = [action for possible, action in self.actions() if possible]
            assert self.old.state is OldState.GONE
        self.end_old()
        self.end_new()
        assert not any(backend.alive for backend in self.own.watched | self.theirs.watched)


TestTakeover = Takeover.TestCase
TestTakeover.settings = settings(stateful_step_count=100)
