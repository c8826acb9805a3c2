"""What this version of the program says of itself to one that might hand over to it.

Little is imported here: it is printed by a process of its own, which somebody waits for.
"""

from __future__ import annotations

from pathlib import Path

from hotswap.control.configuration.loading import load_configuration
from hotswap.control.telemetry.version import PROGRAM_VERSION
from hotswap.core.errors import ConfigError
from hotswap.core.takeover.versions import HandoffInfo


def own_handoff_info() -> HandoffInfo:
    """Give what this version says of itself."""
    return HandoffInfo(version=PROGRAM_VERSION)


def describe_handoff(config: Path) -> dict[str, object]:
    """Give what `--handoff-info` prints: versions, and what is wrong with a configuration."""
    problems: list[dict[str, str | int | None]] = []
    try:
        load_configuration(config)
    except ConfigError as error:
        problems = [problem.to_json() for problem in error.problems]
    return {**own_handoff_info().to_json(), "problems": problems}
