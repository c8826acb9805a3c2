"""Where the configuration is when nobody names a file, and whether two paths name the same one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from hotswap.core.errors import MISSING, ConfigError, Problem

FILE_NAME = "hotswap.toml"
SYSTEM_FILE = Path("/etc/hotswap") / FILE_NAME


def find_configuration() -> Path:
    """Find the file that is used when none is named: in the working directory, then in /etc/hotswap.

    Raises:
        ConfigError: there is none.
    """
    candidates = [SYSTEM_FILE]
    # A directory that was deleted has no path, and no file either: deploy scripts stand in releases that are gone.
    with suppress(FileNotFoundError):
        candidates.insert(0, Path.cwd() / FILE_NAME)
    for candidate in candidates:
        with suppress(PermissionError):
            if candidate.is_file():
                return candidate
    looked = " and ".join(map(str, candidates))
    raise ConfigError(
        [Problem(FILE_NAME, MISSING, f'looked for {looked}; name a file, or write one with "hotswap init"')]
    )


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Tell whether two paths name one configuration, by what they say or by where they lead now.

    A link that a deploy moves on leads to another file than it did; what it is called stays.
    """
    return os.path.normpath(one) == os.path.normpath(other) or os.path.realpath(one) == os.path.realpath(other)
