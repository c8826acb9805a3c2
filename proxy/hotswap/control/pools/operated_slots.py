"""Slots of a supervised pool in an operator's hands: taken out of rotation, and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap.control.pools import rotation
from hotswap.core.errors import RefusalCode, Refused, UnknownSlot
from hotswap.core.lifecycle import BackendState

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from hotswap.control.pools.entries import Entries
    from hotswap.control.pools.slot import Slot
    from hotswap.control.pools.supervised_backend import SupervisedBackend
    from hotswap.core.identity import RolloutId
    from hotswap.core.pool import Pool


class OperatedSlots:
    """The part of a supervised pool that orders about one slot are given to."""

    name: str
    core: Pool
    entries: Entries
    log: FilteringBoundLogger
    members: list[SupervisedBackend]
    slots: dict[int, Slot]
    stopping: bool

    @property
    def rollout_id(self) -> RolloutId | None:
        """The rollout that is in progress."""
        raise NotImplementedError

    def readmit(self, member: SupervisedBackend) -> bool:
        """Bring a drained backend back into rotation."""
        raise NotImplementedError

    def member_in(self, slot: int, generation: int | None = None) -> SupervisedBackend | None:
        """Give the backend that serves or drains in a slot, the newest if there are two."""
        for member in reversed(self.members):
            backend = member.backend
            serves = backend.state in (BackendState.READY, BackendState.DRAINING)
            if serves and not member.leaving and backend.slot == slot and generation in (None, backend.generation):
                return member
        return None

    def drain_slot(self, number: int) -> None:
        """Take the backend of a slot out of rotation and leave it running, until the slot is readmitted.

        The order is about the slot: a backend that dies is respawned as any other, and its successor is drained.

        Raises:
            UnknownSlot: there is no such slot.
            Refused: a rollout is in progress, or no other backend could be claimed then.
        """
        member = self._ready_in(number)
        changed = rotation.drain(member.backend, self.entries)
        self.slots[number].drained = True
        if changed:
            member.log.info("backend.draining", by="operator")

    def readmit_slot(self, number: int) -> None:
        """Bring a drained slot back into rotation; nothing happens when it is there.

        One whose backend has just died is in rotation as soon as the next one is ready.

        Raises:
            UnknownSlot: there is no such slot.
            Refused: a rollout is in progress, or the slot is not drained and has no backend that is ready.
        """
        if self.is_drained(number) and self._serving_in(number) is None:
            self._check_operable(number)
            self.log.info("backend.readmitted", slot=number, by="operator")
        else:
            member = self._ready_in(number)
            if self.readmit(member):
                member.log.info("backend.readmitted", by="operator")
        self.slots[number].drained = False

    def is_drained(self, number: int) -> bool:
        """Whether an operator has taken a slot out of rotation."""
        return number in self.slots and self.slots[number].drained

    def _check_operable(self, number: int) -> dict[str, object]:
        if not 0 <= number < self.core.size:
            raise UnknownSlot(number, range(self.core.size))
        state = {**rotation.describe_slot(self.core, number), "rollout": self.rollout_id}
        if self.stopping:
            raise Refused(RefusalCode.SHUTTING_DOWN, "the proxy is shutting down", state)
        if self.rollout_id is not None:
            detail = f"rollout {self.rollout_id} of pool {self.name} is in progress"
            raise Refused(RefusalCode.ROLLOUT_IN_PROGRESS, detail, state)
        return state

    def _serving_in(self, number: int) -> SupervisedBackend | None:
        member = self.member_in(number)
        return member if member is not None and member.alive else None

    def _ready_in(self, number: int) -> SupervisedBackend:
        state = self._check_operable(number)
        member = self._serving_in(number)
        if member is None:
            detail = f"slot {number} of pool {self.name} has no backend that is ready"
            raise Refused(RefusalCode.NOT_READY, detail, state)
        return member
