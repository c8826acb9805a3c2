"""How many processors this process may use: by its affinity, and by what its control group allows (cgroup v2)."""

from __future__ import annotations

import math
import os
from pathlib import Path

from hotswap.control.configuration.outside import read_file

CGROUPS = Path("/sys/fs/cgroup")
"""Where control groups are mounted."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""Which of them this process is in."""


def usable_processors(*, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Give the number of processors, at least 1; a quota that is no whole number counts as the next one."""
    found = float(len(os.sched_getaffinity(0)))
    try:
        lines = read_file(membership, 65536, timeout=1.0).decode().splitlines()
        own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
        group = cgroups / own
        # A quota of any group above holds too.
        for directory in (group, *group.parents):
            if directory == cgroups.parent:
                break
            found = min(found, _quota(directory / "cpu.max"))
    except (OSError, ValueError):
        pass
    return max(1, math.ceil(found))


def _quota(path: Path) -> float:
    try:
        quota, period = read_file(path, 256, timeout=1.0).decode().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
