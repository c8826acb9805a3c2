"""Becoming another user; the rest needs root, and a process of its own that is never the same again."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from proxy.control.privileges import drop_privileges
from proxy.core.errors import ConfigError
from tests.support.hotswap import REPOSITORY
from tests.support.pools import command_pool, listeners


def test_without_a_user_nothing_happens(tmp_path):
    """The default."""
    assert drop_privileges("", state_dir=tmp_path) == {}


def test_a_user_that_does_not_exist_is_a_problem(tmp_path):
    """It names the key."""
    with pytest.raises(ConfigError, match=r"proxy\.user"):
        drop_privileges("nobody-of-this-name", state_dir=tmp_path)


def test_becoming_who_one_is_changes_nothing(tmp_path):
    """And the backends hear who they are."""
    me = pwd.getpwuid(os.geteuid())
    assert drop_privileges(me.pw_name, state_dir=tmp_path) == {
        "HOME": me.pw_dir,
        "USER": me.pw_name,
        "LOGNAME": me.pw_name,
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_user_for_good_and_hands_the_state_over(tmp_path):
    """Also every group of it, and there is no way back."""
    (tmp_path / "authority.pem").touch()
    script = (
        "import os, sys, pathlib\n"
        "from proxy.control.privileges import drop_privileges\n"
        "drop_privileges('nobody', state_dir=pathlib.Path(sys.argv[1]))\n"
        "print(os.getresuid(), os.getresgid())\n"
        "try:\n    os.setuid(0)\n"
        "except PermissionError:\n    print('no way back')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    nobody = pwd.getpwnam("nobody")
    assert done.stdout.splitlines() == [f"{(nobody.pw_uid,) * 3} {(nobody.pw_gid,) * 3}", "no way back"]
    assert {path.stat().st_uid for path in (tmp_path, tmp_path / "authority.pem")} == {nobody.pw_uid}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_python_that_the_user_may_not_execute_is_a_problem(tmp_path):
    """It names the key and the program: found in a virtual environment below /root, as a traceback."""
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    python = hidden / "python"
    python.symlink_to(sys.executable)
    config = tmp_path / "hotswap.toml"
    config.write_text(
        f'[proxy]\nuser = "nobody"\nstate_dir = "state"\n[admin]\nbind = ["unix:{tmp_path}/admin.sock"]\n'
        + listeners()
        + command_pool(tmp_path, "backends.plain"),
        encoding="utf-8",
    )
    done = subprocess.run(
        [python, "-m", "proxy.cli", "run", config],
        env={"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)]), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2, done.stderr
    assert f'proxy.user is "nobody": a user that may execute the Python of this proxy; {python}: no' in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "state").stat().st_uid == os.geteuid(), "a start that is refused changes nothing"
