"""The load counts what it should: nothing from a good backend, and each trouble of a bad one under its own name."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.backend import run_backend
from tests.support.certificates import issue_certificate
from tests.support.client import Target, fetch
from tests.support.clients import Client, Events, FreshGet, FreshPost, KeptGet, SlowDownload, SlowUpload, WebSocket
from tests.support.load import Load, run_load
from tests.support.trouble import Trouble

DEMO = ("-m", "uvicorn", "demo:app", "--fd", "3", "--no-access-log")


async def first_trouble(target: Target, kind: type[Client]) -> Load:
    """A load of one kind, until something went wrong."""
    async with run_load({"bad": target}, kinds=[kind]) as load:
        while not load.troubles:
            await load.wait_turns(1)
    return load


async def test_a_good_backend_causes_no_trouble(tmp_path: Path):
    """Every kind of client is content with a demo that it reaches directly, over TLS and plain."""
    certificates = issue_certificate(tmp_path)
    (tmp_path / "secure").mkdir()
    files = ("--ssl-certfile", str(certificates.cert), "--ssl-keyfile", str(certificates.key))
    database = {"DEMO_DATABASE": str(tmp_path / "notes.sqlite3")}
    async with (
        run_backend(*DEMO, directory=tmp_path, environment=database) as plain,
        run_backend(*DEMO, *files, directory=tmp_path / "secure", environment=database) as secure,
    ):
        targets = {
            "plain": plain.target,
            "tls": Target(address=secure.target.address, tls=certificates.trusting),
        }
        async with run_load(targets) as load:
            await load.wait_turns(1)
            steady = (load.now(), await load.after_turns(1))
            await load.wait_turns(1)
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")
        load.assert_not_slower(steady=steady, margin=5)
        assert [count.connections for kind, count in load.counts.items() if "keep-alive" in kind] == [1] * 4


async def test_an_entry_that_came_twice_is_found(tmp_path: Path):
    """The ledger is compared with what was sent."""
    async with run_backend(*DEMO, directory=tmp_path) as backend:
        async with run_load({"plain": backend.target}, kinds=[FreshPost]) as load:
            await load.wait_turns(1)
        (identity, *_) = load.counts["plain fresh post"].sent
        load.assert_ledger(tmp_path / "notes.sqlite3")
        body = json.dumps({"id": identity}).encode()
        (await fetch(backend.target, "/ledger", method="POST", body=body)).expect()
    with pytest.raises(AssertionError, match="recorded more than once"):
        load.assert_ledger(tmp_path / "notes.sqlite3")
    load.counts["plain fresh post"].acknowledged.append("nobody's")
    load.counts["plain fresh post"].sent.append("nobody's")
    with closing(sqlite3.connect(tmp_path / "notes.sqlite3")) as connection, connection:
        connection.execute("UPDATE ledger SET count = 1")
    with pytest.raises(AssertionError, match="acknowledged and lost"):
        load.assert_ledger(tmp_path / "notes.sqlite3")


@pytest.mark.parametrize("kind", [FreshGet, WebSocket])
async def test_refusals_are_counted(tmp_path: Path, kind: type[Client]):
    """Nobody listens any more."""
    async with run_backend("-m", "faulty.plain", directory=tmp_path) as backend:
        await backend.stop()
        load = await first_trouble(backend.target, kind)
    assert load.troubles_of([Trouble.REFUSED]) == load.troubles
    with pytest.raises(AssertionError):
        load.assert_unharmed()


@pytest.mark.parametrize(
    ("arguments", "kind", "trouble"),
    [
        (("closes-after-each",), KeptGet, None),
        (("cuts-body", "--path", "/whoami"), FreshGet, Trouble.RESET),
        (("cuts-body", "--path", "/stream", "--variant", "chunked"), SlowDownload, Trouble.RESET),
        (("crashes-on-request", "--path", "/events"), Events, Trouble.RESET),
        (("crashes-on-request", "--path", "/ws"), WebSocket, Trouble.RESET),
        (("answers-500",), FreshGet, Trouble.SERVER_ERROR),
        (("answers-500",), SlowUpload, Trouble.SERVER_ERROR),
        (("answers-500",), WebSocket, Trouble.SERVER_ERROR),
        (("contradicts-framing", "--path", "/whoami"), FreshGet, Trouble.OTHER),
        (("splits-response", "--path", "/whoami"), FreshGet, Trouble.WRONG_BODY),
        (("splits-response", "--path", "/stream"), SlowDownload, Trouble.WRONG_BODY),
        (("answers-early", "--path", "/upload"), SlowUpload, Trouble.OTHER),
    ],
)
async def test_each_trouble_has_its_own_count(
    tmp_path: Path, arguments: tuple[str, ...], kind: type[Client], trouble: Trouble | None
):
    """Faults that the client can see, under the name they should have."""
    async with run_backend("-m", "faulty", *arguments, directory=tmp_path) as backend:
        if trouble is None:
            # Ended between two exchanges: allowed, so no trouble, but not hidden either.
            async with run_load({"bad": backend.target}, kinds=[kind]) as load:
                await load.wait_turns(5)
            assert all(count.ended + count.troubles.total() for count in load.counts.values())
        else:
            load = await first_trouble(backend.target, kind)
            assert load.troubles_of([trouble]) == load.troubles, load.table()


async def test_silence_is_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A turn that never ends is counted when its time is over."""
    monkeypatch.setattr("tests.support.load.TURN_TIMEOUT", 0.3)
    async with run_backend("-m", "faulty", "never-answers", directory=tmp_path) as backend:
        load = await first_trouble(backend.target, FreshGet)
    assert load.troubles_of([Trouble.TIMEOUT]) == load.troubles
