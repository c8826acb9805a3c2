"""Settings of servers in variables and files: none of them takes a backend out of its slot."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.client import Target, fetch
from tests.support.hotswap import descendants, run_hotswap

APP = """
import os

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("not supported")
    told = f"{os.getpid()} {scope.get('root_path')}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told})

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getpid()} {os.environ.get('HARMLESS')}".encode()]
"""

GUNICORN_FILE = """
bind = "127.0.0.1:{port}"
workers = 4
pidfile = "{directory}/gunicorn.pid"
daemon = True
reload = True
preload_app = True
max_requests = 5
protocol = "uwsgi"
proxy_protocol = True
certfile = keyfile = "/nowhere.pem"
raw_env = ["HARMLESS=honoured"]
"""

HYPERCORN_FILE = """
bind = "127.0.0.1:{port}"
insecure_bind = "127.0.0.1:{port}"
workers = 3
pid_path = "{directory}/hypercorn.pid"
use_reloader = true
max_requests = 5
certfile = "/nowhere.pem"
keyfile = "/nowhere.pem"
root_path = "/honoured"
"""

POOLS = {
    "uvicorn": (
        'server = "uvicorn"\napp = "shop:asgi"',
        {
            "WEB_CONCURRENCY": "3",
            "UVICORN_WORKERS": "3",
            "UVICORN_RELOAD": "1",
            "UVICORN_PORT": "PORT",
            "UVICORN_LIMIT_MAX_REQUESTS": "5",
            "UVICORN_SSL_CERTFILE": "/nowhere.pem",
            "UVICORN_FORWARDED_ALLOW_IPS": "*",
            "FORWARDED_ALLOW_IPS": "*",
            "UVICORN_ROOT_PATH": "/honoured",
        },
    ),
    "gunicorn": (
        'server = "gunicorn"\napp = "shop:wsgi"',
        {"WEB_CONCURRENCY": "3", "GUNICORN_CMD_ARGS": "--workers 5 --pid DIRECTORY/other.pid --max-requests 3"},
    ),
    "hypercorn": ('server = "hypercorn"\napp = "shop:asgi"\nargs = ["--config", "hypercorn.toml"]', {}),
    "granian": (
        'server = "granian"\napp = "shop:asgi"',
        {
            "GRANIAN_WORKERS": "3",
            "GRANIAN_RELOAD": "true",
            "GRANIAN_PORT": "PORT",
            "GRANIAN_PID_FILE": "DIRECTORY/granian.pid",
            "GRANIAN_WORKERS_LIFETIME": "60",
            "GRANIAN_URL_PATH_PREFIX": "/honoured",
        },
    ),
}
"""For each server with such settings: its pool, and the variables of that."""


def configuration(directory: Path, port: int) -> str:
    """A pool for each server, in a directory of its own."""
    text = '[listeners.public]\nbind = ["127.0.0.1:0"]\n'
    for name, (keys, variables) in POOLS.items():
        told = {
            key: value.replace("PORT", str(port)).replace("DIRECTORY", str(directory / name))
            for key, value in variables.items()
        }
        environment = ", ".join(f'{key} = "{value}"' for key, value in told.items())
        text += (
            f'[[routes]]\nhosts = ["{name}.test"]\npool = "{name}"\n[pools.{name}]\n{keys}\ndirectory = "{name}"\n'
            f'environment = {{ {environment} }}\nhealth = {{ path = "/honoured" }}\n'
        )
    return text


def pid_files(directory: Path) -> list[Path]:
    """The pid files that a server has written."""
    return list(directory.glob("*.pid"))


@pytest.mark.fail_after(90)
async def test_a_slot_is_one_process_on_the_socket_it_was_given(tmp_path: Path):
    """Whatever the server's own settings say of workers, addresses, pid files, daemons, reloads and limits."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # Whoever also binds what its settings say fails at the start.
        port = taken.getsockname()[1]
        for name in POOLS:
            (tmp_path / name).mkdir()
            (tmp_path / name / "shop.py").write_text(APP)
        keys = {"port": port, "directory": tmp_path / "gunicorn"}
        (tmp_path / "gunicorn" / "gunicorn.conf.py").write_text(GUNICORN_FILE.format(**keys))
        keys["directory"] = tmp_path / "hypercorn"
        (tmp_path / "hypercorn" / "hypercorn.toml").write_text(HYPERCORN_FILE.format(**keys))
        async with run_hotswap(configuration(tmp_path, port), tmp_path) as hotswap:
            target = await hotswap.target()
            for name in POOLS:
                before = {backend["pid"] for backend in await hotswap.backends(name)}
                answers = {
                    (await fetch(Target(address=target.address, host=f"{name}.test"), "/honoured")).expect().body
                    for _ in range(24)
                }
                pids = {int(answer.split()[0]) for answer in answers}
                assert len(pids) == 2, (name, answers)
                for pid in before:
                    assert len({pid, *descendants(pid)} & pids) == 1, name
                assert {backend["pid"] for backend in await hotswap.backends(name)} == before, name
                assert not pid_files(tmp_path / name), name
                if name in ("uvicorn", "gunicorn", "hypercorn"):
                    assert all(b"honoured" in answer for answer in answers), (name, answers)
                assert (await hotswap.rollout(name))["outcome"] == "done", name
            assert not hotswap.written("backend.crashed")
            for told in ("UVICORN_RELOAD=1", "setting pidfile", "setting daemon", "setting pid_path", "GRANIAN_RELOAD"):
                assert hotswap.written("left out", told), told
