"""Whether a slot expects a backend: is one that can be claimed there, or is one coming?

In a supervised pool a slot expects one unless there is a reason for the contrary, so that nobody has to
announce the ordinary (a boot, a crash, the moment between an old process and its replacement):

| the slot | expects a backend |
|---|---|
| is announced | yes, until something is added to it or the pool is locked |
| had `CRASH_LOOP` failed starts in a row of one generation | no, until one of them becomes ready |
| has a backend that starts, or is ready whatever its health | yes: the process lives and is probed |
| has only a draining backend | no: it returns only when an operator says so |
| has nothing | yes, unless the pool is locked: then nobody respawns it |

A static pool expects only what its first probes may find: somebody else runs those addresses, so an unhealthy one
is given up until a probe passes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hotswap.core.pool.backend import Backend
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import BackendState, Health

CRASH_LOOP = 3
"""Failed starts in a row after which a slot expects nothing: requests are answered at once instead of held."""


# Not frozen: one record lives as long as its slot, and only the pool writes to it.
@dataclass(slots=True)
class SlotRecord:
    """What is known of a slot beyond the backends in it.

    Attributes:
        announced: somebody said that a backend will come.
        failed_starts: starts of this generation that failed in a row.
        generation: the generation the row is about.
        error: why it was not well last; None once a backend in it has been healthy since.
    """

    announced: bool = False
    failed_starts: int = 0
    generation: int = 0
    error: LastError | None = None

    def note_added(self, generation: int) -> None:
        """A backend was added: announcements are fulfilled, another generation begins with a clean record."""
        self.announced = False
        if generation != self.generation:
            self.generation = generation
            self.failed_starts = 0

    def note_moved(self, before: BackendState, after: BackendState) -> None:
        """A backend changed its state: failed starts count up, and being ready wipes them out."""
        if BackendState.READY in (before, after):
            self.failed_starts = 0
        elif after is BackendState.FAILED:
            self.failed_starts += 1

    def note_error(self, error: LastError, *, unborn: bool) -> None:
        """Something went wrong in it; `unborn`: a start that had not even a process."""
        self.error = error
        if unborn:
            self.failed_starts += 1

    def note_healthy(self) -> None:
        """A backend in it is well."""
        self.error = None

    def note_unlocked(self) -> None:
        """The pool was unlocked: the row begins anew; why it is not well stays known until it is."""
        self.announced = False
        self.failed_starts = 0

    def note_locked(self) -> None:
        """The pool was locked: what was announced will not come."""
        self.announced = False

    def expects(self, backends: Collection[Backend], *, locked: bool) -> bool:
        """Judge a slot of a supervised pool by the table above, from what is in it now."""
        if self.announced:
            return True
        if self.failed_starts >= CRASH_LOOP:
            return False
        states = {backend.state for backend in backends}
        if BackendState.STARTING in states or BackendState.READY in states:
            return True
        return BackendState.DRAINING not in states and not locked


def static_expects(backends: Collection[Backend]) -> bool:
    """Judge a slot of a static pool: in rotation, and not known to be unhealthy."""
    return any(backend.state is BackendState.READY and backend.health is not Health.UNHEALTHY for backend in backends)
