"""Every server that has a preset, started, asked and stopped for real."""

from __future__ import annotations

import os
import sys

import pytest

from hotswap.core.config.pools import SupervisedPoolTable
from hotswap.core.server import ABILITIES, Server
from hotswap.core.strategy import Listen
from hotswap.processes.listening import Transport
from hotswap.processes.presets import PRESETS, SERVE, recipe
from tests.support.hotswap import SOURCES

APP = """
print("imported")

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

EVERY_SOCKET = [
    (server, listen, abilities.interfaces[0])
    for server, abilities in ABILITIES.items()
    if server is not Server.COMMAND
    for listen in abilities.listens
]
OTHER_INTERFACES = [
    (server, abilities.listens[0], interface)
    for server, abilities in ABILITIES.items()
    for interface in abilities.interfaces[1:]
]


def table(**keys):
    """The table of a pool."""
    return SupervisedPoolTable.model_validate({"directory": "/", **keys})


@pytest.mark.parametrize(("server", "listen", "interface"), [*EVERY_SOCKET, *OTHER_INTERFACES])
async def test_a_server_becomes_ready_and_stops(stage, tmp_path, server, listen, interface):
    """With each kind of socket it can take and each interface it speaks."""
    (tmp_path / "shop.py").write_text(APP)
    found = recipe(table(server=server, app=f"shop:{interface}", listen=listen, interface=interface))
    process = stage.spawn(
        argv=found.argv,
        listen=found.listen,
        transport=found.transport,
        stop_signal=found.stop_signal,
        directory=str(tmp_path),
    )
    await stage.wait_ready(process, start_timeout=40, healthy_after=2)
    killed = await process.stop(stop_timeout=20)
    assert not killed
    # A server with two processes may write in the middle of the app's line.
    assert any("imported" in line for line in stage.lines.seen)
    assert os.listdir(stage.directory) == []


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
async def test_a_server_runs_without_the_files_of_the_proxy(stage, tmp_path, server):
    """The environment of the proxy is gone and the app's own is there; with the processes that a server starts."""
    (tmp_path / "shop.py").write_text(APP)
    program, _, *arguments = recipe(table(server=server, app="shop:asgi")).argv
    argv = (program, str(tmp_path / "gone" / "hotswap_backends" / "serve.py"), *arguments)
    process = stage.spawn(argv=argv, directory=str(tmp_path))
    await stage.wait_ready(process, start_timeout=40)
    assert not await process.stop(stop_timeout=20)
    assert os.listdir(stage.directory) == ["serve.py"]


async def test_an_app_that_says_it_is_ready_is_asked_afterwards(stage, tmp_path):
    """READY=1 after the startup, STOPPING=1 at the end: the wrapper of `hotswap_backends.notify` in a server."""
    (tmp_path / "shop.py").write_text(
        APP + "from hotswap_backends.notify import notifying_asgi\nnotifying = notifying_asgi(asgi)\n"
    )
    found = recipe(table(server="uvicorn", app="shop:notifying"))
    process = stage.spawn(
        argv=found.argv,
        directory=str(tmp_path),
        notify=True,
        environment={"PYTHONPATH": SOURCES},
    )
    await stage.wait_ready(process)
    assert process.ready_said
    await process.stop(stop_timeout=20)
    assert process.stopping_said


def test_every_server_but_command_has_a_preset():
    """The table of abilities and the table of presets name the same servers."""
    assert set(PRESETS) | {Server.COMMAND} == set(ABILITIES) == set(Server)


@pytest.mark.parametrize("server", list(PRESETS))
def test_arguments_of_the_pool_come_last(server):
    """So that they win over those of the preset; waitress wants its app at the very end."""
    abilities = ABILITIES[server]
    argv = recipe(
        table(server=server, app="shop:app", args=["--own", "one"], listen=abilities.listens[0], python="/opt/python")
    ).argv
    interface = abilities.interfaces[0].value
    assert argv[:5] == ("/opt/python", str(SERVE), server.value, interface, "shop:app")
    assert argv[-3:-1] == ("--own", "one") or argv[-2:] == ("--own", "one")


def test_the_interpreter_is_the_proxys_own_unless_told():
    """The app may live in another virtual environment."""
    assert recipe(table(server="uvicorn", app="shop:app")).argv[0] == sys.executable


def test_a_command_is_taken_as_it_is():
    """With its placeholders, which are filled in when a backend is spawned."""
    found = recipe(table(server="command", command=["./serve", "--fd={fd}"], args=["--more"], listen="fd"))
    assert found.argv == ("./serve", "--fd={fd}", "--more")
    assert found.listen is Listen.FD


def test_an_inherited_socket_is_a_unix_socket_where_the_server_can_take_one():
    """daphne takes every file descriptor for an IPv4 socket."""
    tcp = {server for server, preset in PRESETS.items() if preset.transport is Transport.TCP}
    assert tcp == {Server.DAPHNE}
