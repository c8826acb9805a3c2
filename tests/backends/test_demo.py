"""The demo app behind a server of its own, without a proxy."""

from __future__ import annotations

import hashlib
import json
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio

from tests.support.backend import RunningBackend, run_backend
from tests.support.client import fetch, open_connection


def run_demo(directory: Path, **environment: str) -> AbstractAsyncContextManager[RunningBackend]:
    """The demo under uvicorn, on an inherited socket."""
    return run_backend(
        *("-m", "uvicorn", "demo:app", "--fd", "3", "--no-access-log"),
        directory=directory,
        environment=environment,
    )


async def test_notes_are_kept_listed_and_deleted(tmp_path: Path):
    """A note goes in, is listed with who wrote it, and is gone when deleted."""
    async with run_demo(tmp_path) as backend, open_connection(backend.target) as client:
        body = json.dumps({"text": " déjà vu "}).encode()
        note = (await client.request("POST", "/api/notes", body=body)).expect(201).json()
        assert (note["text"], note["written_by"]) == ("déjà vu", "slot 1, generation 7")
        assert (await client.request("GET", "/api/notes")).expect().json()["notes"] == [note]
        (await client.request("DELETE", f"/api/notes/{note['id']}")).expect()
        assert (await client.request("GET", "/api/notes")).expect().json()["notes"] == []
        (await client.request("DELETE", f"/api/notes/{note['id']}")).expect(404)


async def test_bad_requests_get_a_reason(tmp_path: Path):
    """Wrong bodies, numbers, methods and paths are answered with their status."""
    async with run_demo(tmp_path) as backend, open_connection(backend.target) as client:
        (await client.request("POST", "/api/notes", body=b"{")).expect(400)
        (await client.request("POST", "/api/notes", body=b"[]")).expect(400)
        (await client.request("POST", "/api/notes", body=b'{"text":""}')).expect(400)
        (await client.request("POST", "/ledger", body=b'{"id":1}')).expect(400)
        (await client.request("GET", "/slow?seconds=soon")).expect(400)
        (await client.request("DELETE", "/whoami")).expect(405)
        (await client.request("GET", "/nothing")).expect(404)
        (await client.request("GET", "/healthz")).expect()
        assert b"<h1>Notes</h1>" in (await client.request("GET", "/")).expect().body
    async with run_demo(tmp_path) as backend:
        too_much = b'{"text":"' + b"x" * 100_000 + b'"}'
        assert (await fetch(backend.target, "/api/notes", method="POST", body=too_much)).status == 413


async def test_whoami_names_process_place_and_release(tmp_path: Path):
    """The release is the first line of the file RELEASE, else the name of the directory."""
    async with run_demo(tmp_path) as backend:
        assert (await fetch(backend.target, "/whoami")).json() == {
            "pid": backend.process.pid,
            "pool": "web",
            "slot": 1,
            "generation": 7,
            "release": tmp_path.name,
        }
    (tmp_path / "RELEASE").write_text("2.0\n")
    async with run_demo(tmp_path) as backend:
        assert (await fetch(backend.target, "/whoami")).json()["release"] == "2.0"


async def test_the_ledger_counts_how_often_an_id_came(tmp_path: Path):
    """The second entry of an id is recorded as such, in another process too."""
    async with run_demo(tmp_path) as first, run_demo_beside(tmp_path) as second:
        for backend, count in ((first, 1), (second, 2), (first, 3)):
            answer = await fetch(backend.target, "/ledger", method="POST", body=b'{"id":"a"}')
            assert answer.expect().json() == {"id": "a", "count": count}
        assert (await fetch(second.target, "/ledger")).json() == {"ids": 1, "duplicated": 1}


def run_demo_beside(directory: Path) -> AbstractAsyncContextManager[RunningBackend]:
    """Another demo with the same database."""
    (directory / "beside").mkdir()
    return run_demo(directory / "beside", DEMO_DATABASE=str(directory / "notes.sqlite3"))


async def test_uploads_are_measured(tmp_path: Path):
    """Size and digest are those of the bytes that were sent."""
    data = bytes(range(256)) * 1000
    async with run_demo(tmp_path) as backend:
        answer = await fetch(backend.target, "/upload", method="POST", body=data)
    assert answer.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


async def test_event_streams_go_on_behind_the_last_event(tmp_path: Path):
    """A stream ends after its count, and the next begins where the client says it stopped."""
    async with run_demo(tmp_path) as backend, open_connection(backend.target) as client:
        first = (await client.request("GET", "/events?count=2&interval=0")).body.decode()
        headers = [("Last-Event-ID", "2")]
        second = (await client.request("GET", "/events?count=2&interval=0", headers=headers)).body.decode()
    numbers = [line for line in (first + second).splitlines() if line.startswith("id:")]
    assert numbers == ["id: 1", "id: 2", "id: 3", "id: 4"]


async def test_shutdown_ends_requests_then_the_database_then_the_process(tmp_path: Path):
    """pump.io's order: last request done, database closed, exit; and not before the last request is done."""
    async with run_demo(tmp_path) as backend, open_connection(backend.target) as client:
        await backend.wait_line("database open")
        await client.send_head("GET", "/stream?lines=100&seconds=1&parts=4")
        await client.send_end()
        await client.head()
        backend.process.send_signal(signal.SIGTERM)
        await backend.wait_line("Shutting down")
        assert len(await client.body()) == 1600
        with trio.fail_after(10):
            await backend.process.wait()
            await backend.wait_line("demo: exit")
    said = [line for line in backend.lines if line.startswith("demo: ")]
    assert said[-3:] == ["demo: last request done (1 served)", "demo: database closed", "demo: exit"]
    assert not (tmp_path / "notes.sqlite3-wal").exists()


async def test_a_database_that_cannot_be_opened_fails_the_start(tmp_path: Path):
    """The process ends by itself and says why."""
    async with run_demo(tmp_path, DEMO_DATABASE=str(tmp_path)) as backend:
        with trio.fail_after(10):
            assert await backend.process.wait() != 0
            await backend.wait_line("cannot open the database")
