"""Becoming another user after the ports are bound (`[proxy].user`), once and for good.

Whatever the proxy opens as root it has; what it reads again later it reads as that user. So before anything is
changed a process that is that user already looks at every file and directory of the configuration. Without what a
reload reads again the proxy is not started, and the refusal names the commands that give it to the user; without what
only a rotation of logs needs it is started, and that is told.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotswap.control.configuration.error_pages import page_paths
from hotswap.core.config import Configuration, StaticPoolTable
from hotswap.core.errors import ConfigError, Problem

LOOK_TIMEOUT: Final = 10.0
"""Seconds for the look at all files together; a file system that does not answer is told by whoever reads it next."""

_READ, _ENTER, _CREATE, _LIST = os.R_OK, os.X_OK, os.W_OK | os.X_OK, os.R_OK | os.X_OK

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
        told: what does not work without it; empty: a reload.
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
    if problems := [_problem(need, user) for need in unusable if not need.told]:
        raise ConfigError(problems)
    return tuple(f"{need.key}: {name} may not {_verb(need.mode)} {need.path}; {need.told}" for need in unusable)


def _problem(need: _Need, user: pwd.struct_passwd) -> Problem:
    """Say what the user may not do, and what would let it."""
    thing = "a file" if need.mode == _READ else "a directory"
    allowed = f"{thing} that proxy.user, {user.pw_name}, may {_verb(need.mode)}, as every reload does"
    commands = _commands(need, user)
    return Problem(need.key, need.path, f"{allowed}; {commands}" if commands else allowed)


def _commands(need: _Need, user: pwd.struct_passwd) -> str:
    """Give the commands by which root lets the user through to a path; empty where the modes bar nobody."""
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    strange: list[str] = []
    changes: dict[str, list[str]] = {}
    for path, mode in _way(need):
        with suppress(OSError):
            found = os.stat(path)
            own, member = found.st_uid == user.pw_uid, found.st_gid in groups
            if found.st_mode >> (6 if own else 3 if member else 0) & mode == mode:
                continue
            letters = {_READ: "r", _LIST: "rx"}.get(mode, "x")
            changes.setdefault(f"{'u' if own else 'g'}+{letters}", []).append(path)
            if not own and not member:
                strange.append(path)
    lines = [["chgrp", _group_name(user.pw_gid), *strange]] if strange else []
    lines += [["chmod", change, *paths] for change, paths in changes.items()]
    return " && ".join(map(shlex.join, lines))


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _way(need: _Need) -> Iterator[tuple[str, int]]:
    """Give a path and every directory on the way to it, links followed, each with the mode that is needed."""
    real = os.path.realpath(need.path)
    seen = {real}
    yield real, need.mode
    # As it is written it may lead through other directories than as it is resolved.
    for path in (os.path.abspath(need.path), real):
        for parent in Path(path).parents:
            directory = os.path.realpath(parent)
            if directory not in seen:
                seen.add(directory)
                yield directory, _ENTER


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
    return {_READ: "read", _ENTER: "enter", _CREATE: "create files in", _LIST: "list"}[mode]


def _needs(config: Configuration, config_path: Path) -> Iterator[_Need]:
    yield _Need(key="the command line", path=str(config_path), mode=_READ)
    # Itself it will belong to the user; the way to it may be barred.
    yield _Need(key="proxy.state_dir", path=os.path.dirname(config.proxy.state_dir), mode=_ENTER)
    if os.path.isabs(config.proxy.access_log):
        folder = os.path.dirname(config.proxy.access_log)
        yield _Need(key="proxy.access_log", path=folder, mode=_ENTER)
        told = "a rotation has to make the new file for that user, or the log goes on in the old one"
        yield _Need(key="proxy.access_log", path=folder, mode=_CREATE, told=told)
    if config.admin.token_file:
        yield _Need(key="admin.token_file", path=config.admin.token_file, mode=_READ)
    for name, listener in config.listeners.items():
        for index, files in enumerate(listener.tls.certificates if listener.tls is not None else ()):
            for key, path in (("cert", files.cert), ("key", files.key)):
                yield _Need(key=f"listeners.{name}.tls.certificates[{index}].{key}", path=path, mode=_READ)
    for index, route in enumerate(config.routes):
        if route.basic_auth:
            yield _Need(key=f"routes[{index}].basic_auth", path=route.basic_auth, mode=_READ)
    for name, pool in config.pools.items():
        if pool.error_pages:
            key = f"pools.{name}.error_pages"
            yield _Need(key=key, path=pool.error_pages, mode=_LIST)
            for page in page_paths(pool.error_pages):
                yield _Need(key=key, path=page, mode=_READ)
        if isinstance(pool, StaticPoolTable):
            continue
        if pool.directory:
            yield _Need(key=f"pools.{name}.directory", path=pool.directory, mode=_ENTER)
        if pool.environment_file:
            yield _Need(key=f"pools.{name}.environment_file", path=pool.environment_file, mode=_READ)
        if pool.compatibility is not None and pool.compatibility.file:
            number = os.path.join(pool.directory, pool.compatibility.file)
            # One that is not there is told by whoever reads it, and may come with the next release.
            if os.path.exists(number):
                yield _Need(key=f"pools.{name}.compatibility.file", path=number, mode=_READ)
        if pool.python:
            # That it can be run is told by its backend; what cannot even be reached is told here.
            found = shutil.which(pool.python) or pool.python
            yield _Need(key=f"pools.{name}.python", path=found, mode=_ENTER)
