"""Files whose contents belong to a configuration: read with it, as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.control.configuration.contents import read_contents
from hotswap.core.config import Configuration, RouteTable
from hotswap.core.errors import ConfigError
from tests.core.http.test_password_hash import BCRYPT, PASSWORD

pytestmark = pytest.mark.fail_after(20)


def routes(*files: Path) -> Configuration:
    """A configuration whose routes name these files of users."""
    return Configuration(
        routes=tuple(RouteTable(pool="web", path=f"/{file.name}", basic_auth=str(file)) for file in files)
    )


def test_each_file_of_users_is_read_once(tmp_path: Path):
    """By its path, in the order of the routes; routes without one have none."""
    for name in ("b", "a"):
        (tmp_path / name).write_text(f"{name}:{BCRYPT}\n")
    contents = read_contents(routes(tmp_path / "b", tmp_path / "a", tmp_path / "b"))
    assert {path: list(users) for path, users in contents.users.items()} == {
        str(tmp_path / "b"): ["b"],
        str(tmp_path / "a"): ["a"],
    }
    assert contents.users[str(tmp_path / "a")]["a"].matches(PASSWORD.encode())
    assert not read_contents(Configuration(routes=(RouteTable(pool="web"),))).users


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path):
    """What cannot be read with the key, what is in a file with its line there."""
    (tmp_path / "weak").write_text(f"a:{BCRYPT}\nb:hunter2\n")
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError) as error:
        read_contents(routes(missing, tmp_path / "weak", tmp_path))
    first, second, third = map(str, error.value.problems)
    assert first.startswith(
        f'routes[0].basic_auth must be a file of user:hash lines, is "{missing}"; {missing}: No such '
    )
    assert first.endswith(f"make it with htpasswd -cB -C 10 {missing} NAME")
    assert second.startswith(f"{tmp_path}/weak:2: user b must be hashed with bcrypt ")
    assert "hunter2" not in second
    assert third.startswith("routes[2].basic_auth must be a file of user:hash lines")
    assert "Is a directory" in third
