"""How the command line finds the proxy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hotswap.cli.endpoint import find_endpoint, parse_admin_url
from hotswap.cli.exits import CommandError
from hotswap.core.address import Address, TcpAddress, UnixAddress
from tests.support.tools import refuse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1:9900", TcpAddress("127.0.0.1", 9900)),
        ("http://proxy.internal/", TcpAddress("proxy.internal", 9900)),
        ("http://[::1]:80", TcpAddress("::1", 80)),
        ("unix:/run/admin.sock", UnixAddress("/run/admin.sock")),
        ("unix:///run/admin.sock", UnixAddress("/run/admin.sock")),
        ("unix:admin.sock", UnixAddress("admin.sock")),
    ],
)
def test_both_forms_are_read(text: str, address: Address) -> None:
    """As people write them."""
    assert parse_admin_url(text) == address


@pytest.mark.parametrize(
    "text", ["127.0.0.1:9900", "https://a", "http://", "http://a:x", "http://a/v1", "unix:", "ftp://a"]
)
def test_anything_else_says_what_is_allowed(text: str) -> None:
    """A mistake is a usage error."""
    with pytest.raises(CommandError) as caught:
        find_endpoint(text, None, None, environ={})
    assert caught.value.exit_code == 2


def write(directory: Path, text: str) -> Path:
    """Write a configuration that is wrong apart from its admin table."""
    path = directory / "hotswap.toml"
    path.write_text(text + "\n[pools.web]\nsize = -1\n")
    return path


def test_the_order_is_that_of_the_contract(tmp_path: Path) -> None:
    """Option, environment, the socket in the state directory, the addresses of `[admin]`."""
    path = write(tmp_path, '[admin]\nbind = ["127.0.0.1:3"]')
    environ = {"HOTSWAP_ADMIN": "http://127.0.0.1:2"}
    found = [
        find_endpoint("http://127.0.0.1:1", path, None, environ=environ),
        find_endpoint(None, path, None, environ=environ),
        find_endpoint(None, path, None, environ={}),
    ]
    own = UnixAddress(str(tmp_path / ".hotswap" / "admin.sock"))
    assert [one.addresses for one in found] == [
        (TcpAddress("127.0.0.1", 1),),
        (TcpAddress("127.0.0.1", 2),),
        (own, TcpAddress("127.0.0.1", 3)),
    ]


def test_whose_proxy_it_has_to_be_is_open_only_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable may have been exported for another project long ago; an option was typed for this order."""
    path = write(tmp_path, "")
    environ = {"HOTSWAP_ADMIN": "http://127.0.0.1:2"}
    assert find_endpoint("http://127.0.0.1:1", path, None, environ=environ).config is None
    assert find_endpoint(None, path, None, environ=environ).config == path
    assert find_endpoint(None, path, None, environ={}).config == path
    monkeypatch.chdir(tmp_path)
    assert find_endpoint(None, None, None, environ=environ).config == path
    assert find_endpoint(None, Path("hotswap.toml"), None, environ={}).config == path
    path.unlink()
    without_system_file()
    assert find_endpoint(None, None, None, environ=environ).config is None


def without_system_file() -> None:
    if Path("/etc/hotswap/hotswap.toml").exists():
        refuse("this machine has a configuration of its own")


def test_every_address_is_tried_and_the_wildcard_means_loopback(tmp_path: Path) -> None:
    """Nobody connects to 0.0.0.0, nor to the port that the system chooses."""
    path = write(tmp_path, '[proxy]\nstate_dir = "s"\n[admin]\nbind = ["0.0.0.0:1", "[::]:2", "unix:a", "127.0.0.1:0"]')
    found = find_endpoint(None, path, None, environ={}).addresses
    sockets = (UnixAddress(f"{tmp_path}/s/admin.sock"), UnixAddress(f"{tmp_path}/a"))
    assert found == (sockets[0], TcpAddress("127.0.0.1", 1), TcpAddress("::1", 2), sockets[1])


def test_where_it_only_may_be_is_looked_at_when_something_is_there(tmp_path: Path) -> None:
    """The proxy of a service has a runtime directory that its operator is not told of; a message names few places."""
    run = tmp_path / "run"
    run.mkdir()
    environ = {"RUNTIME_DIRECTORY": str(run)}
    path = write(tmp_path, "")
    assert find_endpoint(None, path, None, environ=environ).addresses == (UnixAddress(f"{run}/admin.sock"),)
    (tmp_path / ".hotswap").mkdir()
    (tmp_path / ".hotswap" / "admin.sock").touch()
    both = (UnixAddress(f"{run}/admin.sock"), UnixAddress(f"{tmp_path}/.hotswap/admin.sock"))
    assert find_endpoint(None, path, None, environ=environ).addresses == both


def test_without_any_configuration_nobody_is_spoken_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens at some default would be a stranger."""
    monkeypatch.chdir(tmp_path)
    without_system_file()
    with pytest.raises(CommandError, match="no configuration") as caught:
        find_endpoint(None, None, None, environ={})
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[admin]\nbind = [1]", "cannot be used"),
        ("[admin]\nbind = 1", "cannot be used"),
        ('[admin]\nbind = ["localhost"]', "cannot be used"),
        ("admin = 1", "cannot be used"),
        ("[admin", "cannot be read"),
    ],
)
def test_an_admin_table_that_is_no_use_is_exit_code_2(tmp_path: Path, text: str, words: str) -> None:
    """And says what to do."""
    with pytest.raises(CommandError, match=words) as caught:
        find_endpoint(None, write(tmp_path, text), None, environ={})
    assert caught.value.exit_code == 2


def test_a_mistake_in_the_file_hides_no_proxy_that_runs(tmp_path: Path) -> None:
    """Where it is no TOML any more, the socket beside it is enough."""
    (tmp_path / ".hotswap").mkdir()
    own = tmp_path / ".hotswap" / "admin.sock"
    own.touch()
    found = find_endpoint(None, write(tmp_path, "[admin"), None, environ={})
    assert found.addresses == (UnixAddress(str(own)),)


def test_a_token_that_cannot_be_read_is_exit_code_1(tmp_path: Path) -> None:
    """It is there for somebody else."""
    with pytest.raises(CommandError, match="cannot be read") as caught:
        find_endpoint("http://127.0.0.1:1", None, tmp_path / "none", environ={})
    assert caught.value.exit_code == 1


def test_the_token_of_a_configuration_is_for_its_own_proxy_only(tmp_path: Path) -> None:
    """Named by option or variable, the same proxy gets the same token, and any other proxy gets none."""
    (tmp_path / "token").write_text("s3cret\n")
    path = write(tmp_path, '[admin]\nbind = ["0.0.0.0:3"]\ntoken_file = "token"')
    assert find_endpoint("http://127.0.0.1:3", path, None, environ={}).token == "s3cret"
    assert find_endpoint("http://127.0.0.1:4", path, None, environ={}).token is None
    assert find_endpoint("http://example.org:3", path, None, environ={}).token is None


@pytest.mark.parametrize("text", ["", "[admin]\nbind = [1]", "[admin", '[admin]\nbind = ["127.0.0.1:3"]'])
def test_who_is_told_where_the_proxy_is_makes_no_models(tmp_path: Path, text: str) -> None:
    """They are most of what a verb would cost; without a token to look up, what a file says does not matter."""
    path = write(tmp_path, text)
    program = (
        "import sys; from pathlib import Path; import hotswap.cli.group;"
        "from hotswap.cli.endpoint import find_endpoint; from hotswap.cli.exits import CommandError;"
        "endpoint = find_endpoint(None, None, None, environ={'HOTSWAP_ADMIN': 'unix:/run/admin.sock'});"
        "named = find_endpoint('unix:/run/admin.sock', Path(sys.argv[1]), None, environ={});"
        "print(endpoint.addresses == named.addresses, named.token, 'pydantic' in sys.modules)\n"
        "try: find_endpoint(None, Path(sys.argv[1]), None, environ={})\n"
        "except CommandError: pass\n"
        "print('pydantic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "True None False\nFalse\n"
