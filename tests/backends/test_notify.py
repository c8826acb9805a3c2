"""What an app says of itself, seen from the other end of the socket."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

import pytest
import trio

from hotswap_backends import notify


@pytest.fixture
def heard(tmp_path, monkeypatch):
    """A function that gives every message sent to NOTIFY_SOCKET so far, as lists of lines."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiving:
        receiving.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))

        def messages():
            found = []
            while True:
                try:
                    found.append(receiving.recv(65536).decode().split("\n"))
                except BlockingIOError:
                    return found

        yield messages


def test_each_verb_is_one_message(heard):
    """In the words of sd_notify(3)."""
    assert notify.ready()
    assert notify.ready("warm")
    assert notify.status("loading\nmodels")
    assert notify.status("")
    assert notify.stopping()
    assert notify.cannot_serve(98, "port 5432")
    assert heard() == [
        ["READY=1"],
        ["READY=1", "STATUS=warm"],
        ["STATUS=loading models"],
        ["STATUS="],
        ["STOPPING=1"],
        ["ERRNO=98", "STATUS=port 5432"],
    ]


def test_an_error_tells_its_number(heard):
    """One without a number is an input/output error."""
    notify.cannot_serve(PermissionError(errno.EACCES, "no"))
    notify.cannot_serve(OSError("odd"))
    assert heard() == [
        [f"ERRNO={errno.EACCES}", f"STATUS=[Errno {errno.EACCES}] no"],
        [f"ERRNO={errno.EIO}", "STATUS=odd"],
    ]


def test_without_a_supervisor_nothing_happens(monkeypatch):
    """An app may call these wherever it runs."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.ready()


def test_a_supervisor_that_is_gone_is_no_error(monkeypatch, tmp_path):
    """The app goes on."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify.ready()


def test_the_abstract_namespace_is_understood(monkeypatch):
    """systemd writes its NUL as @."""
    name = f"hotswap-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert notify.ready()
        assert receiving.recv(100) == b"READY=1"


class Lifespan:
    """A server's side of the lifespan protocol, which notes what it had sent when it was told."""

    def __init__(self, app, heard):
        self.app, self.heard = app, heard
        self.to_app, self._from_server = trio.open_memory_channel(10)
        self.told = []

    async def _receive(self):
        return {"type": await self._from_server.receive()}

    async def _send(self, message):
        # What was sent to the supervisor before the server heard of it.
        self.told.append((message["type"], self.heard()))

    async def run(self, *messages):
        """Send these to the app and let it run to its end."""
        for message in messages:
            self.to_app.send_nowait(message)
        await self.app({"type": "lifespan"}, self._receive, self._send)


async def good_app(scope, receive, send):
    """An app with a startup and a shutdown."""
    assert (await receive())["type"] == "lifespan.startup"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    await send({"type": "lifespan.shutdown.complete"})


async def test_an_asgi_app_is_ready_when_its_startup_is_complete(heard):
    """And not before its server knows; it is stopping when its shutdown begins."""
    server = Lifespan(notify.notifying_asgi(good_app), heard)
    await server.run("lifespan.startup", "lifespan.shutdown")
    assert server.told == [
        ("lifespan.startup.complete", []),
        ("lifespan.shutdown.complete", [["READY=1"], ["STOPPING=1"]]),
    ]


async def test_an_asgi_app_whose_startup_failed_cannot_serve(heard):
    """With what it said about it."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    await Lifespan(notify.notifying_asgi(app), heard).run("lifespan.startup")
    assert heard() == [[f"ERRNO={errno.EIO}", "STATUS=no database"]]


async def test_an_asgi_app_without_lifespan_is_ready_once_it_said_so(heard):
    """The exception reaches the server, which takes it for "not supported"."""

    async def app(scope, receive, send):
        raise KeyError(scope["type"])

    with pytest.raises(KeyError):
        await Lifespan(notify.notifying_asgi(app), heard).run("lifespan.startup")
    assert heard() == [["READY=1"]]


async def test_an_asgi_app_that_breaks_later_is_not_ready_twice(heard):
    """An exception after the startup is its own affair."""

    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        raise KeyError("later")

    with pytest.raises(KeyError, match="later"):
        await Lifespan(notify.notifying_asgi(app), heard).run()
    assert heard() == [["READY=1"]]


async def test_requests_pass_unchanged(heard):
    """The wrapper is about lifespan only."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    async def receive():
        return {}

    async def send(message):
        pass

    scope = {"type": "http"}
    await notify.notifying_asgi(app)(scope, receive, send)
    assert seen == [(scope, receive, send)]
    assert heard() == []


def test_a_wsgi_app_is_ready_when_its_module_is_loaded(heard):
    """And stopping when its interpreter ends."""
    program = (
        "from hotswap_backends.notify import notifying_wsgi\ndef app(*_): return []\nassert notifying_wsgi(app) is app"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert heard() == [["READY=1"], ["STOPPING=1"]]
