"""Where the authority of development certificates is kept: with the user, so that trust once given to it lasts.

Of several projects of one user all use the same. A state directory that has one already, from an earlier version, keeps
it: clients trust it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hotswap.control.configuration.state_place import home_of
from hotswap.edge.client.tls import AUTHORITY


def find_authority_dir(state_dir: Path, environ: Mapping[str, str], *, becomes: bool = False) -> Path:
    """Choose the directory of the development authority; looks at files, and makes none.

    Args:
        state_dir: where it is when it cannot be anywhere that lasts longer.
        environ: XDG_DATA_HOME, STATE_DIRECTORY of systemd, and HOME are looked up.
        becomes: this process will be another user, whose the state directory is then, and nothing else that is chosen.
    """
    if becomes or os.path.exists(_key(state_dir)):
        return state_dir
    return next((place for place in _places(environ) if _is_usable(place)), state_dir)


def publish_authority(directory: Path, state_dir: Path) -> None:
    """Put a copy of the authority's certificate into the state directory, beside the project. Never raises."""
    copy = state_dir / AUTHORITY
    if directory == state_dir:
        return
    with suppress(OSError):
        content = (directory / AUTHORITY).read_bytes()
        if not copy.exists() or copy.read_bytes() != content:
            fresh = copy.with_name(f"{AUTHORITY}.{os.getpid()}")
            fresh.unlink(missing_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                file.write(content)
            fresh.rename(copy)


def _places(environ: Mapping[str, str]) -> list[Path]:
    # A relative path is to be ignored (XDG Base Directory Specification).
    data = environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(data):
        return [Path(data) / "hotswap"]
    service = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if os.path.isabs(service):
        return [Path(service)]
    home = home_of(environ)
    # A service user's home is often the root directory, or one that does not exist.
    return [Path(home) / ".local" / "share" / "hotswap"] if os.path.isabs(home) and os.path.isdir(home) else []


def _key(directory: Path) -> Path:
    return (directory / AUTHORITY).with_suffix(".key")


def _is_usable(directory: Path) -> bool:
    """Tell whether an authority can be read or made there."""
    if os.access(directory / AUTHORITY, os.R_OK) and os.access(_key(directory), os.R_OK):
        return True
    # Of a place that must not be looked at, the way to it is what is there.
    there = next(place for place in (directory, *directory.parents) if os.path.exists(place))
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)
