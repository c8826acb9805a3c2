"""Demo app: small shared notes that show a rollout from inside a backend.

Run it with any ASGI server on asyncio as `demo:app`. It uses nothing but the standard library and keeps
its data in one SQLite file that many processes may open at once (WAL); or in PostgreSQL, by psycopg. It says aloud
in which order it shuts down.

Environment (all optional):
    DEMO_DATABASE: The data file; default `notes.sqlite3` in the working directory.
    DATABASE_URL: A PostgreSQL server instead, such as `postgresql://user@host/database`; needs the extra
        `postgresql` of hotswap.
    DEMO_RELEASE: What `/whoami` calls the release; default the first line of a file `RELEASE` in the working
        directory, then the name of that directory.
    DEMO_BOOT_SECONDS: How long starting takes, for a boot that a person (or a test) can see; default 0.
"""

from __future__ import annotations

from demo.application import app

__all__ = ["app"]
