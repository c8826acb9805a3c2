"""The life of this process: its phase, its number, and the configuration that is in force."""

from __future__ import annotations

from pathlib import Path

import structlog
import trio
from structlog.typing import FilteringBoundLogger

from hotswap.core.config import Configuration
from hotswap.core.errors import RefusalCode
from hotswap.core.process.answers import ANSWERS, Answer, Verb
from hotswap.core.process.phases import BOOTING, ON_TRIAL, PHASE_TABLE, STOPPING, Phase, PhaseEvent
from hotswap.core.state_machine import Machine


class Life:
    """What changes about the process while it lives.

    Attributes:
        config: what is in force.
        log: for what belongs to no pool.
        incarnation: number of this process among those that took over from each other; 1 for the first.
        successor: the process that has everything now; 0 while there is none.
        earlier_directories: state directories of the processes before this one.
        changed: set and made anew whenever something is to be told to the service manager.
        leaving: set once the process is to end.
        start_scope: what goes on until then; cancelled by a stop.
        end_scope: the graceful end; cancelled by a second stop.
        settled: set while everything is ours for good, as it is from the start where nothing was taken over.
    """

    def __init__(self, config: Configuration, *, phase: Phase) -> None:
        """Begin with a configuration, in one of `PHASE_STARTS`."""
        self._machine = Machine("a process", PHASE_TABLE, phase)
        self.config = config
        self.log: FilteringBoundLogger = structlog.get_logger()
        self.incarnation = 1
        self.successor = 0
        self.earlier_directories: tuple[Path, ...] = ()
        self.changed = trio.Event()
        self.leaving = trio.Event()
        self.start_scope = trio.CancelScope()
        self.end_scope = trio.CancelScope()
        self.settled = trio.Event()
        if phase is not Phase.SUCCEEDING:
            self.settled.set()

    def note(self, event: PhaseEvent) -> None:
        """Take note of what happened to the process.

        Raises:
            UnexpectedEvent: it cannot happen in this phase; nothing was changed.
        """
        self._machine.on(event)
        if self.stopping or self.phase is Phase.DEPARTED:
            self.leaving.set()
        if event is PhaseEvent.SETTLED:
            self.settled.set()
            self.changed.set()

    def stop(self) -> Answer | RefusalCode:
        """End gracefully; asked a second time, at once. Gives which of them it is."""
        answer = self.answer(Verb.STOP)
        if answer is Answer.AT_ONCE:
            self.end_scope.cancel()
        self.note(PhaseEvent.STOP_ASKED)
        self.start_scope.cancel()
        return answer

    def answer(self, verb: Verb) -> Answer | RefusalCode:
        """Give what is answered to an order in this phase; a code is a refusal."""
        return ANSWERS[self.phase][verb]

    @property
    def phase(self) -> Phase:
        """Where it is; changed by `note`."""
        return self._machine.state

    @property
    def stopping(self) -> bool:
        """It was told to stop; nothing is started any more."""
        return self.phase in STOPPING

    @property
    def booted(self) -> bool:
        """Every pool has been ready, here or in the process before this one."""
        return self.phase not in BOOTING

    @property
    def on_trial(self) -> bool:
        """It has taken over, and everything could still return."""
        return self.phase in ON_TRIAL

    @property
    def taken_over(self) -> bool:
        """A takeover is going on, so operators have to ask afterwards."""
        return self.answer(Verb.OPERATE) is RefusalCode.TAKEOVER_IN_PROGRESS
