"""What runs behind every proxy: nginx answering from memory, the stream origin, and the demo app."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.running import Command, choose_ports, open_process, wait_serving
from tests.bench.tools import Tool, find_tool
from tests.support.hotswap import SOURCES

SMALL_BODY = b"Hello from behind the proxy.\n"
SMALL_FILE = "1m"
LARGE_FILE = "100m"
_FILE_BYTES = {SMALL_FILE: 1024 * 1024, LARGE_FILE: 100 * 1024 * 1024}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origins of a run.

    Attributes:
        socket: unix socket of nginx. ``/`` answers GET and POST with a small body from memory,
            ``/files/NAME`` with a file, ``/forwarded`` with the X-Forwarded-For that arrived, ``/healthz`` with 200.
        direct_port: the same on loopback, for figures without a proxy.
        stream_socket: unix socket of the stream origin, for everything below ``/stream/``.
        demo_socket: unix socket of the demo app on uvicorn; None when it cannot be started.
        files: directory of the files, by name.
    """

    socket: Path
    direct_port: int
    stream_socket: Path
    demo_socket: Path | None
    files: Path

    def file(self, name: str) -> Path:
        """Return the path of the file called ``name``."""
        return self.files / name


@contextlib.contextmanager
def open_origin(directory: Path, *, processors: Collection[int], demo: bool) -> Iterator[Origin]:
    """Start the origins in ``directory``; ``demo`` starts the demo app too, if this project has it.

    Raises:
        ToolMissing: nginx is not installed.
        NotServing: one of them does not start.
    """
    directory.mkdir()
    files = directory / "files"
    files.mkdir()
    for name, size in _FILE_BYTES.items():
        _write_file(files / name, size)
    (direct_port,) = choose_ports(1)
    socket, stream_socket, demo_socket = (directory / f"{name}.sock" for name in ("origin", "stream", "demo"))
    configuration = directory / "origin.conf"
    configuration.write_text(_configure(directory, socket, direct_port, files), encoding="utf-8")
    nginx = Command(argv=(str(find_tool(Tool.NGINX)), "-p", str(directory), "-c", str(configuration), "-e", "stderr"))
    stream = Command(argv=(sys.executable, "-m", "tests.bench.stream_origin", str(stream_socket)))
    uvicorn = Command(
        argv=(
            *(sys.executable, "-m", "uvicorn", "demo:app", "--uds", str(demo_socket)),
            *("--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "600"),
        ),
        environment={"PYTHONPATH": SOURCES, "DEMO_DATABASE": str(directory / "notes.sqlite3")},
    )
    with contextlib.ExitStack() as held:

        def start(name: str, command: Command, path: Path) -> None:
            running = held.enter_context(open_process(command, name=name, directory=directory, processors=processors))
            wait_serving(running, path=path)

        start("origin", nginx, socket)
        start("stream", stream, stream_socket)
        with_demo = demo and find_demo()
        if with_demo:
            start("demo", uvicorn, demo_socket)
        yield Origin(
            socket=socket,
            direct_port=direct_port,
            stream_socket=stream_socket,
            demo_socket=demo_socket if with_demo else None,
            files=files,
        )


def find_demo() -> bool:
    """Tell whether uvicorn, which runs the project's demo app, is there."""
    return importlib.util.find_spec("uvicorn") is not None


def _write_file(path: Path, size: int) -> None:
    # Not the same byte throughout, so that a body with a hole or a doubled block differs.
    block = 1024 * 1024
    with path.open("wb") as file:
        for number in range(size // block):
            file.write(number.to_bytes(8, "big") * (block // 8))


def _configure(directory: Path, socket: Path, direct_port: int, files: Path) -> str:
    # Early answers are no answers: nginx reads a body that it has no use for, since it keeps the connection.
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""
daemon off; {user}
worker_processes 1;
pid {directory}/origin.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout 600s;
    client_max_body_size 0;
    client_header_buffer_size 8k;
    sendfile on;
    tcp_nodelay on;
    default_type text/plain;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen unix:{socket} backlog=4096;
        listen 127.0.0.1:{direct_port} backlog=4096;
        location / {{ return 200 "{SMALL_BODY.decode().strip()}\\n"; }}
        location = /forwarded {{ return 200 "$http_x_forwarded_for"; }}
        location /files/ {{ alias {files}/; }}
    }}
}}
"""
