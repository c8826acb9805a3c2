"""Commands of a rollout to its executor, in the imperative.

Commands are carried out in the order given. One that finds its work done already (a drain of a process that
has just died) is carried out by doing nothing; the event that tells of it is on its way. Events that a
command brings about at once may be fed to the rollout while the rest of the commands still waits: its state
was final before it returned them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a rollout ends; every one ends."""

    RUNNING = "running"
    DONE = "done"
    """Every slot was replaced."""
    FAILED = "failed"
    """A replacement did not become ready, or slots were lost."""
    ABORTED = "aborted"
    """It was asked to end before every slot was replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCommand:
    """A command about one slot."""

    slot: int


class ClearSlot(SlotCommand):
    """End every attempt to fill the slot: a pending respawn, a process that is still starting."""


class DrainOld(SlotCommand):
    """Make the old backend draining, start the clock of `drain_timeout`, and report `OldDrained` when it is.

    Announce the slot as well (`Pool.announce`): what drains for a rollout is followed by a replacement.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnReplacement(SlotCommand):
    """Start a backend of this generation, and report `ReplacementReady` or `ReplacementFailed`.

    Attributes:
        generation: the release to start is the one pinned by this generation; in a rollback that is an
        earlier one.
    """

    generation: int


class AdmitReplacement(SlotCommand):
    """Make the replacement claimable; from now on the slot's release is its release, also for a respawn."""


class CutOld(SlotCommand):
    """End by force what is still in flight for the old backend, and count it."""


class RetireOld(SlotCommand):
    """Close every connection to the old backend, ask it to stop, kill it after `stop_timeout`; report
    `OldExited`."""


class ReadmitOld(SlotCommand):
    """Make the old backend claimable again."""


class KillReplacement(SlotCommand):
    """Kill the replacement, which nothing was ever sent to, reap it and report `ReplacementGone`."""


class EndStep(SlotCommand):
    """The slot's turn is over: report how, which its state says (`done`, `failed` or `aborted`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForSlots:
    """Report `SlotsSeen` now and after each change until a step starts, or `WaitTimedOut` when it takes too
    long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPool:
    """Lock the pool for this reason."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRollout:
    """The rollout is over: publish its report, and, unless the pool is locked, respawn what its slots
    lack."""

    outcome: Outcome


StepCommand = (
    ClearSlot
    | DrainOld
    | SpawnReplacement
    | AdmitReplacement
    | CutOld
    | RetireOld
    | ReadmitOld
    | KillReplacement
    | EndStep
)
"""What a step wants done."""

Command = StepCommand | WaitForSlots | LockPool | EndRollout
"""What a rollout wants done."""
