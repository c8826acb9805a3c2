"""Where the configuration is when nobody names a file, and whether two paths name the same one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from hotswap.core.errors import MISSING, ConfigError, Problem

FILE_NAME = "hotswap.toml"
SYSTEM_FILE = Path("/etc/hotswap") / FILE_NAME

RELEASE_DEPTH = 3
"""So deep a configuration may lie in its release to be found there."""


def working_directory() -> Path:
    """Give the working directory by the name that the shell has for it, where that is one of its names.

    In `current/`, a link to a release, that is the path through the link, which leads to the next release when the link
    is moved. It is `$PWD`, as pwd(1) has it: an absolute path without dots that leads to the same directory.

    Raises:
        FileNotFoundError: it was deleted.
    """
    named = os.environ.get("PWD", "")
    if named.startswith("/") and not {".", ".."} & {*named.split("/")}:
        with suppress(OSError):
            if os.path.samefile(named, "."):
                return Path(named)
    return Path.cwd()


def absolute_path(path: str | Path) -> Path:
    """Make a path absolute that will be opened again later; links in it are kept, so that they may be moved.

    No `..` is left, which would need a directory that may be gone by then: it is resolved as the kernel does it now.

    Raises:
        FileNotFoundError: it is relative, and the working directory was deleted.
    """
    path = Path(path)
    found = "/"
    for part in (path if path.is_absolute() else working_directory() / path).parts[1:]:
        found = os.path.dirname(os.path.realpath(found)) if part == ".." else os.path.join(found, part)
    return Path(found)


def release_link(path: str | os.PathLike[str]) -> Path | None:
    """Give the link on the way to a path that a deploy moves on, such as `current`; None: there is none.

    That is one which leads to another place below its own directory. Other links, such as those to home directories on
    another disk, stay what they are.
    """
    path = Path(path)
    for step in (*reversed(path.parents), path):
        below = step.parent != Path("/") and step.is_symlink()
        if below and Path(os.path.realpath(step)).is_relative_to(os.path.realpath(step.parent)):
            return step
    return None


def through_current(path: Path) -> Path | None:
    """Give the path to the same file through a link `current` beside its release or beside all releases, if it has one.

    Args:
        path: absolute.
    """
    for step in path.parents[:RELEASE_DEPTH]:
        for place in (step.parent, step.parent.parent):
            link = place / "current"
            with suppress(OSError):
                if link.is_symlink() and os.path.samefile(link, step):
                    return link / path.relative_to(step)
    return None


def find_configuration() -> Path:
    """Find the file that is used when none is named: in the working directory, then in /etc/hotswap.

    Raises:
        ConfigError: there is none.
    """
    candidates = [SYSTEM_FILE]
    # A directory that was deleted has no path, and no file either: deploy scripts stand in releases that are gone.
    with suppress(FileNotFoundError):
        candidates.insert(0, working_directory() / FILE_NAME)
    for candidate in candidates:
        with suppress(PermissionError):
            if candidate.is_file():
                return candidate
    looked = " or ".join(map(str, candidates))
    raise ConfigError(
        [Problem(FILE_NAME, MISSING, f'at {looked}; name another file, or write one with "hotswap init"')]
    )


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Tell whether two paths name one configuration, by what they say or by where they lead now.

    A link that a deploy moves on leads to another file than it did; what it is called stays.
    """
    return os.path.normpath(one) == os.path.normpath(other) or os.path.realpath(one) == os.path.realpath(other)
