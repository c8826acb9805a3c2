"""The demo on a real PostgreSQL server: what rollouts look like from the database."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from demo.postgres_store import CONNECTIONS
from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.load import run_load
from tests.support.pools import demo_pool, listeners
from tests.support.postgresql import Entry, Postgresql, run_postgresql

ROLLOUTS = 10


def connections_of(generation: int) -> dict[str, int]:
    """What the server sees of the two backends of a generation."""
    return {f"demo slot {slot}, generation {generation}": CONNECTIONS for slot in range(2)}


async def wait_connected(server: Postgresql, expected: dict[str, int]) -> None:
    """Block until the server sees these connections and no other; it notices a goodbye a moment after it was said."""
    with trio.move_on_after(5):
        while await server.connected() != expected:
            await trio.sleep(0.02)
    assert await server.connected() == expected


async def roll_ten_times(server: Postgresql, hotswap: Hotswap) -> None:
    """After each rollout the backends that were replaced have no connection left."""
    for number in range(ROLLOUTS):
        rollout = await hotswap.rollout()
        assert rollout["outcome"] == "done", rollout
        assert [slot["exchanges"]["cut"] for slot in rollout["slots"]] == [0, 0], rollout
        await wait_connected(server, connections_of(number + 2))


def assert_farewell(log: list[Entry], name: str) -> None:
    """In the log: this backend's last statement came before the first of its connections was closed."""
    entries = [entry for entry in log if entry.name == name]
    closed = [entry.time for entry in entries if entry.text.startswith("disconnection:")]
    statements = [entry.time for entry in entries if entry.text.startswith(("statement:", "execute "))]
    assert len(closed) == CONNECTIONS, entries[-5:]
    assert len(statements) > CONNECTIONS, "it did nothing"
    assert max(statements) <= min(closed)


@pytest.mark.fail_after(150)
async def test_no_transaction_is_lost_or_doubled_by_ten_rollouts(tmp_path: Path):
    """Each id is in both tables once, and every backend closes its connections in order: the log agrees."""
    async with run_postgresql() as server:
        config = listeners() + demo_pool(tmp_path, environment={"DATABASE_URL": server.url})
        async with run_hotswap(config, tmp_path) as hotswap:
            assert await server.connected() == connections_of(1)
            async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS, clients=2) as load:
                await load.wait_turns(1)
                await roll_ten_times(server, hotswap)
                await load.wait_turns(1)
        await wait_connected(server, {})
        load.assert_unharmed()
        load.assert_entries(dict(await server.query("SELECT id, count FROM ledger")))
        entered = dict(await server.query("SELECT id, count(*) FROM entries GROUP BY id"))
        load.assert_entries(entered)
        writers = {str(name) for (name,) in await server.query("SELECT DISTINCT entered_by FROM entries")}
        log = server.log()

    everyone = {name for generation in range(1, ROLLOUTS + 2) for name in connections_of(generation)}
    assert writers == everyone, "a backend served no write"
    for name in everyone:
        assert_farewell(log, name)
    unclean = re.compile(r"unexpected EOF|could not receive|terminating connection|rollback", re.IGNORECASE)
    assert [entry for entry in log if entry.name in everyone and unclean.search(entry.text)] == []
    # What the backends say of it themselves, once each: the last request, then the connections, then the end.
    said = re.compile(r"demo: (last request done|database closed|exit)")
    for slot in range(2):
        for generation in range(1, ROLLOUTS + 2):
            lines = [
                str(record["line"])
                for record in hotswap.records()
                if record.get("event") == "backend.output"
                and (record["slot"], record["generation"]) == (slot, generation)
            ]
            farewell = [found[1] for line in lines if (found := said.match(line))]
            assert farewell == ["last request done", "database closed", "exit"], lines


async def test_a_server_that_cannot_be_reached_fails_the_start(tmp_path: Path):
    """And the backend says why."""
    url = f"postgresql://postgres@/postgres?host={tmp_path}"
    config = listeners() + demo_pool(tmp_path, environment={"DATABASE_URL": url})
    async with run_hotswap(config, tmp_path, wait_ready=False) as hotswap:
        await hotswap.wait_line("cannot open the database", str(tmp_path))
