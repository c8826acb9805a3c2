"""Opens the store that the environment names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from demo.store import Store


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
            from demo.postgres_store import PostgresStore
        except ImportError as error:
            raise ImportError(f"DATABASE_URL needs psycopg (pip install 'hotswap[postgresql]'): {error}") from error
        return await PostgresStore.open(url, name=name)
    from demo.sqlite_store import SqliteStore

    return await SqliteStore.open(Path(environment.get("DEMO_DATABASE") or "notes.sqlite3"))
