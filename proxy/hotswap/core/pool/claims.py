"""The claims on the backends of a pool: who takes the next exchange, and how many each has.

The data plane alone claims and counts; what may be claimed it learns from the views of control. The theory is one
rule: **claim and count in one step**. `claim` chooses and counts in one plain function without an `await`, so a
drain that sees nothing in flight cannot be overtaken by a request that was "chosen, not yet counted". To keep that
step short, whatever can be decided before a request comes is decided when a view comes: only claimable backends
with room, of a pool that is not paused, are in the *rotation* at all. `claim` never asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from hotswap.core.identity import BackendId
from hotswap.core.pool.balancing import balancer
from hotswap.core.pool.candidate import Candidate
from hotswap.core.pool.outlook import Outlook
from hotswap.core.pool.view import Applied, BackendView, PoolView


class UnbalancedRelease(Exception):
    """An exchange was released that was not claimed: a fault of the caller. The count stays at 0."""


class Claims:
    """The claims of one data plane on one pool.

    Attributes:
        view: the one in force.
        candidates: its backends by id, in its order.
        on_room: called when a full backend has room again.
        on_released: called when an exchange of a backend that is not claimable has ended.
    """

    __slots__ = ("_choose", "_rotation", "candidates", "on_released", "on_room", "view")

    def __init__(
        self,
        view: PoolView,
        *,
        on_room: Callable[[], None] = lambda: None,
        on_released: Callable[[Candidate], None] = lambda _: None,
    ) -> None:
        self.on_room = on_room
        self.on_released = on_released
        self.candidates: dict[BackendId, Candidate] = {}
        self._rotation: list[Candidate] = []
        self._enforce(view)

    # The path of every request.

    def claim(self, excluding: Collection[BackendId] = ()) -> Candidate | None:
        """Choose a backend and count an exchange as in flight for it, in one step.

        Args:
            excluding: backends that this exchange has tried already.

        Returns:
            The backend, to be given to `release` exactly once, or None: then ask `outlook` whether to wait.
        """
        rotation = self._rotation
        if excluding:
            candidates = [candidate for candidate in rotation if candidate.id not in excluding]
            if not candidates:
                return None
            chosen = self._choose(candidates)
        elif rotation:
            chosen = self._choose(rotation)
        else:
            return None
        chosen.in_flight = in_flight = chosen.in_flight + 1
        chosen.served += 1
        if in_flight == chosen.max_in_flight:
            rotation.remove(chosen)
        elif chosen is not rotation[-1]:
            rotation.remove(chosen)
            rotation.append(chosen)
        return chosen

    def release(self, candidate: Candidate) -> None:
        """Count a claimed exchange as ended, however it ended and whatever became of its backend since.

        Raises:
            UnbalancedRelease: nothing was in flight.
        """
        before = candidate.in_flight
        candidate.in_flight = before - 1
        # The first test is true for 0 of an unlimited backend too; whatever is rare is behind this line.
        if before == candidate.max_in_flight or before < 1 or not candidate.claimable:
            self._released(candidate, before)

    def _released(self, candidate: Candidate, before: int) -> None:
        if before < 1:
            candidate.in_flight = 0
            raise UnbalancedRelease(f"backend {candidate.id} of pool {candidate.pool} has nothing in flight")
        if not candidate.claimable:
            self.on_released(candidate)
        elif not self.view.paused and not self.left_out(candidate):
            self._rotation.append(candidate)
            self.on_room()

    # What control decides.

    def apply(self, view: PoolView) -> Applied:
        """Put a view in force, unless a later one is; from here on nothing is claimed that it does not allow."""
        if view.version > self.view.version:
            self._enforce(view)
        return Applied(
            version=self.view.version,
            in_flight={candidate.id: candidate.in_flight for candidate in self.candidates.values()},
        )

    def _enforce(self, view: PoolView) -> None:
        self.view = view
        self._choose: Callable[[list[Candidate]], Candidate] = balancer(view.balance)
        before, self.candidates = self.candidates, {}
        for backend in view.backends:
            candidate = before.pop(backend.id, None) or _candidate(backend, view.pool)
            candidate.slot = backend.slot
            candidate.state = backend.state
            candidate.claimable = backend.claimable
            candidate.ejected = backend.ejected
            candidate.sendfile = backend.sendfile
            candidate.max_in_flight = view.max_in_flight
            self.candidates[backend.id] = candidate
        for gone in before.values():
            gone.claimable = False
        self._rotate()

    def set_ejected(self, candidate: Candidate, ejected: bool) -> None:
        """Prefer others to a backend from now on, or no longer; the next view of control has the last word."""
        if candidate.ejected is not ejected:
            candidate.ejected = ejected
            self._rotate()

    def left_out(self, candidate: Candidate) -> bool:
        """Whether a backend gets nothing because it is ejected, and another is not."""
        return candidate.ejected and any(other.claimable and not other.ejected for other in self.candidates.values())

    def _rotate(self) -> None:
        usable = [
            candidate
            for candidate in self.candidates.values()
            if candidate.claimable
            and not self.view.paused
            and not 0 < candidate.max_in_flight <= candidate.in_flight
            and not self.left_out(candidate)
        ]
        # Who was in rotation keeps his turn; who enters it goes to the end, for a gentle start.
        staying, before = set(usable), set(self._rotation)
        entered = [candidate for candidate in usable if candidate not in before]
        self._rotation = [candidate for candidate in self._rotation if candidate in staying] + entered

    # Questions.

    @property
    def in_flight(self) -> int:
        """Exchanges in flight in the whole pool."""
        return sum(candidate.in_flight for candidate in self.candidates.values())

    def outlook(self) -> Outlook:
        """Tell what a request can expect now."""
        if self.view.paused:
            return Outlook.EXPECTED if self.view.answer is None else Outlook.ANSWERED
        if self._rotation:
            return Outlook.CLAIMABLE
        if any(candidate.claimable for candidate in self.candidates.values()):
            return Outlook.BUSY
        return Outlook.EXPECTED if self.view.expecting else Outlook.HOPELESS


def _candidate(backend: BackendView, pool: str) -> Candidate:
    return Candidate(
        id=backend.id,
        pool=pool,
        slot=backend.slot,
        generation=backend.generation,
        address=backend.address,
        h2c=backend.h2c,
        state=backend.state,
    )
