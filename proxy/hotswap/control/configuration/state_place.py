"""Where a proxy keeps its state, found from its configuration alone, by itself and by the verbs that look for it.

The models of the configuration are not needed for it, so that a verb need not import them.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from hotswap.core.address import MAX_PATH_BYTES

ADMIN_SOCKET: Final = "admin.sock"
"""The name, in the state directory, of the Unix socket at which the admin API always answers."""

SPOOL: Final = "spool"
"""The name, in the state directory, of the directory for the files of bodies that wait, which have no names."""


STATE_DIRECTORY: Final = ".hotswap"
"""The name of the state directory beside a configuration."""


LONGEST_SOCKET: Final = "backends/01234567.sock"
"""The longest name that a socket in a state directory has where there is little room: a backend's, beside a group's."""

LONGEST_BESIDE: Final = MAX_PATH_BYTES - len(f"/{LONGEST_SOCKET}")
"""Bytes that the path of a state directory beside a configuration may have."""


def default_state_dir(file: str | os.PathLike[str], environ: Mapping[str, str]) -> str:
    """Choose where state is kept when the file does not say it: never where another configuration's may be.

    Beside the file, but where that cannot be written or is so deep that no socket could have a path there.

    Args:
        file: absolute path of the configuration.
        environ: systemd sets RUNTIME_DIRECTORY (perhaps several, separated by colons); XDG_STATE_HOME and HOME say
            where the state of a user goes.
    """
    given = _runtime_directory(environ)
    if given:
        return given
    beside, directory = _beside(file), os.path.dirname(file)
    short = len(os.fsencode(beside)) <= LONGEST_BESIDE
    if short and os.access(beside if os.path.isdir(beside) else directory, os.W_OK | os.X_OK):
        return beside
    return _own_place(file, environ) or beside


def state_dir_of(file: str | os.PathLike[str], given: str, environ: Mapping[str, str]) -> str:
    """Give the state directory of a configuration for this user.

    Args:
        file: absolute path of the configuration.
        given: its `[proxy].state_dir`, as written; empty: it has none.
        environ: as for `default_state_dir`.
    """
    return os.path.join(os.path.dirname(file), given.removeprefix("./")) if given else default_state_dir(file, environ)


def possible_state_dirs(file: str | os.PathLike[str], given: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give every directory in which the proxy of a configuration may have its state, the likeliest first.

    It may have been started by somebody else: with variables of its service, or with other rights than whoever asks.
    And the file may have got its `state_dir` since, which takes effect at the next start. So what is found there is its
    proxy only if it says so.

    Args:
        file: absolute path of the configuration.
        given: its `[proxy].state_dir`, as written; empty: it has none.
        environ: as for `default_state_dir`.
    """
    real = os.path.realpath(file)
    places = [state_dir_of(file, given, environ)]
    if given and not os.path.isabs(given):
        places.append(state_dir_of(real, given, environ))
    places += [*_other_places(os.fspath(file), environ), *_other_places(real, environ)]
    if signpost := signpost_of(file, environ):
        places.append(signpost)
    return tuple(dict.fromkeys(map(os.path.normpath, places)))


def signpost_of(file: str | os.PathLike[str], environ: Mapping[str, str]) -> str:
    """Give the link by which a state directory is found that the file does not lead to; empty: there is none.

    The directory of a configuration may be reached by a link that a deploy moves on, and the file may name another
    state directory by now. What runs stays where it was, and whoever follows link or file finds nothing there.
    """
    own = _own_place(file, environ)
    return f"{own}.link" if own else ""


def _other_places(file: str, environ: Mapping[str, str]) -> Iterator[str]:
    yield _beside(file)
    yield os.path.join("/run/hotswap", _name_of(file))
    own = _own_place(file, environ)
    if own:
        yield own
    # What `RuntimeDirectory=hotswap` of a service is for its proxy, which alone has the variable.
    yield "/run/hotswap"


def _runtime_directory(environ: Mapping[str, str]) -> str:
    return environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]


def _beside(file: str | os.PathLike[str]) -> str:
    return os.path.join(os.path.dirname(file), STATE_DIRECTORY)


def _own_place(file: str | os.PathLike[str], environ: Mapping[str, str]) -> str:
    """Give a directory of this configuration alone, where this user may write; empty: there is none."""
    if os.geteuid() == 0:
        return os.path.join("/run/hotswap", _name_of(file))
    state = environ.get("XDG_STATE_HOME", "")
    # A relative path is to be ignored (XDG Base Directory Specification).
    if not os.path.isabs(state):
        home = home_of(environ)
        if not home:
            return ""
        state = os.path.join(home, ".local", "state")
    return os.path.join(state, "hotswap", _name_of(file))


def home_of(environ: Mapping[str, str]) -> str:
    """Give the home directory of this user; empty: none is known."""
    home = environ.get("HOME", "")
    with suppress(KeyError):  # a user without an entry, as in a container
        home = home or pwd.getpwuid(os.geteuid()).pw_dir
    return home


def _name_of(file: str | os.PathLike[str]) -> str:
    """Give a name that is recognisable and no other configuration's; paths of sockets have to be short."""
    path = os.fspath(file)
    directory = os.path.basename(os.path.dirname(path))[:20]
    return f"{directory}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
