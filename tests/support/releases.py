"""Releases of an app on disk, switched the way deployments do it: directories, and one symbolic link to the current."""

from __future__ import annotations

import os
from pathlib import Path

GOOD = "from demo import app\n"
"""An app that works: the demo."""


class Releases:
    """Numbered releases below a directory; `current` is the link to the one deployed last.

    Attributes:
        current: The link, for the `directory` of a pool.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "releases"
        self._directory.mkdir()
        self.current = directory / "current"
        self._number = 0

    def deploy(self, source: str = GOOD, *, files: dict[str, str] | None = None) -> str:
        """Write a release whose module `shop` is this source, make it the current one, and give its name."""
        self._number += 1
        name = f"release-{self._number}"
        release = self._directory / name
        release.mkdir()
        for path, text in {"shop.py": source, "RELEASE": name, **(files or {})}.items():
            (release / path).parent.mkdir(parents=True, exist_ok=True)
            (release / path).write_text(text, encoding="utf-8")
        link = self._directory / "next"
        link.symlink_to(release)
        os.replace(link, self.current)
        return name
