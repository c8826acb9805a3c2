"""The state directory is ours alone."""

from __future__ import annotations

import socket
import stat

import pytest

from proxy.control.state_directory import open_state_directory
from proxy.core.errors import ConfigError


def test_it_is_made_with_its_parents_for_this_user_alone(tmp_path):
    """And tightened when it is there already."""
    path = tmp_path / "a" / "b"
    assert open_state_directory(str(path)) == path
    path.chmod(0o755)
    open_state_directory(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_sockets_that_nobody_listens_on_are_swept(tmp_path):
    """Those of a proxy that was killed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "web-0-1-abc.sock"))
    open_state_directory(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_directory_is_a_problem_of_the_key(tmp_path):
    """It names the key and the path."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"proxy\.state_dir"):
        open_state_directory(str(tmp_path / "file"))
