"""Becoming another user after the ports are bound (`[proxy].user`), once and for good.

Whatever the proxy opens as root it has; what it reads again later it reads as that user. So before anything is
changed a process that is that user already looks at every file and directory of the configuration: without some of
them the proxy could not run or reload, and is not started; without others something is left for a restart, and that
is told.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotswap.core.config import Configuration, StaticPoolTable
from hotswap.core.errors import ConfigError, Problem

LOOK_TIMEOUT: Final = 10.0
"""Seconds for the look at all files together; a file system that does not answer is told by whoever reads it next."""

_READ, _ENTER, _CREATE = os.R_OK, os.X_OK, os.W_OK | os.X_OK

_LOOK: Final = (
    "import json, os, sys; print(json.dumps([os.access(path, mode) for path, mode in json.loads(sys.argv[1])]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Need:
    """Something that the user has to be able to use.

    Attributes:
        key: the key of the configuration that names it.
        path: it.
        mode: as for `os.access`.
        told: what does not work without it; empty: nothing does.
    """

    key: str
    path: str
    mode: int
    told: str = ""


def identity_of(user: str) -> Mapping[str, str]:
    """Give the variables that say who a user is, for the backends; none when no user is named.

    Raises:
        ConfigError: there is no such user.
    """
    if not user:
        return {}
    entry = _find(user)
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


def owner_of_state(user: str) -> int | None:
    """Give the user who has the state directory beside ourselves: who this process is going to become, if anybody."""
    try:
        return pwd.getpwnam(user).pw_uid if user and os.geteuid() == 0 else None
    except KeyError:
        return None


def drop_privileges(user: str, *, state_dir: Path, access_log: str = "") -> None:
    """Become a user for good, with its groups; what is in the state directory becomes the user's too.

    Args:
        user: whom; empty: stay who started this.
        state_dir: what the proxy goes on writing to.
        access_log: a file that is the user's as well from then on, to be opened anew; "-" or "off" is none.

    Raises:
        ConfigError: there is no such user, or this process may not become it.
    """
    if not user:
        return
    entry = _find(user)
    if entry.pw_uid == os.geteuid():
        return
    try:
        for path in (state_dir, *state_dir.iterdir()):
            # What has a group of its own was given to that of `[admin].group`.
            group = entry.pw_gid if os.lstat(path).st_gid == os.getegid() else -1
            os.chown(path, entry.pw_uid, group, follow_symlinks=False)
        if os.path.isabs(access_log):
            _give_file(access_log, entry.pw_uid)
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except OSError as error:
        allowed = f"a user that this process may become; {error.strerror}: start the proxy as root, or leave it out"
        raise ConfigError([Problem("proxy.user", user, allowed)]) from error


def look_as_user(config: Configuration, config_path: Path) -> tuple[str, ...]:
    """See what the user could do after the change, while nothing has been changed yet; blocks for a moment.

    Returns:
        What will not work, one sentence each, beginning with the key; nothing for who does not start as root.

    Raises:
        ConfigError: the proxy could not run, or not reload.
    """
    name = config.proxy.user
    if not name or os.geteuid() != 0:
        return ()
    user = _find(name)
    needs = [*_needs(config, config_path)]
    try:
        seen = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LOOK, json.dumps([(need.path, need.mode) for need in needs])],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=os.getgrouplist(user.pw_name, user.pw_gid),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
            timeout=LOOK_TIMEOUT,
        )
        usable = json.loads(seen.stdout)
    except PermissionError as error:
        allowed = f"a user that may execute the Python of this proxy; {sys.executable}: no"
        raise ConfigError([Problem("proxy.user", name, allowed)]) from error
    except (subprocess.TimeoutExpired, ValueError):
        return (f"proxy.user: it could not be found out within {LOOK_TIMEOUT:g} s what {name} may read",)
    unusable = [need for need, usable in zip(needs, usable, strict=True) if not usable]
    problems = [
        Problem("proxy.user", name, f"a user that may {_verb(need.mode)} what {need.key} names; {need.path}: no")
        for need in unusable
        if not need.told
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(f"{need.key}: {name} may not {_verb(need.mode)} {need.path}; {need.told}" for need in unusable)


def _give_file(path: str, user: int) -> None:
    """Give a file to a user, unless it is reached by a link: that may be of the user's own making."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            os.fchown(file, user, -1)
    finally:
        os.close(file)


def _find(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ConfigError([Problem("proxy.user", user, "a user of this machine; there is none of this name")]) from None


def _verb(mode: int) -> str:
    return {_READ: "read", _ENTER: "enter", _CREATE: "create files in"}[mode]


def _needs(config: Configuration, config_path: Path) -> Iterator[_Need]:
    yield _Need(key="the command line", path=str(config_path), mode=_READ)
    # Itself it will belong to the user; the way to it may be barred.
    yield _Need(key="proxy.state_dir", path=os.path.dirname(config.proxy.state_dir), mode=_ENTER)
    if os.path.isabs(config.proxy.access_log):
        told = "a rotation has to make the new file for that user, or the log goes on in the old one"
        yield _Need(key="proxy.access_log", path=os.path.dirname(config.proxy.access_log), mode=_CREATE, told=told)
    if config.admin.token_file:
        yield _Need(
            key="admin.token_file", path=config.admin.token_file, mode=_READ, told="another token needs a restart"
        )
    for name, listener in config.listeners.items():
        for index, files in enumerate(listener.tls.certificates if listener.tls is not None else ()):
            for key, path in (("cert", files.cert), ("key", files.key)):
                where = f"listeners.{name}.tls.certificates[{index}].{key}"
                told = "a renewed one needs a restart, or `hotswap run --attach` by root"
                yield _Need(key=where, path=path, mode=_READ, told=told)
    for name, pool in config.pools.items():
        if isinstance(pool, StaticPoolTable):
            continue
        if pool.directory:
            yield _Need(key=f"pools.{name}.directory", path=pool.directory, mode=_ENTER)
        if pool.environment_file:
            yield _Need(key=f"pools.{name}.environment_file", path=pool.environment_file, mode=_READ)
        if pool.python:
            # That it can be run is told by its backend; what cannot even be reached is told here.
            found = shutil.which(pool.python) or pool.python
            yield _Need(key=f"pools.{name}.python", path=found, mode=_ENTER)
