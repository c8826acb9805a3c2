"""Ledgers of the backends that change hands in a takeover, one on each side: every backend has one owner.

Theory. Backends come and go while they are handed over, so what is handed over is never a list that was made at one
moment and believed at another. The old side sends every backend that it has announced, also one that has died since,
so that the new side knows when it has all of them; then whatever has become ready since, until there is nothing
left; and its COMMIT names those that go. A backend goes when it was sent *and* serves in that moment. Every other
one stays the old side's, which ends it: what is still starting, and what is on its way out already.

The new side owns what the COMMIT names, and what it was sent when the old side died before it; nothing else. What
neither side owns then, because its owner is dead, is ended by the guardian that watched it for that owner.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from hotswap.core.errors import ProxyError

BackendT = TypeVar("BackendT", bound=Hashable)


class BackendMissing(ProxyError):
    """The old side gives away a backend that was never sent."""


class HandingLedger(Generic[BackendT]):
    """Backends that the old side has announced and sent.

    Attributes:
        announced: those that are sent first, dead or alive, and alone; the new side goes on when it has them.
    """

    def __init__(self) -> None:
        self.announced: tuple[BackendT, ...] = ()
        self._sent: set[BackendT] = set()

    def announce(self, serving: Iterable[BackendT]) -> tuple[BackendT, ...]:
        """Announce the backends that serve now, which are sent afterwards; gives them."""
        self.announced = tuple(serving)
        return self.announced

    def due(self, serving: Iterable[BackendT]) -> tuple[BackendT, ...]:
        """Give what is sent later: what serves by now and was not announced."""
        return tuple(one for one in serving if one not in self._sent)

    def note_sent(self, backend: BackendT) -> None:
        """A backend is sent, or is told to be gone."""
        self._sent.add(backend)

    def going(self, serving: Iterable[BackendT]) -> tuple[BackendT, ...]:
        """Give what the new side owns from now on: what was sent and serves. Everything else stays."""
        return tuple(one for one in serving if one in self._sent)


class AdoptionLedger(Generic[BackendT]):
    """Backends that the new side expects and has received.

    Attributes:
        received: what was received, in this order: ours, should the old side be dead.
    """

    def __init__(self) -> None:
        self.received: list[BackendT] = []
        self._missing: set[BackendT] = set()

    def expect(self, announced: Iterable[BackendT]) -> None:
        """These were announced."""
        self._missing = set(announced)

    def note_received(self, backend: BackendT, *, gone: bool = False) -> None:
        """A backend was received, or is said to be gone."""
        self._missing.discard(backend)
        if not gone:
            self.received.append(backend)

    @property
    def complete(self) -> bool:
        """Whether each announced backend has been received, or is gone."""
        return not self._missing

    def commit(self, named: Iterable[BackendT]) -> tuple[BackendT, ...]:
        """Give what is ours by the word of the old side; what it does not name is left alone.

        Raises:
            BackendMissing: it names one that was not received, so nobody would look after it.
        """
        ours = tuple(named)
        missing = [one for one in ours if one not in self.received]
        if missing:
            raise BackendMissing(f"the backend of process {missing[0]} is given away and never came")
        return ours
