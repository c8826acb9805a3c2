"""What the proxy tells its service manager."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from hotswap.control.telemetry.notify import ServiceManager


@pytest.fixture
def manager_socket(tmp_path):
    """The other end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiving:
        receiving.bind(str(tmp_path / "notify"))
        yield receiving


def received(receiving: socket.socket) -> list[str]:
    """Every message so far."""
    messages = []
    while True:
        try:
            messages.append(receiving.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_without_a_socket_nothing_happens():
    """A proxy that no service manager started says nothing."""
    manager = ServiceManager({})
    manager.ready()
    manager.status("x")
    manager.stopping()


def test_a_socket_that_is_gone_hurts_nobody(tmp_path):
    """The service manager may be restarted."""
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_ready_status_and_stopping_are_said(tmp_path, manager_socket):
    """The same status is said once."""
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    manager.status("booting")
    manager.status("booting")
    manager.ready()
    manager.stopping()
    assert received(manager_socket) == ["STATUS=booting", "READY=1", "STOPPING=1"]


def test_a_reload_is_said_with_its_moment_and_ended_with_ready(tmp_path, manager_socket):
    """As Type=notify-reload asks; before the first READY=1 a reload says nothing, or it would end the boot."""
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    manager.reloading()
    manager.reloaded()
    assert received(manager_socket) == []
    manager.ready()
    manager.reloading()
    manager.reloaded()
    ready, reloading, again = received(manager_socket)
    assert ready == again == "READY=1"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_what_takes_long_asks_for_time(tmp_path, manager_socket):
    """In microseconds, and not during the boot, whose limit is the unit's."""
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    manager.extend(10)
    manager.ready()
    manager.extend(2.5)
    assert received(manager_socket) == ["READY=1", "EXTEND_TIMEOUT_USEC=2500000"]


def test_what_was_not_said_because_another_process_speaks_is_said_later(tmp_path, manager_socket):
    """A status is new until it was sent."""
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    manager.silent = True
    manager.status("serving")
    manager.silent = False
    manager.status("serving")
    assert received(manager_socket) == ["STATUS=serving"]


def test_an_abstract_socket_is_reached():
    """systemd may give one; it begins with @."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiving:
        receiving.bind("")
        name = receiving.getsockname()
        assert isinstance(name, bytes)
        ServiceManager({"NOTIFY_SOCKET": "@" + name[1:].decode()}).ready()
        assert received(receiving) == ["READY=1"]


async def test_the_watchdog_is_fed_twice_in_each_interval(tmp_path, manager_socket, autojump_clock):
    """And only when it is meant for this process."""
    path = str(tmp_path / "notify")
    manager = ServiceManager({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())})
    with trio.move_on_after(3.5):
        await manager.serve_watchdog()
    assert received(manager_socket) == ["WATCHDOG=1"] * 4
    other = ServiceManager({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"})
    await other.serve_watchdog()
    assert received(manager_socket) == []
