"""The directories of a pool's releases whose files are answered: of those that serve, and of the two before.

A page names files of the release that rendered it, and a browser asks for them a moment or an hour later. So the files
of a release are answered from the instant in which its first backend may be claimed, and for two releases longer than
its last backend serves. What failed to start was seen by nobody, and is not among them; what a rollback took back is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState

BEFORE: Final = 2
"""How many releases are remembered that serve no more."""

_SERVING: Final = frozenset({BackendState.READY, BackendState.DRAINING})
_RETURNING: Final = frozenset({BackendState.STARTING, BackendState.BACKOFF})


class ReleaseDirectories:
    """The directories of one pool, in the order in which they are asked: newest first.

    Attributes:
        asked: those that serve, by generation, and behind them those before, by when they served last.
    """

    __slots__ = ("asked",)

    def __init__(self, asked: Iterable[str] = ()) -> None:
        """Begin with those that are known already, in their order."""
        self.asked: tuple[str, ...] = tuple(dict.fromkeys(asked))

    def update(self, backends: Iterable[Backend]) -> None:
        """Bring them up to date with all backends of the pool, whatever their state.

        A release that is between two processes (a crash, an adoption) keeps its place and is none of the two before.
        While nothing serves nobody is forgotten, since nothing has come instead.
        """
        serving: dict[str, int] = {}
        returning = set()
        for backend in backends:
            if not backend.directory:
                continue
            if backend.state in _SERVING:
                serving[backend.directory] = max(serving.get(backend.directory, 0), backend.generation)
            elif backend.state in _RETURNING:
                returning.add(backend.directory)
        if not serving:
            return
        asked = sorted(serving, key=lambda directory: -serving[directory])
        left = BEFORE
        for directory in self.asked:
            if directory in serving:
                continue
            if directory not in returning:
                if not left:
                    continue
                left -= 1
            asked.append(directory)
        if asked != list(self.asked):  # the same tuple says at a glance that nothing has changed
            self.asked = tuple(asked)
