"""Completion in the three shells, asked in the way in which they ask."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.support.command_line import cli, environment, run_cli
from tests.support.fake_runtime import FakeProxy, open_fake_proxy
from tests.support.tools import require_tool


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


async def shell(program: str, script: str, folder: Path, **variables: str) -> str:
    """Run a script in a shell that finds this hotswap in PATH."""
    (folder / "hotswap").write_text(f'#!/bin/sh\nexec {sys.executable} -m hotswap "$@"\n')
    (folder / "hotswap").chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    given = environment(PATH=path, HOME=str(folder), XDG_CONFIG_HOME=str(folder), **variables)
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[Path(program).name]
    done = await trio.run_process(
        [program, *flags, "-c", script], capture_stdout=True, capture_stderr=True, env=given, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


BASH = """
eval "$(hotswap completion bash)"
COMP_WORDS=(hotswap {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_hotswap_completion hotswap
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


async def test_bash_completes_verbs(tmp_path: Path) -> None:
    """As many as begin like that."""
    bash = require_tool("bash", package="bash")
    assert (await shell(bash, BASH.format(words="re"), tmp_path)).split() == ["reload", "readmit", "resume"]


async def test_bash_completes_the_pools_of_the_running_proxy(tmp_path: Path, proxy: FakeProxy) -> None:
    """Which it asks, where `$HOTSWAP_ADMIN` says."""
    bash = require_tool("bash", package="bash")
    for words, pools in (("pause ''", ["web", "legacy"]), ("reload w", ["web"]), ("reload web ''", ["legacy"])):
        assert (await shell(bash, BASH.format(words=words), tmp_path, HOTSWAP_ADMIN=proxy.url)).split() == pools


async def test_bash_completes_the_pools_of_the_proxy_that_is_named(tmp_path: Path, proxy: FakeProxy) -> None:
    """By an option that was typed before."""
    bash = require_tool("bash", package="bash")
    words = f"pause --admin '{proxy.url}' ''"
    assert (await shell(bash, BASH.format(words=words), tmp_path)).split() == ["web", "legacy"]


async def test_fish_completes_verbs_with_their_help(tmp_path: Path) -> None:
    """It shows what each is for."""
    fish = require_tool("fish", package="fish")
    shown = await shell(fish, "hotswap completion fish | source; complete -C 'hotswap re'", tmp_path)
    assert [line.split("\t")[0] for line in shown.splitlines()] == ["readmit", "reload", "resume"]
    assert "Replace every backend" in shown


async def test_zsh_is_given_a_function_that_completes(tmp_path: Path) -> None:
    """Registered for the command, and free of errors of syntax."""
    zsh = require_tool("zsh", package="zsh")
    script = 'autoload -Uz compinit; compinit -u; eval "$(hotswap completion zsh)"; print $_comps[hotswap]'
    assert (await shell(zsh, script, tmp_path)).strip() == "_hotswap_completion"


def test_another_shell_is_exit_code_2() -> None:
    """And those that are known are named."""
    result = run_cli("completion", "tcsh")
    assert result.code == 2
    assert "'bash', 'zsh', 'fish'" in result.stderr


async def test_a_proxy_that_is_not_there_completes_nothing(tmp_path: Path) -> None:
    """In silence: somebody is typing."""
    bash = require_tool("bash", package="bash")
    async with open_fake_proxy() as gone:
        url = gone.url
    assert (await cli("status", "--admin", url)).code == 1
    assert (await shell(bash, BASH.format(words="pause ''"), tmp_path, HOTSWAP_ADMIN=url)).split() == []
