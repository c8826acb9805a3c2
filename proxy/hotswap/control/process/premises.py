"""Where a proxy process keeps its state, and as whom it runs: entered at its start, left at its end.

Both belong together: with `[proxy].user` the directory is made or found by root and used by that user ever after. A
process that takes over enters the premises of the one before it, which is still there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.process.privileges import drop_privileges, look_as_user, owner_of_state
from hotswap.control.process.state_directory import StateDirectory, open_state_directory
from hotswap.core.config import Configuration
from hotswap.core.errors import BackendError

WATCH_INTERVAL = 1.0
"""Seconds between two looks whether the state directory is still there."""


class Premises:
    """The state directory and the user of this process."""

    def __init__(self, config: Configuration, config_path: Path) -> None:
        """Make it; nothing is entered."""
        self._config = config
        self._config_path = config_path
        self._state: StateDirectory | None = None
        self._remade = trio.Event()

    @property
    def directory(self) -> Path:
        """The state directory, once it was entered."""
        assert self._state is not None, "it was not entered"
        return self._state.path

    async def enter(self, log: FilteringBoundLogger, *, shared: bool = False) -> None:
        """Make or find the state directory, lock it, and see what the user could do; nobody is changed by it.

        Args:
            log: told of what will not work as that user.
            shared: the process that this one takes over from uses the directory as well.

        Raises:
            ConfigError: the directory cannot be had, or the proxy could not run, or not reload, as that user.
        """
        proxy = self._config.proxy
        owner = owner_of_state(proxy.user)
        self._state = open_state_directory(proxy.state_dir, self._config_path, owner=owner, shared=shared)
        for lost in await trio.to_thread.run_sync(look_as_user, self._config, self._config_path):
            log.warning("proxy.user_may_not", detail=lost)

    async def watch(
        self, log: FilteringBoundLogger, restore: Callable[[], None], *, ours: Callable[[], bool] = lambda: True
    ) -> None:
        """Make the state directory anew whenever somebody has removed it, until cancelled or left.

        Args:
            log: told of it.
            restore: called when it is there again, empty.
            ours: whether that is for this process to do now.
        """
        told = ""
        while self._state is not None and self._state.held:
            await trio.sleep(WATCH_INTERVAL)
            state = self._state
            if not ours() or not await trio.to_thread.run_sync(state.vanished):
                continue
            try:
                await trio.to_thread.run_sync(state.make_again, self._config_path)
            except (BackendError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    log.error("state_directory.vanished", path=str(state.path), detail=f"not made again: {error}")
                continue
            told = ""
            log.error("state_directory.vanished", path=str(state.path), detail="somebody has removed it; made again")
            restored, self._remade = self._remade, trio.Event()
            restored.set()
            restore()

    async def wait_remade(self) -> None:
        """Block until the state directory has been made anew: every path in it has to be made again."""
        await self._remade.wait()

    def become_user(self) -> None:
        """Become `[proxy].user` for good, now that everything is open that takes more than that.

        Raises:
            ConfigError: it cannot be done.
        """
        proxy = self._config.proxy
        drop_privileges(proxy.user, state_dir=self.directory, access_log=proxy.access_log)

    def leave(self) -> None:
        """Unlock the directory, where it was entered. Twice is harmless."""
        if self._state is not None:
            self._state.close()
