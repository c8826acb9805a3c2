"""The examples cannot hurt: each is right for a real app, or `hotswap check` refuses it until it is edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import run_cli

CONF = Path(__file__).parents[2] / "conf"
EXAMPLES = sorted(CONF.rglob("*.toml"))

NO_APP = {
    "static.toml": "what it routes to runs without it, and where nothing does, clients are told so",
    "demo.toml": "serves the demo, from its checkout, to this machine only",
}
"""Examples that are good as they are, and why."""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody who has copied the examples, and nothing else."""
    return Path(shutil.copytree(CONF, tmp_path / "conf"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(CONF)))
def test_an_example_does_nothing_until_it_is_made_ones_own(path: Path, elsewhere: Path) -> None:
    """What it lacks is named: the app, its directory, its certificates."""
    name = str(path.relative_to(CONF))
    checked = run_cli("check", str((elsewhere if name not in NO_APP else CONF) / name))
    if name in NO_APP:
        assert checked.code == 0, checked.stderr
    else:
        assert checked.code == 2, checked.stderr
        assert "pools." in checked.stderr or "certificates" in checked.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(CONF)))
def test_no_example_serves_files_of_the_machine(path: Path) -> None:
    """A server of files in an example would publish whatever its directory is, on the day of the first try."""
    text = path.read_text(encoding="utf-8")
    assert "http.server" not in text
    assert 'directory = "/"' not in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(CONF)))
def test_no_development_certificate_is_public(path: Path) -> None:
    """Browsers refuse them, and people learn to click that away; a container's addresses are its own."""
    if path.parent.name != "container" and "self_signed" in (text := path.read_text(encoding="utf-8")):
        assert "0.0.0.0" not in text
        assert "[::]" not in text
