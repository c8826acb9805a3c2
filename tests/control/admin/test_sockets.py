"""Where the admin API listens."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from hotswap.control.admin.sockets import AdminDoor, all_addresses, open_admin_sockets
from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.errors import ConfigError
from hotswap.edge.loop.sockets import address_of


def test_its_own_socket_comes_last_and_may_be_named(tmp_path: Path) -> None:
    """By any path to it; it is one socket then."""
    own, port = UnixAddress(str(tmp_path / "admin.sock")), TcpAddress("127.0.0.1", 0)
    (tmp_path / "link").symlink_to(tmp_path)
    named = UnixAddress(str(tmp_path / "link" / "admin.sock"))
    assert [key for key, _ in all_addresses(own, [port, named])] == ["admin.bind[0]", "proxy.state_dir"]
    assert all_addresses(None, [own]) == (("admin.bind[0]", own),)
    other = UnixAddress(str(tmp_path / "other.sock"))
    assert [address for _, address in all_addresses(own, [own, other])] == [other, own]


def test_one_that_was_removed_is_opened_again(tmp_path: Path) -> None:
    """By somebody who cleans up; the others go on."""
    door = AdminDoor()
    door.own = UnixAddress(str(tmp_path / "admin.sock"))
    with open_admin_sockets([TcpAddress("127.0.0.1", 0)], door):
        tcp = door.sockets[0]
        assert not door.misses()
        (tmp_path / "admin.sock").unlink()
        assert door.misses()
        door.reopen_missing()
        assert not door.misses()
        assert door.sockets[0] is tcp
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(door.own.path)
        for one in door.sockets:
            one.close()
        assert not door.misses(), "what is closed belongs to another process by now"
    assert not (tmp_path / "admin.sock").exists()


def test_one_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    """By a file, by a link, or by a socket that nobody listens on."""
    path = tmp_path / "admin.sock"
    door = AdminDoor()
    door.own = UnixAddress(str(path))
    path.write_text("left behind before the start")
    with open_admin_sockets([], door):
        for replace in (Path.touch, lambda there: there.symlink_to("elsewhere"), leave_socket):
            path.unlink()
            replace(path)
            assert door.misses()
            door.reopen_missing()
            assert not door.misses()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(door.own.path)
    assert not os.path.lexists(path)


def leave_socket(path: Path) -> None:
    """As a process does that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_every_address_is_opened_and_told_as_it_really_is(tmp_path: Path) -> None:
    """Port 0 becomes a port."""
    path = UnixAddress(str(tmp_path / "admin.sock"))
    with open_admin_sockets([TcpAddress("127.0.0.1", 0), path]) as opened:
        tcp, unix = map(address_of, opened)
        assert isinstance(tcp, TcpAddress)
        socket.create_connection((tcp.host, tcp.port)).close()
        assert unix == path


def test_a_unix_socket_is_for_its_owner_alone_and_goes_with_us(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, and no path is left behind."""
    path = tmp_path / "admin.sock"
    before = os.umask(0)
    try:
        with open_admin_sockets([UnixAddress(str(path))]):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not path.exists()


def test_the_socket_of_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    """Nobody has to remove it by hand."""
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with open_admin_sockets([UnixAddress(str(path))]), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_the_socket_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    """A second proxy by mistake does not take the first one's operators away."""
    path = UnixAddress(str(tmp_path / "admin.sock"))
    with open_admin_sockets([path]):
        with pytest.raises(ConfigError, match=r"admin.bind\[0\] must be .*, is \"unix:.*another process answers there"):
            open_admin_sockets([path]).__enter__()
        assert Path(path.path).exists()


def test_what_is_not_a_socket_is_never_removed(tmp_path: Path) -> None:
    """A path typed wrongly costs no file."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="not a socket"):
        open_admin_sockets([UnixAddress(str(path))]).__enter__()
    assert path.read_text() == "data"


def test_the_socket_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    """Who has the path now keeps it."""
    path = tmp_path / "admin.sock"
    with open_admin_sockets([UnixAddress(str(path))]):
        path.rename(tmp_path / "moved")
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.exists()


def test_a_port_in_use_says_which_and_leaves_nothing_open(tmp_path: Path) -> None:
    """The message names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / "admin.sock"
        addresses: list[Address] = [UnixAddress(str(path)), TcpAddress("127.0.0.1", port)]
        reason = rf'admin.bind\[1\] must be .*, is "127.0.0.1:{port}".*Address already in use'
        with pytest.raises(ConfigError, match=reason):
            open_admin_sockets(addresses).__enter__()
        assert not path.exists()


def test_a_socket_that_was_closed_meanwhile_is_not_missed(tmp_path: Path) -> None:
    """Whoever looks is a thread, and the proxy may end while it does; one whose path was removed is missed."""
    door = AdminDoor()
    path = tmp_path / "admin.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    door.sockets = (listening,)
    door.note_made(str(path))
    assert not door.misses()
    path.unlink()
    assert door.misses()
    listening.close()
    assert not door.misses()
