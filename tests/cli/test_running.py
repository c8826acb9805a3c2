"""Verbs that need no running proxy: `check`, `init`, `schema`, `version`, and what `run` says first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import on_terminal, program, run_cli

GOOD = """
[listeners.public]
bind = ["127.0.0.1:0"]

[[routes]]
pool = "legacy"

[pools.legacy]
addresses = ["127.0.0.1:1"]
"""

BAD = """
[listeners.public]
bind = ["nonsense"]

[[routes]]
pool = "none"

[pools.web]
sizee = 2
"""


def test_check_says_good_and_exits_with_0(tmp_path: Path) -> None:
    """What was found is a message, not data."""
    path = tmp_path / "hotswap.toml"
    path.write_text(GOOD)
    result = run_cli("check", str(path))
    assert (result.code, result.stdout) == (0, "")
    *warnings, verdict = result.stderr.splitlines()
    assert verdict == f"{path}: good; 1 listener, 1 route, 1 pool"
    # Who is root has to be told that the proxy would be; there is nothing else to say.
    assert [line.partition(" is not set")[0] for line in warnings] == ["warning: proxy.user"] * (os.geteuid() == 0)


def test_check_warns_of_what_will_disappoint_and_exits_with_0(tmp_path: Path) -> None:
    """It is right all the same."""
    path = tmp_path / "hotswap.toml"
    path.write_text(GOOD + "\n[listeners.public.limits]\nconnections = 1_000_000_000\n")
    result = run_cli("check", str(path))
    assert (result.code, result.stdout) == (0, "")
    assert "warning: listeners may have 1000000000 connections, but" in result.stderr


@pytest.mark.parametrize("verb", ["check", "run"])
def test_every_problem_is_printed_at_once_with_exit_code_2(tmp_path: Path, verb: str) -> None:
    """File and line, key, what it must be, and its value; one a line, in the order of the lines."""
    path = tmp_path / "hotswap.toml"
    path.write_text(BAD)
    result = run_cli(verb, str(path))
    assert (result.code, result.stdout) == (2, "")
    assert re.search(rf'{path}:\d+: listeners.public.bind\[0\] must be "HOST:PORT", .*, is "nonsense"', result.stderr)
    assert re.search(rf'{path}:\d+: routes\[0\].pool must be the name of a pool, is "none"', result.stderr)
    lines = [int(number) for number in re.findall(r"^/\S+:(\d+): ", result.stderr, re.MULTILINE)]
    assert lines == sorted(lines)
    assert "pools.web.sizee" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("verb", ["check", "run"])
async def test_a_missing_configuration_is_exit_code_2(tmp_path: Path, verb: str) -> None:
    """And says where it was looked for."""
    result = await program(verb, directory=tmp_path)
    assert result.code == 2
    assert str(tmp_path / "hotswap.toml") in result.stderr


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_named_configuration_that_is_missing_is_exit_code_2(tmp_path: Path, verb: str) -> None:
    """The message names it."""
    result = run_cli(verb, str(tmp_path / "none.toml"))
    assert result.code == 2
    assert str(tmp_path / "none.toml") in result.stderr


def test_an_unknown_verb_is_exit_code_2() -> None:
    """As for every command line."""
    result = run_cli("relaod")
    assert result.code == 2
    assert "relaod" in result.stderr


def test_version_and_schema_are_data() -> None:
    """On stdout, for programs."""
    version = run_cli("version")
    assert version.stdout.startswith("hotswap ")
    assert run_cli("--version").stdout == version.stdout
    schema = run_cli("schema")
    assert schema.document["title"] == "hotswap configuration"


async def test_messages_have_colour_nowhere_and_help_fits_a_terminal() -> None:
    """`--help` of every verb works."""
    code, text = await on_terminal("reload", "--help")
    assert code == 0
    assert "--no-wait" in text


def test_a_start_loads_nothing_that_no_proxy_needs() -> None:
    """What is left out is missed by nobody, and there again afterwards."""
    loaded = (
        "import sys\n"
        "from hotswap.cli.loading import UNUSED, leaving_out\n"
        "with leaving_out(UNUSED | {'sys': None}):\n"
        "    import hotswap.control.process.entry\n"
        "unwanted = *UNUSED, 'fastapi', 'starlette', 'hypercorn'\n"
        "print([name for name in unwanted if name in sys.modules])\n"
        "import asyncio, importlib.metadata, rich.console\n"
        "assert importlib.metadata.version('trio')\n"
        "assert asyncio.run\n"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_what_is_left_out_is_there_for_who_needs_it() -> None:
    """A package that begins to use it in its next version still loads; what is given instead is given."""
    script = (
        "import sys\n"
        "from hotswap.cli.loading import UNUSED, leaving_out\n"
        "with leaving_out(UNUSED):\n"
        "    import importlib.metadata as metadata\n"
        "    from importlib.metadata import entry_points\n"
        "    print(list(entry_points(group='console_scripts')), metadata is sys.modules['importlib.metadata'])\n"
        "    import importlib.metadata\n"
        "    print(bool(importlib.metadata.version('trio')))\n"
        "print(metadata is sys.modules['importlib.metadata'], 'asyncio' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[] True\nTrue\nFalse False\n"
