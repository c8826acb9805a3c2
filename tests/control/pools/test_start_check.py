"""Whether the backends of pools could be started, as their own interpreters say."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from hotswap.control.pools import start_check
from hotswap.control.pools.start_check import StartCheck, check_starts
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.config.fields import DIRECTORY
from tests.support.other_user import USER, make_directory


def pool(directory: Path, **settings: object) -> SupervisedPoolTable:
    """The table of a pool whose file is in a directory."""
    given = {"server": "uvicorn", "app": "main:app", **settings}
    return SupervisedPoolTable.model_validate(given, context={DIRECTORY: str(directory)})


def check(table: SupervisedPoolTable, environment: Mapping[str, str] | None = None, *, user: str = "") -> StartCheck:
    """Check the only pool."""
    return check_starts({"web": table}, os.environ if environment is None else environment, user=user)


def problem(table: SupervisedPoolTable) -> str:
    """The only problem of a pool, as a line."""
    found = check(table)
    assert found.cautions == ()
    (one,) = found.problems
    return str(one)


def bare_environment(directory: Path) -> Path:
    """A virtual environment with nothing in it; gives its interpreter."""
    venv.create(directory / "venv", with_pip=False, symlinks=True)
    return directory / "venv" / "bin" / "python"


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "gunicorn", "granian", "waitress", "daphne"])
def test_what_can_be_started_gives_no_cause(tmp_path: Path, server: str) -> None:
    """An app that is there, under a server that is installed."""
    (tmp_path / "main.py").write_text("app = 1\n")
    assert check(pool(tmp_path, server=server)) == StartCheck()


def test_a_server_that_the_interpreter_lacks_is_told_with_how_to_install_it(tmp_path: Path) -> None:
    """For that interpreter and no other: it is the app's."""
    (tmp_path / "main.py").write_text("app = 1\n")
    python = bare_environment(tmp_path)
    told = problem(pool(tmp_path, python=str(python)))
    assert told.startswith('pools.web.server must be a server that is installed, is "uvicorn"; ')
    assert f"{python} -m pip install uvicorn" in told or f"uv pip install --python {python} uvicorn" in told


def test_an_app_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Module or attribute, with what was perhaps meant."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("application = 1\n")
    told = problem(pool(tmp_path))
    assert told.startswith('pools.web.app must be a module that exists, and an attribute of it, is "main:app"; ')
    assert told.endswith('it is there with environment = { PYTHONPATH = "src" }')
    assert check(pool(tmp_path, environment={"PYTHONPATH": "src"}, app="main:application")) == StartCheck()
    (tmp_path / "src").rename(tmp_path / "server")
    assert problem(pool(tmp_path)).endswith(f'it is there with directory = "{tmp_path}/server"')
    (tmp_path / "server").rename(tmp_path / "src")
    told = problem(pool(tmp_path / "src"))
    assert told.endswith(f'{tmp_path}/src/main.py has no app; did you mean "application"?')


def test_a_factory_is_looked_for_by_its_name(tmp_path: Path) -> None:
    """What it is called with is the server's to evaluate."""
    (tmp_path / "main.py").write_text("def create_app(name): ...\n")
    assert check(pool(tmp_path, server="gunicorn", app='main:create_app("shop")')) == StartCheck()
    assert "has no make_app" in problem(pool(tmp_path, server="gunicorn", app="main:make_app()"))


def test_everything_is_told_of_every_pool_in_their_order(tmp_path: Path) -> None:
    """Side by side they are asked, and in the order of the file they are told."""
    tables = {f"p{number}": pool(tmp_path, app=f"none{number}:app") for number in range(4)}
    found = check_starts(tables, os.environ)
    assert [one.path for one in found.problems] == [f"pools.p{number}.app" for number in range(4)]


@pytest.mark.parametrize(
    ("server", "args"),
    [
        ("uvicorn", ["--app-dir", "code"]),
        ("uvicorn", ["--app-dir=code"]),
        ("gunicorn", ["--chdir", "code"]),
        ("gunicorn", ["--pythonpath", "lib,code"]),
        ("granian", ["--working-dir", "code"]),
    ],
)
def test_where_the_server_is_told_to_look_is_looked(tmp_path: Path, server: str, args: list[str]) -> None:
    """By its own arguments."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text("app = 1\n")
    assert check(pool(tmp_path, server=server, args=args)) == StartCheck()


def test_the_environment_of_the_pool_is_the_interpreters(tmp_path: Path) -> None:
    """Its PYTHONPATH, above all."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text("app = 1\n")
    assert check(pool(tmp_path, environment={"PYTHONPATH": "code"})) == StartCheck()
    (tmp_path / "variables").write_text("PYTHONPATH=code\n")
    assert check(pool(tmp_path, environment_file="variables")) == StartCheck()
    (tmp_path / "variables").write_text("nonsense\n")
    assert "pools.web.environment_file" in problem(pool(tmp_path, environment_file="variables"))


def test_what_a_file_of_gunicorns_own_may_change_is_a_caution(tmp_path: Path) -> None:
    """It may say where the app is, and only gunicorn reads it."""
    (tmp_path / "gunicorn.conf.py").write_text("chdir = 'code'\n")
    found = check(pool(tmp_path, server="gunicorn"))
    assert found.problems == ()
    assert "pools.web.app" in found.cautions[0]


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Looked up as the launcher does: in the pool's PATH, or from its directory."""
    told = problem(pool(tmp_path, server="command", app="", command=["nowhere-at-all", "{fd}"]))
    assert told.startswith('pools.web.command must be a program and its arguments, is ["nowhere-at-all", "{fd}"]; ')
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "serve").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "serve").chmod(0o755)
    for command in ("bin/serve", str(tmp_path / "bin" / "serve")):
        assert check(pool(tmp_path, server="command", app="", command=[command])) == StartCheck()
    variables = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    assert check(pool(tmp_path, server="command", app="", command=["serve"], environment=variables)) == StartCheck()


def test_an_interpreter_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """And one that cannot run is told with what it said."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nsleep 1000 & wait\n")
    python.chmod(0o755)
    timeout, start_check.ANSWER_TIMEOUT = start_check.ANSWER_TIMEOUT, 0.3  # type: ignore[misc]
    try:
        found = check(pool(tmp_path, python=str(python)))
    finally:
        start_check.ANSWER_TIMEOUT = timeout  # type: ignore[misc]
    assert found.problems == ()
    assert "did not say within" in found.cautions[0]
    python.write_text("#!/bin/sh\necho no library >&2; exit 1\n")
    told = problem(pool(tmp_path, python=str(python)))
    assert told.startswith("pools.web.python must be an interpreter that runs, is ")
    assert told.endswith("no library")


def test_what_an_interpreter_prints_before_is_passed_over(tmp_path: Path) -> None:
    """A sitecustomize may greet."""
    (tmp_path / "main.py").write_text("app = 1\n")
    (tmp_path / "sitecustomize.py").write_text("print('hello')\n")
    assert check(pool(tmp_path, environment={"PYTHONPATH": str(tmp_path)})) == StartCheck()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_is_asked_as_the_user_of_the_pool() -> None:
    """Root may execute what the backends may not."""
    directory = make_directory()
    try:
        program = directory / "serve"
        program.write_text("#!/bin/sh\n")
        program.chmod(stat.S_IRWXU)
        table = pool(directory, server="command", app="", command=[str(program)])
        python, sys.executable = sys.executable, shutil.which("python3", path="/usr/bin:/bin") or sys.executable
        try:
            assert check(table) == StartCheck()
            assert "may not be executed" in str(check(table, user=USER).problems[0])
        finally:
            sys.executable = python
    finally:
        shutil.rmtree(directory)
