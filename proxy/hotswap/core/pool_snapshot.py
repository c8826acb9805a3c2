"""A pool and its slots at one moment, as values; and the one word that says whether waiting makes sense."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hotswap.core.backend import BackendSnapshot


class Outlook(StrEnum):
    """What a request can hope for."""

    CLAIMABLE = "claimable"
    """A claim succeeds now."""
    BUSY = "busy"
    """Every claimable backend is full: hold until one has room."""
    EXPECTED = "expected"
    """Nothing is claimable, but something is coming (or the pool is paused): hold."""
    HOPELESS = "hopeless"
    """Nothing is claimable and nothing is coming: answer 503 at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSnapshot:
    """A slot at one moment; old and new backend are both in it while one replaces the other.

    Attributes:
        slot: its number, from 0.
        hopeful: a backend that can be claimed is there or is coming.
        failed_starts: failed starts in a row.
        backends: what fills it, oldest first; empty between two processes.
    """

    slot: int
    hopeful: bool
    failed_starts: int
    backends: tuple[BackendSnapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """A pool at one moment; `locked` is the reason, or None."""

    name: str
    size: int
    supervised: bool
    locked: str | None
    paused: bool
    outlook: Outlook
    slots: tuple[SlotSnapshot, ...]
