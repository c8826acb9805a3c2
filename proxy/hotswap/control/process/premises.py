"""Where a proxy process keeps its state, and as whom it runs: entered at its start, left at its end.

Both belong together: with `[proxy].user` the directory is made or found by root and used by that user ever after. A
process that takes over enters the premises of the one before it, which is still there.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.configuration.authority_place import find_authority_dir
from hotswap.control.configuration.state_place import possible_state_dirs, signpost_of
from hotswap.control.process.privileges import drop_privileges, look_as_user, owner_of_state
from hotswap.control.process.state_directory import StateDirectory, find_holder, may_give_to, open_state_directory
from hotswap.core.config import Configuration
from hotswap.core.errors import BackendError, ConfigError, Problem
from hotswap.processes.listening import is_socket

WATCH_INTERVAL = 1.0
"""Seconds between two looks whether the state directory is still there."""


class Premises:
    """The state directory and the user of this process.

    Attributes:
        paths: sockets of this process in the directory that have to be there.
    """

    def __init__(self, config: Configuration, config_path: Path) -> None:
        """Make it; nothing is entered."""
        self._config = config
        self._config_path = config_path
        self._state: StateDirectory | None = None
        self._remade = trio.Event()
        self.paths: set[Path] = set()

    @property
    def directory(self) -> Path:
        """The state directory, once it was entered."""
        assert self._state is not None, "it was not entered"
        return self._state.path

    @property
    def sockets(self) -> Path:
        """Where the sockets of backends go, once the state directory was entered."""
        assert self._state is not None, "it was not entered"
        return self._state.sockets

    @property
    def group(self) -> int | None:
        """Who may use the Unix sockets of the admin API besides the user of this process; None: nobody."""
        name = self._config.admin.group
        return _find_group(name) if name else None

    def authority_dir(self, environ: Mapping[str, str]) -> Path:
        """Find where the development authority is kept, once the state directory was entered; blocks for a moment."""
        becomes = owner_of_state(self._config.proxy.user) not in (None, os.geteuid())
        return find_authority_dir(self.directory, environ, becomes=becomes)

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
        group = self.group
        if group is not None and not shared and not may_give_to(group):
            name = self._config.admin.group
            allowed = f"a group that user {os.geteuid()}, who runs the proxy, is in; as root: usermod -aG {name} USER"
            raise ConfigError([Problem("admin.group", name, allowed)])
        if not shared:
            self._refuse_moved_on()
        self._state = open_state_directory(proxy.state_dir, self._config_path, owner=owner, group=group, shared=shared)
        if group is not None and owner is not None and not _is_in(proxy.user, group):
            detail = (
                f"admin.group: {proxy.user} is not in {self._config.admin.group}; a socket made again is its own alone"
            )
            log.warning("proxy.user_may_not", detail=detail)
        for lost in await trio.to_thread.run_sync(look_as_user, self._config, self._config_path):
            log.warning("proxy.user_may_not", detail=lost)

    async def watch(
        self,
        log: FilteringBoundLogger,
        restore: Callable[[], None],
        *,
        ours: Callable[[], bool] = lambda: True,
        misses: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make the state directory and what is in it anew whenever somebody has removed it, until cancelled or left.

        Args:
            log: told of it.
            restore: called when the directory is there again, empty, or when a socket of ours is missing.
            ours: whether that is for this process to do now.
            misses: whether a socket besides those of `paths` is missing.
        """
        told, missed = "", False
        while self._state is not None and self._state.held:
            await trio.sleep(WATCH_INTERVAL)
            state = self._state
            if not ours():
                continue
            vanished, missing = await trio.to_thread.run_sync(self._look, state, misses)
            if not vanished:
                before, missed = missed, missing
                if missed:
                    if not before:  # what cannot be made is told once
                        log.warning("state_directory.socket_removed", path=str(state.path))
                    self._tell_remade(restore)
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
            self._tell_remade(restore)

    def _look(self, state: StateDirectory, misses: Callable[[], bool]) -> tuple[bool, bool]:
        """Tell whether the directory has vanished, and whether a socket in it is missing; blocks."""
        if state.vanished():
            return True, False
        return False, misses() or not all(map(is_socket, tuple(self.paths)))

    def _tell_remade(self, restore: Callable[[], None]) -> None:
        restored, self._remade = self._remade, trio.Event()
        restored.set()
        restore()

    def sign(self) -> None:
        """Note in the state directory that this process has it now, for whoever finds it in use, and where it is."""
        if self._state is not None:
            self._state.sign(self._config_path)
            self._set_signpost()

    def _set_signpost(self) -> None:
        """Let the state directory be found when link or file lead elsewhere later. Never raises."""
        signpost = signpost_of(self._config_path, os.environ)
        usual = set(possible_state_dirs(self._config_path, "", os.environ)) - {signpost}
        found = os.path.normpath(self._config.proxy.state_dir) == str(self.directory)
        if not signpost or (found and str(self.directory) in usual):
            return
        with suppress(OSError):
            os.makedirs(os.path.dirname(signpost), mode=0o755, exist_ok=True)
            fresh = f"{signpost}.{os.getpid()}"
            os.symlink(self.directory, fresh)
            os.rename(fresh, signpost)

    def _refuse_moved_on(self) -> None:
        """Refuse to start beside a proxy of the same configuration whose state is elsewhere.

        It is behind a link that was moved, or where it was before the file said where it has to be.

        Raises:
            ConfigError: there is one.
        """
        given = self._config.proxy.state_dir
        for place in map(os.path.realpath, possible_state_dirs(self._config_path, "", os.environ)):
            if place == os.path.realpath(given):
                continue
            if holder := find_holder(Path(place), self._config_path, same=True):
                raise ConfigError([Problem("proxy.state_dir", given, f"the only one of its configuration; {holder}")])

    def _remove_signpost(self) -> None:
        signpost = signpost_of(self._config_path, os.environ)
        with suppress(OSError):
            if os.readlink(signpost) == str(self.directory):
                os.unlink(signpost)

    async def wait_remade(self) -> None:
        """Block until the state directory, or something in it, was removed and paths in it have to be made again."""
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
            if self._state.held and self._state.alone:
                self._remove_signpost()
            self._state.close()


def _find_group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        allowed = "a group of this machine; there is none of this name"
        raise ConfigError([Problem("admin.group", name, allowed)]) from None


def _is_in(user: str, group: int) -> bool:
    try:
        return group in os.getgrouplist(user, pwd.getpwnam(user).pw_gid)
    except KeyError:
        return False
