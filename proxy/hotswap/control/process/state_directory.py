"""The directory of `[proxy].state_dir`: ours alone, with the sockets of the proxy and of its backends.

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

from hotswap.control.configuration.path import is_same_file
from hotswap.core.errors import BackendError, ConfigError, Problem
from hotswap.processes.listening import find_fault, find_stranger, open_directory, sweep_directory

LOCK_NAME: Final = "proxy.lock"
"""The name, in the state directory, of the file that is locked; its first line is the configuration's path, its second
the process id of the proxy."""

BACKENDS: Final = "backends"
"""The name, in a state directory that a group may pass through, of the directory for the sockets of backends: servers
give them any mode they like."""


WANTED: Final = "a directory of this user's, for one proxy"
"""What `[proxy].state_dir` has to be."""


def real_place(path: str) -> Path:
    """Give where a state directory really is: a link on the way, as that of a deploy, may point elsewhere tomorrow."""
    parent, name = os.path.split(os.path.normpath(path))
    return Path(os.path.realpath(parent), name)


def may_give_to(group: int) -> bool:
    """Tell whether this process may give what it has to a group."""
    return os.geteuid() == 0 or group in {os.getegid(), *os.getgroups()}


class StateDirectory:
    """A state directory in use."""

    def __init__(self, path: Path, lock: int, *, group: int | None = None) -> None:
        """Take over a descriptor that holds the lock of a directory that a group may pass through, or nobody."""
        self.path = path
        self._lock = lock
        self._group = group

    @property
    def sockets(self) -> Path:
        """Where the sockets of backends go: always a directory with mode 0700."""
        return self.path if self._group is None else self.path / BACKENDS

    @property
    def held(self) -> bool:
        """It is ours to use."""
        return self._lock >= 0

    def close(self) -> None:
        """Let others use it, once no process that shares the lock is left. Twice is harmless."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def alone(self) -> bool:
        """No other process of this proxy has it; asking does not change that."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True

    def sign(self, config_path: Path) -> None:
        """Note for whoever finds it locked that it is this process with this configuration. Never raises."""
        if self.held:
            with suppress(OSError):
                _sign(self._lock, config_path)

    def vanished(self) -> bool:
        """Tell whether somebody has removed it or what is kept in it, or put another directory in its place."""
        if not self.held:
            return False
        try:
            ours, there = os.fstat(self._lock), (self.path / LOCK_NAME).stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino) or not os.path.isdir(self.sockets)

    def make_again(self, config_path: Path) -> None:
        """Make it anew after it has vanished.

        Raises:
            BackendError, OSError: it cannot be made, or another proxy has it now.
        """
        group = self._group if self._group is not None and may_give_to(self._group) else None
        open_directory(self.path, group=group)
        if self.sockets != self.path:
            open_directory(self.sockets)
        _hide(self.path)
        lock = _lock(self.path, config_path, alone=False)
        _sign(lock, config_path)
        if self.held:
            self.close()
            self._lock = lock
        else:
            os.close(lock)


def open_state_directory(
    path: str, config_path: Path, *, owner: int | None = None, group: int | None = None, shared: bool = False
) -> StateDirectory:
    """Make the directory with mode 0700, or check the one there is, lock it, and remove sockets that nobody listens on.

    Args:
        path: where.
        config_path: the configuration that uses it, told to whoever finds it locked.
        owner: a user whose it may be beside ourselves; None: nobody's.
        group: who may pass through it to the sockets of the admin API; None: nobody.
        shared: this process takes over from one that uses it, so nothing in it is touched.

    Raises:
        ConfigError: it cannot be made, is somebody else's, or another proxy uses it.
    """
    try:
        directory = open_directory(real_place(path), owner=owner, group=group)
        if group is not None:
            open_directory(directory / BACKENDS, owner=owner)
        _hide(directory)
        lock = _lock(directory, config_path, alone=not shared)
        if not shared:
            sweep_directory(directory)
            sweep_directory(directory / BACKENDS)
    except (BackendError, OSError) as error:
        raise ConfigError([Problem("proxy.state_dir", path, f"{WANTED}; {error}")]) from error
    return StateDirectory(directory, lock, group=group)


def find_obstacles(path: str, *, owner: int | None = None) -> tuple[str, str]:
    """Say what keeps a proxy from having its state in a directory. Makes and changes nothing; blocks.

    Args:
        path: where, as for `open_state_directory`.
        owner: a user whose it may be beside ourselves; None: nobody's.

    Returns:
        What is in the way of everybody, and what is in the way of this user; empty where nothing is.
    """
    place = real_place(path)
    for there in (place, *place.parents):
        try:
            if there == place:
                return find_fault(there), find_stranger(there, owner=owner)
            if not there.is_dir():
                there.lstat()
                return f"{there} is not a directory", ""
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return "", f"{there}: {error.strerror}"
        return "", "" if os.access(there, os.W_OK | os.X_OK) else f"no directory can be made in {there} by this user"
    return "", ""


def find_holder(directory: Path, config_path: Path, *, same: bool) -> str:
    """Say which proxy uses a directory, in words for who would start another one; empty: none does. Makes nothing.

    Args:
        directory: the state directory.
        config_path: the configuration that would be started.
        same: whether a proxy of this configuration is looked for, or one of another.
    """
    try:
        lock = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        signed = os.fsdecode(os.pread(lock, 8192, 0))
        is_same = is_same_file(signed.partition("\n")[0], config_path)
        return _tell_holder(directory, config_path, signed) if is_same is same else ""
    finally:
        os.close(lock)
    return ""


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
            _sign(lock, config_path)
        # From here on with others: whoever comes between the two has it alone, and we do not.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        told = b""
        with suppress(OSError):
            told = os.pread(lock, 8192, 0)
        os.close(lock)
        raise BackendError(_tell_holder(directory, config_path, os.fsdecode(told))) from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _sign(lock: int, config_path: Path) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, os.fsencode(f"{config_path}\n{os.getpid()}\n"), 0)


def _tell_holder(directory: Path, config_path: Path, signed: str) -> str:
    """Say which proxy has a directory, by what it wrote into the lock, and what to do."""
    config, _, pid = signed.strip().partition("\n")
    who = f"{config}, pid {pid}" if config and pid else config or "it does not say which"
    if config and is_same_file(config, config_path):
        return f"a hotswap already runs here: {who}; hotswap stop ends it, hotswap reload replaces its backends"
    return f"another proxy uses {directory}: {who}; stop it, or name another directory"
