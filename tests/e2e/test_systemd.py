"""What a service manager sees and does: readiness, reloads, progress, the watchdog, sockets that it opens."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.support.client import Target, fetch
from tests.support.hotswap import REPOSITORY, SOURCES, run_hotswap
from tests.support.pools import listeners, table
from tests.support.service_manager import PASS_SOCKET, Message, ServiceManager, open_service_manager
from tests.support.tools import require_tool

UNITS = REPOSITORY / "conf" / "systemd"

GATED = """
import os, pathlib, sys, time
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
from faulty.plain import main
main([])
"""

WATCHDOG_SECONDS = 0.4


def says(name: str, text: str = "") -> Callable[[Message], bool]:
    """A condition: a message with this assignment, or one whose value has a text in it."""
    return lambda message: text in message.get(name, "") and name in message


def pool(name: str, directory: Path, gate: Path) -> str:
    """A pool of two backends that boot when there is a file `gate`."""
    values = {
        "server": "command",
        "command": [sys.executable, "-c", GATED, str(gate)],
        "directory": directory,
        "size": 2,
        "environment": {"PYTHONPATH": SOURCES},
        "health": {"interval": "200ms"},
    }
    return table(f"pools.{name}", values)


async def boots(manager: ServiceManager, gate: Path) -> None:
    """Ready is said when the last pool is, and not before."""
    await manager.wait(says("STATUS", "web 2/2 ready; api 0/2 ready"))
    assert not [message for message in manager.messages if "READY" in message]
    await trio.Path(gate).touch()
    ready = await manager.wait(says("READY"))
    assert ready == {"READY": "1"}
    before = manager.messages[: manager.messages.index(ready)]
    assert [message["STATUS"] for message in before if "STATUS" in message][-1] == "web 2/2 ready; api 2/2 ready"


async def reloads(manager: ServiceManager, pid: int) -> None:
    """As Type=notify-reload asks: SIGHUP, RELOADING with the moment, READY."""
    so_far, moment = len(manager.messages), time.monotonic_ns() // 1000
    os.kill(pid, signal.SIGHUP)
    reloading = await manager.wait(says("RELOADING"), after=so_far)
    assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert moment <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    await manager.wait(says("READY"), after=manager.messages.index(reloading))


def statuses(messages: list[Message]) -> list[str]:
    """The texts of status, in order."""
    return [message["STATUS"] for message in messages if "STATUS" in message]


@pytest.mark.fail_after(60)
async def test_a_service_manager_is_told_what_happens(tmp_path: Path):
    """From boot over a reload and a rollout to the end, with the watchdog fed all the while."""
    gate = tmp_path / "gate"
    (tmp_path / "open").touch()
    config = listeners() + pool("web", tmp_path, tmp_path / "open") + pool("api", tmp_path, gate)
    config += '[[routes]]\npath = "/api/"\npool = "api"\n'
    async with open_service_manager(tmp_path) as manager:
        environment = {**manager.environment, "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1_000_000))}
        async with run_hotswap(config, tmp_path, wait_ready=False, environment=environment) as hotswap:
            await boots(manager, gate)
            await reloads(manager, hotswap.pid)
            so_far = len(manager.messages)
            rollout = await hotswap.rollout()
            assert rollout["outcome"] == "done"
            await manager.wait(lambda message: message.get("STATUS") == "web 2/2 ready; api 2/2 ready", after=so_far)
            first, second = (slot["slot"] for slot in rollout["slots"])
            told = statuses(manager.messages[so_far:])
            for expected in (
                f"rollout {rollout['id']}: 0 of 2 replaced, slot {first} starting",
                f"rollout {rollout['id']}: 1 of 2 replaced, slot {second} starting",
            ):
                assert any(expected in status for status in told), told
            fed = len(manager.messages)
            for _ in range(3):
                await manager.wait(says("WATCHDOG"), after=fed)
                fed = next(at for at, message in enumerate(manager.messages) if at >= fed and "WATCHDOG" in message) + 1
        await manager.wait(says("STOPPING"))
        assert statuses(manager.messages)[-1] == "stopping"


def open_privileged() -> socket.socket:
    """A listening socket on a port that is reserved for the privileged, such as 443, where that is possible."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        end = int(file.read())
    for port in (*range(end - 1, 0, -7), 0):
        try:
            return socket.create_server(("127.0.0.1", port), backlog=128)
        except OSError:
            continue
    raise AssertionError("no port is left")


@pytest.mark.fail_after(60)
async def test_a_socket_that_was_passed_serves_a_proxy_without_privileges(tmp_path: Path):
    """Nobody is refused after its end either: the port stays the service manager's, and connections queue."""
    with open_privileged() as listening:
        address = listening.getsockname()
        port = address[1]
        config = listeners().replace("127.0.0.1:0", f"127.0.0.1:{port}")
        (tmp_path / "open").touch()
        config += pool("web", tmp_path, tmp_path / "open")
        setpriv = require_tool("setpriv", package="util-linux")
        # Root without capabilities may open no port below 1024 either, and still reads the files of this test.
        dropped = () if os.geteuid() else (setpriv, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
        if port:
            bind = f"import socket; socket.create_server(('127.0.0.2', {port}))"
            tried = await trio.run_process([*dropped, sys.executable, "-c", bind], capture_stderr=True, check=False)
            assert b"PermissionError" in tried.stderr
        launcher = (*dropped, *PASS_SOCKET, str(listening.fileno()))
        target = Target(address=address)
        async with run_hotswap(config, tmp_path, launcher=launcher, pass_fds=(listening.fileno(),)):
            (await fetch(target, "/healthz")).expect()
        with socket.create_connection(address, timeout=5):
            pass


def test_systemd_accepts_the_units(tmp_path: Path):
    """And finds the service confined."""
    analyze = require_tool("systemd-analyze", package="systemd")
    program = tmp_path / "hotswap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("hotswap.service", "hotswap.socket"):
        text = (UNITS / name).read_text(encoding="utf-8").replace("/opt/hotswap/bin/hotswap", str(program))
        (tmp_path / name).write_text(text, encoding="utf-8")
    units = [str(tmp_path / name) for name in ("hotswap.service", "hotswap.socket")]
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", units[0]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_sockets_are_those_of_the_listeners():
    """Letter by letter, or the proxy would open them itself."""
    sockets = re.findall(r"^ListenStream=(.*)$", (UNITS / "hotswap.socket").read_text(encoding="utf-8"), re.MULTILINE)
    text = (UNITS / "hotswap.toml").read_text(encoding="utf-8")
    binds = [
        bind for line in re.findall(r"^bind = \[(.*)\]$", text, re.MULTILINE) for bind in re.findall(r'"(.*?)"', line)
    ]
    assert sorted(sockets) == sorted(bind for bind in binds if not bind.startswith("unix:"))
