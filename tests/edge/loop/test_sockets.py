"""Listening sockets, bound or inherited."""

from __future__ import annotations

import os
import socket

import pytest

from hotswap.core.address import TcpAddress, UnixAddress
from hotswap.core.errors import ConfigError
from hotswap.edge.loop.sockets import (
    address_of,
    bind,
    close_all,
    inherited_sockets,
    look_for_the_lost,
    matches,
    try_address,
)


def test_a_port_of_the_systems_choice_is_told():
    """It listens, and takes no other's place."""
    with bind(TcpAddress("127.0.0.1", 0), where="listeners.a.bind") as sock:
        address = address_of(sock)
        assert isinstance(address, TcpAddress)
        assert address.port
        assert not sock.getblocking()
        assert matches(sock, address)
        assert not matches(sock, UnixAddress("/run/a"))
        with pytest.raises(ConfigError, match="is in use by another program"):
            bind(address, where="listeners.b.bind")


@pytest.mark.parametrize(
    ("host", "why"), [("192.0.2.1", "is not an address of this machine"), ("a..b", "has no name that can be")]
)
def test_what_cannot_be_bound_says_why(host, why):
    """With the key that asks for it."""
    with pytest.raises(ConfigError, match=why) as raised:
        bind(TcpAddress(host, 0), where="listeners.a.bind")
    assert raised.value.problems[0].path == "listeners.a.bind"


def test_a_path_that_nobody_listens_on_is_taken_over(tmp_path):
    """One on which somebody does, and what is no socket, is left alone."""
    path = tmp_path / "a.sock"
    address = UnixAddress(str(path))
    bind(address, where="x").close()
    assert path.exists()
    with bind(address, where="x") as sock:
        assert address_of(sock) == address
        with pytest.raises(ConfigError, match="is in use"):
            bind(address, where="x")
        close_all([sock], remove_paths=True)
    assert not path.exists()
    path.write_text("a file")
    with pytest.raises(ConfigError, match="something that is not a socket is there"):
        bind(address, where="x")
    assert path.read_text() == "a file"


def test_only_listening_sockets_for_this_process_are_inherited():
    """Others are left as they are; the variables are gone either way."""
    with socket.socket() as listening, socket.socket() as other:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        first = 300
        os.dup2(listening.fileno(), first)
        os.dup2(other.fileno(), first + 1)
        try:
            environment = {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid() + 1)}
            assert inherited_sockets(environment, first=first) == []
            assert environment == {}
            (sock,) = inherited_sockets({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())}, first=first)
            assert sock.fileno() == first
            assert not sock.getblocking()
            sock.close()
            os.fstat(first + 1)
        finally:
            os.close(first + 1)


def test_clients_that_say_nothing_are_asked_by_the_kernel():
    """Over TCP; at the other end of a path is a process of this machine."""
    with socket.socket() as sock, socket.socket(socket.AF_UNIX) as local:
        look_for_the_lost(sock)
        look_for_the_lost(local)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_an_address_is_tried_without_listening_or_leaving_anything(tmp_path):
    """It says what `bind` would say, and nobody can connect meanwhile."""
    path = tmp_path / "a.sock"
    for address in (UnixAddress(str(path)), TcpAddress("127.0.0.1", 0)):
        try_address(address)
    assert not path.exists()
    with bind(UnixAddress(str(path)), where="x"), pytest.raises(OSError, match="in use"):
        try_address(UnixAddress(str(path)))
    try_address(UnixAddress(str(path)))  # nobody listens there any more
    with bind(TcpAddress("127.0.0.1", 0), where="x") as taken, pytest.raises(OSError, match="in use"):
        try_address(address_of(taken))
    path.unlink()
    path.touch()
    for wrong, words in (
        (TcpAddress("192.0.2.1", 0), "Cannot assign"),
        (UnixAddress(str(tmp_path / "none" / "a.sock")), "No such file"),
        (UnixAddress(str(path)), "not a socket"),
    ):
        with pytest.raises(OSError, match=words):
            try_address(wrong)
