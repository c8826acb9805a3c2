"""`hotswap init`: a first configuration for whatever app is in the directory, which `check` accepts."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_cli

APPS = {
    "fastapi": ("shop/asgi.py", "from fastapi import FastAPI\napp: FastAPI = FastAPI()\n", "shop.asgi:app", "uvicorn"),
    "flask": ("main.py", "import flask\napp = flask.Flask(__name__)\n", "main:app", "gunicorn"),
    "package": ("shop/__init__.py", "app = Starlette()\n", "shop:app", "uvicorn"),
    "plain asgi": ("app.py", "async def app(scope, receive, send):\n    pass\n", "app:app", "uvicorn"),
    "plain wsgi": (
        "app.py",
        "def application(environ, start_response):\n    return []\n",
        "app:application",
        "gunicorn",
    ),
    "factory": (
        "shop/__init__.py",
        "def create_app(config=None):\n    app = Flask(__name__)\n    return app\n",
        "shop:create_app()",
        "gunicorn",
    ),
    "async factory": ("main.py", "def make_app():\n    return FastAPI()\n", "main:make_app", "uvicorn"),
    "factory and app": (
        "main.py",
        "def create_app():\n    return Flask('shop')\n\n\napp = Flask('shop')\n",
        "main:app",
        "gunicorn",
    ),
}


def written(path: Path) -> dict[str, Any]:
    """The only pool of a file."""
    (pool,) = tomllib.loads(path.read_text(encoding="utf-8"))["pools"].values()
    assert isinstance(pool, dict)
    return pool


def init(directory: Path, *arguments: str) -> dict[str, Any]:
    """Write a file, have it checked, and give its pool."""
    path = directory / "hotswap.toml"
    result = run_cli("init", str(path), *arguments)
    assert result.code == 0, result.stderr
    checked = run_cli("check", str(path))
    assert checked.code == 0, checked.stderr
    return written(path)


@pytest.mark.parametrize("kind", APPS)
def test_it_finds_the_app_and_check_accepts_what_it_wrote(tmp_path: Path, kind: str) -> None:
    """A first configuration without typing anything."""
    name, source, app, server = APPS[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(source)
    (tmp_path / "broken.py").write_text("def (")
    pool = init(tmp_path)
    assert (pool["app"], pool["server"]) == (app, server)
    assert ("--factory" in pool.get("args", [])) is (kind == "async factory")


def start_django(directory: Path) -> None:
    """Make a project as Django's own tutorial does."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", str(directory)], check=True)


def test_a_django_project_is_one_app_with_two_entry_points(tmp_path: Path) -> None:
    """Nobody is asked which; a server that speaks only one of them decides."""
    start_django(tmp_path)
    pool = init(tmp_path)
    assert (pool["server"], pool["app"]) == ("gunicorn", "shop.wsgi:application")
    assert pool["health"]["host"] == "localhost"
    other = init(tmp_path, "--force", "--server", "daphne")
    assert (other["server"], other["app"]) == ("daphne", "shop.asgi:application")


def test_an_app_beside_a_django_project_is_not_taken_for_it(tmp_path: Path) -> None:
    """The project is what `manage.py` manages."""
    start_django(tmp_path)
    (tmp_path / "tool.py").write_text("app = FastAPI()\n")
    assert init(tmp_path)["app"] == "shop.wsgi:application"


def test_the_interpreter_of_the_app_is_found(tmp_path: Path) -> None:
    """In the usual places beside the app, unless it is the one that hotswap runs in; what it lacks is said."""
    (tmp_path / "main.py").write_text("app = FastAPI()\n")
    venv.create(tmp_path / ".venv", with_pip=False, symlinks=True)
    path = tmp_path / "hotswap.toml"
    result = run_cli("init", str(path))
    assert written(path)["python"] == ".venv/bin/python"
    assert ".venv/bin/python -m pip install uvicorn" in result.stderr
    (packages,) = (tmp_path / ".venv" / "lib").glob("python3*/site-packages")
    (packages / "granian").mkdir()
    assert init(tmp_path, "--force")["server"] == "granian", "what is there is used"


def test_an_environment_that_is_active_is_honoured(tmp_path: Path) -> None:
    """Wherever it is, and before one beside the app; which was taken is said."""
    directory, elsewhere = tmp_path / "app", tmp_path / "elsewhere"
    directory.mkdir()
    (directory / "main.py").write_text("app = FastAPI()\n")
    for place in (directory / ".venv", elsewhere):
        venv.create(place, with_pip=False, symlinks=True)
    result = run_cli("init", str(directory / "hotswap.toml"), environ={"VIRTUAL_ENV": str(elsewhere)})
    assert written(directory / "hotswap.toml")["python"] == f"{elsewhere}/bin/python"
    assert f"interpreter: {elsewhere}/bin/python ($VIRTUAL_ENV is active)" in result.stderr


def test_hotswaps_own_interpreter_is_never_taken_silently(tmp_path: Path) -> None:
    """When there is no other, in the message and in the file; also when its environment is the active one."""
    (tmp_path / "main.py").write_text("app = FastAPI()\n")
    path = tmp_path / "hotswap.toml"
    result = run_cli("init", str(path), environ={"VIRTUAL_ENV": sys.prefix})
    assert "python" not in written(path)
    assert f"interpreter: {sys.executable}, hotswap's own" in result.stderr
    assert '\n# python = ".venv/bin/python"' in path.read_text(encoding="utf-8")


def test_an_interpreter_can_be_named(tmp_path: Path) -> None:
    """Relative to the file; what is none is refused."""
    (tmp_path / "main.py").write_text("app = FastAPI()\n")
    venv.create(tmp_path / "other", with_pip=False, symlinks=True)
    path = tmp_path / "hotswap.toml"
    assert run_cli("init", str(path), "--python", "other/bin/python").code == 0
    assert written(path)["python"] == "other/bin/python"
    result = run_cli("init", str(path), "--force", "--python", "none/bin/python")
    assert result.code == 2
    assert "none/bin/python" in result.stderr


LAYOUTS = {
    "src": ("src/shop/app.py", "shop.app:app", ".", {"PYTHONPATH": "src"}),
    "src without a package": ("src/main.py", "main:app", ".", {"PYTHONPATH": "src"}),
    "a project below": ("backend/main.py", "main:app", "backend", {}),
    "a src layout below": ("backend/src/shop/app.py", "shop.app:app", "backend", {"PYTHONPATH": "src"}),
    "a package called src": ("src/__init__.py", "src:app", ".", {}),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_modules_are_imported_from_where_they_are(tmp_path: Path, kind: str) -> None:
    """In a src layout the app still runs in the project, where its other files are."""
    name, app, directory, environment = LAYOUTS[kind]
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "pyproject.toml").touch()
    if (tmp_path / "backend").exists():
        (tmp_path / "backend" / "pyproject.toml").touch()
    pool = init(tmp_path)
    assert (pool["app"], pool["directory"], pool.get("environment", {})) == (app, directory, environment)


def test_a_named_app_of_a_src_layout_is_looked_for_there(tmp_path: Path) -> None:
    """Though nothing in its module looks like an app."""
    (tmp_path / "src" / "shop").mkdir(parents=True)
    (tmp_path / "src" / "shop" / "entry.py").write_text("make = object()\n")
    assert init(tmp_path, "--app", "shop.entry:make")["environment"] == {"PYTHONPATH": "src"}


def test_a_django_project_below_is_found(tmp_path: Path) -> None:
    """With the interpreter that lies in it."""
    (tmp_path / "backend").mkdir()
    start_django(tmp_path / "backend")
    venv.create(tmp_path / "backend" / ".venv", with_pip=False, symlinks=True)
    (packages,) = (tmp_path / "backend" / ".venv" / "lib").glob("python3*/site-packages")
    (packages / "gunicorn").mkdir()
    pool = init(tmp_path)
    assert (pool["app"], pool["directory"]) == ("shop.wsgi:application", "backend")
    assert pool["python"] == "backend/.venv/bin/python"
    assert pool["health"]["host"] == "localhost"


def test_a_path_for_health_checks_is_used_if_there_is_one(tmp_path: Path) -> None:
    """Else `/`, and every answer that is not an error of the server."""
    (tmp_path / "main.py").write_text('app = FastAPI()\n\n\n@app.get("/healthz")\ndef health(): ...\n')
    assert init(tmp_path)["health"] == {"path": "/healthz"}
    (tmp_path / "main.py").write_text("app = FastAPI()\n")
    assert init(tmp_path, "--force")["health"] == {"path": "/", "expect": "200-499"}


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "gunicorn", "granian", "waitress", "daphne"])
def test_it_takes_what_is_named(tmp_path: Path, server: str) -> None:
    """For an app that cannot be found by looking."""
    (tmp_path / "my_app").mkdir()
    (tmp_path / "my_app" / "entry.py").write_text("make = object()\n")
    assert init(tmp_path, "--app", "my_app.entry:make", "--server", server)["server"] == server


def test_quotes_are_written_as_toml_reads_them(tmp_path: Path) -> None:
    """A factory may be called with words."""
    (tmp_path / "main.py").write_text("def make(name): ...\n", encoding="utf-8")
    app = 'main:make("shop\\1")'
    path = tmp_path / "hotswap.toml"
    assert run_cli("init", str(path), "--app", app, "--server", "gunicorn").code == 0
    assert written(path)["app"] == app


def test_a_server_that_cannot_call_a_factory_is_not_given_one(tmp_path: Path) -> None:
    """Exit code 2, and the line that is missing."""
    (tmp_path / "main.py").write_text("def create_app():\n    return Flask('shop')\n")
    result = run_cli("init", str(tmp_path / "hotswap.toml"), "--server", "waitress")
    assert result.code == 2
    assert "application = create_app()" in result.stderr


def test_it_never_overwrites_unless_told(tmp_path: Path) -> None:
    """A configuration is work."""
    path = tmp_path / "hotswap.toml"
    path.write_text("# work\n")
    again = run_cli("init", str(path), "--app", "a:b")
    assert again.code == 1
    assert "exists already" in again.stderr
    assert path.read_text() == "# work\n"
    assert run_cli("init", str(path), "--app", "a:b", "--force").code == 0


def test_it_does_not_guess(tmp_path: Path) -> None:
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


async def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    """With the first that was found as the answer to Enter."""
    from tests.support.command_line import on_terminal

    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("app = FastAPI()\n")
    path = tmp_path / "hotswap.toml"
    code, text = await on_terminal("init", str(path), typed="two:app\n")
    assert code == 0, text
    assert "The app (MODULE:ATTRIBUTE) [one:app]" in text
    assert written(path)["app"] == "two:app"


def routes_of(path: Path) -> list[dict[str, Any]]:
    """The routes of a file."""
    routes = tomllib.loads(path.read_text(encoding="utf-8"))["routes"]
    assert isinstance(routes, list)
    return routes


def test_files_of_a_django_project_have_routes(tmp_path: Path) -> None:
    """Once its settings say where they are; before, the route is a comment that says what to do."""
    start_django(tmp_path)
    init(tmp_path)
    assert [route["path"] for route in routes_of(tmp_path / "hotswap.toml")] == ["/"]
    assert '# path = "/static/"' in (tmp_path / "hotswap.toml").read_text(encoding="utf-8")
    with (tmp_path / "shop" / "settings.py").open("a") as settings:
        settings.write(
            'STATIC_ROOT = BASE_DIR / "staticfiles"\nMEDIA_URL = "media/"\nMEDIA_ROOT = BASE_DIR / "media"\n'
        )
    init(tmp_path, "--force")
    assert routes_of(tmp_path / "hotswap.toml")[1:] == [
        {"path": "/static/", "pool": "shop", "files": "staticfiles"},
        {"path": "/media/", "files": str(tmp_path / "media")},
    ]


def test_a_built_front_end_has_a_route_where_the_app_has_a_path_of_its_own(tmp_path: Path) -> None:
    """Else it is a comment: it would answer everything in place of the app."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("<!doctype html>")
    (tmp_path / "main.py").write_text("app = FastAPI()\n")
    init(tmp_path)
    assert routes_of(tmp_path / "hotswap.toml") == [{"path": "/", "pool": "main"}]
    assert '# fallback = "index.html"' in (tmp_path / "hotswap.toml").read_text(encoding="utf-8")
    (tmp_path / "main.py").write_text('app = FastAPI()\n\n\n@app.get("/api/items")\ndef items(): ...\n')
    init(tmp_path, "--force")
    assert routes_of(tmp_path / "hotswap.toml") == [
        {"path": "/api", "pool": "main"},
        {"path": "/", "pool": "main", "files": "dist", "fallback": "index.html"},
    ]
