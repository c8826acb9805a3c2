"""Whether a program, a server and an app are there, told without importing any of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hotswap_backends import presence

SOURCE = Path(presence.__file__).read_text(encoding="utf-8")

SECRETLY = "import pathlib; pathlib.Path('imported').touch()\n"
"""Leaves a trace where a module is run."""


def ask(directory: Path, **question: Any) -> Any:
    """Ask this interpreter, as the proxy asks that of a pool."""
    done = subprocess.run(
        [sys.executable, "-c", SOURCE, json.dumps({"server": "json", **question})],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not (directory / "imported").exists(), "nothing of the app may be run"
    return json.loads(done.stdout.splitlines()[-1])


def app(directory: Path, name: str) -> Any:
    """Ask for MODULE:ATTRIBUTE."""
    module, _, attribute = name.partition(":")
    return ask(directory, module=module, attribute=attribute)


def write(directory: Path, **sources: str) -> None:
    """Write modules that leave a trace when they are run; `__` in a name is a directory."""
    for name, source in sources.items():
        path = directory / (name.replace("__", "/", 1) + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(SECRETLY + source, encoding="utf-8")


def test_a_server_is_there_or_not(tmp_path: Path) -> None:
    """Whatever is below it is not loaded."""
    assert ask(tmp_path)["server"] is True
    assert ask(tmp_path, server="no_such_server")["server"] is False


@pytest.mark.parametrize(
    "source",
    [
        "app = 1",
        "app: int = 1",
        "def app(): ...",
        "async def app(): ...",
        "class app: ...",
        "import app",
        "from x import y as app",
        "try:\n    app = 1\nexcept ImportError:\n    pass",
        "if True:\n    other, app = 1, 2",
        "with open('x') as app: ...",
        "for app in (): ...",
        "def make():\n    global app\n    app = 1",
        "print(app := 1)",
    ],
)
def test_every_way_to_bind_a_name_counts(tmp_path: Path, source: str) -> None:
    """At the top of a module, however deep in its statements."""
    write(tmp_path, main=source)
    assert app(tmp_path, "main:app")["has"] is True


@pytest.mark.parametrize(
    "source",
    [
        "from x import *",
        "globals()['ap' + 'p'] = 1",
        "def __getattr__(name): ...",
        "exec('app = 1')",
        "import sys\nsys.modules[__name__] = object()",
    ],
)
def test_what_only_running_could_tell_is_not_told(tmp_path: Path, source: str) -> None:
    """A module may make its names as it likes: no answer is better than a wrong one."""
    write(tmp_path, main=source)
    assert app(tmp_path, "main:app")["has"] is None


def test_a_name_that_is_not_there_is_told_with_one_like_it(tmp_path: Path) -> None:
    """Names within functions and classes are their own."""
    write(tmp_path, main="application = 1\ndef make():\n    app = 1\nclass Other:\n    app = 1\n")
    found = app(tmp_path, "main:app")
    assert (found["has"], found["near"], found["file"]) == (False, ["application"], str(tmp_path / "main.py"))


def test_a_module_that_is_not_there_is_told_with_where_it_is(tmp_path: Path) -> None:
    """The first part of its name that is missing; a src layout, and a name like it, are seen."""
    write(tmp_path, shop____init__="", shop__asgi="app = 1")
    assert app(tmp_path, "shop.asgi:app")["has"] is True
    assert app(tmp_path, "shop.wsgi:app")["missing"] == "shop.wsgi"
    assert app(tmp_path, "shop.asgi.deeper:app")["missing"] == "shop.asgi.deeper"
    assert app(tmp_path, "shpo.asgi:app")["near"] == ["shop"]
    (tmp_path / "src").mkdir()
    (tmp_path / "shop").rename(tmp_path / "src" / "shop")
    found = app(tmp_path, "shop.asgi:app")
    assert (found["missing"], found["below"]) == ("shop", "src")


def test_a_package_that_makes_its_modules_is_believed(tmp_path: Path) -> None:
    """It is not run, so nothing certain is known of what is below it."""
    write(tmp_path, shop____init__="__path__ = []")
    found = app(tmp_path, "shop.asgi:app")
    assert (found["missing"], found["has"]) == (None, None)


def test_a_directory_without_init_has_modules_and_nothing_else(tmp_path: Path) -> None:
    """A namespace package."""
    write(tmp_path, shop__asgi="app = 1")
    assert app(tmp_path, "shop.asgi:app")["has"] is True
    assert app(tmp_path, "shop:app")["has"] is False
    assert app(tmp_path, "shop:asgi")["has"] is None


def test_a_source_that_cannot_be_compiled_is_told_with_its_line(tmp_path: Path) -> None:
    """By the interpreter that would have to run it; of a package above it too."""
    (tmp_path / "main.py").write_text("app = 1\ndef (\n")
    assert app(tmp_path, "main:app")["broken"].startswith(f"{tmp_path}/main.py:2: ")
    write(tmp_path, shop____init__="return 1", shop__asgi="app = 1")
    assert app(tmp_path, "shop.asgi:app")["broken"].startswith(f"{tmp_path}/shop/__init__.py:2: ")


def test_a_program_is_there_or_not(tmp_path: Path) -> None:
    """In PATH or by its path; and so is what runs it."""
    assert ask(tmp_path, program="sh") == {"wrong": None}
    assert "PATH" in ask(tmp_path, program="no-such-program-anywhere")["wrong"]
    assert ask(tmp_path, program="./none")["wrong"] == "there is no ./none"
    script = tmp_path / "serve"
    script.write_text("#!/nowhere/python\n")
    assert ask(tmp_path, program="./serve")["wrong"] == "./serve may not be executed"
    script.chmod(0o755)
    assert ask(tmp_path, program="./serve")["wrong"] == "./serve is to be run by /nowhere/python, which does not exist"


def test_it_needs_nothing_but_the_standard_library() -> None:
    """The interpreter is the app's, and may have nothing else."""
    imports = {line.split()[1] for line in SOURCE.splitlines() if line.startswith(("import ", "from "))}
    assert imports <= set(sys.stdlib_module_names)
