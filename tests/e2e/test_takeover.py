"""The proxy itself is replaced, and no client of any kind notices."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trio

from tests.support.certificates import issue_certificate
from tests.support.chain import Chain, run_chain
from tests.support.client import open_connection
from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import REPOSITORY, living, wait_gone
from tests.support.load import run_load
from tests.support.pools import demo_pool, listeners
from tests.support.trouble import CutShort, Trouble

TAKEOVERS = 20

COUNTERS = ("TcpExt:ListenDrops", "TcpExt:ListenOverflows")


def kernel_counters() -> dict[str, int]:
    """What the kernel counted that a takeover must not add to."""
    found: dict[str, int] = {}
    lines = Path("/proc/net/netstat").read_text(encoding="ascii").splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        prefix, *keys = names.split()
        found.update({prefix + key: int(value) for key, value in zip(keys, values.split()[1:], strict=True)})
    return {name: found[name] for name in COUNTERS}


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def zombies_of(pid: int) -> list[int]:
    """Children of a process that nobody has reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state == "Z" and int(parent) == pid:
                found.append(int(entry.name))
    return found


async def serves(chain: Chain) -> None:
    """Whoever serves answers, with both backends ready."""
    for _ in range(4):
        (await chain.hotswap.fetch("/whoami")).expect()


@pytest.mark.alone
@pytest.mark.fail_after(120)
async def test_a_takeover_costs_no_client_of_any_kind_anything(tmp_path: Path) -> None:
    """Uploads, downloads, event streams, WebSockets and short exchanges, plain and TLS: no failure of any kind."""
    certificates = issue_certificate(tmp_path)
    async with run_chain(listeners(certificates) + demo_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        targets = {
            "plain": await hotswap.target("public"),
            "tls": await hotswap.target("secure", tls=certificates.trusting),
        }
        async with run_load(targets) as load:
            await load.wait_turns(1)
            for _ in range(2):
                await chain.take_over()
                await load.wait_turns(1)
                await chain.wait_alone()
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")


@pytest.mark.alone
@pytest.mark.fail_after(400)
async def test_twenty_takeovers_in_a_row_cost_no_client_anything(tmp_path: Path) -> None:
    """No failure of any kind, each POST once, the same backends throughout.

    A rollout before and one after show that generations go on; the kernel dropped nothing, every process of the
    chain has as many descriptors as the others, and no child is left unreaped.
    """
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        assert (await hotswap.rollout())["generation"] == 2
        before = await chain.backends()
        counters = kernel_counters()
        open_files = []
        async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS) as load:
            await load.wait_turns(1)
            for number in range(TAKEOVERS):
                result = await chain.take_over()
                assert result["generation"] == number + 2
                await load.wait_turns(1)
                status = await chain.wait_alone()
                assert status["pid"] == result["pid"]
                assert set(await chain.backends()) == set(before)
                open_files.append(descriptors(result["pid"]))
                assert not zombies_of(result["pid"])
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")
        assert kernel_counters() == counters
        # Clients come and go; what a generation would leak comes twenty times.
        assert max(open_files[-3:]) <= min(open_files[:3]) + TAKEOVERS
        assert len(chain.processes()) == 1
        assert (await hotswap.rollout())["generation"] == 3
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
    async with run_chain(config + demo_pool(tmp_path), tmp_path) as chain:
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
            new = await chain.take_over()
            for one in queued:
                answer = await trio.to_thread.run_sync(one.recv, 65536)
                assert answer.startswith(b"HTTP/1.1 200"), answer
        assert await chain.serving() == new["pid"]


@pytest.mark.fail_after(120)
async def test_a_new_process_that_dies_at_any_step_costs_nothing(tmp_path: Path) -> None:
    """Killed in each of its states until it is released: the answer says so, the old process serves on."""
    places = ("greeting", "listeners", "backends", "preparing", "prepared", "probation")
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        old, backends = await chain.serving(), await chain.backends()
        target = await hotswap.target()
        for place in places:
            async with run_load({place: target}, kinds=SHORT_KINDS) as load:
                await load.wait_turns(1)
                executable = chain.faulty(f"new:{place}")
                problem = await chain.fail_over(executable=executable)
                assert problem["code"] == "takeover-failed", problem
                assert "SIGKILL" in problem["detail"], problem
                await load.wait_turns(2)
            load.assert_unharmed()
            assert await chain.serving() == old
            assert await chain.backends() == backends
            assert not zombies_of(old)
        # And after all of that it works.
        await chain.take_over()
        assert await chain.backends() == backends
        await serves(chain)


@pytest.mark.fail_after(60)
async def test_a_new_process_that_dies_in_probation_gives_everything_back(tmp_path: Path) -> None:
    """Only what was in it at that moment may fail: nobody is refused, and the old process has the backends again."""
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        old, backends = await chain.serving(), await chain.backends()
        problems = []

        async def order() -> None:
            problems.append(await chain.fail_over(probation="20s"))

        async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS) as load:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(order)
                while (new := await chain.serving()) == old:
                    await trio.sleep(0.05)
                await load.wait_turns(2)
                assert load.troubles == 0, load.table()
                os.kill(new, signal.SIGKILL)
            await load.wait_turns(3)
        assert load.troubles <= len(SHORT_KINDS), load.table()
        assert load.troubles_of([Trouble.REFUSED, Trouble.TIMEOUT, Trouble.SERVER_ERROR]) == 0, load.table()
        assert problems[0]["state"]["step"] == "probation"
        assert problems[0]["state"]["generation"] == 3
        assert (await chain.serving(), await chain.backends()) == (old, backends)
        assert (await hotswap.rollout())["generation"] == 2


@pytest.mark.fail_after(60)
@pytest.mark.parametrize("place", ["changes", "committed", "probation", "draining"])
async def test_an_old_process_that_dies_leaves_everything_to_the_new_one(tmp_path: Path, place: str) -> None:
    """From the moment at which the new process has everything, it needs nobody."""
    fault = {"HOTSWAP_FAULT": f"old:{place}=kill"}
    # The new process must not have the accident of the old one.
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path, environment=fault) as chain:
        old, backends = chain.hotswap.pid, await chain.backends()
        executable = chain.script("healthy", "unset HOTSWAP_FAULT")
        # Only the last of these has said its word to the caller before it dies.
        with suppress(OSError, trio.BrokenResourceError, CutShort):
            await chain.order(executable=executable)
        await wait_gone(old)
        status = await chain.wait_alone()
        assert status["pid"] != old
        assert await chain.backends() == backends
        await serves(chain)
        assert (await chain.hotswap.rollout())["generation"] == 2


@pytest.mark.fail_after(60)
async def test_both_dead_leaves_no_backend_behind(tmp_path: Path) -> None:
    """The guardian that went from one process to the next ends them."""
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
        await chain.take_over()
        await chain.wait_alone()
        backends = list(await chain.backends())
        os.kill(await chain.serving(), signal.SIGKILL)
        while living(backends):
            await trio.sleep(0.05)


@pytest.mark.fail_after(90)
async def test_what_cannot_work_is_refused_before_anything_happens(tmp_path: Path) -> None:
    """Another epoch, another program, no program, a bad configuration, a second takeover, a rollout meanwhile."""
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
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
        # What lies in preflight and says otherwise when it runs is found out too, and so is a port that is taken.
        liar = chain.script(
            "liar",
            f'case "$*" in *--handoff-info*) exec {sys.executable} -m proxy.cli "$@";; esac',
            last="exit 7",
        )
        problem = await chain.fail_over(executable=liar)
        assert problem["code"] == "takeover-failed"
        assert "exit code 7" in problem["detail"]
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


@pytest.mark.fail_after(90)
async def test_a_process_that_comes_by_itself_takes_over_through_the_path(tmp_path: Path) -> None:
    """As a new container does; and then the next one is started in the ordinary way, over the command line."""
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        backends = await chain.backends()
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "proxy.cli", "run", "--attach", str(hotswap.config)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
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
            await slow.send_head("GET", "/stream?lines=2048&seconds=8&parts=80")
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
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
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


@pytest.mark.fail_after(60)
async def test_a_new_process_that_falls_silent_after_the_commit_is_ended(tmp_path: Path) -> None:
    """It owns the backends and does not say that it accepts: it is killed, and everything returns."""
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
        old, backends = await chain.serving(), await chain.backends()
        async with run_load({"plain": await chain.hotswap.target()}, kinds=SHORT_KINDS) as load:
            problem = await chain.fail_over(executable=chain.faulty("new:probation", "stop"))
            await load.wait_turns(2)
        load.assert_unharmed()
        assert problem["state"]["step"] == "committed", problem
        assert (await chain.serving(), await chain.backends()) == (old, backends)
        assert (await chain.hotswap.rollout())["generation"] == 2


@pytest.mark.fail_after(60)
async def test_the_service_manager_hears_of_the_new_process_only_after_probation(tmp_path: Path) -> None:
    """RELOADING, then MAINPID and READY in one message from the old one; READY alone when it failed; no STOPPING."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        async with run_chain(listeners() + demo_pool(tmp_path), tmp_path, environment=environment) as chain:
            await chain.fail_over(executable=chain.faulty("new:prepared"))
            failed = _messages(manager)
            new = (await chain.take_over())["pid"]
            await chain.wait_alone()
            done = _messages(manager)
        assert [message[0] for message in failed if message[0] != "READY=1"] == ["RELOADING=1"]
        assert failed[-1] == ["READY=1"]
        assert done[0][0] == "RELOADING=1"
        assert [f"MAINPID={new}", "READY=1"] in done
        assert not [message for message in failed + done if "STOPPING=1" in message]


def _messages(manager: socket.socket) -> list[list[str]]:
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(manager.recv(4096).decode().split("\n"))
    return [message for message in found if not message[0].startswith("STATUS=")]


@pytest.mark.fail_after(90)
async def test_one_installed_version_takes_over_from_another(tmp_path: Path) -> None:
    """The new one lives in a virtual environment of its own."""
    venv = tmp_path / "new"
    await trio.to_thread.run_sync(_install, venv)
    async with run_chain(listeners() + demo_pool(tmp_path), tmp_path) as chain:
        backends = await chain.backends()
        async with run_load({"plain": await chain.hotswap.target()}, kinds=SHORT_KINDS) as load:
            await load.wait_turns(1)
            command = f'exec {venv}/bin/python -m proxy.cli "$@"'
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
    for name in ("proxy", "backends"):
        shutil.copytree(REPOSITORY / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    information = packages / "hotswap-9.9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hotswap\nVersion: 9.9\n", encoding="utf-8")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
