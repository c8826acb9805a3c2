"""Becoming another user; the rest needs root, and a process of its own that is never the same again."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys

import pytest

from hotswap.control.configuration.loading import load_configuration
from hotswap.control.process.privileges import drop_privileges, identity_of, look_as_user, owner_of_state
from hotswap.core.errors import ConfigError
from tests.support.certificates import issue_certificate
from tests.support.hotswap import REPOSITORY
from tests.support.other_user import make_directory, reachable_python
from tests.support.pools import command_pool, listeners, table

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def test_without_a_user_nothing_happens(tmp_path):
    """The default."""
    drop_privileges("", state_dir=tmp_path)
    assert identity_of("") == {}
    assert owner_of_state("") is None


def test_a_user_that_does_not_exist_is_a_problem(tmp_path):
    """It names the key."""
    with pytest.raises(ConfigError, match=r"proxy\.user"):
        drop_privileges("nobody-of-this-name", state_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"proxy\.user"):
        identity_of("nobody-of-this-name")
    assert owner_of_state("nobody-of-this-name") is None


def test_becoming_who_one_is_changes_nothing(tmp_path):
    """And the backends hear who they are."""
    me = pwd.getpwuid(os.geteuid())
    drop_privileges(me.pw_name, state_dir=tmp_path)
    assert identity_of(me.pw_name) == {"HOME": me.pw_dir, "USER": me.pw_name, "LOGNAME": me.pw_name}


@ROOT_ONLY
def test_root_becomes_the_user_for_good_and_hands_the_state_over(tmp_path):
    """Also every group of it, and there is no way back; the log is the user's, but nothing that a link leads to."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "authority.pem").touch()
    for name in ("access.log", "precious"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("precious")
    os.link(tmp_path / "precious", tmp_path / "second-name")
    script = (
        "import os, sys, pathlib\n"
        "from hotswap.control.process.privileges import drop_privileges\n"
        "drop_privileges('nobody', state_dir=pathlib.Path(sys.argv[1]), access_log=sys.argv[2])\n"
        "print(os.getresuid(), os.getresgid())\n"
        "try:\n    os.setuid(0)\n"
        "except PermissionError:\n    print('no way back')\n"
    )
    nobody = pwd.getpwnam("nobody")
    for log in ("access.log", "link", "second-name"):
        done = subprocess.run(
            [sys.executable, "-c", script, str(state), str(tmp_path / log)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines() == [f"{(nobody.pw_uid,) * 3} {(nobody.pw_gid,) * 3}", "no way back"]
    assert {path.stat().st_uid for path in (state, state / "authority.pem")} == {nobody.pw_uid}
    assert (tmp_path / "access.log").stat().st_uid == nobody.pw_uid
    assert (tmp_path / "precious").stat().st_uid == 0


@ROOT_ONLY
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
        + command_pool(tmp_path, "faulty.plain"),
        encoding="utf-8",
    )
    done = subprocess.run(
        [python, "-m", "hotswap", "run", config],
        env={"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)]), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2, done.stderr
    assert (
        f'proxy.user must be a user that may execute the Python of this proxy, is "nobody"; {python}: no' in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert (tmp_path / "state").stat().st_uid == os.geteuid(), "a start that is refused changes nothing"


@pytest.fixture
def open_directory():
    """A directory that others can enter."""
    made = make_directory()
    yield made
    shutil.rmtree(made)


@ROOT_ONLY
@pytest.mark.parametrize(
    "what",
    [
        *("key", "key behind links", "token_file", "environment_file", "compatibility"),
        *("basic_auth", "error_pages", "page", "log"),
    ],
)
def test_what_a_reload_could_not_read_is_refused_with_commands_that_help(open_directory, what, monkeypatch):
    """The commands are followed, and then nothing is left to say."""
    monkeypatch.setattr(sys, "executable", reachable_python())
    (hidden := open_directory / "hidden").mkdir()
    certificates = issue_certificate(hidden)
    os.chmod(certificates.key, 0o600)
    proxy: dict[str, object] = {"user": "nobody", "state_dir": open_directory / "state", "access_log": "off"}
    pool: dict[str, object] = {"server": "command", "command": ["x"], "directory": open_directory, "size": 1}
    text, file, key = listeners(), hidden / "secret", what
    file.write_text("SECRET=1\n", encoding="utf-8")
    os.chmod(file, 0o600)
    match what:
        case "key":
            text, key = listeners(certificates), "listeners.secure.tls.certificates[0].key"
        case "key behind links":
            # As certbot has it: both directories and the file are root's alone.
            text, key = listeners(certificates), "listeners.secure.tls.certificates[0].key"
            (archive := open_directory / "archive").mkdir(mode=0o700)
            certificates.key.rename(archive / "key1.pem")
            certificates.key.symlink_to("../archive/key1.pem")
            hidden.chmod(0o700)
        case "token_file":
            text = table("admin", {"token_file": file}) + text
        case "environment_file":
            pool["environment_file"] = file
        case "basic_auth":
            text += 'basic_auth = "hidden/secret"\n'
        case "compatibility":
            pool["compatibility"] = {"file": "hidden/secret"}
        case "error_pages" | "page":
            pool["error_pages"], key = hidden, "pools.web.error_pages"
            file.rename(hidden / "503.html")
            if what == "error_pages":
                hidden.chmod(0o711)
        case _:
            proxy["access_log"], key = hidden / "access.log", "proxy.access_log"
            hidden.chmod(0o700)
    config = open_directory / "hotswap.toml"
    config.write_text(table("proxy", proxy) + text + table("pools.web", pool), encoding="utf-8")
    loaded = load_configuration(config)
    with pytest.raises(ConfigError) as refused:
        look_as_user(loaded, config)
    assert any(key in problem.path for problem in refused.value.problems)
    for problem in refused.value.problems:
        assert "proxy.user, nobody, may" in problem.allowed
        (command,) = re.findall(r"; (chgrp .*)$", problem.allowed)
        subprocess.run(command, shell=True, check=True)
    look_as_user(loaded, config)


def test_who_stays_who_it_is_needs_no_look(tmp_path):
    """The files were read already."""
    config = tmp_path / "hotswap.toml"
    config.write_text(listeners() + command_pool(tmp_path, "faulty.plain"), encoding="utf-8")
    assert look_as_user(load_configuration(config), config) == ()
