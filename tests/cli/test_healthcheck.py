"""`hotswap healthcheck`: whether the proxy is ready, as an exit code, for next to nothing."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from hotswap.cli.readiness import answer_quickly
from hotswap.core.pool.lifecycle import Health
from tests.support.command_line import Result, cli, command, environment, program
from tests.support.fake_runtime import FakeProxy, open_fake_proxy
from tests.support.hotswap import run_hotswap
from tests.support.pools import listeners

PROCESSOR_TIME = 0.15
"""Seconds that the contract allows."""


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


async def ask(*arguments: str) -> Result:
    """Run it as a program of its own, so with the short cut."""
    return await program("healthcheck", *arguments)


def make_unready(proxy: FakeProxy) -> None:
    """Have no backend of a pool that can be claimed."""
    pool = proxy.runtime.pool("web")
    for backend in pool.backends:
        pool.set_health(backend, Health.UNHEALTHY)


async def test_ready_is_0_and_not_ready_is_1_with_the_reason(proxy: FakeProxy) -> None:
    """Nothing is said where there is nothing to say."""
    assert await ask("--admin", proxy.url) == Result(code=0, stdout="", stderr="")
    make_unready(proxy)
    result = await ask(f"--admin={proxy.url}")
    assert (result.code, result.stdout) == (1, "")
    assert "web" in result.stderr


async def test_live_asks_whether_it_answers_at_all(proxy: FakeProxy) -> None:
    """A proxy whose pools are down is alive."""
    make_unready(proxy)
    assert (await ask("--live", "--admin", proxy.url)).code == 0


async def test_nobody_is_1() -> None:
    """And so is whatever does not speak HTTP, and a file that is not there."""
    result = await ask("--admin", "unix:/nowhere/admin.sock")
    assert (result.code, result.stdout) == (1, "")
    assert "unix:/nowhere/admin.sock" in result.stderr
    assert (await ask("--config", "/nowhere/hotswap.toml")).code == 1
    assert (await ask("--admin", "nonsense")).code == 1


async def test_what_is_mistyped_is_2_and_help_is_given(proxy: FakeProxy) -> None:
    """By the whole command."""
    assert (await ask("--lvie")).code == 2
    assert "--live" in (await ask("--help")).stdout


async def test_the_whole_command_gives_the_same_answers(proxy: FakeProxy) -> None:
    """It is reached by a global option before the verb."""
    assert (await cli("healthcheck", "--admin", proxy.url)).code == 0
    assert (await cli("healthcheck", "--admin", "nonsense")).code == 1
    make_unready(proxy)
    assert (await cli("healthcheck", "--admin", proxy.url)).code == 1
    assert (await cli("healthcheck", "--live", "--admin", proxy.url)).code == 0


def test_arguments_that_are_not_simple_are_left_to_the_whole_command() -> None:
    """Help, typing errors, and an option without its value."""
    for arguments in (["--help"], ["--lvie"], ["--admin"], ["--live=yes"], ["more"]):
        assert answer_quickly(arguments) is None


async def test_it_imports_nothing_that_it_does_not_need(proxy: FakeProxy) -> None:
    """What the other verbs are made of is the most of what they cost."""
    script = (
        "import sys\n"
        f"sys.argv = ['hotswap', 'healthcheck', '--admin', '{proxy.url}']\n"
        "from hotswap.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "unwanted = 'click', 'rich', 'structlog', 'pydantic', 'trio', 'http.client', 'email', 'ssl', 'subprocess'\n"
        "print([name for name in unwanted if name in sys.modules], len(sys.modules))\n"
    )
    run = partial(subprocess.run, [*command()[:1], "-c", script], capture_output=True, text=True, env=environment())
    done = await trio.to_thread.run_sync(run)
    assert done.stdout.startswith("[] "), done.stdout + done.stderr


async def test_it_costs_a_fraction_of_the_other_verbs(proxy: FakeProxy) -> None:
    """Processor time of the program with the interpreter's own start; the best of some, on a machine that is shared."""

    def cost() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command("healthcheck", "--admin", proxy.url), env=environment(), check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min([await trio.to_thread.run_sync(cost) for _ in range(5)]) < PROCESSOR_TIME


async def test_it_finds_the_proxy_of_its_configuration_and_no_other(tmp_path: Path) -> None:
    """While nothing is ready it is not 0; another configuration's proxy is not asked whether that one is ready."""
    pool = '[pools.web]\nserver = "command"\ncommand = ["false"]\n'
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for directory in (ours, theirs):
        directory.mkdir()
    static = '[pools.web]\naddresses = ["127.0.0.1:1"]\n'
    (theirs / "hotswap.toml").write_text(
        f'[admin]\nbind = ["unix:{ours}/admin.sock"]\n' + listeners() + static, encoding="utf-8"
    )
    async with run_hotswap(listeners() + pool, ours, wait_ready=False) as proxy:
        await proxy.wait_line('"proxy.starting"')
        while not proxy.admin.path.exists():
            await trio.sleep(0.02)
        assert (await program("healthcheck", directory=ours)).code == 1
        assert (await program("healthcheck", "--live", directory=ours)).code == 0
        wrong = await program("healthcheck", "--live", directory=theirs)
        assert wrong.code == 1
        assert f"{ours}/hotswap.toml" in wrong.stderr
