"""The path of the configuration: what the shell calls it, so that a link on the way may be moved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotswap.control.configuration.path import absolute_path, find_configuration, release_link, working_directory


@pytest.fixture
def current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A link to a release, in which a shell stands."""
    for release in ("1", "2"):
        (tmp_path / "releases" / release).mkdir(parents=True)
        (tmp_path / "releases" / release / "hotswap.toml").touch()
    link = tmp_path / "current"
    link.symlink_to("releases/1")
    monkeypatch.chdir(link)
    monkeypatch.setenv("PWD", str(link))
    return link


def test_the_working_directory_is_what_the_shell_calls_it(current):
    """The file in it is found through the link, and is the next release's when that is moved."""
    assert Path.cwd() == current.parent / "releases" / "1"
    assert working_directory() == current
    found = find_configuration()
    assert found == absolute_path("hotswap.toml") == current / "hotswap.toml"
    current.unlink()
    current.symlink_to("releases/2")
    assert found.resolve() == current.parent / "releases" / "2" / "hotswap.toml"
    # The shell has not moved, and says where it was.
    assert working_directory() == current.parent / "releases" / "1"


@pytest.mark.parametrize(
    "named", ["", "current", "{0}/./current", "{0}/releases/../current", "{0}/releases", "/nowhere"]
)
def test_a_name_that_is_none_of_it_is_passed_over(current, monkeypatch, named):
    """Whoever starts a process in another directory leaves the variable as it was."""
    monkeypatch.setenv("PWD", named.format(current.parent))
    assert working_directory() == current.parent / "releases" / "1"
    monkeypatch.delenv("PWD")
    assert working_directory() == current.parent / "releases" / "1"


def test_a_path_needs_no_directory_that_it_only_passes_through(current):
    """As a deploy script names it that stands in a release; which is removed later."""
    above = current.parent
    assert absolute_path("../../current/hotswap.toml") == current / "hotswap.toml"
    # As the kernel has it: beside the release, and not beside the link.
    assert absolute_path("../x") == above / "releases" / "x"
    assert absolute_path(above / "." / "current" / "..") == above / "releases"
    assert absolute_path("/../x") == Path("/x")
    assert absolute_path(current / "a.toml") == current / "a.toml"


def test_in_a_directory_that_was_deleted_an_absolute_path_is_enough(current, monkeypatch):
    """And there is no name for where one stands."""
    gone = current.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("PWD", str(gone))
    os.rmdir(gone)
    assert absolute_path(current) == current
    with pytest.raises(FileNotFoundError):
        absolute_path("hotswap.toml")


def test_a_link_that_a_deploy_moves_is_told_from_others(current, tmp_path):
    """It leads to a place below its own directory; a home on another disk is no release."""
    assert release_link(current / "hotswap.toml") == current
    assert release_link(current) == current
    assert release_link(tmp_path / "releases" / "1" / "hotswap.toml") is None
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "shop").symlink_to(tmp_path / "releases")
    assert release_link(tmp_path / "home" / "shop" / "1" / "hotswap.toml") is None
    (tmp_path / "home" / "gone").symlink_to("nowhere")
    assert release_link(tmp_path / "home" / "gone" / "hotswap.toml") == tmp_path / "home" / "gone"
