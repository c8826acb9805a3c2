"""The token of the admin API, and the file that it is kept in."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.control.configuration.token_file import TokenFile


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """Tokens are changed without a restart; while the file is broken the old one holds."""
    path = tmp_path / "token"
    path.write_text("old\n")
    path.chmod(0o600)
    token = TokenFile(path)
    assert token.matches("Bearer old")
    fresh = tmp_path / "fresh"
    fresh.write_text("new\n")
    fresh.chmod(0o600)
    fresh.replace(path)
    assert not token.matches("Bearer old")
    assert token.matches("Bearer new")
    path.unlink()
    assert token.matches("Bearer new")
    assert not token.matches("")
    assert not token.matches("Bearer ")
    assert not token.matches("Bearer nöt")


def test_an_empty_token_file_is_an_error_and_not_an_open_door(tmp_path: Path) -> None:
    """Nothing is served with it."""
    path = tmp_path / "token"
    path.write_text("\n")
    path.chmod(0o600)
    with pytest.raises(ValueError, match="first line is empty"):
        TokenFile(path)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o601])
def test_a_token_that_others_can_read_or_change_is_an_error(tmp_path: Path, mode: int) -> None:
    """It is no secret then, and nothing is served with it; a file that is opened later on is not believed either."""
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    path.chmod(mode)
    with pytest.raises(PermissionError, match=f"mode {mode:04o} lets others"):
        TokenFile(path)
    path.chmod(0o640)
    token = TokenFile(path)
    fresh = tmp_path / "fresh"
    fresh.write_text("new\n")
    fresh.chmod(mode)
    fresh.replace(path)
    assert token.matches("Bearer s3cret")
    assert not token.matches("Bearer new")
