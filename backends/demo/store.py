"""Store interface of the demo: notes and the ledger.

The ledger is what a load test asks afterwards: each id it was given, and how often. A count of 2 means that a
request was sent to two backends, a missing id that an acknowledged write was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note, and which backend wrote it (`written_at` in seconds since 1970)."""

    id: int
    text: str
    written_by: str
    written_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTotals:
    """How many ids the ledger holds, and how many of them came more than once."""

    ids: int
    duplicated: int


class Store(Protocol):
    """An open store, shared with the other backends; `close`d when the last request is done."""

    @property
    def place(self) -> str:
        """Where the data is, in words without a password."""

    async def close(self) -> None:
        """Flush, and close the store; idempotent."""

    async def notes(self) -> list[Note]:
        """The newest hundred notes, newest first."""

    async def add_note(self, text: str, *, written_by: str, now: float) -> Note:
        """Keep a note; it is on disk when this returns."""

    async def delete_note(self, number: int) -> bool:
        """Forget a note; False if there is none with that number."""

    async def record(self, identity: str) -> int:
        """Enter an id into the ledger and return how often it has come by now (1: the first time)."""

    async def ledger(self) -> LedgerTotals:
        """The totals of the ledger."""
