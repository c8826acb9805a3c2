"""Each faulty backend does the wrong that it promises, so that tests of the proxy do not test against thin air."""

from __future__ import annotations

import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import h11
import pytest
import trio

from faulty.faults import CONTRADICTIONS
from tests.support.backend import RunningBackend, run_backend
from tests.support.client import fetch, open_connection
from tests.support.trouble import CutShort


def run_faulty(directory: Path, *arguments: str) -> AbstractAsyncContextManager[RunningBackend]:
    """A faulty backend on an inherited socket."""
    return run_backend("-m", "faulty", *arguments, directory=directory)


async def ended(backend: RunningBackend) -> int:
    """Its exit code, which must come soon."""
    with trio.fail_after(10):
        return await backend.process.wait()


async def test_slow_start_answers_late(tmp_path: Path):
    """A request waits in the queue of the socket until the start is over."""
    async with run_faulty(tmp_path, "slow-start", "--seconds", "0.3") as backend:
        began = trio.current_time()
        (await fetch(backend.target, "/healthz")).expect()
        assert trio.current_time() - began >= 0.25


@pytest.mark.parametrize("fault", ["never-ready", "never-answers"])
async def test_silent_faults_never_say_a_word(tmp_path: Path, fault: str):
    """The connection stands, and nothing comes."""
    async with run_faulty(tmp_path, fault) as backend:
        with trio.move_on_after(0.5) as waiting:
            await fetch(backend.target, "/healthz")
        assert waiting.cancelled_caught


async def test_dies_at_start_says_why(tmp_path: Path):
    """Exit code 3, and the reason in its last line."""
    async with run_faulty(tmp_path, "dies-at-start", "--seconds", "0") as backend:
        assert await ended(backend) == 3
        await backend.wait_line("cannot find the table of orders")


async def test_exits_later_serves_until_then(tmp_path: Path):
    """Well behaved at first, gone with 3 after a while."""
    async with run_faulty(tmp_path, "exits-later", "--seconds", "0.5") as backend:
        (await fetch(backend.target, "/healthz")).expect()
        assert await ended(backend) == 3


async def test_cannot_serve_says_errno_and_lives_on(tmp_path: Path):
    """The notify message is the only sign."""
    async with run_faulty(tmp_path, "cannot-serve") as backend:
        await backend.wait_notice(b"ERRNO=98")
        assert backend.process.poll() is None


async def test_answers_500_to_the_probe_too(tmp_path: Path):
    """It listens, and that is all."""
    async with run_faulty(tmp_path, "answers-500") as backend:
        assert (await fetch(backend.target, "/healthz")).status == 500


async def test_ignores_sigterm_and_goes_on_serving(tmp_path: Path):
    """Only SIGKILL ends it."""
    async with run_faulty(tmp_path, "ignores-sigterm") as backend:
        (await fetch(backend.target, "/healthz")).expect()
        backend.process.terminate()
        await backend.wait_line("ignoring SIGTERM")
        (await fetch(backend.target, "/healthz")).expect()


async def test_blocks_loop_stands_still_after_its_path(tmp_path: Path):
    """Neither probe nor SIGTERM reach it any more."""
    async with run_faulty(tmp_path, "blocks-loop") as backend:
        (await fetch(backend.target, "/healthz")).expect()
        for path in ("/fault", "/healthz"):
            with trio.move_on_after(0.3) as waiting:
                await fetch(backend.target, path)
            assert waiting.cancelled_caught
        backend.process.terminate()
        await backend.wait_line("ignoring SIGTERM")
        assert backend.process.poll() is None


@pytest.mark.parametrize("variant", ["", "chunked"])
async def test_cuts_body_half_way(tmp_path: Path, variant: str):
    """Half of the body, then the end of the connection."""
    async with run_faulty(tmp_path, "cuts-body", "--bytes", "1000", "--variant", variant) as backend:
        (await fetch(backend.target, "/healthz")).expect()
        with pytest.raises(CutShort):
            await fetch(backend.target, "/fault")


@pytest.mark.parametrize("variant", sorted(CONTRADICTIONS))
async def test_contradicts_framing_sends_the_bytes_of_its_variant(tmp_path: Path, variant: str):
    """Exactly those bytes are on the wire, and the connection stays open."""
    async with (
        run_faulty(tmp_path, "contradicts-framing", "--variant", variant) as backend,
        open_connection(backend.target) as client,
    ):
        await client.send_head("GET", "/fault")
        received = b""
        while len(received) < len(CONTRADICTIONS[variant]):
            received += await client.stream.receive_some()
        assert received == CONTRADICTIONS[variant]


async def test_splits_response_is_valid_all_the_same(tmp_path: Path):
    """h11 puts it together."""
    async with run_faulty(tmp_path, "splits-response") as backend:
        assert (await fetch(backend.target, "/fault")).expect().body == b"hello"


async def test_huge_head_is_more_than_anybody_reads(tmp_path: Path):
    """h11 gives up on it."""
    async with run_faulty(tmp_path, "huge-head", "--bytes", "100000") as backend:
        with pytest.raises(h11.RemoteProtocolError):
            await fetch(backend.target, "/fault")


async def test_huge_output_floods_and_serves(tmp_path: Path):
    """A line of a megabyte, many lines, and it still answers."""
    async with run_faulty(tmp_path, "huge-output") as backend:
        await backend.wait_line("end of the output")
        assert max(map(len, backend.lines)) == 1_000_000
        (await fetch(backend.target, "/healthz")).expect()


async def test_malformed_notify_ends_in_ready(tmp_path: Path):
    """Everything before READY=1 is rubbish."""
    async with run_faulty(tmp_path, "malformed-notify") as backend:
        await backend.wait_notice(b"READY=1\n")
        assert len(backend.notices) > 5
        (await fetch(backend.target, "/healthz")).expect()


async def test_closes_after_each_without_a_word(tmp_path: Path):
    """The response promises keep-alive and the connection ends."""
    async with run_faulty(tmp_path, "closes-after-each") as backend, open_connection(backend.target) as client:
        assert (await client.request("GET", "/")).expect().header("connection") is None
        with pytest.raises((CutShort, trio.BrokenResourceError)):
            await client.request("GET", "/")


async def test_closes_idle_connections_after_a_while(tmp_path: Path):
    """Busy ones live, an idle one ends."""
    async with (
        run_faulty(tmp_path, "closes-idle", "--seconds", "0.2") as backend,
        open_connection(backend.target) as client,
    ):
        (await client.request("GET", "/")).expect()
        with trio.fail_after(5):
            assert await client.stream.receive_some() == b""


async def test_answers_early_without_reading_the_body(tmp_path: Path):
    """The answer is there while the upload still goes on."""
    async with run_faulty(tmp_path, "answers-early") as backend, open_connection(backend.target) as client:
        await client.send_head("POST", "/fault", headers=[("Content-Length", "1000000")])
        assert (await client.head())[0] == 403


@pytest.mark.parametrize("variant", ["", "partial"])
async def test_crashes_on_request_is_killed_in_the_middle(tmp_path: Path, variant: str):
    """The connection breaks and the process is gone by SIGKILL."""
    async with run_faulty(tmp_path, "crashes-on-request", "--variant", variant) as backend:
        with pytest.raises((CutShort, trio.BrokenResourceError)):
            await fetch(backend.target, "/fault")
        assert await ended(backend) == -signal.SIGKILL
