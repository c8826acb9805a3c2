"""Where a proxy keeps its state: the same for itself and for whoever looks for it, and no other configuration's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from hotswap.control.configuration.state_place import (
    LONGEST_BESIDE,
    default_state_dir,
    possible_state_dirs,
    state_dir_of,
)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RUNTIME_DIRECTORY": "/run/hotswap", "XDG_RUNTIME_DIR": "/run/user/1"}, "/run/hotswap"),
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b"}, "/run/a"),
        ({"XDG_RUNTIME_DIR": "/run/user/1"}, "{}/.hotswap"),
        ({}, "{}/.hotswap"),
    ],
)
def test_it_follows_the_order_of_the_contract(environ: Mapping[str, str], expected: str, tmp_path: Path) -> None:
    """The service manager's word first, then beside the file; never what a logout removes."""
    assert default_state_dir(tmp_path / "hotswap.toml", environ) == expected.format(tmp_path)


@pytest.mark.parametrize("files", [("shop/hotswap.toml", "blog/hotswap.toml"), ("shop/a.toml", "shop/b.toml")])
def test_where_nothing_can_be_written_each_configuration_has_one_of_its_own(files: tuple[str, str]) -> None:
    """Two projects of one user never meet in it, nor two files of one directory."""
    # /proc/self: what not even root can make a directory in.
    first, second = (default_state_dir(f"/proc/self/{name}", {"XDG_STATE_HOME": "/s"}) for name in files)
    assert first != second
    assert re.fullmatch(r"(/run|/s)/hotswap/shop-[0-9a-f]{8}", first)


def test_where_no_socket_could_have_a_path_it_has_one_of_its_own(tmp_path: Path) -> None:
    """A project may lie deep, and the kernel takes 107 bytes; whoever looks for it looks there as well."""
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    place = default_state_dir(deep / "hotswap.toml", {"XDG_STATE_HOME": "/s"})
    assert re.fullmatch(r"(/run|/s)/hotswap/d{20}-[0-9a-f]{8}", place)
    assert f"{deep}/.hotswap" in possible_state_dirs(deep / "hotswap.toml", "", {"XDG_STATE_HOME": "/s"})
    assert len(f"{tmp_path}/.hotswap") <= LONGEST_BESIDE < len(f"{deep}/.hotswap")


def test_what_the_file_says_is_what_holds() -> None:
    """Relative to the file; the variables do not matter then."""
    environ = {"RUNTIME_DIRECTORY": "/run/hotswap"}
    assert state_dir_of("/srv/shop/hotswap.toml", "./state", environ) == "/srv/shop/state"
    assert state_dir_of("/srv/shop/hotswap.toml", "/state", environ) == "/state"
    assert possible_state_dirs("/srv/shop/hotswap.toml", "/state", environ)[0] == "/state"


def test_one_that_was_named_since_the_start_hides_no_proxy(tmp_path: Path) -> None:
    """It takes effect at the next start; until then the proxy is where it was, and has to be stopped there."""
    file = tmp_path / "hotswap.toml"
    for given in ("/state", "state"):
        assert default_state_dir(file, {}) in possible_state_dirs(file, given, {})


def test_whoever_looks_for_it_looks_everywhere_it_may_be(tmp_path: Path) -> None:
    """A service has a variable that its operator has not, and may write where the operator may not."""
    file = tmp_path / "hotswap.toml"
    for environ in ({}, {"RUNTIME_DIRECTORY": str(tmp_path / "run")}):
        places = possible_state_dirs(file, "", environ)
        assert places[0] == default_state_dir(file, environ)
        assert {str(tmp_path / ".hotswap"), "/run/hotswap"} <= set(places)
        assert len(set(places)) == len(places)


def test_behind_a_link_both_names_are_looked_at(tmp_path: Path) -> None:
    """A deploy moves the link on, and the operator stands in one place or the other."""
    (tmp_path / "r1").mkdir()
    (tmp_path / "current").symlink_to("r1")
    file = tmp_path / "current" / "hotswap.toml"
    for given, name in (("", ".hotswap"), ("state", "state")):
        places = possible_state_dirs(file, given, {})
        assert places[0] == str(tmp_path / "current" / name)
        assert str(tmp_path / "r1" / name) in places
