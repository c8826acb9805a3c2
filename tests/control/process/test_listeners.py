"""Listeners are opened, kept, moved and closed without a port ever being shut in between."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from hotswap.control.process.listeners import Listeners
from hotswap.core.address import TcpAddress, UnixAddress
from hotswap.core.config import Configuration, ListenerTable
from hotswap.core.errors import ConfigError
from hotswap.core.tally import Tally
from hotswap.edge.dataplane import DataPlane
from tests.support.own_address import own_address
from tests.support.plane import KeptLog


def tables(**bind: str | list[Any]) -> dict[str, ListenerTable]:
    """Plain listeners by name."""
    return {
        name: ListenerTable.model_validate({"bind": [addresses] if isinstance(addresses, str) else addresses})
        for name, addresses in bind.items()
    }


@asynccontextmanager
async def open_stage(tmp_path: Path, *inherited: socket.socket) -> AsyncIterator[tuple[Listeners, DataPlane, Any]]:
    """Listeners, a data plane that serves them, and what takes a set of tables over."""
    listeners = Listeners(state_dir=tmp_path, inherited=inherited)
    plane = DataPlane(tally=Tally(), log=KeptLog(), linger=0)

    def take_over(wanted: dict[str, ListenerTable]) -> tuple[str, ...]:
        return listeners.commit(listeners.prepare(Configuration(listeners=wanted)), plane)

    async with trio.open_nursery() as nursery:
        await nursery.start(plane.serve)
        try:
            yield listeners, plane, take_over
        finally:
            listeners.close_given()
        nursery.cancel_scope.cancel()


def knock(address: object) -> bool:
    """Whether somebody listens."""
    assert isinstance(address, TcpAddress)
    with socket.socket() as caller:
        return caller.connect_ex((address.host, address.port)) == 0


async def test_two_listeners_on_ports_of_the_kernels_choice_have_a_port_each(tmp_path):
    """Port 0 is an address that never is the same as another one."""
    async with open_stage(tmp_path) as (listeners, _plane, take_over):
        take_over(tables(a="127.0.0.1:0"))
        (kept,) = listeners.bound("a")
        assert take_over(tables(a="127.0.0.1:0", b="127.0.0.1:0")) == ("listener b opened",)
        assert listeners.bound("a") == (kept,)
        assert listeners.bound("b") != (kept,)


async def test_an_unchanged_listener_is_not_mentioned(tmp_path):
    """Nothing changed, nothing is said."""
    async with open_stage(tmp_path) as (_listeners, _plane, take_over):
        take_over(tables(a="127.0.0.1:0"))
        assert take_over(tables(a="127.0.0.1:0")) == ()


async def test_where_it_really_listens_is_logged_once_and_so_is_what_to_trust(tmp_path):
    """A port that the kernel chose, and the authority of a certificate for development."""
    plain = tables(a="127.0.0.1:0")
    tls = {"b": ListenerTable.model_validate({"bind": ["127.0.0.1:0"], "tls": {"self_signed": ["localhost"]}})}
    async with open_stage(tmp_path) as (listeners, _plane, take_over):
        with structlog.testing.capture_logs() as logs:
            take_over(plain | tls)
            take_over(plain | tls)
        assert [(entry["event"], entry["listener"]) for entry in logs] == [
            ("listener.listening", "a"),
            ("listener.listening", "b"),
        ]
        assert logs[0]["addresses"] == [str(address) for address in listeners.bound("a")]
        assert "authority" not in logs[0]
        assert logs[1]["authority"] == str(tmp_path / "development-ca.pem")
        assert (tmp_path / "development-ca.pem").exists()


async def test_a_listener_that_gains_an_address_keeps_the_old_one_open(tmp_path):
    """A connection that waits in the kernel's queue meanwhile is served."""
    own = own_address()
    async with open_stage(tmp_path) as (listeners, plane, take_over):
        take_over(tables(a=str(own)))
        with socket.create_connection((own.host, own.port)) as waiting:
            changes = take_over(tables(a=[str(own), "127.0.0.1:0"]))
            assert changes == ("listener a has other addresses",)
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(waiting))
            assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 404")
        assert all(knock(address) for address in listeners.bound("a"))
        assert set(plane.listeners) == {"a"}


async def test_an_address_may_move_to_a_listener_of_another_name(tmp_path):
    """The socket goes with it."""
    own = str(own_address())
    async with open_stage(tmp_path) as (listeners, plane, take_over):
        take_over(tables(a=own))
        assert set(take_over(tables(b=own))) == {"listener a closed", "listener b opened"}
        assert set(plane.listeners) == {"b"}
        assert knock(listeners.bound("b")[0])


async def test_a_listener_that_is_gone_refuses(tmp_path):
    """Its port is closed, and its Unix socket removed."""
    path = tmp_path / "public.sock"
    async with open_stage(tmp_path) as (listeners, _plane, take_over):
        take_over(tables(a=str(own_address()), b=f"unix:{path}"))
        (address,) = listeners.bound("a")
        assert path.is_socket()
        take_over({})
        assert not knock(address)
        assert not path.exists()


async def test_what_cannot_be_opened_is_told_at_once_and_nothing_changes(tmp_path):
    """Every problem, and what was bound for nothing is closed again."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        taken = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in (one, two)]
        own = own_address()
        async with open_stage(tmp_path) as (listeners, plane, take_over):
            take_over(tables(a="127.0.0.1:0"))
            with pytest.raises(ConfigError) as failure:
                take_over(tables(b=taken[0], c=taken[1], d=str(own)))
            problems = failure.value.problems
            assert [problem.path for problem in problems] == ["listeners.b.bind[0]", "listeners.c.bind[0]"]
            assert set(plane.listeners) == {"a"}
            assert knock(listeners.bound("a")[0])
            assert not knock(own)


async def test_an_inherited_socket_is_used_instead_of_binding(tmp_path):
    """Its queue of waiting connections is served."""
    inherited = socket.create_server(("127.0.0.1", 0))
    inherited.setblocking(False)
    port = inherited.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as waiting:
        async with open_stage(tmp_path, inherited) as (listeners, _plane, take_over):
            take_over(tables(a=f"127.0.0.1:{port}"))
            listeners.close_unused()
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(waiting))
            assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 404")


async def test_a_listener_of_the_service_managers_socket_can_be_put_back_again_and_again(tmp_path):
    """We could not bind its address, because the manager goes on holding it."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        passed.setblocking(False)
        own = f"127.0.0.1:{passed.getsockname()[1]}"
        async with open_stage(tmp_path, passed.dup()) as (listeners, _plane, take_over):
            for _ in range(3):
                with structlog.testing.capture_logs() as logs:
                    assert take_over({}) in ((), ("listener a closed",))
                assert [record["address"] for record in logs] in ([], [own])
                (spare,) = listeners.hand_over()
                assert (spare.listener, str(spare.asked), spare.owned) == ("", own, False)
                assert take_over(tables(a=own)) == ("listener a opened",)
                assert not any(handed.listener == "" for handed in listeners.hand_over())
                with socket.create_connection(("127.0.0.1", passed.getsockname()[1])) as caller:
                    caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    stream = trio.SocketStream(trio.socket.from_stdlib_socket(caller))
                    assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 404")


async def test_what_a_process_before_this_one_kept_for_later_is_kept_by_this_one(tmp_path):
    """A listener that comes back after a takeover has the service manager's socket too."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        own = f"127.0.0.1:{passed.getsockname()[1]}"
        before = Listeners(state_dir=tmp_path, inherited=[passed.dup()])
        taken = Listeners(state_dir=tmp_path, handed=before.hand_over())
        assert taken.unclaimed(taken.prepare(Configuration())) == []
        taken.close_unused()
        prepared = taken.prepare(Configuration(listeners=tables(a=own)))
        assert [str(address) for address in prepared.listeners[0].addresses] == [own]
        prepared.discard()
        before.close_given()
        taken.close_given()


async def test_a_socket_of_the_service_manager_that_no_listener_asks_for_is_an_error_at_the_start(tmp_path):
    """Its clients would hang for as long as the proxy runs."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        first, second = (f"127.0.0.1:{sock.getsockname()[1]}" for sock in (one, two))
        listeners = Listeners(state_dir=tmp_path, inherited=[one, two])
        prepared = listeners.prepare(Configuration(listeners=tables(a=first)))
        with pytest.raises(ConfigError, match=second) as failure:
            listeners.refuse_unclaimed(prepared)
        assert first not in str(failure.value)
        prepared.discard()


async def test_a_path_that_cannot_be_removed_does_not_break_off_what_is_taken_over(tmp_path, monkeypatch):
    """Nobody listens there any more, which is what was wanted."""

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    async with open_stage(tmp_path) as (listeners, plane, take_over):
        take_over(tables(a=f"unix:{tmp_path / 'a.sock'}", b="127.0.0.1:0"))
        monkeypatch.setattr(Path, "unlink", refuse)
        with structlog.testing.capture_logs() as logs:
            assert take_over(tables(c="127.0.0.1:0")) == (
                "listener a closed",
                "listener b closed",
                "listener c opened",
            )
        assert [record["event"] for record in logs] == ["listener.path_left", "listener.listening"]
        assert set(plane.listeners) == {"c"}
        assert knock(listeners.bound("c")[0])


async def test_whichever_part_of_the_preparation_fails_nothing_has_changed(tmp_path, monkeypatch):
    """Binding, certificates, and copies of what moves; descriptors are as many as before."""
    own = str(own_address())
    broken = {"certificates": [{"cert": "/nothing.pem", "key": "/nothing.key"}]}
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        wanted = {
            "bind": tables(moved=own, c=taken),
            "certificates": tables(moved=own)
            | {"c": ListenerTable.model_validate({"bind": ["127.0.0.1:0"], "tls": broken})},
            "copies": tables(moved=own, c="127.0.0.1:0"),
        }
        async with open_stage(tmp_path) as (listeners, plane, take_over):
            take_over(tables(a=own, b="127.0.0.1:0"))
            (kept,) = listeners.bound("b")
            before = sorted(os.listdir("/proc/self/fd"))
            for part, changed in wanted.items():
                with monkeypatch.context() as patch:
                    if part == "copies":
                        patch.setattr(socket.socket, "dup", _no_descriptors)
                    with pytest.raises(ConfigError):
                        take_over(changed)
                assert set(plane.listeners) == {"a", "b"}
                assert knock(kept)
                assert sorted(os.listdir("/proc/self/fd")) == before
            assert set(take_over(wanted["copies"])) == {"listener a closed", "listener b closed"} | {
                f"listener {name} opened" for name in ("moved", "c")
            }


def _no_descriptors(_sock: socket.socket) -> socket.socket:
    raise OSError(24, "Too many open files")


def permits_of(path: Path) -> tuple[int, int, int]:
    """Mode, owner and group of a path."""
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def socket_table(path: Path, **permissions: object) -> dict[str, ListenerTable]:
    """A listener on a Unix socket."""
    return tables(a=[{"path": f"unix:{path}", **permissions}])


async def test_a_reload_changes_who_may_connect_and_the_socket_stays(tmp_path):
    """Clients that wait in its queue are served."""
    path, me, group = tmp_path / "public.sock", os.geteuid(), os.getegid()
    async with open_stage(tmp_path) as (listeners, _plane, take_over):
        take_over(socket_table(path, mode="0600"))
        assert permits_of(path) == (0o600, me, group)
        before = path.stat().st_ino
        assert take_over(socket_table(path, mode="0666", group=str(group))) == ("listener a changed",)
        assert permits_of(path) == (0o666, me, group)
        take_over(socket_table(path, owner=str(me)))
        assert permits_of(path) == (0o660, me, group)
        take_over(tables(a=f"unix:{path}"))
        assert permits_of(path) == (0o660, me, group), "nothing is asked for, nothing is changed"
        assert path.stat().st_ino == before
        assert listeners.bound("a") == (UnixAddress(str(path)),)


async def test_a_reload_whose_permissions_cannot_be_had_changes_nothing(tmp_path):
    """Whatever else it asks for."""
    path = tmp_path / "public.sock"
    async with open_stage(tmp_path) as (_listeners, plane, take_over):
        take_over(socket_table(path, mode="0600"))
        wanted = {**socket_table(path, group="nobody-has-this-name"), **tables(b="127.0.0.1:0")}
        with pytest.raises(ConfigError) as failure:
            take_over(wanted)
        (problem,) = failure.value.problems
        assert problem.path == "listeners.a.bind[0]"
        assert "group nobody-has-this-name" in problem.allowed
        assert permits_of(path)[0] == 0o600
        assert set(plane.listeners) == {"a"}


async def test_a_new_socket_whose_permissions_cannot_be_had_is_not_made(tmp_path):
    """Nothing is left at its path."""
    path = tmp_path / "public.sock"
    async with open_stage(tmp_path) as (_listeners, _plane, take_over):
        with pytest.raises(ConfigError):
            take_over(socket_table(path, owner="nobody-has-this-name"))
        assert not path.exists()
