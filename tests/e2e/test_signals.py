"""What the proxy does when it is signalled, seen from outside."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.certificates import issue_certificate
from tests.support.client import Connection, Response, Target, fetch, open_connection
from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import Hotswap, complete_configuration, living, run_hotswap
from tests.support.load import run_load
from tests.support.pools import command_pool, demo_pool, listeners


async def at_generation(hotswap: Hotswap, generation: int) -> bool:
    """Whether the pool is at a generation, with nothing of an older one left and no rollout running."""
    pool = await hotswap.pool()
    found = {backend["generation"] for slot in pool["slots"] for backend in slot["backends"]}
    return pool["generation"] == generation and found == {generation} and not pool["rollout"]


def rewrite(hotswap: Hotswap, config: str) -> None:
    """Give it another configuration to read."""
    hotswap.config.write_text(complete_configuration(config, hotswap.directory), encoding="utf-8")


async def pids(hotswap: Hotswap) -> list[int]:
    """The processes of the backends."""
    return [backend["pid"] for backend in await hotswap.backends()]


@pytest.mark.fail_after(90)
async def test_sigusr2_reads_the_configuration_and_rolls_the_pool(tmp_path: Path):
    """Both backends are replaced, the new ones by the new definition, and no request fails."""
    async with run_hotswap(listeners() + demo_pool(tmp_path), tmp_path) as hotswap:
        async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS) as load:
            await load.wait_turns(5)
            rewrite(hotswap, listeners() + demo_pool(tmp_path, environment={"DEMO_RELEASE": "second"}))
            hotswap.signal(signal.SIGUSR2)
            await hotswap.wait_until(partial(at_generation, hotswap, 2))
            await load.wait_turns(5)
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")
        assert (await hotswap.fetch("/whoami")).json()["release"] == "second"


async def test_sigusr2_to_a_backend_by_mistake_is_harmless(tmp_path: Path):
    """The whole process group of a backend gets it: nobody dies, nothing is rolled."""
    async with run_hotswap(listeners() + demo_pool(tmp_path), tmp_path) as hotswap:
        before = await pids(hotswap)
        for pid in before:
            os.killpg(pid, signal.SIGUSR2)
        for _ in range(4):
            (await hotswap.fetch("/healthz")).expect()
        assert await pids(hotswap) == before
        assert await at_generation(hotswap, 1)


async def test_sigusr2_with_a_bad_configuration_changes_nothing(tmp_path: Path):
    """It is refused with its reason in the log; with the file repaired the next signal works."""
    good = listeners() + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(good, tmp_path) as hotswap:
        before = await pids(hotswap)
        rewrite(hotswap, good.replace("size = 2", "size = 2\nsizzle = 3"))
        hotswap.signal(signal.SIGUSR2)
        await hotswap.wait_line("config-invalid")
        assert await pids(hotswap) == before
        (await hotswap.fetch("/healthz")).expect()
        rewrite(hotswap, good)
        hotswap.signal(signal.SIGUSR2)
        await hotswap.wait_until(partial(at_generation, hotswap, 2))


async def test_sighup_rolls_only_what_changed(tmp_path: Path):
    """The same file: nothing is rolled. Another definition of the pool: it is."""
    good = listeners() + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(good, tmp_path) as hotswap:
        before = await pids(hotswap)
        answer = await hotswap.admin.call("POST", "/v1/config/reload")
        assert answer.status < 300, answer
        assert await pids(hotswap) == before
        rewrite(hotswap, listeners() + command_pool(tmp_path, "faulty.plain", "--boot-seconds", "0.1"))
        hotswap.signal(signal.SIGHUP)
        await hotswap.wait_until(partial(at_generation, hotswap, 2))
        assert not set(before) & set(await pids(hotswap))


async def test_sighup_reopens_the_access_log(tmp_path: Path):
    """After the file was moved away and the signal, new requests are in a new file, and no line is lost."""
    log, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    async with run_hotswap(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path) as hotswap:
        (await hotswap.fetch("/before")).expect()
        log.rename(moved)
        hotswap.signal(signal.SIGHUP)
        await hotswap.wait_until(partial(exists, log))
        (await hotswap.fetch("/after")).expect()
    # Lines are written in batches, so that the line from before may come to be written after.
    written = moved.read_text(), log.read_text()
    assert "/before" in "".join(written)
    assert "/after" in written[1]
    assert "/after" not in written[0]


async def exists(path: Path) -> bool:
    """Whether there is a file."""
    return await trio.Path(path).exists()


async def test_sighup_reads_renewed_certificates(tmp_path: Path):
    """The listener stays open, connections that stand stay, new ones get the new certificate."""
    old = issue_certificate(tmp_path)
    config = listeners(old) + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(config, tmp_path) as hotswap:
        target = await hotswap.target("secure", tls=old.trusting)
        async with open_connection(target) as standing:
            (await standing.request("GET", "/")).expect()
            renewed = issue_certificate(tmp_path)
            hotswap.signal(signal.SIGHUP)
            target = await hotswap.target("secure", tls=renewed.trusting)
            await hotswap.wait_until(partial(trusted, target))
            (await standing.request("GET", "/")).expect()


async def trusted(target: Target) -> bool:
    """Whether the certificate of a listener is one that the client trusts."""
    try:
        (await fetch(target, "/")).expect()
    except trio.BrokenResourceError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_graceful_stop_finishes_what_was_begun(tmp_path: Path, number: signal.Signals):
    """A download in flight is complete, new connections are refused, backends end in order, exit code 0."""
    async with run_hotswap(listeners() + demo_pool(tmp_path), tmp_path) as hotswap:
        target = await hotswap.target()
        backends = await pids(hotswap)
        async with open_connection(target) as client:
            await client.send_head("GET", "/stream?lines=1000&seconds=1.5&parts=10")
            await client.send_end()
            await client.head()
            hotswap.signal(number)
            await hotswap.wait_until(partial(refuses, hotswap))
            answer = await hotswap.admin.reload("web")
            assert (answer.status, answer.json()["code"]) == (409, "shutting-down")
            assert len(await client.body()) == 16_000
        await hotswap.wait_stopped()
        assert living(backends) == []
    for pid_lines in said_by_demos(hotswap):
        assert [line.partition(" (")[0] for line in pid_lines[-3:]] == [
            "demo: last request done",
            "demo: database closed",
            "demo: exit",
        ]


def said_by_demos(hotswap: Hotswap) -> list[list[str]]:
    """What each backend said, in its order; the log carries pool, slot and generation with every line."""
    by_slot: dict[object, list[str]] = {}
    for record in hotswap.records():
        for value in record.values():
            if isinstance(value, str) and value.startswith("demo: "):
                by_slot.setdefault(record["slot"], []).append(value)
    assert len(by_slot) == 2, hotswap.lines
    return list(by_slot.values())


async def refuses(hotswap: Hotswap) -> bool:
    """Whether the public listener takes no new connections."""
    try:
        connection = await Connection.open(await hotswap.target())
    except ConnectionRefusedError:
        return True
    connection.close()
    return False


async def test_a_second_sigterm_stops_at_once(tmp_path: Path):
    """What was begun is cut; nothing waits for the timeouts, and no backend is left."""
    config = listeners() + demo_pool(tmp_path)
    async with run_hotswap(config, tmp_path, stop=False) as hotswap:
        backends = await pids(hotswap)
        async with open_connection(await hotswap.target()) as client:
            await client.send_head("GET", "/stream?lines=1000&seconds=60&parts=1000")
            await client.send_end()
            await client.head()
            hotswap.signal(signal.SIGTERM)
            await hotswap.wait_until(partial(refuses, hotswap))
            assert hotswap.process.poll() is None
            hotswap.signal(signal.SIGTERM)
            with trio.fail_after(5):
                await hotswap.process.wait()
        assert living(backends) == []


async def test_a_stop_announces_the_end_of_the_connection(tmp_path: Path):
    """The answer that a keep-alive client gets during the stop says that its connection is closed behind it."""
    async with run_hotswap(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path) as hotswap:
        answers: list[Response] = []
        async with open_connection(await hotswap.target()) as client, trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await client.request("GET", "/slow?seconds=0.7"))

            nursery.start_soon(ask)
            await hotswap.wait_until(partial(in_flight, hotswap))
            hotswap.signal(signal.SIGTERM)
        await hotswap.wait_stopped()
        (answer,) = answers
        assert (answer.status, answer.header("connection")) == (200, "close")


async def in_flight(hotswap: Hotswap) -> bool:
    """Whether an exchange is inside a backend."""
    return any(backend["in_flight"] for backend in await hotswap.backends())


async def catches(pid: int, number: signal.Signals) -> None:
    """Block until a process has a handler for a signal."""
    while True:
        status = await trio.Path(f"/proc/{pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) >> (number - 1) & 1:
            return
        await trio.sleep(0.005)


@pytest.mark.parametrize("line", ["", "proxy.starting", "admin.listening", "backend.starting"])
async def test_a_stop_while_it_starts_is_a_stop(tmp_path: Path, line: str):
    """However early it comes: exit code 0, and soon (found: it could hang while the admin API was being made)."""
    config = listeners() + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(config, tmp_path, wait_ready=False) as hotswap:
        await catches(hotswap.pid, signal.SIGTERM)
        if line:
            await hotswap.wait_line(line)
        hotswap.signal(signal.SIGTERM)
        with trio.fail_after(15):
            await hotswap.wait_stopped()


SPOILED = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.umask(0o777)
os.execv(sys.argv[1], sys.argv[1:])
"""


async def test_what_whoever_starts_it_has_blocked_or_ignored_does_not_matter(tmp_path):
    """A wrapper that blocks SIGTERM would have a proxy that never stops, one that ignores SIGCHLD unknown exits."""
    launcher = (sys.executable, "-c", SPOILED)
    config = listeners() + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(config, tmp_path, launcher=launcher) as hotswap:
        killed = (await hotswap.backends())[0]["pid"]
        os.kill(killed, signal.SIGKILL)
        assert "killed by SIGKILL" in await hotswap.wait_line("backend.crashed")
        hotswap.signal(signal.SIGUSR2)
        await hotswap.wait_line("signal.received", "SIGUSR2")


AT_THE_END = """
import atexit, os, pathlib, signal, sys
def note():
    if sys.argv[1:2] == ["run"]:
        pathlib.Path(os.environ["NOTED"]).write_text(signal.getsignal(signal.SIGTERM).name)
atexit.register(note)
"""


async def test_an_order_to_stop_that_comes_last_is_no_failure(tmp_path: Path):
    """The interpreter gives its handlers back a moment before the process is gone; who was stopped is not killed."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(AT_THE_END)
    environment = {"PYTHONPATH": str(tmp_path / "site"), "NOTED": str(tmp_path / "noted")}
    async with run_hotswap(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path, environment=environment):
        pass
    assert (tmp_path / "noted").read_text() == "SIG_IGN"
