"""A release is read once and pinned."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hotswap.control.pools.release import read_environment_file, read_release, read_releases
from hotswap.core.config import PoolTable, StaticPoolTable, SupervisedPoolTable
from hotswap.core.errors import ConfigError


def table(directory: Path, **settings: Any) -> SupervisedPoolTable:
    """A pool of a command in a directory."""
    return SupervisedPoolTable.model_validate(
        {"server": "command", "command": ["serve"], "directory": str(directory), **settings}
    )


async def test_the_directory_is_resolved_when_it_is_read(tmp_path):
    """A link that moves on afterwards does not move the release."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "current").symlink_to("one")
    release = await read_release("web", table(tmp_path / "current"), environment={})
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("two")
    assert release.directory == str(tmp_path / "one")
    assert release.environment["PWD"] == str(tmp_path / "one")
    assert release.plan(pool="web", slot=0, generation=1).directory == str(tmp_path / "one")


async def test_the_interpreter_is_pinned_but_not_followed(tmp_path):
    """A virtual environment is found by the name of its interpreter, which is itself a link."""
    binaries = tmp_path / "one" / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to("/usr/bin/python3")
    (tmp_path / "current").symlink_to("one")
    settings = {"server": "uvicorn", "command": [], "app": "shop:app", "python": f"{tmp_path}/current/venv/bin/python"}
    release = await read_release("web", table(tmp_path / "current", **settings), environment={})
    assert release.recipe.argv[0] == str(binaries / "python")


async def test_the_program_of_a_command_is_pinned_too(tmp_path):
    """Where it is named with its directory."""
    (tmp_path / "one").mkdir()
    (tmp_path / "current").symlink_to("one")
    command = [f"{tmp_path}/current/serve", "--fd", "{fd}"]
    release = await read_release("web", table(tmp_path / "current", command=command), environment={})
    assert release.recipe.argv == (f"{tmp_path}/one/serve", "--fd", "{fd}")


async def test_variables_come_from_the_proxy_then_the_file_then_the_table(tmp_path):
    """The later one wins, and what is about the proxy itself stays with it."""
    (tmp_path / "env").write_text("A=file\nB=file\nC=file\n", encoding="utf-8")
    settings = {"environment_file": str(tmp_path / "env"), "environment": {"C": "table"}}
    proxy = {"A": "proxy", "Z": "proxy", "HOTSWAP_ADMIN": "unix:/x", "NOTIFY_SOCKET": "/run/systemd/notify"}
    release = await read_release("web", table(tmp_path, **settings), environment=proxy)
    assert dict(release.environment) == {
        "A": "file",
        "B": "file",
        "C": "table",
        "Z": "proxy",
        "PWD": str(tmp_path),
    }


async def test_secrets_do_not_show_in_the_release(tmp_path):
    """It may end in a log by accident."""
    release = await read_release("web", table(tmp_path), environment={"PASSWORD": "hunter2"})
    assert "hunter2" not in repr(release)


async def test_the_compatibility_number_is_that_of_the_resolved_directory(tmp_path):
    """Not of what the link points to later."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "EPOCH").write_text("3\n", encoding="utf-8")
    (tmp_path / "current").symlink_to("one")
    release = await read_release("web", table(tmp_path / "current", compatibility={"file": "EPOCH"}), environment={})
    assert release.compatibility == "3"


async def test_a_link_that_points_nowhere_is_a_problem_of_its_key(tmp_path):
    """It names the key, not a traceback."""
    (tmp_path / "current").symlink_to("gone")
    with pytest.raises(ConfigError, match=r"pools\.web\.directory"):
        await read_release("web", table(tmp_path / "current"), environment={})


async def test_all_pools_are_read_and_every_problem_is_told(tmp_path):
    """Static pools have no release."""
    tables: dict[str, PoolTable] = {
        "a": table(tmp_path / "gone"),
        "b": table(tmp_path / "lost"),
        "c": StaticPoolTable.model_validate({"addresses": ["127.0.0.1:1"]}),
    }
    with pytest.raises(ConfigError) as failure:
        await read_releases(tables, environment={})
    assert sorted(problem.path for problem in failure.value.problems) == ["pools.a.directory", "pools.b.directory"]
    tables = {"a": table(tmp_path), "c": tables["c"]}
    assert list(await read_releases(tables, environment={})) == ["a"]


def test_an_environment_file_may_have_comments_quotes_and_export(tmp_path):
    """As those that people have already."""
    path = tmp_path / "env"
    path.write_text("# secrets\n\nexport A=1\nB = 'two words'\nC=\"\"\nD=a=b\n", encoding="utf-8")
    assert read_environment_file("k", str(path)) == {"A": "1", "B": "two words", "C": "", "D": "a=b"}


def test_a_line_that_is_no_variable_is_a_problem_and_not_shown(tmp_path):
    """It may be a password."""
    path = tmp_path / "env"
    path.write_text("A=1\nhunter2\nB B=1\n", encoding="utf-8")
    with pytest.raises(ConfigError) as failure:
        read_environment_file("pools.web.environment_file", str(path))
    assert [problem.value for problem in failure.value.problems] == [f"{path}:2", f"{path}:3"]
    assert "hunter2" not in str(failure.value)


def test_an_environment_file_that_cannot_be_read_is_a_problem(tmp_path):
    """Missing, no text, or far too long."""
    path = tmp_path / "env"
    with pytest.raises(ConfigError, match="No such file"):
        read_environment_file("k", str(path))
    path.write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_environment_file("k", str(path))
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), 2 * 1024 * 1024)
    with pytest.raises(ConfigError, match="1 MiB"):
        read_environment_file("k", str(path))
