"""The directory of `[proxy].state_dir`: ours alone, with the sockets of backends and the development authority.

It is locked while a proxy uses it. The lock is shared by the processes that hand one proxy from one to the next, and
a proxy that is started anew has to have it alone for a moment first, so two proxies never use one directory, and a
takeover need not pass the lock on. The lock goes with its holders, however they end.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hotswap.core.errors import BackendError, ConfigError, Problem
from hotswap.processes.listening import open_directory, sweep_directory

LOCK_NAME: Final = "proxy.lock"
"""The name, in the state directory, of the file that is locked; its first line is the configuration's path."""


class StateDirectory:
    """A state directory in use."""

    def __init__(self, path: Path, lock: int) -> None:
        """Take over a descriptor that holds the lock."""
        self.path = path
        self._lock = lock

    @property
    def held(self) -> bool:
        """It is ours to use."""
        return self._lock >= 0

    def close(self) -> None:
        """Let others use it, once no process that shares the lock is left. Twice is harmless."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def vanished(self) -> bool:
        """Tell whether somebody has removed it, or put another directory in its place."""
        if not self.held:
            return False
        try:
            ours, there = os.fstat(self._lock), (self.path / LOCK_NAME).stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)

    def make_again(self, config_path: Path) -> None:
        """Make it anew after it has vanished.

        Raises:
            BackendError, OSError: it cannot be made, or another proxy has it now.
        """
        open_directory(self.path)
        _hide(self.path)
        lock = _lock(self.path, config_path, alone=False)
        if self.held:
            self.close()
            self._lock = lock
        else:
            os.close(lock)


def open_state_directory(
    path: str, config_path: Path, *, owner: int | None = None, shared: bool = False
) -> StateDirectory:
    """Make the directory with mode 0700, or check the one there is, lock it, and remove sockets that nobody listens on.

    Args:
        path: where.
        config_path: the configuration that uses it, told to whoever finds it locked.
        owner: a user whose it may be beside ourselves; None: nobody's.
        shared: this process takes over from one that uses it, so nothing in it is touched.

    Raises:
        ConfigError: it cannot be made, is somebody else's, or another proxy uses it.
    """
    try:
        # Where it really is: a link on the way, such as that of a deploy, may point elsewhere tomorrow.
        parent, name = os.path.split(os.path.normpath(path))
        directory = open_directory(Path(os.path.realpath(parent), name), owner=owner)
        _hide(directory)
        lock = _lock(directory, config_path, alone=not shared)
        if not shared:
            sweep_directory(directory)
    except (BackendError, OSError) as error:
        allowed = f"a directory for this user alone; {error}"
        raise ConfigError([Problem("proxy.state_dir", path, allowed)]) from error
    return StateDirectory(directory, lock)


def _hide(directory: Path) -> None:
    """Have git pass over it, as it may be made in somebody's checkout. Never raises."""
    with suppress(OSError):
        made = os.open(directory / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(made, "w", encoding="ascii") as file:
            file.write("*\n")


def _lock(directory: Path, config_path: Path, *, alone: bool) -> int:
    path = directory / LOCK_NAME
    # A link would be followed with the rights of who starts, in a directory that may be another user's.
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if alone:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{config_path}\n".encode("utf-8", "surrogateescape"), 0)
        # From here on with others: whoever comes between the two has it alone, and we do not.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        told = b""
        with suppress(OSError):
            told = os.pread(lock, 4096, 0)
        os.close(lock)
        user = told.decode("utf-8", "replace").strip()
        whose = f" with {user}" if user else ""
        raise BackendError(f"another proxy uses {directory}{whose}; stop it, or name another directory") from None
    except BaseException:
        os.close(lock)
        raise
    return lock
