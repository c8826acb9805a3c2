"""Where the configuration is when nobody names a file."""

from __future__ import annotations

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
    looked = " or ".join(map(str, candidates))
    raise ConfigError(
        [Problem(FILE_NAME, MISSING, f'at {looked}; name another file, or write one with "hotswap init"')]
    )
