"""Our scripts run when their files and the environment of the proxy are gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hotswap.processes import scripts
from hotswap.processes.scripts import (
    InterpreterGone,
    at_hand,
    interpreter_command,
    open_script,
    own_interpreters,
    read_script,
)


def test_the_interpreter_that_the_environment_was_made_from_comes_first():
    """It is still there when the environment was removed."""
    assert own_interpreters()[0] == sys._base_executable  # type: ignore[attr-defined]
    assert own_interpreters()[-1] == sys.executable
    assert interpreter_command("-c", "pass")[0] == own_interpreters()[0]


def test_an_interpreter_that_is_gone_is_passed_over(tmp_path, monkeypatch):
    """The next one is that of the environment, then what the pool runs, if that is a Python; at last, it is told."""
    gone = (str(tmp_path / "one"), str(tmp_path / "two"))
    monkeypatch.setattr(scripts, "own_interpreters", lambda: (gone[0], sys.executable))
    assert interpreter_command("x") == [sys.executable, "-I", "-S", "x"]
    monkeypatch.setattr(scripts, "own_interpreters", lambda: gone)
    assert interpreter_command("x", others=("sh", str(tmp_path / "python3"), sys.executable))[0] == sys.executable
    with pytest.raises(InterpreterGone, match=f"{gone[0]} and {gone[1]} cannot be executed"):
        interpreter_command("x", others=("sh",))


def test_a_script_in_memory_runs_like_a_file():
    """It has its arguments, and is the main program."""
    descriptor = open_script("a-script", "import sys\nif __name__ == '__main__': print(sys.argv[1])")
    assert descriptor is not None
    assert descriptor >= 10
    try:
        argv = interpreter_command(f"/proc/self/fd/{descriptor}", "given")
        done = subprocess.run(argv, pass_fds=[descriptor], stdout=subprocess.PIPE, check=True)
    finally:
        os.close(descriptor)
    assert done.stdout == b"given\n"


@pytest.mark.parametrize(
    ("package", "name"), [("hotswap_backends", "launch.py"), ("hotswap.processes", "guard.py")], ids=str
)
def test_the_scripts_need_the_standard_library_alone(package, name):
    """No directory of ours is looked at for them."""
    check = "import sys; exec(compile(sys.argv[1], 'script', 'exec'), {'__name__': 'script'})"
    subprocess.run(interpreter_command("-c", check, read_script(package, name)), check=True, cwd="/")


def test_a_script_whose_file_is_gone_is_copied(tmp_path):
    """Once, and anew where the copy is of another version; one that is there is taken as it is."""
    there = tmp_path / "there.py"
    there.write_text("one")
    assert at_hand(str(there), "two", tmp_path) == str(there)
    gone = tmp_path / "gone" / "script.py"
    for source in ("one", "one", "two"):
        assert at_hand(str(gone), source, tmp_path) == str(tmp_path / "script.py")
        assert (tmp_path / "script.py").read_text() == source
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py", "there.py"]
