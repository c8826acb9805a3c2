"""`hotswap status`."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator

import pytest
import trio

from hotswap.core.pool.last_error import LastError
from tests.support.command_line import cli, command, environment, on_terminal
from tests.support.fake_runtime import FakeProxy, open_fake_proxy


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


async def test_status_shows_every_backend_in_a_line(proxy: FakeProxy) -> None:
    """Readable without colour, not cut, and easy to grep."""
    proxy.runtime.pool("web").lock("rollout r1 failed: \x1b[31mexited")
    result = await cli("status", "--admin", proxy.url)
    assert result.code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [
        "pool",
        "slot",
        "gen",
        "state",
        "health",
        "in",
        "flight",
        "conns",
        "pid",
        "memory",
        "up",
        "release",
        "address",
    ] in lines
    rows = [line[:6] for line in lines if line[0] in {"web", "legacy"}]
    assert rows == [
        ["web", "0", "1", "ready", "healthy", "0"],
        ["web", "1", "1", "ready", "healthy", "0"],
        ["legacy", "0", "1", "ready", "healthy", "0"],
    ]
    assert "pool web: 2 of 2 slots ready, generation 1, LOCKED: rollout r1 failed: \\x1b[31mexited" in result.stdout
    assert "pool legacy: 1 of 1 slots ready, static" in result.stdout
    assert "listener public: 127.0.0.1:8443, 3 connections" in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


async def test_status_says_why_a_slot_is_not_well_and_what_certificates_there_are(proxy: FakeProxy) -> None:
    """Below the slot's row, whole; and that the proxy is stopping."""
    core = proxy.runtime.pool("web")
    core.remove(next(one for one in core.backends if one.slot == 0))
    why = "exited with status 1: ModuleNotFoundError: No module named '\x1b[31mshop'" + " and so on" * 20
    core.note_error(0, LastError(text=why, exit="exit code 1"), unborn=True)
    result = await cli("status", "--admin", proxy.url)
    lines = result.stdout.splitlines()
    row = next(index for index, line in enumerate(lines) if line.split()[:3] == ["web", "0", "empty"])
    text = " ".join(" ".join(lines[row + 1 :]).split())
    assert text.startswith(why.replace("\x1b", "\\x1b") + "; 1 failed start in a row web 1 1 ready")
    assert "certificate of public: example.org, until 2035-01-01 00:00:00 UTC" in result.stdout
    assert "STOPPING" not in result.stdout
    proxy.runtime.stop()
    assert "STOPPING" in (await cli("status", "--admin", proxy.url)).stdout


async def test_status_as_json_is_what_the_api_gives(proxy: FakeProxy) -> None:
    """Stable, on stdout, nothing else."""
    result = await cli("status", "--json", "--admin", proxy.url)
    assert result.document == proxy.runtime.status()


async def test_status_has_colour_on_a_terminal(proxy: FakeProxy) -> None:
    """And only there."""
    code, text = await on_terminal("status", "--admin", proxy.url)
    assert code == 0
    assert "\x1b[32mready" in text


async def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_ones(proxy: FakeProxy) -> None:
    """What is cut at its end says nothing."""
    _, text = await on_terminal("status", "--admin", proxy.url, COLUMNS="72")
    assert "in flight" in text
    assert "healthy" in text
    assert "address" not in text
    assert "…" not in text


async def test_watching_shows_a_state_after_the_other(proxy: FakeProxy) -> None:
    """One JSON line each time, until interrupted."""
    process = await trio.lowlevel.open_process(
        command("status", "--watch", "--json", "--admin", proxy.url), stdout=-1, stderr=-1, env=environment()
    )
    assert process.stdout is not None
    lines = bytearray()
    async for chunk in process.stdout:
        lines.extend(chunk)
        if lines.count(b"\n") == 1:
            proxy.runtime.pause("web")
        if lines.count(b"\n") >= 2:
            break
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0, "being interrupted is how it ends"
    first, second = (json.loads(line) for line in lines.splitlines()[:2])
    assert not first["pools"]["web"]["paused"]
    assert second["pools"]["web"]["paused"]


async def test_status_names_the_verb_that_helps(proxy: FakeProxy) -> None:
    """Whatever keeps a pool from serving with all it has: a failed start, a lock, a drain and a pause."""
    core = proxy.runtime.pool("web")

    async def advice() -> list[str]:
        lines = (await cli("status", "--admin", proxy.url)).stdout.splitlines()
        return [line.strip() for line in lines if ": hotswap " in line]

    assert await advice() == []
    core.note_error(0, LastError(text="exited with status 1", exit="exit code 1"), unborn=True)
    core.remove(next(one for one in core.backends if one.slot == 0))
    assert await advice() == ["once repaired: hotswap reload web"]
    core.lock("rollout r1 failed")
    assert await advice() == ["once repaired: hotswap unlock web, then hotswap reload web"]
    core.pause()
    proxy.runtime.drain("web", 1)
    assert await advice() == [
        "once repaired: hotswap unlock web, then hotswap reload web",
        "slot 1 was drained by an operator; to bring it back: hotswap readmit web 1",
        "its requests are held; to let them go on: hotswap resume web",
    ]
