"""A pool and its slots at one moment, as values."""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.backend import BackendSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSnapshot:
    """A slot at one moment; old and new backend are both in it while one replaces the other.

    Attributes:
        slot: its number, from 0.
        expecting: a backend that can be claimed is there or is coming.
        failed_starts: failed starts in a row.
        backends: what fills it, oldest first; empty between two processes.
    """

    slot: int
    expecting: bool
    failed_starts: int
    backends: tuple[BackendSnapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """A pool at one moment.

    Attributes:
        name, size, supervised, paused: as in `Pool`.
        locked: the reason, or None.
        expecting: some slot has a backend that can be claimed, or one is coming.
        slots: each, by number.
    """

    name: str
    size: int
    supervised: bool
    locked: str | None
    paused: bool
    expecting: bool
    slots: tuple[SlotSnapshot, ...]
