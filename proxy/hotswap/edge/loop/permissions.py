"""Owner, group and mode of the paths of Unix sockets, set without a moment in which somebody else could connect."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from typing import Final

from hotswap.core.socket_permissions import SocketPermissions

LEAVE: Final = -1
"""The number that chown(2) takes for an owner or group that stays."""


def user_id(name: str) -> int:
    """Number of a user, by name or number; `LEAVE` for none.

    Raises:
        KeyError: this machine has no such user.
    """
    if not name:
        return LEAVE
    return int(name) if name.isascii() and name.isdigit() else pwd.getpwnam(name).pw_uid


def group_id(name: str) -> int:
    """Number of a group, by name or number; `LEAVE` for none.

    Raises:
        KeyError: this machine has no such group.
    """
    if not name:
        return LEAVE
    return int(name) if name.isascii() and name.isdigit() else grp.getgrnam(name).gr_gid


def permit(path: str, permissions: SocketPermissions) -> None:
    """Set owner, group and mode of the socket at a path; blocks.

    What has taken its place, a link above all, is refused, and nobody may connect meanwhile who may neither before nor
    after.

    Raises:
        OSError: it is not permitted, or no socket is there.
        KeyError: this machine has no such user or group.
    """
    owner, group = user_id(permissions.owner), group_id(permissions.group)
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISSOCK(found.st_mode):
            raise FileExistsError(errno.EEXIST, "something that is not a socket is there", path)
        through = f"/proc/self/fd/{descriptor}"
        before = stat.S_IMODE(found.st_mode)
        after = before if permissions.mode is None else permissions.mode
        if owner not in (LEAVE, found.st_uid) or group not in (LEAVE, found.st_gid):
            if before & ~after:
                os.chmod(through, before & after)
            os.chown(through, owner, group)
        if before != after:
            os.chmod(through, after)
    finally:
        os.close(descriptor)


def may_give(permissions: SocketPermissions) -> bool:
    """Whether this process may give what it makes to an owner and a group.

    Raises:
        KeyError: this machine has no such user or group.
    """
    me = os.geteuid()
    own_groups = {LEAVE, os.getegid(), *os.getgroups()}
    return me == 0 or (user_id(permissions.owner) in (LEAVE, me) and group_id(permissions.group) in own_groups)


def is_permitted(path: str, permissions: SocketPermissions) -> bool:
    """Whether this process has set the owner, group and mode of a path, or may; blocks.

    Raises:
        OSError: it cannot be looked at.
        KeyError: this machine has no such user or group.
    """
    found, me = os.lstat(path), os.geteuid()
    owner, group = user_id(permissions.owner), group_id(permissions.group)
    stays = owner in (LEAVE, found.st_uid) and group in (LEAVE, found.st_gid)
    if stays and permissions.mode in (None, stat.S_IMODE(found.st_mode)):
        return True
    return me == 0 or (found.st_uid == me and (stays or may_give(permissions)))


def why_not_permitted(path: str, permissions: SocketPermissions) -> str:
    """Say why a path cannot have its permissions, and what can be done about it."""
    return (
        f"user {os.geteuid()} may not give {path} {permissions}: root may, and proxy.user is for a start by root; "
        "others may name a group that they are in, and no owner"
    )
