"""What changes about a process while it lives: its phase, and what follows from that."""

from __future__ import annotations

import pytest

from hotswap.control.process.life import Life
from hotswap.core.config import parse_draft
from hotswap.core.errors import RefusalCode
from hotswap.core.process.answers import Answer, Verb
from hotswap.core.process.phases import LENT, READY, Phase, PhaseEvent
from hotswap.core.state_machine import UnexpectedEvent
from tests.support.fake_runtime import CONFIGURATION


def begin(phase: Phase = Phase.STARTING) -> Life:
    """A life in a phase."""
    return Life(parse_draft(CONFIGURATION, origin="/nowhere/hotswap.toml").accept(), phase=phase)


async def test_a_boot_goes_from_starting_to_serving() -> None:
    """It is ready to serve once listeners accept, and booted once the pools are up."""
    life = begin()
    told = [(life.phase in READY, life.booted)]
    for event in (PhaseEvent.ACCEPTED, PhaseEvent.BOOTED):
        life.note(event)
        told.append((life.phase in READY, life.booted))
    assert told == [(False, False), (True, False), (True, True)]


async def test_a_second_stop_is_at_once() -> None:
    """The first ends what was begun, the second the graceful end as well."""
    life = begin(Phase.SERVING)
    assert life.stop() is Answer.DO
    assert life.start_scope.cancel_called
    assert not life.end_scope.cancel_called
    assert life.leaving.is_set()
    assert life.stop() is Answer.AT_ONCE
    assert life.end_scope.cancel_called


async def test_on_trial_nothing_begins_and_a_stop_waits() -> None:
    """Until nothing can return; then it stops."""
    life = begin(Phase.SUCCEEDING)
    life.note(PhaseEvent.ACCEPTED)
    assert life.on_trial
    assert life.taken_over
    assert life.booted
    life.stop()
    assert life.on_trial
    assert life.taken_over
    assert life.answer(Verb.RELOAD) is RefusalCode.SHUTTING_DOWN
    life.note(PhaseEvent.SETTLED)
    assert life.settled.is_set()
    assert life.phase is Phase.STOPPING


async def test_whoever_is_replaced_leaves_when_the_last_client_is_gone() -> None:
    """From the commit on the backends are not its own, and a takeover that returns brings them back."""
    life = begin(Phase.SERVING)
    owned = []
    for event in (PhaseEvent.TAKEOVER_BEGUN, PhaseEvent.TAKEOVER_COMMITTED, PhaseEvent.TAKEOVER_RETURNED):
        life.note(event)
        owned.append(life.phase not in LENT)
    assert owned == [True, False, True]
    for event in (PhaseEvent.TAKEOVER_BEGUN, PhaseEvent.TAKEOVER_COMMITTED, PhaseEvent.TAKEOVER_RELEASED):
        life.note(event)
    assert not life.leaving.is_set()
    life.note(PhaseEvent.TAKEOVER_ENDED)
    assert life.leaving.is_set()
    assert not life.stopping


async def test_what_cannot_happen_changes_nothing() -> None:
    """A takeover cannot begin before the boot is over."""
    life = begin(Phase.BOOTING)
    with pytest.raises(UnexpectedEvent):
        life.note(PhaseEvent.TAKEOVER_BEGUN)
    assert life.phase is Phase.BOOTING
