"""Interface through which everything in the loop sees the data plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hotswap.edge.loop.jobs import Jobs
    from hotswap.edge.loop.names import Names
    from hotswap.edge.loop.pipe import Pipe
    from hotswap.edge.loop.poller import Poller


class Log(Protocol):
    """Log of the data plane."""

    def debug(self, event: str, **fields: Any) -> Any:  # structlog's own signature
        """Log what helps a developer."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log what an operator should see."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log a defect."""


class LoopPlane(Protocol):
    """The shared parts of a data plane; see `hotswap.edge.dataplane.DataPlane`.

    Attributes:
        poller: the loop, its clock and its timers.
        buffer: what is read and passed on in one go passes through here; nobody keeps a view of it.
        names: the addresses behind the host names of backends.
        jobs: calls that would block the loop.
        pipe: where bodies pass through the kernel.
        log: where refusals, failed handshakes and pauses are told.
    """

    poller: Poller
    buffer: memoryview
    names: Names
    jobs: Jobs
    pipe: Pipe
    log: Log

    def on_crash(self, error: Exception, where: str) -> None:
        """Log an exception that reached the top of a connection."""
