"""What a backend says of itself."""

from __future__ import annotations

import array
import errno
import os
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.processes.listening import open_directory
from hotswap.processes.notification import (
    MAX_MESSAGE_BYTES,
    Notification,
    describe_errno,
    open_notify_socket,
    parse_notification,
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"READY=1", Notification(ready=True)),
        (b"READY=1\n", Notification(ready=True)),
        (b"STATUS=warming up\nREADY=1", Notification(ready=True, status="warming up")),
        (b"STATUS=a=b", Notification(status="a=b")),
        (b"STATUS=", Notification(status="")),
        (b"STOPPING=1", Notification(stopping=True)),
        (b"ERRNO=98", Notification(error=errno.EADDRINUSE)),
        (b"ERRNO=0", Notification()),
        (b"MAINPID=4711\nWATCHDOG=1\nX_OWN=1\nFDSTORE=1", Notification()),
    ],
)
def test_messages_that_are_understood(message, expected):
    """The assignments of the contract, alone and together; those of systemd that mean nothing here pass."""
    assert parse_notification(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        b"READY=yes",
        b"READY",
        b"STOPPING=0",
        b"ERRNO=minus one",
        b"ERRNO=-1",
        b"ERRNO=99999",
        "ERRNO=²".encode(),
        b"=1",
        b"hello",
        b"\xff\xfe",
        b"READY=1\0",
    ],
)
def test_messages_that_are_not_understood_are_told(message):
    """Nothing is concluded from them, and why is said."""
    notification = parse_notification(message)
    assert notification.ignored
    assert not notification.ready
    assert not notification.stopping
    assert notification.error is None


def test_what_is_understood_counts_beside_what_is_not():
    """One bad line does not spoil the message."""
    notification = parse_notification(b"nonsense\nREADY=1")
    assert notification.ready
    assert notification.ignored == ("'nonsense'",)


def test_a_status_cannot_break_a_log_line():
    """Control characters in a status become spaces."""
    assert parse_notification(b"STATUS=a\x1b[31mb\r").status == "a [31mb "


@given(st.binary(max_size=200))
def test_no_message_raises(message):
    """Whatever the bytes, there is an answer."""
    parse_notification(message)


def test_an_errno_is_told_in_words():
    """Known numbers with their symbol, unknown ones with the number."""
    assert describe_errno(errno.EADDRINUSE) == "Address already in use (EADDRINUSE)"
    assert "4000" in describe_errno(4000)


@pytest.fixture
def notify(tmp_path):
    """A notify socket."""
    opened = open_notify_socket(directory=open_directory(tmp_path / "s"), name="web-0-1")
    yield opened
    opened.close()


def send(path, message, *ancillary):
    """Send one message from this process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendmsg([message], ancillary, 0, path)


def test_a_message_of_the_session_counts(notify):
    """The kernel says who sent it."""
    send(notify.path, b"READY=1")
    assert notify.receive(session=os.getsid(0)).ready


def test_a_message_from_outside_of_the_session_is_ignored(notify):
    """Another backend of the same user cannot speak for this one."""
    send(notify.path, b"READY=1")
    notification = notify.receive(session=os.getsid(0) + 1)
    assert not notification.ready
    assert f"process {os.getpid()}" in notification.ignored[0]


def test_a_message_of_a_sender_that_is_gone_counts(notify):
    """A short-lived `systemd-notify` may be gone before its message is read."""
    program = "import socket, sys\nsocket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, notify.path], check=True, start_new_session=True)
    assert notify.receive(session=os.getsid(0)).ready


def test_without_a_message_nothing_is_waited_for(notify):
    """The socket is non-blocking."""
    with pytest.raises(BlockingIOError):
        notify.receive(session=os.getsid(0))


def test_a_message_too_long_is_ignored_whole(notify):
    """It is not judged by its first half."""
    send(notify.path, b"READY=1\nSTATUS=" + b"x" * MAX_MESSAGE_BYTES)
    notification = notify.receive(session=os.getsid(0))
    assert not notification.ready
    assert notification.ignored


def test_an_empty_message_means_nothing(notify):
    """It is no end of anything."""
    send(notify.path, b"")
    assert notify.receive(session=os.getsid(0)) == Notification()


def test_files_that_are_attached_are_closed(notify):
    """A backend cannot fill the proxy's table of files."""
    before = len(os.listdir("/proc/self/fd"))
    with open(os.devnull, "rb") as attached:
        files = array.array("i", [attached.fileno()] * 20)
        send(notify.path, b"READY=1\nFDSTORE=1", (socket.SOL_SOCKET, socket.SCM_RIGHTS, files))
    assert notify.receive(session=os.getsid(0)).ready
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_removes_the_path(notify):
    """Twice is harmless."""
    notify.close()
    notify.close()
    assert not os.path.exists(notify.path)
