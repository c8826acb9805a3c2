"""Verbs that need no running proxy: `check`, `init`, `schema`, `version`, and what `run` says first."""

from __future__ import annotations

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
    assert result.stderr == f"{path}: good; 1 listener, 1 route, 1 pool\n"


@pytest.mark.parametrize("verb", ["check", "run"])
def test_every_problem_is_printed_at_once_with_exit_code_2(tmp_path: Path, verb: str) -> None:
    """Key path, value, and what is allowed; one a line."""
    path = tmp_path / "hotswap.toml"
    path.write_text(BAD)
    result = run_cli(verb, str(path))
    assert (result.code, result.stdout) == (2, "")
    assert 'listeners.public.bind[0] is "nonsense": ' in result.stderr
    assert 'routes[0].pool is "none": ' in result.stderr
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


APPS = {
    "asgi": ("shop/asgi.py", "from fastapi import FastAPI\napp: FastAPI = FastAPI()\n", "shop.asgi:app"),
    "django": ("site/wsgi.py", "application = get_wsgi_application()\n", "site.wsgi:application"),
    "flask": ("main.py", "import flask\napp = flask.Flask(__name__)\n", "main:app"),
    "no framework": ("hello.py", "async def app(scope, receive, send): ...\nasync def other(a): ...\n", "hello:app"),
    "wsgi": ("hello.py", "def application(environ, start_response): ...\n", "hello:application"),
    "package": ("shop/__init__.py", "app = Starlette()\n", "shop:app"),
}


@pytest.mark.parametrize("kind", APPS)
def test_init_finds_the_app_and_check_accepts_what_it_wrote(tmp_path: Path, kind: str) -> None:
    """A first configuration without typing anything."""
    name, source, app = APPS[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(source)
    (tmp_path / "broken.py").write_text("def (")
    path = tmp_path / "hotswap.toml"
    result = run_cli("init", str(path))
    assert result.code == 0, result.stderr
    assert f'app = "{app}"' in path.read_text()
    checked = run_cli("check", str(path))
    assert checked.code == 0, checked.stderr


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "gunicorn", "granian", "waitress", "daphne"])
def test_init_takes_what_is_named(tmp_path: Path, server: str) -> None:
    """For an app that cannot be found by looking."""
    path = tmp_path / "proxy.toml"
    result = run_cli("init", str(path), "--app", "my_app.entry:make", "--server", server)
    assert result.code == 0, result.stderr
    assert run_cli("check", str(path)).code == 0


def test_init_never_overwrites_unless_told(tmp_path: Path) -> None:
    """A configuration is work."""
    path = tmp_path / "hotswap.toml"
    path.write_text("# work\n")
    again = run_cli("init", str(path), "--app", "a:b")
    assert again.code == 1
    assert "exists already" in again.stderr
    assert path.read_text() == "# work\n"
    assert run_cli("init", str(path), "--app", "a:b", "--force").code == 0


def test_init_does_not_guess(tmp_path: Path) -> None:
    """No app, several apps, or a name that is none: exit code 2, and what to do."""
    path = str(tmp_path / "hotswap.toml")
    none = run_cli("init", path)
    assert none.code == 2
    assert "--app" in none.stderr
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("app = FastAPI()\n")
    several = run_cli("init", path)
    assert several.code == 2
    assert "one:app, two:app" in several.stderr
    assert run_cli("init", path, "--app", "nonsense").code == 2
    assert run_cli("init", path, "--app", "a:b", "--server", "apache").code == 2
    assert not (tmp_path / "hotswap.toml").exists()


async def test_messages_have_colour_nowhere_and_help_fits_a_terminal() -> None:
    """`--help` of every verb works."""
    code, text = await on_terminal("reload", "--help")
    assert code == 0
    assert "--no-wait" in text
