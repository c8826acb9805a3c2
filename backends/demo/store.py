"""What the demo keeps, whatever it keeps it in: notes and the ledger.

The ledger is what a load test asks afterwards: each id it was given, and how often. A count of 2 means that a
request was sent to two backends, a missing id that an acknowledged write was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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
    """An open store. It is shared with the other backends, and `close`d when the last request is done."""

    @property
    def place(self) -> str:
        """Where the data is, in words without a password."""

    async def close(self) -> None:
        """Write back what is left and let go of the data. May be called twice."""

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


async def open_store(environment: Mapping[str, str], *, name: str) -> Store:
    """Open what the environment names: PostgreSQL with `DATABASE_URL`, else the SQLite file `DEMO_DATABASE`.

    Args:
        environment: the variables of this process.
        name: what a database server is told about who connects.

    Raises:
        Exception: it cannot be opened, by the library's own exception; ImportError when there is no library.
    """
    # Each brings its own library, and only one of them is needed.
    url = environment.get("DATABASE_URL")
    if url:
        try:
            from backends.demo.postgres_store import PostgresStore
        except ImportError as error:
            raise ImportError(f"DATABASE_URL needs psycopg (pip install 'hotswap[postgresql]'): {error}") from error
        return await PostgresStore.open(url, name=name)
    from backends.demo.sqlite_store import SqliteStore

    return await SqliteStore.open(Path(environment.get("DEMO_DATABASE") or "notes.sqlite3"))
