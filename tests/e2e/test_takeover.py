"""The proxy itself is replaced, and no client of any kind notices."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import connect as connect_websocket

from hotswap.control.telemetry.version import PROGRAM_VERSION
from tests.support.certificates import issue_certificate
from tests.support.chain import Chain, run_chain, wait_reaped
from tests.support.client import connect, fetch, open_connection
from tests.support.clients import SHORT_KINDS, Events, SlowDownload, SlowUpload, WebSocket
from tests.support.clients_parting import PARTING_KINDS, Http2Kept
from tests.support.hotswap import REPOSITORY, SOURCES, complete_configuration, living, run_hotswap, wait_gone
from tests.support.load import run_load
from tests.support.network import counts, harm_since, own_network
from tests.support.own_address import own_address
from tests.support.pools import command_pool, demo_pool, listeners
from tests.support.trouble import CutShort, Trouble

TAKEOVERS = 20

LONG_KINDS = (SlowUpload, SlowDownload, Events, WebSocket, Http2Kept)
"""Clients that are in the middle of something whenever a takeover comes."""


async def side_by_side(directory: Path, case: Callable[..., Awaitable[None]], *arguments: Sequence[object]) -> None:
    """Run a case with each of these arguments at the same time, in a directory of its own, which comes first."""
    async with trio.open_nursery() as nursery:
        for number, given in enumerate(arguments):
            place = directory / str(number)
            place.mkdir()
            nursery.start_soon(case, place, *given)


def plain_pool(directory: Path) -> str:
    """A pool whose backends boot at once, where it does not matter what they serve."""
    return command_pool(directory, "faulty.plain")


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


async def serves(chain: Chain) -> None:
    """Whoever serves answers, with both backends ready."""
    for _ in range(4):
        (await chain.hotswap.fetch("/whoami")).expect()


@pytest.mark.fail_after(120)
async def test_a_takeover_costs_no_client_that_is_in_the_middle_of_something_anything(tmp_path: Path) -> None:
    """Uploads, downloads, event streams, WebSockets and streams of HTTP/2, plain and TLS: no failure of any kind."""
    certificates = issue_certificate(tmp_path)
    async with run_chain(listeners(certificates) + demo_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        targets = {
            "plain": await hotswap.target("public"),
            "tls": await hotswap.target("secure", tls=certificates.trusting),
        }
        async with run_load(targets, kinds=LONG_KINDS) as load:
            await load.wait_turns(1)
            for _ in range(2):
                await chain.take_over()
                await load.wait_turns(1)
                await chain.wait_alone()
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")


@pytest.mark.fail_after(300)
async def test_twenty_takeovers_in_a_row_cost_no_client_anything(tmp_path: Path) -> None:
    """HTTP/1.1 and HTTP/2, plain and TLS: no failure of any kind, each POST once, the same backends throughout.

    Most of them follow each other at once. A rollout before and one after show that generations, reports and counts
    go on; the kernel reset, refused and dropped nothing; every process of the chain has as many descriptors as the
    others, and no child is left unreaped.
    """
    certificates = issue_certificate(tmp_path)
    config = listeners(certificates) + demo_pool(tmp_path)
    with own_network() as network:
        async with run_chain(config, tmp_path, launcher=network.launcher) as chain:
            hotswap = chain.hotswap
            first = await hotswap.rollout()
            assert first["generation"] == 2
            before = await chain.backends()
            targets = {
                "plain": await hotswap.target("public"),
                "tls": await hotswap.target("secure", tls=certificates.trusting),
            }
            before_load = counts()
            open_files = []
            async with run_load(targets, kinds=PARTING_KINDS) as load:
                await load.wait_turns(1)
                for number in range(TAKEOVERS):
                    result = await chain.take_over_soon()
                    assert result["generation"] == number + 2
                    await load.wait_turns(1)
                    if number in (0, 1, TAKEOVERS - 2, TAKEOVERS - 1):
                        status = await chain.wait_alone()
                        assert status["pid"] == result["pid"]
                        assert set(await chain.backends()) == set(before)
                        open_files.append(descriptors(result["pid"]))
                        await wait_reaped(result["pid"])
                # Before the clients leave, who hang up as they like.
                harmed = harm_since(before_load)
            load.assert_unharmed()
            load.assert_ledger(tmp_path / "notes.sqlite3")
            if network.own:
                assert not harmed
            # Clients come and go; what a generation would leak comes twenty times.
            assert max(open_files[2:]) < min(open_files[:2]) + TAKEOVERS - 2
            while len(chain.processes()) > 1:
                # The last one has said good-bye and is ending.
                await trio.sleep(0.02)
            assert (await hotswap.admin.get(f"/v1/rollouts/{first['id']}")) == first
            second = await hotswap.rollout()
            assert second["generation"] == 3
            assert (await hotswap.admin.get("/v1/rollouts"))["rollouts"] == [first, second]
            assert set((await chain.backends()).values()) == {3}
            assert not set(await chain.backends()) & set(before)
            metrics = await hotswap.admin.metrics()
            # Each process went on where the one before it stood.
            assert f'hotswap_takeovers_total{{outcome="done"}} {TAKEOVERS}.0' in metrics
            assert 'hotswap_rollouts_total{outcome="done",pool="web"} 2.0' in metrics
            answered = sum(
                float(line.rpartition(" ")[2])
                for line in metrics.splitlines()
                if line.startswith("hotswap_requests_total{") and 'code="200"' in line
            )
            assert answered >= load.done


@pytest.mark.fail_after(90)
async def test_connections_in_the_queue_are_answered_by_the_new_process(tmp_path: Path) -> None:
    """They waited in the kernel's queue of the old process's socket, which no other bind could have shared."""
    config = listeners().replace("[[routes]]", "[listeners.public.limits]\nconnections = 4\n[[routes]]")
    async with run_chain(config + plain_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        address = (await hotswap.target()).address
        assert isinstance(address, tuple)
        host, port = address
        with ExitStack() as stack:
            held = [stack.enter_context(socket.create_connection((host, port))) for _ in range(4)]
            for one in held:
                # Accepted, so that the old process is at its limit and leaves whoever comes in the queue.
                one.sendall(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n")
                one.settimeout(5)
                assert await trio.to_thread.run_sync(one.recv, 65536)
            queued = [stack.enter_context(socket.create_connection((host, port))) for _ in range(60)]
            for one in queued:
                one.sendall(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                one.settimeout(20)
            # Nobody could have bound beside it: this is the one queue there is.
            with socket.socket() as beside:
                beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                with pytest.raises(OSError, match="in use"):
                    beside.bind((host, port))
            new = await chain.take_over()
            for one in queued:
                answer = await trio.to_thread.run_sync(one.recv, 65536)
                assert answer.startswith(b"HTTP/1.1 200"), answer
        assert await chain.serving() == new["pid"]


@pytest.mark.fail_after(120)
async def test_a_new_process_that_dies_before_it_serves_costs_nothing(tmp_path: Path) -> None:
    """Killed in each of its states: the answer says so, the old process serves on, and has nothing left open."""

    async def case(directory: Path, *places: str) -> None:
        async with run_chain(listeners() + demo_pool(directory), directory) as chain:
            old, backends = await chain.serving(), await chain.backends()
            target = await chain.hotswap.target()
            files = []
            async with run_load({"plain": target}, kinds=SHORT_KINDS) as load:
                await load.wait_turns(1)
                for place in places:
                    problem = await chain.fail_over(executable=chain.faulty(f"new:{place}"))
                    assert problem["code"] == "takeover-failed", problem
                    assert "SIGKILL" in problem["detail"], problem
                    await load.wait_turns(2)
                    assert (await chain.serving(), await chain.backends()) == (old, backends)
                    await wait_reaped(old)
                    files.append(descriptors(old))
            load.assert_unharmed()
            load.assert_ledger(directory / "notes.sqlite3")
            # What the first one left open, the others would have left open too. Clients come and go.
            with trio.fail_after(15):
                while descriptors(old) > files[0]:
                    await trio.sleep(0.05)
            # And after all of that it works.
            await chain.take_over()
            assert await chain.backends() == backends

    await side_by_side(tmp_path, case, ("greeting", "listeners", "backends"), ("preparing", "prepared", "probation"))


@pytest.mark.fail_after(60)
async def test_a_new_process_that_dies_or_is_stuck_on_trial_gives_everything_back(tmp_path: Path) -> None:
    """Only what was in it at that moment may fail: nobody is refused, and the old process has the backends again."""

    async def case(directory: Path, number: signal.Signals) -> None:
        patience = {"HOTSWAP_DEADLINES": "silence=1.5"}
        async with run_chain(listeners() + demo_pool(directory), directory, environment=patience) as chain:
            hotswap = chain.hotswap
            old, backends = await chain.serving(), await chain.backends()
            problems = []

            async def order() -> None:
                problems.append(await chain.fail_over(probation="60s"))

            async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS) as load:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(order)
                    while (new := await chain.serving()) == old:
                        await trio.sleep(0.05)
                    await load.wait_turns(2)
                    assert load.troubles == 0, load.table()
                    os.kill(new, number)
                await load.wait_turns(2)
            assert load.troubles <= len(SHORT_KINDS), load.table()
            assert load.troubles_of([Trouble.REFUSED, Trouble.TIMEOUT, Trouble.SERVER_ERROR]) == 0, load.table()
            load.assert_ledger(directory / "notes.sqlite3")
            assert problems[0]["state"]["step"] == "probation"
            assert problems[0]["state"]["generation"] == 3
            assert ("said nothing" in problems[0]["detail"]) is (number is signal.SIGSTOP), problems
            assert not living([new])
            assert (await chain.serving(), await chain.backends()) == (old, backends)
            assert (await hotswap.rollout())["generation"] == 2

    await side_by_side(tmp_path, case, (signal.SIGKILL,), (signal.SIGSTOP,))


@pytest.mark.fail_after(90)
async def test_an_old_process_that_dies_leaves_everything_to_the_new_one(tmp_path: Path) -> None:
    """From the moment at which the new process has everything, it needs nobody. Each is the old one of the next."""
    places = ("preparing", "changes", "committed", "probation", "draining")
    fault = {"HOTSWAP_FAULT": f"old:{places[0]}=kill"}
    async with run_chain(listeners() + plain_pool(tmp_path), tmp_path, environment=fault) as chain:
        old, backends = chain.hotswap.pid, await chain.backends()
        for number, _ in enumerate(places, start=1):
            executable = chain.script("healthy", "unset HOTSWAP_FAULT")
            if number < len(places):
                executable = chain.faulty(f"old:{places[number]}")
            # Only the last of these has said its word to the caller before it dies.
            with suppress(OSError, trio.BrokenResourceError, CutShort):
                await chain.order(executable=executable)
            await wait_gone(old)
            status = await chain.wait_alone()
            assert status["pid"] != old
            assert await chain.backends() == backends
            await serves(chain)
            old = status["pid"]
        assert (await chain.hotswap.rollout())["generation"] == 2
        # Nobody is left who could: the guardian, the sixth of the chain, ends the backends.
        backends = await chain.backends()
        os.kill(old, signal.SIGKILL)
        while living(backends):
            await trio.sleep(0.02)


@pytest.mark.fail_after(60)
async def test_a_new_process_that_dies_when_all_is_its_own_lets_the_old_one_end_early(tmp_path: Path) -> None:
    """So that whoever supervises starts it all again: what is under way ends, who is idle is let go at once."""
    async with run_chain(listeners() + plain_pool(tmp_path), tmp_path) as chain:
        target, old, backends = await chain.hotswap.target(), await chain.serving(), await chain.backends()
        async with open_connection(target) as slow, open_connection(target) as idle:
            await slow.send_head("GET", "/stream?lines=60&seconds=1.5")
            await slow.send_end()
            assert (await slow.head())[0] == 200
            (await idle.request("GET", "/whoami")).expect()
            new = (await chain.take_over(drain_timeout="300s"))["pid"]
            os.kill(new, signal.SIGKILL)
            assert len(await slow.body()) == 60 * 16
            while not await idle.ended():
                await trio.sleep(0.01)
        await wait_gone(old)
        while living(backends) or chain.processes():
            await trio.sleep(0.02)


@pytest.mark.fail_after(60)
async def test_an_old_process_that_dies_too_early_takes_everything_along(tmp_path: Path) -> None:
    """The new one has a part only and leaves; the guardian ends the backends; a cold start finds nothing in its way."""

    async def case(directory: Path, place: str) -> None:
        fault = {"HOTSWAP_FAULT": f"old:{place}=kill"}
        async with run_chain(listeners() + plain_pool(directory), directory, environment=fault) as chain:
            backends = list(await chain.backends())
            with suppress(OSError, trio.BrokenResourceError, CutShort):
                await chain.order(executable=chain.script("healthy", "unset HOTSWAP_FAULT"))
            await wait_gone(chain.hotswap.pid)
            while living(backends) or chain.processes():
                await trio.sleep(0.02)
        async with run_hotswap(listeners() + plain_pool(directory), directory) as again:
            (await again.fetch("/whoami")).expect()

    await side_by_side(tmp_path, case, ("listeners",), ("state",))


@pytest.mark.fail_after(90)
async def test_what_cannot_work_is_refused_before_anything_happens(tmp_path: Path) -> None:
    """Another epoch, another program, no program, a bad configuration, a second takeover, a rollout meanwhile."""
    many = ", ".join(['"127.0.0.1:0"'] * 40)
    config = f"[listeners.many]\nbind = [{many}]\n" + listeners() + plain_pool(tmp_path)
    async with run_chain(config, tmp_path) as chain:
        hotswap = chain.hotswap
        old, backends = await chain.serving(), await chain.backends()
        epoch = chain.script(
            "other-epoch",
            last='echo \'{"program":"hotswap","version":"9.0","protocol":[1,1],"schema":[1,1],"epoch":99}\'',
        )
        problem = await chain.fail_over(executable=epoch)
        assert problem["code"] == "compatibility-mismatch"
        assert "takeover epoch 99" in problem["detail"]
        assert "stop and start" in problem["detail"]
        problem = await chain.fail_over(executable="/bin/true")
        assert problem["code"] == "compatibility-unreadable"
        problem = await chain.fail_over(executable=tmp_path / "nothing")
        assert problem["code"] == "compatibility-unreadable"
        broken = tmp_path / "broken.toml"
        broken.write_text("[listeners.public]\nbind = 7\n", encoding="utf-8")
        problem = await chain.fail_over(config=broken)
        assert problem["code"] == "config-invalid"
        assert "listeners.public.bind must be a list of addresses, is 7; " in problem["detail"]
        assert {one["path"] for one in problem["state"]["problems"]} >= {"listeners.public.bind"}
        # What lies in preflight and says otherwise when it runs is found out too, and so is a port that is taken.
        liar = chain.script(
            "liar",
            f'case "$*" in *--handoff-info*) exec {sys.executable} -m hotswap "$@";; esac',
            last="exit 7",
        )
        problem = await chain.fail_over(executable=liar)
        assert problem["code"] == "takeover-failed"
        assert "exit code 7" in problem["detail"]
        # So few files that it cannot take what is handed over: it says so instead of taking a part.
        narrow = chain.script("narrow", 'case "$*" in *--handoff-info*) ;; *) ulimit -n 30;; esac')
        problem = await chain.fail_over(executable=narrow)
        assert problem["code"] == "takeover-failed"
        assert "RLIMIT_NOFILE" in problem["detail"], problem
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            other = tmp_path / "other.toml"
            text = hotswap.config.read_text(encoding="utf-8")
            other.write_text(
                text.replace('bind = ["127.0.0.1:0"]', f'bind = ["127.0.0.1:0", "127.0.0.1:{port}"]'), encoding="utf-8"
            )
            problem = await chain.fail_over(config=other)
            assert problem["code"] == "takeover-failed"
            assert "in use" in problem["detail"]
        assert (await chain.serving(), await chain.backends()) == (old, backends)
        # A rollout is not overtaken, neither by a process that is started nor by one that comes by itself.
        async with open_connection(await hotswap.target()) as slow:
            await slow.send_head("POST", "/echo", headers=[("Transfer-Encoding", "chunked")])
            await slow.send_body(b"as long as it takes")
            while not any(backend["in_flight"] for backend in await hotswap.backends()):
                await trio.sleep(0.02)
            rollout = (await hotswap.admin.reload("web")).json()
            problem = await chain.fail_over()
            assert (problem["code"], problem["state"]["rollout"]) == ("rollout-in-progress", rollout["id"])
            ran = await hotswap.command("run", "--attach", str(hotswap.config))
            assert ran.code == 1
            assert "rollout-in-progress" in ran.stderr
            await slow.send_end()
            assert (await slow.head())[0] == 200
            await slow.body()
        while (await hotswap.admin.get(f"/v1/rollouts/{rollout['id']}"))["outcome"] == "running":
            await trio.sleep(0.05)
        refused = []

        async def first() -> None:
            refused.append((await chain.order(probation="1s")).status)

        mark = len(hotswap.lines)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await hotswap.wait_line("takeover.moved", '"greeting"', after=mark)
            assert (await chain.fail_over())["code"] == "takeover-in-progress"
            response = await hotswap.admin.reload("web")
            assert response.json()["code"] == "takeover-in-progress"
        assert 200 in refused
        await chain.wait_alone()
        await serves(chain)


@pytest.mark.fail_after(60)
async def test_the_new_process_may_have_another_configuration(tmp_path: Path) -> None:
    """A listener goes, one comes, and one has more sockets than a message of the kernel could carry."""
    many = ", ".join(['"127.0.0.1:0"'] * 260)
    going = f'[listeners.going]\nbind = ["{own_address()}"]\n'
    coming = '[listeners.coming]\nbind = ["127.0.0.1:0"]\n'
    base = f"[listeners.many]\nbind = [{many}]\n" + listeners() + plain_pool(tmp_path)
    async with run_chain(going + base, tmp_path) as chain:
        hotswap = chain.hotswap
        before = await hotswap.status()
        gone = await hotswap.target("going")
        hotswap.config.write_text(complete_configuration(coming + base, tmp_path), encoding="utf-8")
        await chain.take_over()
        status = await chain.wait_alone()
        assert set(status["listeners"]) == {"many", "public", "coming"}
        assert status["listeners"]["many"]["bind"] == before["listeners"]["many"]["bind"]
        for listener in ("many", "public", "coming"):
            (await hotswap.fetch("/whoami", listener=listener)).expect()
        with pytest.raises(ConnectionRefusedError):
            await fetch(gone, "/whoami")
        await hotswap.wait_line("takeover.unclaimed", f'"listeners": ["going {own_address()}"]')


@pytest.mark.fail_after(60)
async def test_backends_that_fall_ill_or_die_meanwhile_are_looked_after_by_the_new_process(tmp_path: Path) -> None:
    """One that is ill before is ill afterwards; one that dies on trial is replaced once nothing can return."""
    async with run_chain(listeners() + plain_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        old = await chain.serving()
        ill, mortal = await chain.backends()

        async def healths() -> dict[int, str]:
            return {backend["pid"]: backend["health"] for backend in await hotswap.backends() if backend["pid"]}

        os.kill(ill, signal.SIGSTOP)
        while (await healths())[ill] != "unhealthy":
            await trio.sleep(0.05)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: chain.take_over(probation="1500ms"))
            while await chain.serving() == old:
                await trio.sleep(0.02)
            assert (await healths())[ill] == "unhealthy"
            os.kill(ill, signal.SIGCONT)
            while (await healths())[ill] != "healthy":
                await trio.sleep(0.02)
            os.kill(mortal, signal.SIGKILL)
            while mortal in await healths():
                await trio.sleep(0.02)
            assert set(await healths()) == {ill}
            await serves(chain)
        while list((await healths()).values()) != ["healthy", "healthy"]:
            await trio.sleep(0.02)
        assert (await hotswap.rollout())["outcome"] == "done"


@pytest.mark.fail_after(60)
async def test_a_drained_slot_stays_drained_with_the_new_process(tmp_path: Path) -> None:
    """Also when its backend dies there, until it is readmitted."""
    async with run_chain(listeners() + plain_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap

        async def slot() -> dict[str, Any]:
            found: dict[str, Any] = (await hotswap.pool())["slots"][0]
            return found

        assert (await hotswap.command("drain", "web", "0")).code == 0
        await chain.take_over()
        (backend,) = (await slot())["backends"]
        assert (backend["state"], (await slot())["drained"]) == ("draining", True)
        os.kill(backend["pid"], signal.SIGKILL)
        while [one["state"] for one in (await slot())["backends"] if one["pid"] != backend["pid"]] != ["draining"]:
            await trio.sleep(0.02)
        assert {(await hotswap.fetch("/whoami")).expect().json()["slot"] for _ in range(4)} == {1}
        assert (await hotswap.command("readmit", "web", "0")).code == 0
        (backend,) = (await slot())["backends"]
        assert (backend["state"], (await slot())["drained"]) == ("ready", False)


@pytest.mark.fail_after(90)
async def test_a_process_that_comes_by_itself_takes_over_through_the_path(tmp_path: Path) -> None:
    """As a new container does; and then the next one is started in the ordinary way, over the command line."""
    trial = {"HOTSWAP_DEADLINES": "probation=0.3"}
    async with run_chain(listeners() + plain_pool(tmp_path), tmp_path, environment=trial) as chain:
        hotswap = chain.hotswap
        backends = await chain.backends()
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "hotswap", "run", "--attach", str(hotswap.config)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": SOURCES},
            stdout=2,
        )
        try:
            await hotswap.wait_line("takeover.started")
            while await chain.serving() != process.pid:
                await trio.sleep(0.05)
            assert await chain.backends() == backends
            await serves(chain)
            while (await hotswap.status())["takeover"]:
                await trio.sleep(0.1)
            ran = await hotswap.command("takeover", "--probation", "300ms", "--drain-timeout", "4s")
            assert ran.code == 0, ran.stderr
            assert "generation 3" in ran.stderr
            await process.wait()
            assert process.returncode == 0
            assert await chain.backends() == backends
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.fail_after(90)
async def test_old_clients_finish_and_the_new_process_reloads_beside_them(tmp_path: Path) -> None:
    """A long answer and an idle connection live on in the old process; a rollout waits for the former."""
    async with run_chain(listeners() + demo_pool(tmp_path, drain_timeout="30s"), tmp_path) as chain:
        hotswap = chain.hotswap
        target = await hotswap.target()
        async with open_connection(target) as slow, open_connection(target) as idle:
            await slow.send_head("GET", "/stream?lines=2048&seconds=4&parts=40")
            await slow.send_end()
            status, _ = await slow.head()
            assert status == 200
            (await idle.request("GET", "/whoami")).expect()
            await chain.take_over(drain_timeout="60s")
            assert (await hotswap.status())["predecessors"] == 1
            # The connection that is kept is told with its next answer.
            answer = (await idle.request("GET", "/whoami")).expect()
            assert ("connection", "close") in [(k.lower(), v.lower()) for k, v in _fields(answer)]
            rollout = await hotswap.rollout()
            assert rollout["outcome"] == "done", rollout
            body = await slow.body()
            assert len(body) == 2048 * 16, "the answer that was under way was cut"
        await chain.wait_alone()
        await serves(chain)
        # Who neither asks nor ends is let go in the last quarter of the drain, and told why where that can be said.
        stream, _ = await connect(target)
        async with (
            open_connection(target) as idle,
            connect_websocket(f"ws://{target.host}/ws", stream=stream, proxy=None) as session,
        ):
            (await idle.request("GET", "/whoami")).expect()
            await chain.take_over(drain_timeout="2s")
            began = trio.current_time()
            with pytest.raises(ConnectionClosed):
                await session.recv()
            assert session.close_code == 1012
            while not await idle.ended():
                await trio.sleep(0.01)
            # The drain began with the trial.
            assert trio.current_time() - began > 1
        await chain.wait_alone()
        assert set((await chain.backends()).values()) == {2}


def _fields(response: object) -> list[tuple[str, str]]:
    headers = getattr(response, "headers", [])
    items = headers.items() if hasattr(headers, "items") else headers
    return [tuple(_text(part) for part in pair) for pair in items]  # type: ignore[misc]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.mark.fail_after(60)
async def test_a_backend_that_crashes_is_seen_by_the_new_process_with_its_status(tmp_path: Path) -> None:
    """The old process is its parent and tells; once it is gone the pidfd alone does. It is respawned either way."""
    async with run_chain(listeners() + plain_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        async with open_connection(await hotswap.target()) as idle:
            (await idle.request("GET", "/whoami")).expect()
            await chain.take_over(drain_timeout="30s")
            mark = len(hotswap.lines)
            first, second = await chain.backends()
            os.kill(first, signal.SIGKILL)
            assert "killed by SIGKILL" in await hotswap.wait_line("backend.crashed", after=mark)
            while len(await chain.backends()) < 2 or first in await chain.backends():
                await trio.sleep(0.05)
            # The old process was told of the newcomer, and of the one that is gone.
            (await idle.request("GET", "/whoami")).expect()
        await chain.wait_alone()
        mark = len(hotswap.lines)
        os.kill(second, signal.SIGKILL)
        assert "exit status unknown" in await hotswap.wait_line("backend.crashed", after=mark)
        while second in await chain.backends() or len(await chain.backends()) < 2:
            await trio.sleep(0.05)
        await serves(chain)


@pytest.mark.fail_after(90)
async def test_one_installed_version_takes_over_from_another(tmp_path: Path) -> None:
    """The new one lives in a virtual environment of its own."""
    venv = tmp_path / "new"
    await trio.to_thread.run_sync(_install, venv)
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
        backends = await chain.backends()
        async with run_load({"plain": await chain.hotswap.target()}, kinds=SHORT_KINDS) as load:
            await load.wait_turns(1)
            command = f'exec {venv}/bin/python -m hotswap "$@"'
            executable = chain.script("new-hotswap", "unset PYTHONPATH", last=command)
            result = await chain.take_over(executable=executable)
            await load.wait_turns(2)
        load.assert_unharmed()
        assert result["version"] == "9.9"
        assert (await chain.hotswap.status())["version"] == "9.9"
        assert await chain.backends() == backends


def _install(venv: Path) -> None:
    """Make a virtual environment with this program as version 9.9, and with the libraries of the present one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    for source in ("proxy/hotswap", "backends/hotswap_backends"):
        place = packages / Path(source).name
        shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__"))
    version = packages / "hotswap" / "control" / "telemetry" / "version.py"
    version.write_text(version.read_text(encoding="utf-8").replace(PROGRAM_VERSION, "9.9"), encoding="utf-8")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
