"""The process that had the backends before this one, as far as a pool has to know it."""

from __future__ import annotations

from typing import Protocol

from hotswap.core.pool import Backend
from hotswap.processes.supervisor import Exit


class EarlierOwner(Protocol):
    """It may still use the same backends, and is the parent of those that it started."""

    def note_added(self, backend: Backend) -> None:
        """Tell it of a backend that can be claimed."""

    def note_gone(self, pid: int | None) -> None:
        """Tell it that a backend has ended."""

    def close_idle_clients(self) -> None:
        """Have it close idle connections, so that their clients come to this process."""

    async def release(self, pid: int | None, *, timeout: float) -> None:
        """Block until it holds no connection to a backend any more, for little longer than `timeout` seconds."""

    async def exit_of(self, pid: int) -> Exit | None:
        """Give how a backend ended that this process is not the parent of, if its parent tells in time."""
