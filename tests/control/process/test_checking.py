"""What `hotswap check` finds: all that a start would be refused for, and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from hotswap.control.process.checking import check_configuration
from hotswap.control.process.state_directory import find_obstacles, open_state_directory
from hotswap.core.errors import ConfigError
from tests.support.command_line import command, program
from tests.support.hotswap import complete_configuration, run_hotswap
from tests.support.pools import listeners
from tests.support.tools import require_tool

STATIC = '[pools.web]\naddresses = ["127.0.0.1:1"]\n'
COMMAND = '[pools.web]\nserver = "command"\ncommand = ["sleep", "1000"]\n'


def written(directory: Path, text: str) -> Path:
    """Write a configuration."""
    path = directory / "hotswap.toml"
    path.write_text(complete_configuration(text, directory), encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        check_configuration(path)
    return [str(problem) for problem in caught.value.problems]


def place_of(problem: str) -> str:
    """File, line and key."""
    return problem.partition(" must be ")[0]


def test_a_good_one_is_given(tmp_path: Path) -> None:
    """With what will disappoint."""
    checked = check_configuration(written(tmp_path, listeners() + STATIC))
    assert list(checked.config.pools) == ["web"]
    # Who is root has to be told that the proxy would be.
    assert [caution for caution in checked.cautions if "proxy.user" not in caution] == []


REFUSED = {
    "addresses": listeners(
        bind=["a..b:80", "192.0.2.1:8080", "unix:/nowhere/at/all.sock", "unix:FILE", "unix:" + "long/" * 30]
    )
    + STATIC,
    "an environment file that is none": listeners() + COMMAND + 'environment_file = "hotswap.toml"\n',
    "an access log that is a directory": '[proxy]\naccess_log = "/tmp"\n' + listeners() + STATIC,
    "a state directory that is a file": '[proxy]\nstate_dir = "FILE"\n' + listeners() + STATIC,
    "a state directory below a file": '[proxy]\nstate_dir = "FILE/deep/state"\n' + listeners() + STATIC,
    "a state directory that is a link": '[proxy]\nstate_dir = "LINK"\n' + listeners() + STATIC,
    "a state directory with other things in it": '[proxy]\nstate_dir = "."\n' + listeners() + STATIC,
    "a damaged authority": listeners(tls={"self_signed": ["localhost"]}) + STATIC,
    "users": listeners()
    + '[[routes]]\npath = "/a"\npool = "web"\nbasic_auth = "none"\n'
    + '[[routes]]\npath = "/b"\npool = "web"\nbasic_auth = "hotswap.toml"\n'
    + STATIC,
    "an admin socket without a directory": '[admin]\nbind = ["unix:none/at/all.sock"]\n' + listeners() + STATIC,
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_run_refuses_check_refuses(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same keys, and exit code 2."""
    (tmp_path / "FILE").touch()
    (tmp_path / "LINK").symlink_to(".")
    os.chmod(tmp_path, 0o755)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "data" / "hotswap").mkdir(parents=True)
    for name in ("development-ca.pem", "development-ca.key"):
        (tmp_path / "data" / "hotswap" / name).write_text("nothing that was ever a certificate")
    path = written(tmp_path, REFUSED[kind])
    ran = await program("run", str(path), directory=tmp_path)
    assert ran.code == 2, ran.stderr
    told = problems(path)
    assert {place_of(line) for line in told} == {
        place_of(line) for line in ran.stderr.splitlines() if " must be " in line and not line.startswith("{")
    }


def test_a_state_directory_of_another_is_a_caution(tmp_path: Path) -> None:
    """Of another configuration's proxy, which may be gone by the start; a running one of this needs no start."""
    state = f'[proxy]\nstate_dir = "{tmp_path / "state"}"\n'
    path = written(tmp_path, state + listeners() + STATIC)
    other = path.with_name("other.toml")
    holder = open_state_directory(str(tmp_path / "state"), other)
    (caution,) = [one for one in check_configuration(path).cautions if one.startswith("proxy.state_dir")]
    assert f"another proxy uses {tmp_path / 'state'}: {other}, pid {os.getpid()}" in caution
    holder.sign(path)
    assert not [one for one in check_configuration(path).cautions if one.startswith("proxy.state_dir")]
    holder.close()


def test_a_state_directory_that_this_user_cannot_have_is_a_caution(tmp_path: Path) -> None:
    """As a port is that only root may have: who checks may be another than who runs."""
    assert find_obstacles(str(tmp_path / "deep" / "state")) == ("", "")
    (tmp_path / "theirs").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "theirs", 65534, -1)
        (fault, stranger), whose = find_obstacles(str(tmp_path / "theirs")), "belongs to user 65534"
        assert find_obstacles(str(tmp_path / "theirs"), owner=65534) == ("", "")
    else:
        (tmp_path / "theirs").chmod(0o500)
        (fault, stranger), whose = find_obstacles(str(tmp_path / "theirs" / "state")), "no directory can be made in"
    assert not fault
    assert whose in stranger


def test_an_address_in_use_is_a_caution(tmp_path: Path) -> None:
    """It may be the service manager that listens there for the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        checked = check_configuration(written(tmp_path, listeners(bind=[f"127.0.0.1:{port}"]) + STATIC))
    assert any(f"127.0.0.1:{port} is in use" in caution for caution in checked.cautions)


def test_a_name_that_cannot_be_looked_up_is_a_caution(tmp_path: Path) -> None:
    """A start goes on: a backend's name may come later."""
    checked = check_configuration(written(tmp_path, listeners() + STATIC.replace("127.0.0.1", "a..b")))
    assert any("pools.web.addresses[0]: a..b cannot be looked up" in caution for caution in checked.cautions)


def test_a_port_for_root_is_a_caution(tmp_path: Path) -> None:
    """Who checks may be another than who runs."""
    path = written(tmp_path, listeners(bind=["127.0.0.1:80"]) + STATIC)
    setpriv = require_tool("setpriv", package="util-linux")
    # Root without capabilities may bind no port below 1024 either, and still reads the files of this test.
    dropped = [] if os.geteuid() else [setpriv, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    words = [*dropped, *command("check", str(path))]
    checked = subprocess.run(words, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "127.0.0.1:80 may not be bound by this user" in checked.stderr


def test_nothing_is_left_where_it_looked(tmp_path: Path) -> None:
    """No socket, no state directory."""
    path = written(tmp_path, listeners(bind=[f"unix:{tmp_path}/public.sock"]) + STATIC)
    before = sorted(tmp_path.rglob("*"))
    check_configuration(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_every_kind_of_problem_is_told_at_once(tmp_path: Path) -> None:
    """Addresses and pools."""
    found = problems(written(tmp_path, listeners(bind=["a..b:80"]) + COMMAND.replace("sleep", "nowhere-at-all")))
    assert [place_of(one).partition(" ")[2] for one in found] == ["listeners.public.bind[0]", "pools.web.command"]


async def test_run_does_not_refuse_a_pool_that_cannot_start_and_says_why(tmp_path: Path) -> None:
    """It is repaired by a deploy; `check` would have refused it. While it runs, its addresses are no matter."""
    pool = '[pools.web]\nserver = "uvicorn"\napp = "shop:app"\nsize = 1\nrollout = { strategy = "surge" }\n'
    async with run_hotswap(listeners() + pool, tmp_path, wait_ready=False) as proxy:
        line = await proxy.wait_line('"config.caution"', "pools.web.app")
        assert "no module shop" in line
        text = proxy.config.read_text(encoding="utf-8")
        address = (await proxy.status())["listeners"]["public"]["bind"][0]
        proxy.config.write_text(text.replace("127.0.0.1:0", address), encoding="utf-8")
        result = await program("check", str(proxy.config), directory=tmp_path)
    assert result.code == 2
    assert "pools.web.app" in result.stderr
    assert "in use" not in result.stderr
