"""The version of the program; pyproject.toml takes it from here."""

from __future__ import annotations

from typing import Final

PROGRAM_VERSION: Final = "0.2.0.dev0"
"""That of the code that runs. What is installed may be newer: it is replaced under a proxy that goes on."""
