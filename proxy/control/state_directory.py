"""The directory of `[proxy].state_dir`: ours alone, with the sockets of backends and the development authority."""

from __future__ import annotations

from pathlib import Path

from proxy.core.errors import BackendError, ConfigError, Problem
from proxy.processes.listening import open_directory, sweep_directory


def open_state_directory(path: str) -> Path:
    """Make the directory with mode 0700, or check the one there is, and remove sockets that nobody listens on.

    Raises:
        ConfigError: it cannot be made, or is somebody else's.
    """
    try:
        directory = open_directory(Path(path))
        sweep_directory(directory)
    except (BackendError, OSError) as error:
        allowed = f"a directory for this user alone; {error}"
        raise ConfigError([Problem("proxy.state_dir", path, allowed)]) from error
    return directory
