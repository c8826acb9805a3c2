"""Store of the demo in PostgreSQL, with a small connection pool in each backend.

During a rollout the old and the new process are connected at the same time. Whoever looks at the server sees which
is which: each connection carries pool, slot and generation of its backend as its application name. Every write is
one transaction; it is committed when the request is answered, so a backend that is stopped after its last answer
leaves nothing half done, and closes its connections in order before it exits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from demo.store import LedgerTotals, Note

CONNECTIONS = 3
"""How many a backend has; a statement waits until one is free."""

CONNECT_TIMEOUT = 5
"""Seconds."""

NAME_BYTES = 63
"""What PostgreSQL keeps of an application name."""

_SCHEMA_LOCK = 0x686F7473776170
"""Two backends that boot at once would both make the tables, which is an error even with IF NOT EXISTS."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL, written_by text NOT NULL,
    written_at double precision NOT NULL
);
CREATE TABLE IF NOT EXISTS ledger (id text PRIMARY KEY, count integer NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, entered_by text NOT NULL
);
"""

_Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class PostgresStore:
    """Open store. Create it with `PostgresStore.open`, and `close` it when the last request is done."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name.encode()[:NAME_BYTES].decode("utf-8", "ignore")
        self._free: asyncio.LifoQueue[_Connection] = asyncio.LifoQueue()
        self._all: set[_Connection] = set()
        self._closed = False
        self.place = "PostgreSQL"

    @classmethod
    async def open(cls, url: str, *, name: str) -> PostgresStore:
        """Connect, creating missing tables.

        Args:
            url: of libpq, such as `postgresql://user@host/database`.
            name: what the server is told about who connects.

        Raises:
            psycopg.Error: the server cannot be reached, or refuses.
        """
        store = cls(url, name)
        try:
            for _ in range(CONNECTIONS):
                store._free.put_nowait(await store._connect())
            async with store._transaction() as connection:
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
                await connection.execute(_SCHEMA)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Close every connection; idempotent."""
        self._closed = True
        while self._all:
            await self._all.pop().close()

    async def notes(self) -> list[Note]:
        """The newest hundred notes, newest first."""
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "SELECT id, text, written_by, written_at FROM notes ORDER BY id DESC LIMIT 100"
            )
            rows = await cursor.fetchall()
        return [Note(id=row[0], text=row[1], written_by=row[2], written_at=row[3]) for row in rows]

    async def add_note(self, text: str, *, written_by: str, now: float) -> Note:
        """Keep a note; it is on disk when this returns."""
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "INSERT INTO notes (text, written_by, written_at) VALUES (%s, %s, %s) RETURNING id",
                (text, written_by, now),
            )
            (number,) = await cursor.fetchone() or (0,)
        return Note(id=number, text=text, written_by=written_by, written_at=now)

    async def delete_note(self, number: int) -> bool:
        """Forget a note; False if there is none with that number."""
        async with self._transaction() as connection:
            cursor = await connection.execute("DELETE FROM notes WHERE id = %s::numeric", (number,))
            return cursor.rowcount > 0

    async def record(self, identity: str) -> int:
        """Enter an id into the ledger and return how often it has come by now (1: the first time).

        In two tables by one transaction: one that was cut in two would show.
        """
        async with self._transaction() as connection:
            await connection.execute("INSERT INTO entries (id, entered_by) VALUES (%s, %s)", (identity, self._name))
            cursor = await connection.execute(
                "INSERT INTO ledger (id, count) VALUES (%s, 1)"
                " ON CONFLICT (id) DO UPDATE SET count = ledger.count + 1 RETURNING count",
                (identity,),
            )
            (count,) = await cursor.fetchone() or (0,)
        return int(count)

    async def ledger(self) -> LedgerTotals:
        """The totals of the ledger."""
        async with self._transaction() as connection:
            cursor = await connection.execute("SELECT count(*), count(*) FILTER (WHERE count > 1) FROM ledger")
            ids, duplicated = await cursor.fetchone() or (0, 0)
        return LedgerTotals(ids=ids, duplicated=duplicated)

    async def _connect(self) -> _Connection:
        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, application_name=self._name, connect_timeout=CONNECT_TIMEOUT
        )
        self._all.add(connection)
        self.place = f"PostgreSQL {connection.info.dbname} at {connection.info.host or 'this machine'}"
        return connection

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[_Connection]:
        """A connection, in a transaction that is committed at the end of the block, or rolled back by an error."""
        if self._closed:
            raise psycopg.InterfaceError("the store is closed")
        connection = await self._free.get()
        try:
            if connection.closed:
                # The server was restarted meanwhile.
                self._all.discard(connection)
                connection = await self._connect()
            async with connection.transaction():
                yield connection
        finally:
            self._free.put_nowait(connection)
