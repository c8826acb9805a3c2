"""A takeover as those see it who look after the proxy: systemd, whoever watches, and the command line."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
import trio

from hotswap.control.takeover.stub import read_pid, write_pid
from tests.support.admin import AdminEvent
from tests.support.chain import run_chain
from tests.support.client import Target, open_connection
from tests.support.hotswap import run_hotswap
from tests.support.pools import command_pool, listeners
from tests.support.trouble import CutShort

_CREDENTIALS = struct.Struct("3i")


class Manager:
    """A service manager: the messages of the proxy, each with the process that sent it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(path))

    def messages(self) -> list[tuple[int, list[str]]]:
        """What has come since the last call, but for what is told to people."""
        found = []
        with suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
                pid, _, _ = _CREDENTIALS.unpack(ancillary[0][2])
                found.append((pid, data.decode().split("\n")))
        return [(pid, words) for pid, words in found if not words[0].startswith("STATUS=")]

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


def asked_for(words: list[str]) -> int:
    """Microseconds that a message asks for; 0 when it is about something else."""
    name, _, number = words[0].partition("=")
    return int(number) if name == "EXTEND_TIMEOUT_USEC" else 0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens until the test has ended."""
    found = Manager(tmp_path / "notify")
    yield found
    found.close()


@pytest.mark.fail_after(90)
async def test_the_service_manager_hears_of_the_new_process_only_after_probation(
    tmp_path: Path, manager: Manager
) -> None:
    """RELOADING, then MAINPID and READY in one message of the old one; READY alone when it failed; never STOPPING.

    The new one says nothing before it is the main process.
    """
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    async with run_chain(
        listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path, environment=environment
    ) as chain:
        old = await chain.serving()
        assert manager.messages() == [(old, ["READY=1"])]
        for place in ("prepared", "probation"):
            await chain.fail_over(executable=chain.faulty(f"new:{place}"))
            (who, begun), *others, ended = manager.messages()
            assert (who, begun[0]) == (old, "RELOADING=1")
            assert begun[1].startswith("MONOTONIC_USEC=")
            assert ended == (old, ["READY=1"])
            assert all(words[0].startswith("EXTEND_TIMEOUT_USEC=") and pid == old for pid, words in others)
        # Given up on trial, when the new one has served already.
        told: list[tuple[int, list[str]]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: chain.fail_over(probation="120s"))
            # It asks for time while the new one prepares, if that takes long, and then for the trial and a little more.
            while not told or not 120e6 < asked_for(told[-1][1]) < 150e6:
                await trio.sleep(0.02)
                told += manager.messages()
            os.kill(await chain.serving(), signal.SIGKILL)
        assert told[0][1][0] == "RELOADING=1"
        assert all(asked_for(words) and pid == old for pid, words in told[1:])
        assert manager.messages() == [(old, ["READY=1"])]
        new = (await chain.take_over())["pid"]
        await chain.wait_alone()
        told = manager.messages()
        assert told[0][1][0] == "RELOADING=1"
        at = told.index((old, [f"MAINPID={new}", "READY=1"]))
        assert all(pid == old for pid, _ in told[:at])
        assert all(pid == new for pid, _ in told[at + 1 :] if (pid, _) != (new, ["READY=1"]))
        assert not [words for _, words in told if "STOPPING=1" in words]
    assert (new, ["STOPPING=1"]) in manager.messages()


@pytest.mark.fail_after(60)
async def test_the_command_line_says_what_became_of_it(tmp_path: Path) -> None:
    """0 done, 1 given up and where, 2 not understood, 3 refused and what to do, or what is wrong with the file."""
    async with run_chain(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path) as chain:
        hotswap = chain.hotswap
        old = await chain.serving()
        epoch = chain.script(
            "other-epoch",
            last='echo \'{"program":"hotswap","version":"9.0","protocol":[1,2],"schema":[1,1],"epoch":99}\'',
        )
        refused = await hotswap.command("takeover", "--executable", str(epoch))
        assert refused.code == 3, refused
        assert "compatibility-mismatch" in refused.stderr
        assert "stop and start the proxy instead" in refused.stderr
        failed = await hotswap.command("takeover", "--executable", str(chain.faulty("new:preparing")))
        assert failed.code == 1, failed
        assert "SIGKILL" in failed.stderr
        assert "preparing" in failed.stderr
        broken = tmp_path / "broken.toml"
        broken.write_text("[listeners.public]\nbind = 7\n", encoding="utf-8")
        admin = f"unix:{hotswap.admin.path}"
        invalid = await hotswap.command("takeover", "--admin", admin, "--to", str(broken))
        assert invalid.code == 3, invalid
        assert "config-invalid" in invalid.stderr
        assert "listeners.public.bind" in invalid.stderr
        assert (await hotswap.command("takeover", "--probation", "soon")).code == 2
        assert await chain.serving() == old
        done = await hotswap.command("takeover", "--probation", "100ms", "--json")
        assert done.code == 0, done
        assert '"outcome": "done"' in done.stdout
        assert await chain.serving() != old


@pytest.mark.fail_after(60)
async def test_whoever_watches_over_the_admin_api_finds_the_process_that_serves(tmp_path: Path) -> None:
    """Streams of events end when another process goes on with them, and miss nothing when they come back; idle
    connections are closed. When everything returns, the first process takes both again."""
    async with run_chain(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path) as chain:
        admin, old = chain.hotswap.admin, await chain.serving()
        seen: list[AdminEvent] = []
        kinds: list[str] = []

        async def watch() -> None:
            """As a browser does: from the last event on, whenever a stream ends or breaks."""
            while True:
                with suppress(OSError, trio.BrokenResourceError, CutShort):
                    async with aclosing(admin.events(after=seen[-1].number if seen else 0)) as events:
                        async for event in events:
                            seen.append(event)
                            kinds.append(event.kind)
                await trio.sleep(0.01)

        async def wait_for(kind: str) -> None:
            while kind not in kinds:
                await trio.sleep(0.01)
            kinds.clear()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            # Given up on trial, after the new process has told of itself.
            async with open_connection(Target(address=admin.path)) as idle, trio.open_nursery() as ordering:
                (await idle.request("GET", "/livez")).expect()
                ordering.start_soon(lambda: chain.fail_over(probation="120s"))
                await wait_for("takeover.live")
                while not await idle.ended():  # a moment is left to requests on their way
                    await trio.sleep(0.01)
                os.kill(await chain.serving(), signal.SIGKILL)
            await wait_for("takeover.failed")
            async with open_connection(Target(address=admin.path)) as kept:
                for _ in range(2):
                    assert (await kept.request("GET", "/v1/status")).json()["pid"] == old
            before = len(seen)
            result = await chain.take_over()
            await wait_for("takeover.done")
            numbers = [event.number for event in seen[before:]]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert [event.data["pid"] for event in seen[before:] if event.kind == "takeover.done"] == [result["pid"]]
            nursery.cancel_scope.cancel()


@pytest.mark.fail_after(60)
async def test_a_start_by_mistake_leaves_no_trace(tmp_path: Path) -> None:
    """It ends with the port in use, and process 1 still reads from the state directory whom to follow."""
    async with run_hotswap(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path) as hotswap:
        target = await hotswap.target()
        assert isinstance(target.address, tuple)
        state = tmp_path / "state"
        write_pid(state, hotswap.pid)
        second = tmp_path / "second.toml"
        text = hotswap.config.read_text(encoding="utf-8").replace("127.0.0.1:0", f"127.0.0.1:{target.address[1]}")
        second.write_text(text.replace("admin.sock", "other.sock"), encoding="utf-8")
        ran = await hotswap.command("run", str(second))
        assert ran.code != 0
        assert "another proxy uses" in ran.stderr
        assert read_pid(state) == hotswap.pid
        assert (state / "takeover.sock").exists()
        (await hotswap.fetch("/whoami")).expect()
