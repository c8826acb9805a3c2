"""Identity of this backend: process, slot, generation, release."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the proxy told this process about its place; None where nothing was told."""

    pid: int
    pool: str | None
    slot: int | None
    generation: int | None
    release: str

    def __str__(self) -> str:
        if self.slot is None:
            return f"pid {self.pid}"
        return f"slot {self.slot}, generation {self.generation}"


def load_identity(environment: Mapping[str, str], directory: Path) -> Identity:
    """Read the identity of this process from its environment and its working directory."""

    def number(name: str) -> int | None:
        text = environment.get(name, "")
        return int(text) if text.isdecimal() else None

    return Identity(
        pid=os.getpid(),
        pool=environment.get("HOTSWAP_POOL"),
        slot=number("HOTSWAP_SLOT"),
        generation=number("HOTSWAP_GENERATION"),
        release=environment.get("DEMO_RELEASE") or _release_in(directory),
    )


def _release_in(directory: Path) -> str:
    try:
        lines = (directory / "RELEASE").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    return (lines[0].strip() if lines else "") or directory.resolve().name
