"""The plain backend, without a proxy."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.support.backend import run_backend
from tests.support.client import Target, fetch, open_connection


async def test_every_path_answers_as_its_documentation_says(tmp_path: Path):
    """One connection, all paths, framing checked by h11."""
    async with run_backend("-m", "faulty.plain", directory=tmp_path) as backend:
        async with open_connection(backend.target) as client:
            assert (await client.request("GET", "/")).expect().body == b"hello\n"
            (await client.request("GET", "/healthz")).expect()
            assert (await client.request("HEAD", "/")).expect().header("content-length") == "6"
            assert (await client.request("GET", "/whoami")).json()["generation"] == 7
            assert (await client.request("POST", "/echo", body=b"abc")).body == b"abc"
            (await client.request("GET", "/status/204")).expect(204)
            (await client.request("GET", "/status/404")).expect(404)
            (await client.request("POST", "/", body=b"unread")).expect()
            seen = (await client.request("GET", "/headers?a=1", headers=[("X-A", "b")])).json()
            assert (seen["method"], seen["target"]) == ("GET", "/headers?a=1")
            assert ["x-a", "b"] in [[name.lower(), value] for name, value in seen["headers"]]
            assert len((await client.request("GET", "/stream?lines=5&seconds=0")).body) == 80
            (await client.request("GET", "/close")).expect()
            assert not client.reusable
        assert await backend.stop() == 0


async def test_notify_says_ready_and_stopping(tmp_path: Path):
    """READY=1 comes when it serves, STOPPING=1 when it no longer does."""
    async with run_backend("-m", "faulty.plain", "--notify", directory=tmp_path) as backend:
        await backend.wait_notice(b"READY=1")
        assert await backend.stop() == 0
        await backend.wait_notice(b"STOPPING=1")


async def test_it_listens_where_it_is_told(tmp_path: Path):
    """A unix path instead of the inherited socket."""
    path = tmp_path / "own.sock"
    async with run_backend("-m", "faulty.plain", "--unix", str(path), directory=tmp_path) as backend:
        await backend.wait_line("serving")
        (await fetch(Target(address=path), "/healthz")).expect()


async def test_stopping_finishes_what_is_inside(tmp_path: Path):
    """SIGTERM in the middle of a response: the response is complete, then the process ends with 0."""
    async with run_backend("-m", "faulty.plain", directory=tmp_path) as backend:
        async with open_connection(backend.target) as client:
            await client.send_head("GET", "/stream?lines=20&seconds=0.5")
            await client.send_end()
            await client.head()
            backend.process.terminate()
            await backend.wait_line("plain: stopping with 1 in flight, 1 connections")
            assert len(await client.body()) == 320
        with trio.fail_after(10):
            assert await backend.process.wait() == 0
            await backend.wait_line("plain: exit")
