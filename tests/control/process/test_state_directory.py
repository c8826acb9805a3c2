"""The state directory is ours alone, and one proxy's at a time."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from hotswap.control.process.state_directory import find_holder, open_state_directory
from hotswap.core.errors import BackendError, ConfigError

CONFIG = "/srv/shop/hotswap.toml"


@pytest.fixture
def use():
    """Opens state directories, and closes them at the end."""
    opened = []

    def open_one(path, config=CONFIG, **options):
        opened.append(open_state_directory(str(path), config, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_it_is_made_with_its_parents_for_this_user_alone(tmp_path, use):
    """And tightened when it is there already; git passes over it."""
    path = tmp_path / "a" / "b"
    state = use(path)
    assert state.path == path
    assert (path / ".gitignore").read_text() == "*\n"
    state.close()
    path.chmod(0o755)
    use(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_sockets_that_nobody_listens_on_are_swept(tmp_path, use):
    """Those of a proxy that was killed; not by one that takes over, as what binds there may not listen yet."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "web-0-1-abc.sock"))
    use(tmp_path, shared=True).close()
    assert (tmp_path / "web-0-1-abc.sock").exists()
    use(tmp_path)
    assert not (tmp_path / "web-0-1-abc.sock").exists()


def test_what_is_no_directory_is_a_problem_of_the_key(tmp_path, use):
    """It names the key and the path; a link is none either, as somebody else may have put it there."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ConfigError, match=r"proxy\.state_dir"):
            use(tmp_path / name)


def test_a_link_on_the_way_is_followed_once(tmp_path, use):
    """A deploy that moves it elsewhere moves nothing of a proxy that runs."""
    (tmp_path / "r1").mkdir()
    (tmp_path / "current").symlink_to("r1")
    assert use(tmp_path / "current" / ".hotswap").path == tmp_path / "r1" / ".hotswap"


def test_a_second_proxy_is_told_who_uses_it_and_sweeps_nothing(tmp_path, use):
    """A start by mistake would take the sockets of backends that have bound and do not listen yet."""
    first = use(tmp_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "web-0-1-abc.sock"))
    with pytest.raises(ConfigError, match=f"another proxy uses .*: {CONFIG}, pid {os.getpid()}; stop it"):
        use(tmp_path, "/srv/other/hotswap.toml")
    with pytest.raises(ConfigError, match=f"a hotswap already runs here: {CONFIG}, pid {os.getpid()};"):
        use(tmp_path, "/srv/shop/../shop/hotswap.toml")
    assert (tmp_path / "web-0-1-abc.sock").exists()
    first.close()
    use(tmp_path, "/srv/other/hotswap.toml")


def test_it_stays_locked_as_long_as_one_of_those_lives_that_take_over(tmp_path, use):
    """At no moment of a takeover is it free."""
    first, second = use(tmp_path), use(tmp_path, shared=True)
    first.close()
    with pytest.raises(ConfigError, match="already runs here"):
        use(tmp_path)
    second.close()
    use(tmp_path)


def test_the_lock_is_no_link_that_is_followed(tmp_path, use):
    """Root starts in a directory that is another user's, who could have any file of root's emptied."""
    precious = tmp_path / "precious"
    precious.write_text("root's")
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "proxy.lock").symlink_to(precious)
    with pytest.raises(ConfigError, match=r"proxy\.state_dir"):
        use(state)
    assert precious.read_text() == "root's"


def test_one_that_has_vanished_is_made_again_and_locked(tmp_path, use):
    """`rsync --delete`, a cleaner of temporary files, a logout."""
    path = tmp_path / "state"
    state = use(path)
    assert not state.vanished()
    shutil.rmtree(path)
    assert state.vanished()
    state.make_again(CONFIG)
    assert not state.vanished()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with pytest.raises(ConfigError, match="already runs here"):
        use(path)


def test_one_that_another_proxy_has_made_meanwhile_is_left_to_it(tmp_path, use):
    """It is locked there; nobody gets two."""
    path = tmp_path / "state"
    state = use(path)
    shutil.rmtree(path)
    held = os.open(_made(path), os.O_RDWR)
    try:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BackendError, match="another proxy"):
            state.make_again(CONFIG)
    finally:
        os.close(held)


def _made(path):
    path.mkdir(mode=0o700)
    lock = path / "proxy.lock"
    lock.touch()
    return lock


def test_for_a_group_it_lets_through_and_keeps_backends_behind_another_one(tmp_path, use):
    """Servers give their sockets any mode; without the group it is closed again."""
    path, ours = tmp_path / "state", os.getegid()
    state = use(path, group=ours)
    assert state.sockets == path / "backends"
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, state.sockets)] == [0o710, 0o700]
    state.sockets.rmdir()
    assert state.vanished()
    state.make_again(CONFIG)
    assert state.sockets.is_dir()
    state.close()
    again = use(path)
    assert again.sockets == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_who_uses_a_directory_is_found_without_touching_it(tmp_path, use):
    """And whether somebody else still has it, by the one that leaves."""
    path = tmp_path / "state"
    assert find_holder(path, Path(CONFIG), same=True) == ""
    state = use(path)
    assert find_holder(path, Path(CONFIG), same=True).startswith(
        f"a hotswap already runs here: {CONFIG}, pid {os.getpid()}"
    )
    assert find_holder(path, Path(CONFIG), same=False) == ""
    assert state.alone
    successor = use(path, shared=True)
    assert not state.alone
    successor.sign("/srv/next/hotswap.toml")
    state.close()
    assert "another proxy uses" in find_holder(path, Path(CONFIG), same=False)
    assert "/srv/next/hotswap.toml" in find_holder(path, Path(CONFIG), same=False)
    successor.close()
    assert find_holder(path, Path(CONFIG), same=True) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory that belongs to somebody else")
def test_its_owner_may_be_the_user_that_the_proxy_becomes(tmp_path, use):
    """It is that user's since the first start; anybody else's it must not be."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, -1)
    use(path, owner=12345).close()
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        use(path, owner=54321)
