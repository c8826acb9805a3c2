"""One slot's turn: whatever the two processes do, in whatever order, it ends well and tells the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from hotswap.core.errors import StartFailure
from hotswap.core.rollout.commands import (
    AdmitReplacement,
    ClearSlot,
    CutOld,
    DrainOld,
    EndStep,
    KillReplacement,
    ReadmitOld,
    RetireOld,
    SpawnReplacement,
    StepCommand,
)
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
from hotswap.core.rollout.step import Step
from hotswap.core.rollout.step_table import StepState
from hotswap.core.state_machine import UnexpectedEvent
from hotswap.core.strategy import Strategy

STARTED = StepStarted(slot=0)
EMPTY = SlotFoundEmpty(slot=0)
READY = ReplacementReady(slot=0)
FAILED = ReplacementFailed(slot=0, reason=StartFailure.EXITED, detail="exit code 3", output=("boom",))
GONE = ReplacementGone(slot=0)
DRAINED = OldDrained(slot=0)
OVERDUE = DrainTimedOut(slot=0)
EXITED = OldExited(slot=0)
ABORT = AbortRequested()


def step_of(strategy: Strategy) -> Step:
    return Step(strategy, slot=0, old_generation=1, new_generation=2)


# All that two processes, a timer and an operator can do, from every situation they can be in.


@dataclass(frozen=True)
class World:
    """What is really the case, whatever the step believes."""

    old: str = "serving"  # serving, busy (draining), drained, leaving (told to go), gone
    new: str = "none"  # none, starting, serving, dying (being killed), gone
    timer: bool = False  # the drain's alarm may still ring
    unreleased: bool = False  # exchanges of a backend that was cut or died are not released yet
    aborted: bool = False


def possible(world: World) -> list[tuple[StepEvent, World]]:
    """What may happen next, and the world after it."""
    events: list[tuple[StepEvent, World]] = []
    if world.old != "gone":
        unreleased = world.unreleased or world.old == "busy"
        events.append((EXITED, replace(world, old="gone", unreleased=unreleased)))
    if world.old == "busy":
        events.append((DRAINED, replace(world, old="drained")))
    if world.unreleased:
        events.append((DRAINED, replace(world, unreleased=False)))
    if world.timer:
        events.append((OVERDUE, replace(world, timer=False)))
    if world.new == "starting":
        events.append((READY, world))
        events.append((FAILED, world))
    if world.new == "dying":
        events.append((READY, world))
        events.append((FAILED, world))
        events.append((GONE, replace(world, new="gone")))
    if not world.aborted:
        events.append((ABORT, replace(world, aborted=True)))
    return events


def perform(command: StepCommand, world: World, *, deadline_passed: bool) -> World:
    """Do what the step wants done, and complain about what must never be done."""
    match command:
        case DrainOld():
            assert world.old in ("serving", "gone")
            return replace(world, old="busy", timer=True) if world.old == "serving" else world
        case SpawnReplacement():
            assert world.new == "none"
            return replace(world, new="starting")
        case AdmitReplacement():
            assert world.new == "starting"
            return replace(world, new="serving")
        case CutOld():
            assert deadline_passed
            return replace(world, old="drained", unreleased=True)
        case RetireOld():
            assert world.old == "drained", "nobody is told to go with something in flight"
            return replace(world, old="leaving")
        case ReadmitOld():
            assert world.old in ("busy", "drained")
            return replace(world, old="serving", timer=world.timer)
        case KillReplacement():
            assert world.new == "starting"
            return replace(world, new="dying")
        case ClearSlot():
            assert world.old == "gone"
            return world
        case EndStep():
            return world


@pytest.mark.parametrize("begin", [STARTED, EMPTY], ids=["ready", "empty"])
@pytest.mark.parametrize("strategy", Strategy)
def test_every_order_of_events_ends_well(strategy, begin):
    """All of them are tried: each event that can happen has its row, and each end leaves no loose process."""
    start = World(old="gone") if begin is EMPTY else World()
    seen: set[tuple[World, StepState, bool]] = set()
    todo: list[tuple[World, tuple[StepEvent, ...]]] = [(start, (begin,))]
    ends = 0
    while todo:
        world, history = todo.pop()
        step = step_of(strategy)
        for event in history:
            commands = step.on(event, now=0.0)
        after = world
        for command in commands:
            after = perform(command, after, deadline_passed=OVERDUE in history)
        if step.ended:
            ends += 1
            assert after.new in ("none", "serving", "gone"), "every spawned process ends ready or reaped"
            if step.state is StepState.DONE:
                assert (after.old, after.new) == ("gone", "serving")
            else:
                assert after.new != "serving"
                retired = strategy is Strategy.STOP_FIRST or EXITED in history or begin is EMPTY
                assert after.old == "serving" or retired, "the old backend is claimable again"
            assert (step.state is StepState.ABORTED) <= (ABORT in history)
            assert (step.state is StepState.FAILED) is (step.failure is not None)
            continue
        situation = (after, step.state, OVERDUE in history)
        if situation in seen:
            continue
        seen.add(situation)
        todo.extend((then, (*history, event)) for event, then in possible(after))
    assert ends >= 3


# What it tells.


@pytest.mark.parametrize(
    ("strategy", "story", "expected"),
    [
        (
            Strategy.DRAIN_FIRST,
            [(10, STARTED), (11, DRAINED), (14, READY), (15.5, EXITED)],
            {"starting": 4, "draining": 1, "stopping": 1.5, "total": 5.5},
        ),
        (
            Strategy.DRAIN_FIRST,
            [(10, STARTED), (12, READY), (40, OVERDUE), (41, EXITED)],
            {"starting": 2, "draining": 30, "stopping": 1, "total": 31},
        ),
        (
            Strategy.DRAIN_FIRST,
            [(10, STARTED), (13, EXITED), (17, READY)],
            {"starting": 7, "draining": 3, "stopping": 0, "total": 7},
        ),
        (
            Strategy.DRAIN_FIRST,
            [(10, STARTED), (13, FAILED), (14, GONE)],
            {"starting": 3, "draining": 3, "stopping": 0, "total": 4},
        ),
        (
            Strategy.SURGE,
            [(10, STARTED), (12, READY), (15, DRAINED), (16, EXITED)],
            {"starting": 2, "draining": 3, "stopping": 1, "total": 6},
        ),
        (
            Strategy.STOP_FIRST,
            [(10, STARTED), (11, DRAINED), (13, EXITED), (17, READY)],
            {"starting": 4, "draining": 1, "stopping": 2, "total": 7},
        ),
        (
            Strategy.STOP_FIRST,
            [(10, EMPTY), (13, READY)],
            {"starting": 3, "draining": 0, "stopping": 0, "total": 3},
        ),
    ],
)
def test_the_phases_are_timed(strategy, story, expected):
    """In seconds of whatever clock the caller passes; a phase that never was takes none."""
    step = step_of(strategy)
    for now, event in story:
        step.on(event, now=now)
    assert step.ended
    seconds = step.report(now=1000.0).seconds
    assert {name: getattr(seconds, name) for name in expected} == expected


def test_a_phase_that_goes_on_is_timed_until_now():
    """For the progress that a waiting operator sees."""
    step = step_of(Strategy.DRAIN_FIRST)
    step.on(STARTED, now=10.0)
    seconds = step.report(now=12.0).seconds
    assert (seconds.starting, seconds.draining, seconds.stopping, seconds.total) == (2.0, 2.0, 0.0, 2.0)


def test_the_time_before_its_turn_is_not_its_time():
    """A crash while it waits neither starts the clock nor counts as the end of the old one."""
    step = step_of(Strategy.SURGE)
    step.on(EXITED, now=1.0)
    assert not step.old_gone
    assert step.report(now=5.0).seconds.total == 0.0


def test_a_kill_is_told_and_is_not_a_failure():
    """An old backend that would not go was made to go."""
    step = step_of(Strategy.DRAIN_FIRST)
    for event in (STARTED, DRAINED, READY, OldExited(slot=0, killed=True)):
        step.on(event, now=0.0)
    report = step.report(now=0.0)
    assert report.killed
    assert report.state is StepState.DONE
    assert report.reason is None


def test_a_failure_is_told_with_its_reason():
    """And a process that dies of being killed does not replace the reason."""
    step = step_of(Strategy.DRAIN_FIRST)
    step.on(STARTED, now=0.0)
    step.on(FAILED, now=1.0)
    step.on(replace(FAILED, detail="killed"), now=2.0)
    step.on(GONE, now=3.0)
    assert step.failure is FAILED
    assert (step.report(now=9.0).reason, step.report(now=9.0).detail) == ("exited", "exit code 3")


def test_a_replacement_killed_by_an_abort_has_not_failed():
    """Its death is what was asked for."""
    step = step_of(Strategy.DRAIN_FIRST)
    for event in (STARTED, ABORT, FAILED, GONE):
        step.on(event, now=0.0)
    assert step.state is StepState.ABORTED
    assert step.failure is None


def test_the_replacement_carries_the_new_generation():
    """The command says which release is to be started."""
    commands = step_of(Strategy.DRAIN_FIRST).on(STARTED, now=0.0)
    assert commands == (DrainOld(slot=0), SpawnReplacement(slot=0, generation=2))


def test_an_event_without_a_row_changes_nothing():
    """It raises, and the step is where it was."""
    step = step_of(Strategy.SURGE)
    with pytest.raises(UnexpectedEvent):
        step.on(GONE, now=0.0)
    assert step.state is StepState.PENDING


def test_the_wait_for_a_place_to_boot_is_not_the_time_of_a_slot():
    """Several empty slots are taken up at once, and boot as many at a time as there are processors."""
    step = step_of(Strategy.DRAIN_FIRST)
    step.on(EMPTY, now=10.0)
    step.note_spawned(25.0)
    step.on(READY, now=27.0)
    seconds, offsets = step.report(99.0, origin=10.0).seconds, step.report(99.0, origin=10.0).offsets
    assert (seconds.starting, seconds.total) == (2.0, 2.0)
    assert (offsets.turn, offsets.starting) == (15.0, 15.0)


def test_where_an_old_backend_drains_the_turn_began_with_that():
    """A late spawn changes nothing of it."""
    step = step_of(Strategy.DRAIN_FIRST)
    step.on(STARTED, now=10.0)
    step.note_spawned(12.0)
    assert step.report(15.0).seconds.total == 5.0
