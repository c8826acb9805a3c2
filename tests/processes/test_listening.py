"""Sockets of backends."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from hotswap.core.address import MAX_PATH_BYTES, TcpAddress, UnixAddress
from hotswap.core.errors import BackendError
from hotswap.core.strategy import Listen
from hotswap.processes.listening import (
    Transport,
    open_backend_socket,
    open_directory,
    remove_path,
    reserve_path,
    reserve_port,
    sweep_directory,
)

TRANSPORTS = list(Transport)


@pytest.fixture
def directory(tmp_path):
    """A directory for sockets."""
    return open_directory(tmp_path / "s")


def connect(address):
    """Connect without waiting; a refusal is raised."""
    unix = isinstance(address, UnixAddress)
    caller = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    target = address.path if unix else (address.host, address.port)
    caller.settimeout(5)
    try:
        caller.connect(target)
    except BaseException:
        caller.close()
        raise
    return caller


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_inherited_socket_queues_connects_before_anybody_accepts(directory, transport):
    """It listens from the first moment, with room for more than a default backlog."""
    listening = open_backend_socket(Listen.FD, directory=directory, name="web-0-1", transport=transport)
    callers = [connect(listening.address) for _ in range(300)]
    for caller in callers:
        caller.close()
    listening.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_socket_nobody_holds_refuses_at_once(directory, transport):
    """When the last copy is closed, a connect is refused instead of waiting."""
    listening = open_backend_socket(Listen.FD, directory=directory, name="web-0-1", transport=transport)
    listening.close()
    listening.close()
    with pytest.raises(ConnectionRefusedError):
        connect(listening.address)


def test_every_backend_gets_a_path_of_its_own(directory):
    """Two backends of the same name never share a path, whatever the kind of socket."""
    opened = [
        open_backend_socket(kind, directory=directory, name="web-0-1")
        for kind in (Listen.FD, Listen.FD, Listen.UNIX, Listen.UNIX)
    ]
    assert len({str(each.address) for each in opened}) == 4
    for each in opened:
        each.close()


def test_a_server_that_binds_by_itself_finds_no_path(directory):
    """`listen = "unix"` reserves a name only: some servers refuse to start on an existing path."""
    reserved = open_backend_socket(Listen.UNIX, directory=directory, name="web-0-1")
    assert reserved.socket is None
    assert isinstance(reserved.address, UnixAddress)
    assert not os.path.exists(reserved.address.path)


def test_a_reserved_port_is_none_that_outgoing_connections_take(directory):
    """`listen = "tcp"` gives a free port of loopback outside of the ephemeral range."""
    reserved = open_backend_socket(Listen.TCP, directory=directory, name="web-0-1")
    assert reserved.socket is None
    assert isinstance(reserved.address, TcpAddress)
    with open("/proc/sys/net/ipv4/ip_local_port_range") as limits:
        low, high = map(int, limits.read().split())
    assert low <= 10_000 or not low <= reserved.address.port <= high
    with socket.socket() as server:
        server.bind((reserved.address.host, reserved.address.port))


def test_reserved_ports_differ(directory):
    """Two backends that start at the same time are unlikely to be told the same port."""
    assert len({reserve_port() for _ in range(20)}) > 15


def test_the_proxy_removes_paths_whoever_made_them(directory):
    """The socket and the lock that daphne puts beside it go; a second removal is harmless."""
    reserved = open_backend_socket(Listen.UNIX, directory=directory, name="web-0-1")
    assert isinstance(reserved.address, UnixAddress)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(reserved.address.path)
    os.symlink("1", f"{reserved.address.path}.lock")
    remove_path(reserved.address)
    remove_path(reserved.address)
    assert os.listdir(directory) == []


def test_a_path_too_long_for_the_kernel_is_told_with_advice(tmp_path):
    """The error names the setting that makes it shorter."""
    with pytest.raises(BackendError, match=r"set a shorter proxy\.state_dir"):
        open_backend_socket(Listen.FD, directory=tmp_path / ("x" * MAX_PATH_BYTES), name="web-0-1")


@pytest.mark.parametrize(
    "room", [len("01234567.sock"), len("web-0-01234567.sock"), len("web-0-12-notify-01234567.sock")]
)
def test_a_name_is_as_long_as_its_directory_leaves_room(tmp_path, room):
    """A tenth rollout, or another kind of readiness, is not what a path becomes too long by."""
    directory = tmp_path / ("x" * (MAX_PATH_BYTES - room - len(f"{tmp_path}//")))
    paths = {reserve_path(directory, "web-0-12-notify") for _ in range(9)}
    assert len(paths) == 9
    assert {len(path) for path in paths} == {MAX_PATH_BYTES}


def test_a_missing_directory_is_an_error_of_the_backend(tmp_path):
    """What the system says becomes an error of this program's tree."""
    with pytest.raises(BackendError, match="No such file or directory"):
        open_backend_socket(Listen.FD, directory=tmp_path / "missing", name="web-0-1")


def test_odd_names_become_file_names(directory):
    """A name cannot leave the directory."""
    listening = open_backend_socket(Listen.FD, directory=directory, name="../../web 0")
    assert isinstance(listening.address, UnixAddress)
    assert os.path.dirname(listening.address.path) == str(directory)
    listening.close()


def test_the_directory_is_closed_to_others(tmp_path):
    """Mode 0700, also when it was there with another mode."""
    path = tmp_path / "s"
    path.mkdir(mode=0o755)
    assert stat.S_IMODE(open_directory(path).stat().st_mode) == 0o700


def test_a_directory_that_others_use_is_refused_and_left_alone(tmp_path):
    """To close it would take it from them; what a proxy has left there is no reason."""
    path = tmp_path / "s"
    path.mkdir(mode=0o755)
    for name in ("proxy.pid", "development-ca.pem"):
        (path / name).touch()
    assert stat.S_IMODE(open_directory(path).stat().st_mode) == 0o700
    path.chmod(0o755)
    (path / "theirs").touch()
    with pytest.raises(BackendError, match="such as theirs"):
        open_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_directory_that_is_a_link_or_a_file_is_refused(tmp_path):
    """Somebody else may have put it there."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(BackendError):
            open_directory(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory that belongs to somebody else")
def test_a_directory_of_somebody_else_is_refused(tmp_path):
    """Its owner could replace sockets in it."""
    path = tmp_path / "s"
    path.mkdir()
    os.chown(path, 12345, -1)
    with pytest.raises(BackendError, match="belongs to user 12345"):
        open_directory(path)


def test_sweeping_removes_dead_sockets_only(directory):
    """Sockets that a killed proxy left behind go; those of living processes and other files stay."""
    living = open_backend_socket(Listen.FD, directory=directory, name="living")
    dead = open_backend_socket(Listen.FD, directory=directory, name="dead")
    dead.close()
    hearing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    hearing.bind(str(directory / "hearing.sock"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(directory / "deaf.sock"))
    (directory / "file.sock").touch()
    sweep_directory(directory)
    assert isinstance(living.address, UnixAddress)
    assert set(os.listdir(directory)) == {
        os.path.basename(living.address.path),
        "hearing.sock",
        "file.sock",
    }
    living.close()
    hearing.close()
