"""A PostgreSQL server of Debian's package, made for one test: its own directory, a Unix socket, a log that tells all.

PostgreSQL refuses to run as root, so root runs it as somebody else; its directory is outside of pytest's, which only
their owner may enter. Nothing is synced to disk: what is tested is what the server is told, not what it survives.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import trio

from tests.support.tools import require_tool

START_TIMEOUT = 20.0
"""Seconds."""

_LINE = re.compile(r"(?P<time>[\d.]+)\|(?P<pid>\d+)\|(?P<name>[^|]*)\|(?P<level>\w+):  (?P<text>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the server's log: when (seconds since 1970), which connection (its process), who, and what."""

    time: float
    pid: int
    name: str
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Postgresql:
    """A running server."""

    directory: Path

    @property
    def url(self) -> str:
        """For libpq and whatever understands its URLs."""
        return f"postgresql://postgres@/postgres?host={self.directory}"

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of one statement, over a connection of its own."""

        def ask() -> list[tuple[Any, ...]]:
            with psycopg.connect(self.url, application_name="test") as connection:
                # A text that was not written in the program is refused by the types of psycopg; ours was.
                return connection.execute(statement.encode()).fetchall()

        return await trio.to_thread.run_sync(ask)

    async def connected(self) -> dict[str, int]:
        """How many connections there are, by the name of who connected."""
        rows = await self.query(
            "SELECT application_name, count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND application_name <> 'test' GROUP BY 1"
        )
        return {str(name): int(count) for name, count in rows}

    def log(self) -> list[Entry]:
        """Every line so far, in order."""
        found = []
        for line in (self.directory / "log").read_text(encoding="utf-8", errors="replace").splitlines():
            if match := _LINE.fullmatch(line):
                fields = match.groupdict()
                found.append(Entry(**{**fields, "time": float(fields["time"]), "pid": int(fields["pid"])}))  # type: ignore[arg-type]
        return found


def _unprivileged() -> dict[str, Any]:
    """Whom to run it as: arguments of subprocess."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise AssertionError("there is nobody to run PostgreSQL as")


def _programs() -> tuple[str, str]:
    """The programs that make a database and that serve it, of the newest version there is."""
    places = os.pathsep.join(str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    initdb = require_tool("initdb", package="postgresql", places=places)
    return initdb, str(Path(initdb).resolve().with_name("postgres"))


@asynccontextmanager
async def run_postgresql() -> AsyncIterator[Postgresql]:
    """Run a server, with an empty database, for the time of the block."""
    initdb, postgres = _programs()
    who = _unprivileged()
    directory = Path(tempfile.mkdtemp(prefix="hotswap-postgresql-"))
    process: trio.Process | None = None
    try:
        if who:
            os.chown(directory, who["user"], who["group"])
        options = {**who, "cwd": directory, "env": {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}}
        made = await trio.run_process(
            [initdb, "--pgdata=data", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            **options,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(directory),
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
            "log_connections": "on",
            "log_disconnections": "on",
            "log_statement": "all",
            # At this level a client that hangs up without a goodbye is named.
            "log_min_messages": "debug1",
            "log_line_prefix": "%n|%p|%a|",
        }
        with (directory / "log").open("wb") as log:
            process = await trio.lowlevel.open_process(
                [
                    postgres,
                    "-D",
                    "data",
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **options,
            )
        server = Postgresql(directory)
        with trio.fail_after(START_TIMEOUT):
            while not any("ready to accept connections" in entry.text for entry in server.log()):
                assert process.poll() is None, (directory / "log").read_text()
                await trio.sleep(0.02)
        yield server
    finally:
        with trio.CancelScope(shield=True):
            if process is not None:
                # Its fast way to stop: clients are told, nothing is waited for.
                process.send_signal(signal.SIGINT)
                with trio.move_on_after(10):
                    await process.wait()
                process.kill()
                await process.wait()
            await trio.to_thread.run_sync(shutil.rmtree, directory, True)
