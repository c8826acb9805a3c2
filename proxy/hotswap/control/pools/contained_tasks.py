"""Tasks that end by themselves at worst: what is raised in one is told and goes no further."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from structlog.typing import FilteringBoundLogger


class ContainedTasks:
    """The tasks of one owner.

    Attributes:
        nursery: where they run; None while there is none, and then nothing is started.
    """

    def __init__(
        self, log: FilteringBoundLogger, event: str, *, on_crash: Callable[[Exception], None] | None = None
    ) -> None:
        """Begin with none; a crash is logged as this event, then `on_crash` is called, which must not raise."""
        self.nursery: trio.Nursery | None = None
        self._log = log
        self._event = event
        self._on_crash = on_crash

    def start(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run something from now on."""
        if self.nursery is not None:
            self.nursery.start_soon(self.contain, work, *arguments)

    async def contain(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run something here and now; only a cancellation gets out of it."""
        try:
            await work(*arguments)
        except Exception as error:
            self._log.error(self._event, task=work.__qualname__, exc_info=error)
            if self._on_crash is not None:
                self._on_crash(error)
