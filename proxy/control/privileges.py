"""Becoming another user after the ports are bound (`[proxy].user`)."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from proxy.core.errors import ConfigError, Problem


def drop_privileges(user: str, *, state_dir: Path) -> Mapping[str, str]:
    """Become a user for good, with its groups; what is in the state directory becomes the user's too.

    Certificates and logs were opened before; to be read again by a reload, the user needs access to them.

    Args:
        user: whom; empty: stay who started this.
        state_dir: what the proxy goes on writing to.

    Returns:
        The variables that say who one is, for the backends.

    Raises:
        ConfigError: there is no such user, or this process may not become it.
    """
    if not user:
        return {}
    try:
        entry = pwd.getpwnam(user)
        if entry.pw_uid != os.geteuid():
            for path in (state_dir, *state_dir.iterdir()):
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
            os.initgroups(entry.pw_name, entry.pw_gid)
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except KeyError:
        raise ConfigError([Problem("proxy.user", user, "a user of this machine; there is none of this name")]) from None
    except OSError as error:
        allowed = f"a user that this process may become; {error.strerror}: start the proxy as root, or leave it out"
        raise ConfigError([Problem("proxy.user", user, allowed)]) from error
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


def check_python(name: str) -> None:
    """See that a user can run what guards the backends, while nothing has been changed yet.

    Says nothing of a user that does not exist, or that this process may not become: `drop_privileges` does.

    Raises:
        ConfigError: as root one may run a Python that nobody else can reach.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return
    if os.geteuid() != 0:
        return
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", ""],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=os.getgrouplist(user.pw_name, user.pw_gid),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except PermissionError as error:
        allowed = f"a user that may execute the Python of this proxy; {sys.executable}: no"
        raise ConfigError([Problem("proxy.user", user.pw_name, allowed)]) from error
