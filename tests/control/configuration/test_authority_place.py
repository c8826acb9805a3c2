"""Where the development authority is kept."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hotswap.control.configuration.authority_place import find_authority_dir, publish_authority


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


def test_it_is_with_the_user(tmp_path: Path, state: Path) -> None:
    """A data home that is named, then the directory of a service, then the home; made when it is needed, not before."""
    home = tmp_path / "home"
    home.mkdir()
    data, service = tmp_path / "data", tmp_path / "service"
    environ = {"XDG_DATA_HOME": str(data), "STATE_DIRECTORY": f"{service}:/x", "HOME": str(home)}
    assert find_authority_dir(state, environ) == data / "hotswap"
    assert find_authority_dir(state, environ | {"XDG_DATA_HOME": "relative"}) == service
    del environ["STATE_DIRECTORY"], environ["XDG_DATA_HOME"]
    assert find_authority_dir(state, environ) == home / ".local" / "share" / "hotswap"
    assert not data.exists()


@pytest.mark.parametrize("data", ["/proc/self/data", "/dev/null"])
def test_where_nothing_can_be_kept_it_is_in_the_state_directory(state: Path, data: str) -> None:
    """A home that is read-only, or none."""
    assert find_authority_dir(state, {"XDG_DATA_HOME": data}) == state
    assert find_authority_dir(state, {"HOME": "/nonexistent"}) == state


def test_a_process_that_becomes_somebody_else_keeps_it_where_that_one_finds_it(tmp_path: Path, state: Path) -> None:
    """What root made in its own home no reload could read."""
    assert find_authority_dir(state, {"XDG_DATA_HOME": str(tmp_path)}, becomes=True) == state


def test_one_that_clients_trust_already_is_used_further(tmp_path: Path, state: Path) -> None:
    """A state directory of an earlier version has it; a copy of a certificate alone is none."""
    environ = {"XDG_DATA_HOME": str(tmp_path / "data")}
    (state / "development-ca.pem").touch()
    assert find_authority_dir(state, environ) == tmp_path / "data" / "hotswap"
    (state / "development-ca.key").touch()
    assert find_authority_dir(state, environ) == state


def test_its_certificate_is_beside_the_project_too(tmp_path: Path, state: Path) -> None:
    """A copy for whoever tests there; never the key, and always the present one."""
    kept = tmp_path / "kept"
    publish_authority(kept, state)  # there is none to copy
    kept.mkdir()
    for content in (b"one", b"two"):
        (kept / "development-ca.pem").write_bytes(content)
        (kept / "development-ca.key").touch()
        publish_authority(kept, state)
        assert (state / "development-ca.pem").read_bytes() == content
    assert [path.name for path in state.iterdir()] == ["development-ca.pem"]
    assert stat.S_IMODE((state / "development-ca.pem").stat().st_mode) == 0o644
    publish_authority(kept, kept)
