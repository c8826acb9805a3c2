"""A pool's entries, changed by control: by its supervisor, and by hand.

A change has been made when its observers are told, so an observer that fails is a defect of ours that must not
break off what the supervisor is in the middle of; it is logged, and not raised.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.core.address import Address
from hotswap.core.errors import RefusalCode, Refused
from hotswap.core.http.sendfile import SendfileRoots
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import TRANSITIONS, BackendState, Health
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.pool.pool import Pool


class Entries:
    """Changes the backends of one pool, and logs the observers that fail."""

    def __init__(self, core: Pool, log: FilteringBoundLogger) -> None:
        self.core = core
        self._log = log

    def tell(self, change: Callable[[], object]) -> None:
        """Make a change; what goes wrong with its observers is logged."""
        try:
            change()
        except ExceptionGroup as faults:
            self._log.error("pool.observer_crashed", exc_info=faults)

    def move(self, backend: Backend, state: BackendState) -> None:
        """Change what a backend is for.

        Raises:
            IllegalTransition: the lifecycle has no such row; a defect of the caller.
        """
        self.tell(lambda: self.core.move(backend, state, now=trio.current_time()))

    def add(
        self,
        *,
        slot: int,
        generation: int,
        address: Address,
        h2c: bool,
        pid: int | None = None,
        directory: str = "",
        sendfile: SendfileRoots = (),
        state: BackendState = BackendState.STARTING,
        health: Health = Health.UNKNOWN,
    ) -> Backend:
        """Put a new backend into a slot, beside whatever fills it already."""
        now = trio.current_time()
        self.tell(
            lambda: self.core.add(
                slot=slot,
                generation=generation,
                address=address,
                h2c=h2c,
                pid=pid,
                directory=directory,
                sendfile=sendfile,
                state=state,
                health=health,
                now=now,
            )
        )
        return self.core.backends[-1]

    def set_health(self, backend: Backend, health: Health, detail: str = "") -> None:
        """Set the verdict over a backend, with what the probe found."""
        self.tell(lambda: self.core.set_health(backend, health, detail))

    def note_error(self, slot: int, error: LastError, *, unborn: bool = False) -> None:
        """Keep why a slot is not well; `unborn`: its start had not even a process."""
        self.tell(lambda: self.core.note_error(slot, error, unborn=unborn))

    def admit(self, backend: Backend, *, drained: bool = False, health: Health = Health.HEALTHY) -> None:
        """Make a backend that was found ready claimable if it is healthy, or only ready to be, in a drained slot."""
        # Its health last: so one that is drained is never claimable in between.
        self.move(backend, BackendState.READY)
        if drained:
            self.move(backend, BackendState.DRAINING)
        self.set_health(backend, health)

    def remove(self, backend: Backend) -> None:
        """Forget a backend; harmless when it is forgotten."""
        if backend in self.core.backends:
            self.tell(lambda: self.core.remove(backend))

    def bury(self, backend: Backend) -> None:
        """Forget a backend that is dead or as good as dead, as stopped where its state allows it."""
        if BackendState.STOPPED in TRANSITIONS[backend.state]:
            self.move(backend, BackendState.STOPPED)
        self.remove(backend)

    # By hand.

    def drain(self, backend: Backend) -> bool:
        """Let nothing new be claimed for a backend, and leave it running; what is in flight goes on.

        The last backend that can be claimed is not drained: its requests would be answered 503 at once, and who
        wants none of them answered has `pause`, which holds them.

        Returns:
            False when it was drained already.

        Raises:
            Refused: no other backend could be claimed then.
        """
        core = self.core
        if backend.state is BackendState.DRAINING:
            return False
        if not any(other.claimable for other in core.backends if other is not backend):
            raise Refused(
                RefusalCode.NOT_READY,
                f"no other backend of pool {core.name} can serve; to hold its requests: hotswap pause {core.name}",
                self.describe_slot(backend.slot),
            )
        self.move(backend, BackendState.DRAINING)
        return True

    def readmit(self, backend: Backend) -> bool:
        """Bring a drained backend back into rotation.

        Returns:
            False when it is in rotation, as far as its health allows.
        """
        if backend.state is not BackendState.DRAINING:
            return False
        self.move(backend, BackendState.READY)
        return True

    def pause(self, answer: PauseAnswer | None = None) -> bool:
        """Hold the requests for the pool, within its limits, or answer them; False when that was so already."""
        if self.core.paused and self.core.answer == answer:
            return False
        self.tell(lambda: self.core.pause(answer))
        self._log.info("pool.paused", **({} if answer is None else {"answer": answer.tell()}))
        return True

    def resume(self) -> bool:
        """Let the requests for the pool go on; False when it was not paused."""
        if not self.core.paused:
            return False
        self.tell(self.core.resume)
        self._log.info("pool.resumed")
        return True

    def describe_slot(self, number: int) -> dict[str, object]:
        """Give the facts that a verb about a slot is judged by, for JSON."""
        return {
            "pool": self.core.name,
            "slot": number,
            "slots": self.core.size,
            "ready": len(self.core.ready_slots()),
            "states": [backend.state.value for backend in self.core.backends if backend.slot == number],
        }
