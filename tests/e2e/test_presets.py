"""Every example of a server in conf/, run as it is written and rolled over under load: no client notices."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.client import fetch
from tests.support.clients import EVERY_KIND, Client, WebSocket
from tests.support.hotswap import REPOSITORY, descendants, run_hotswap
from tests.support.load import run_load

EXAMPLES = {
    "uvicorn": "asgi",
    "hypercorn": "asgi",
    "hypercorn-trio": "asgi",
    "gunicorn": "wsgi",
    "gunicorn-asgi": "asgi",
    "granian": "asgi",
    "waitress": "wsgi",
    "daphne": "asgi",
}
"""Those of servers, and what they speak."""


def configured(name: str) -> str:
    """An example as it is, but for what a test cannot share with the machine: ports and the number of processes."""
    text = (REPOSITORY / "conf" / f"{name}.toml").read_text(encoding="utf-8")
    text = re.sub(r"^bind = .*$", 'bind = ["127.0.0.1:0"]', text, count=1, flags=re.MULTILINE)
    return re.sub(r'^size = "auto"$', "size = 2", text, flags=re.MULTILINE)


def kinds(interface: str) -> list[type[Client]]:
    """What clients do with an app of this interface: WSGI knows no WebSocket."""
    return [kind for kind in EVERY_KIND if interface == "asgi" or kind is not WebSocket]


def write_shop(directory: Path, name: str) -> str:
    """Write the app of an example; gives its interface."""
    (directory / "shop").mkdir()
    (directory / "shop" / "__init__.py").touch()
    interface = EXAMPLES[name]
    source = f"from tests.support.portable_app import {interface} as app\n"
    (directory / "shop" / f"{interface}.py").write_text(source, encoding="utf-8")
    return interface


def test_every_server_has_an_example():
    """And every example that names a server by itself is run here."""
    found = {
        path.stem
        for path in (REPOSITORY / "conf").glob("*.toml")
        if path.stem.partition("-")[0] in re.findall(r'^server = "(\w+)"$', path.read_text(), re.MULTILINE)
    }
    assert found - {"command"} == set(EXAMPLES)


@pytest.mark.fail_after(90)
@pytest.mark.parametrize("name", EXAMPLES)
async def test_a_rollout_under_load_costs_nothing(tmp_path: Path, name: str):
    """Every kind of client; each backend ends by itself, with no SIGKILL and nothing cut."""
    interface = write_shop(tmp_path, name)
    ledger = tmp_path / "ledger.sqlite3"
    async with run_hotswap(configured(name), tmp_path, environment={"LEDGER": str(ledger)}) as hotswap:
        before = {backend["pid"] for backend in await hotswap.backends("shop")}
        async with run_load({"plain": await hotswap.target()}, kinds=kinds(interface)) as load:
            await load.wait_turns(1)
            rollout = await hotswap.rollout("shop")
            await load.wait_turns(1)
        assert rollout["outcome"] == "done", rollout
        assert [slot["exchanges"]["cut"] for slot in rollout["slots"]] == [0, 0], rollout
        assert [slot["killed"] for slot in rollout["slots"]] == [False, False], rollout
        assert not before & {backend["pid"] for backend in await hotswap.backends("shop")}
    load.assert_unharmed()
    load.assert_ledger(ledger)
    assert load.counts["plain fresh get"].generations == {1, 2}


@pytest.mark.fail_after(60)
@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_reload_signal_to_a_server_and_its_workers_is_harmless(tmp_path: Path, name: str):
    """SIGUSR2, sent to the whole group by mistake: gunicorn would start a second master and end its worker."""
    write_shop(tmp_path, name)
    environment = {"LEDGER": str(tmp_path / "ledger.sqlite3")}
    async with run_hotswap(configured(name), tmp_path, environment=environment) as hotswap:
        pids = [backend["pid"] for backend in await hotswap.backends("shop")]
        before = {pid: sorted(descendants(pid)) for pid in pids}
        for pid in pids:
            for _ in range(3):
                os.killpg(pid, signal.SIGUSR2)
        target = await hotswap.target()
        for _ in range(8):
            (await fetch(target, "/")).expect()
        assert {pid: sorted(descendants(pid)) for pid in pids} == before
        assert not hotswap.written("backend.crashed")
