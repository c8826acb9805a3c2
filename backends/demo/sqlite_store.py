"""Store of the demo in one SQLite file.

During a rollout the old and the new process have the file open at the same time, so it is in WAL mode
(readers never wait for a writer, and one waits for another at most `BUSY_TIMEOUT`), and every write is one
short transaction. Within a process one thread owns the connection: the event loop is never blocked by the
disk, and statements never overlap.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from demo.store import LedgerTotals, Note

BUSY_TIMEOUT = 5.0
"""Seconds that a statement waits for the lock of another process."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, written_by TEXT NOT NULL, written_at REAL NOT
    NULL
);
CREATE TABLE IF NOT EXISTS ledger (id TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
"""

_T = TypeVar("_T")


class SqliteStore:
    """Open store. Create it with `SqliteStore.open`, and `close` it when the last request is done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open the file, creating it and its tables where they are missing.

        Raises:
            sqlite3.Error: The file cannot be opened, or is no database.
        """
        store = cls(path)
        try:
            await store._run(store._connect)
        except BaseException:
            store._thread.shutdown(wait=False)
            raise
        return store

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self.path)

    async def close(self) -> None:
        """Checkpoint, close the file and end the thread; idempotent."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._run(connection.close)
        self._thread.shutdown()

    async def notes(self) -> list[Note]:
        """The newest hundred notes, newest first."""
        rows = await self._run(
            lambda: self._db.execute(
                "SELECT id, text, written_by, written_at FROM notes ORDER BY id DESC LIMIT 100"
            ).fetchall()
        )
        return [Note(id=row[0], text=row[1], written_by=row[2], written_at=row[3]) for row in rows]

    async def add_note(self, text: str, *, written_by: str, now: float) -> Note:
        """Keep a note; it is on disk when this returns."""
        number = await self._run(
            lambda: (
                self._db.execute(
                    "INSERT INTO notes (text, written_by, written_at) VALUES (?, ?, ?)",
                    (text, written_by, now),
                ).lastrowid
            )
        )
        return Note(id=number or 0, text=text, written_by=written_by, written_at=now)

    async def delete_note(self, number: int) -> bool:
        """Forget a note; False if there is none with that number."""
        changed = await self._run(lambda: self._db.execute("DELETE FROM notes WHERE id = ?", (number,)).rowcount)
        return changed > 0

    async def record(self, identity: str) -> int:
        """Enter an id into the ledger and return how often it has come by now (1: the first time)."""

        def enter() -> int:
            statement = (
                "INSERT INTO ledger (id, count) VALUES (?, 1)"
                " ON CONFLICT (id) DO UPDATE SET count = count + 1 RETURNING count"
            )
            return int(self._db.execute(statement, (identity,)).fetchall()[0][0])

        return await self._run(enter)

    async def ledger(self) -> LedgerTotals:
        """The totals of the ledger."""
        rows = await self._run(
            lambda: self._db.execute("SELECT COUNT(*), COALESCE(SUM(count > 1), 0) FROM ledger").fetchall()
        )
        return LedgerTotals(ids=int(rows[0][0]), duplicated=int(rows[0][1]))

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the store is closed")
        return self._connection

    async def _run(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _connect(self) -> None:
        # autocommit: each statement here is a transaction of its own
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        # Going to WAL and making tables take the lock of the whole file, and SQLite does not apply its busy
        # timeout to all of it: two backends booting at once would fail without this loop.
        deadline = time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    connection.close()
                    raise
                time.sleep(0.01)
        self._connection = connection
