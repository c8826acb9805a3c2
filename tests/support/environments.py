"""An environment of its own for a proxy, which can be removed under it, as an upgrade in place does."""

from __future__ import annotations

import shutil
import sys
import venv
from pathlib import Path

from tests.support.hotswap import REPOSITORY

OURS = {"hotswap": "proxy", "hotswap_backends": "backends"}


def make_environment(directory: Path) -> Path:
    """Make an environment that has what this one has, by links, and our packages; gives its interpreter."""
    venv.create(directory, with_pip=False)
    packages = directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for path in map(Path, sys.path):
        if path.name == "site-packages" and path.is_relative_to(sys.prefix):
            for entry in path.iterdir():
                # Those lead to the checkout whatever becomes of the environment.
                if entry.suffix != ".pth" and not entry.name.startswith(("__editable__", *OURS)):
                    (packages / entry.name).symlink_to(entry)
    for name, folder in OURS.items():
        # Copies, since a link would leave the modules where they are for whoever resolves it.
        shutil.copytree(REPOSITORY / folder / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    return directory / "bin" / "python"
