"""Owner, group and mode of Unix sockets: set before anybody can connect, on the socket and on nothing else."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hotswap.core.address import UnixAddress
from hotswap.core.socket_permissions import SocketPermissions
from hotswap.edge.loop.permissions import group_id, permit, user_id
from hotswap.edge.loop.sockets import bind
from tests.support.hotswap import REPOSITORY
from tests.support.other_user import make_directory

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives things to others")


def mode_of(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o755])
def test_a_socket_has_its_mode_whatever_the_umask(tmp_path: Path, umask: int, mode: int):
    """And nobody can connect before, because it does not listen yet."""
    path = tmp_path / "s"
    before = os.umask(umask)
    try:
        with bind(UnixAddress(str(path)), where="x", permissions=SocketPermissions(mode=mode)):
            assert mode_of(path) == mode
    finally:
        os.umask(before)


def test_what_took_the_place_of_a_socket_is_left_alone(tmp_path: Path):
    """A link to another file above all."""
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("x")
    victim.chmod(0o600)
    link.symlink_to(victim)
    for path in (victim, link):
        with pytest.raises(OSError, match="not a socket"):
            permit(str(path), SocketPermissions(mode=0o666))
    assert mode_of(victim) == 0o600


def test_names_and_numbers_are_the_same():
    """Numbers need not be of anybody."""
    assert (user_id("root"), group_id("root"), user_id("0"), user_id("4711"), user_id("")) == (0, 0, 0, 4711, -1)
    for number_of in (user_id, group_id):
        with pytest.raises(KeyError):
            number_of("nobody-has-this-name")


@AS_ROOT
def test_root_gives_a_socket_to_anybody(tmp_path: Path):
    """With its group, or one of the two."""
    path = tmp_path / "s"
    wanted = SocketPermissions(mode=0o660, owner="4711", group="4712")
    with bind(UnixAddress(str(path)), where="x", permissions=wanted):
        assert (path.stat().st_uid, path.stat().st_gid, mode_of(path)) == (4711, 4712, 0o660)
        permit(str(path), SocketPermissions(group="4713"))
        assert (path.stat().st_uid, path.stat().st_gid, mode_of(path)) == (4711, 4713, 0o660)


@AS_ROOT
def test_another_user_is_told_what_it_may_not():
    """And before anything is changed; the way out is in the words."""
    directory = make_directory()
    script = """
import os, sys
from hotswap.core.address import UnixAddress
from hotswap.core.errors import ConfigError
from hotswap.core.socket_permissions import SocketPermissions
from hotswap.edge.loop.permissions import is_permitted, permit
from hotswap.edge.loop.sockets import bind
os.chdir(sys.argv[1])
os.chown(".", 4711, 4711)
os.setgroups([4712]); os.setgid(4711); os.setuid(4711)
kept = bind(UnixAddress("mine"), where="x", permissions=SocketPermissions(mode=0o660, group="4712"))
print(oct(os.stat("mine").st_mode & 0o777), os.stat("mine").st_gid)
for wanted in ({"owner": "0"}, {"group": "0"}, {"group": "4711", "mode": 0o600}, {"owner": "4711"}):
    print(is_permitted("mine", SocketPermissions(**wanted)), end=" ")
try:
    bind(UnixAddress("other"), where="x", permissions=SocketPermissions(owner="0"))
except ConfigError as error:
    print(error.problems[0].allowed, os.path.exists("other"))
"""
    try:
        run = [sys.executable, "-c", script, str(directory)]
        told = subprocess.run(run, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.splitlines()
    finally:
        shutil.rmtree(directory)
    assert told[0] == "0o660 4712"
    assert told[1].startswith("False False True True ")
    assert "user 4711 may not give other owner 0: root may, and proxy.user is for a start by root" in told[1]
    assert told[1].endswith(" False")
