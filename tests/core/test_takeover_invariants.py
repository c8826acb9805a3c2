"""Both sides of a takeover in one world in which anything may go wrong at any moment.

Messages are lost or cut off, either process dies or falls silent until the other has waited too long, work
fails. Two things must hold whatever happens: a backend never has two owners, and there is always somebody who
accepts, or who is about to notice that it is his turn.
"""

from __future__ import annotations

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.core.takeover_machine import Machine
from proxy.core.takeover_new import NewCommand, NewEvent, NewState, new_side
from proxy.core.takeover_old import OldCommand, OldEvent, OldState, old_side

TO_NEW = {
    OldCommand.SEND_WELCOME: NewEvent.WELCOMED,
    OldCommand.SEND_REFUSE: NewEvent.REFUSED,
    OldCommand.SEND_LISTENERS: NewEvent.LISTENER_RECEIVED,
    OldCommand.SEND_STATE: NewEvent.STATE_RECEIVED,
    OldCommand.SEND_BACKENDS: NewEvent.BACKEND_RECEIVED,
    OldCommand.SEND_CHANGES: NewEvent.BACKEND_RECEIVED,
    OldCommand.SEND_COMMIT: NewEvent.COMMIT_RECEIVED,
    OldCommand.SEND_RELEASED: NewEvent.RELEASED_RECEIVED,
    OldCommand.SEND_BYE: NewEvent.BYE_RECEIVED,
}
TO_OLD = {
    NewCommand.SEND_ACK: OldEvent.ACKNOWLEDGED,
    NewCommand.SEND_NAK: OldEvent.NAK_RECEIVED,
    NewCommand.SEND_PREPARED: OldEvent.PREPARED_RECEIVED,
    NewCommand.SEND_LIVE: OldEvent.LIVE_RECEIVED,
}


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
        self.to_new: deque[NewEvent] = deque()
        self.gap_to_old = self.gap_to_new = False
        self.channel_ended_for_old = self.channel_ended_for_new = False
        self.death_of_new_untold = self.death_of_old_untold = False
        self.died_too_early = False
        self.preparing = False

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
            case OldCommand.LET_GO:
                self.old_owns = False
            case OldCommand.TAKE_BACK:
                self.old_owns = True
            case OldCommand.STOP_ACCEPTING:
                self.old_accepts = False
            case OldCommand.ACCEPT_AGAIN:
                self.old_accepts = True
            case _ if command in TO_NEW:
                self.to_new.append(TO_NEW[command])

    def tell_new(self, event: NewEvent) -> None:
        machine = self.new
        if machine is None or not self.new_alive or machine.ended:
            return
        if not machine.knows(event):
            event = NewEvent.CHANNEL_BROKEN
            if not machine.knows(event):
                return
        for command in machine.on(event, now=self.now):
            match command:
                case NewCommand.SERVE:
                    self.new_accepts = self.new_owns = True
                case NewCommand.PREPARE:
                    self.preparing = True
                case NewCommand.LEAVE:
                    self.end_new()
                case _ if command in TO_OLD:
                    self.to_old.append(TO_OLD[command])
        if event is NewEvent.BACKEND_RECEIVED and machine.state is NewState.BACKENDS:
            self.tell_new(NewEvent.SET_COMPLETE)

    def end_new(self) -> None:
        if self.new_alive:
            self.new_alive = self.new_accepts = self.new_owns = False
            self.death_of_new_untold = True
            # What it had sent can still be read; what was sent to it is gone.
            self.to_new.clear()

    def end_old(self) -> None:
        if self.old_alive:
            self.old_alive = self.old_accepts = self.old_owns = False
            self.death_of_old_untold = True
            self.to_old.clear()

    # What may happen.

    @initialize(passes=st.booleans())
    def preflight(self, passes: bool) -> None:
        """The new code on disk is fit, or not."""
        self.tell_old(OldEvent.PREFLIGHT_PASSED if passes else OldEvent.PREFLIGHT_FAILED)

    @precondition(lambda self: self.to_old and self.old_alive)
    @rule(lose=st.integers(0, 19))
    def deliver_to_old(self, lose: int) -> None:
        """A message arrives, or, now and then, is lost, which the one behind it shows."""
        event = self.to_old.popleft()
        if lose == 0:
            self.gap_to_old = True
        else:
            self.tell_old(OldEvent.CHANNEL_BROKEN if self.gap_to_old else event)

    @precondition(lambda self: self.to_new and self.new_alive)
    @rule(lose=st.integers(0, 19))
    def deliver_to_new(self, lose: int) -> None:
        """A message arrives, or, now and then, is lost, which the one behind it shows."""
        event = self.to_new.popleft()
        if lose == 0:
            self.gap_to_new = True
        else:
            self.tell_new(NewEvent.CHANNEL_BROKEN if self.gap_to_new else event)

    @precondition(lambda self: self.preparing and self.new_alive)
    @rule(well=st.integers(0, 4))
    def finish_preparing(self, well: int) -> None:
        """The new side has bound and checked everything, or could not."""
        self.preparing = False
        if self.new is not None and self.new.state is NewState.ORPHANED and not well:
            self.died_too_early = True
        self.tell_new(NewEvent.PREPARED if well else NewEvent.FAILED)

    @precondition(lambda self: self.death_of_new_untold and not self.to_old)
    @rule()
    def notice_death_of_new(self) -> None:
        """The old side sees the end of the new process, behind everything that it had sent."""
        self.death_of_new_untold = False
        self.tell_old(OldEvent.PEER_DIED)

    @precondition(lambda self: self.death_of_old_untold and not self.to_new)
    @rule()
    def notice_death_of_old(self) -> None:
        """The new side sees the end of the old process, behind everything that it had sent."""
        self.death_of_old_untold = False
        if self.new is not None and self.new.state in (
            NewState.GREETING,
            NewState.LISTENERS,
            NewState.BACKENDS,
        ):
            # It has too little to serve; only a supervisor that starts the program anew can help.
            self.died_too_early = True
        self.tell_new(NewEvent.PEER_DIED)

    @rule(which=st.sampled_from(["old", "new"]), dice=st.integers(0, 3))
    def die(self, which: str, dice: int) -> None:
        """A process is killed."""
        if dice:
            return
        if which == "old" and self.old_alive:
            # One that dies alone before anybody could help is nobody's fault here.
            self.died_too_early |= not self.new_alive or (
                self.new is not None and self.new.state in (NewState.GREETING, NewState.LISTENERS, NewState.BACKENDS)
            )
            self.end_old()
        elif which == "new":
            self.end_new()

    @rule(which=st.sampled_from(["old", "new"]), dice=st.integers(0, 3))
    def break_channel(self, which: str, dice: int) -> None:
        """The channel ends for one side while both live."""
        if dice:
            return
        if which == "old":
            self.tell_old(OldEvent.CHANNEL_BROKEN)
        else:
            self.tell_new(NewEvent.CHANNEL_BROKEN)

    @rule(which=st.sampled_from(["old", "new"]))
    def wait_too_long(self, which: str) -> None:
        """Time passes until the deadline of one side; the other was silent, or its messages are slow."""
        machine = self.old if which == "old" else self.new
        if machine is None or machine.deadline is None:
            return
        self.now = max(self.now, machine.deadline)
        if which == "old":
            self.tell_old(OldEvent.DEADLINE_PASSED)
        else:
            if machine.state is NewState.ORPHANED:
                self.died_too_early = True
            self.tell_new(NewEvent.DEADLINE_PASSED)

    @rule(event=st.sampled_from([OldEvent.STOP_ASKED, OldEvent.DRAINED]), dice=st.integers(0, 3))
    def local_news(self, event: OldEvent, dice: int) -> None:
        """An operator stops the proxy, or its last client leaves."""
        if not dice and not self.old.ended and self.old.knows(event):
            self.tell_old(event)

    # What must hold.

    @invariant()
    def a_backend_has_one_owner_at_most(self) -> None:
        """Whoever is alive."""
        assert not (self.old_owns and self.new_owns)

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


TestTakeover = Takeover.TestCase
