"""Server presets: how each server is started and stopped, one row a server.

A row gives the arguments as a template with the placeholders of `server = "command"`, because the socket is
known only when a backend is spawned. What the configuration is judged by (interfaces, kinds of sockets) is in
`hotswap.core.server`; the facts behind the rows were measured.

Common to all: one worker process behind one slot, since the pool is the set of workers; idle connections are
the proxy's to close, so the server's own keep-alive limit is far above it; forwarded fields are none of the server's
business, each of which makes something else of them: `hotswap_backends.serve`, which runs the server, tells the app of
the client; no access log, the proxy writes one. `args` follow these arguments, and in every one of these servers the
later one wins. The backlog is told to those that call listen() again on an inherited socket, which would shorten its
queue to their own default.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hotswap.core.config.pools import SupervisedPoolTable
from hotswap.core.server import Interface, Server
from hotswap.core.strategy import Listen
from hotswap.processes.listening import BACKLOG, Transport

KEEP_ALIVE: Final = "3600"
"""Seconds until a server closes an idle connection by itself; the proxy is to be first."""

SERVE: Final = Path(str(files("hotswap_backends"))) / "serve.py"
"""What runs a server, by the interpreter of the app."""

APP: Final = "hotswap_app:app"
"""What the server is told to import, which is the app of the pool behind what tells it of the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Command and signals of one server.

    Attributes:
        line: the arguments; `{app}`, `{args}` and those that the other attributes are for stand for what the pool says.
        sockets: what `{listen}` stands for, by kind of socket.
        interfaces: what `{interface}` stands for, by interface; nothing for one that is not there.
        transport: what an inherited listening socket has to be.
        stop_signal: what makes it finish and exit.
    """

    line: str
    sockets: Mapping[Listen, str]
    interfaces: Mapping[Interface, str] = field(default_factory=dict)
    transport: Transport = Transport.UNIX
    stop_signal: signal.Signals = signal.SIGTERM

    def arguments(self, table: SupervisedPoolTable) -> tuple[str, ...]:
        """Give the arguments for the backends of a pool, with the placeholders for their sockets."""
        replaced = {
            "{interface:app}": (f"{table.interface.value}:{APP}",),
            "{app}": (APP,),
            "{args}": table.args,
            "{listen}": self.sockets[table.listen].split(),
            "{interface}": self.interfaces.get(table.interface, "").split(),
        }
        return tuple(word for part in shlex.split(self.line) for word in replaced.get(part, (part,)))


PRESETS: Final[Mapping[Server, Preset]] = MappingProxyType(
    {
        Server.UVICORN: Preset(
            line=f"{{app}} {{listen}} {{interface}} --workers 1 --backlog {BACKLOG} --timeout-keep-alive {KEEP_ALIVE} "
            "--no-access-log --no-proxy-headers {args}",
            sockets={Listen.FD: "--fd {fd}", Listen.UNIX: "--uds {socket}", Listen.TCP: "--host {host} --port {port}"},
            interfaces={Interface.ASGI: "--interface asgi3", Interface.WSGI: "--interface wsgi"},
        ),
        # 0 workers would do without its master, but with some of its worker classes that mode cuts everything at once.
        Server.HYPERCORN: Preset(
            line=f"{{interface:app}} --bind {{listen}} --workers 1 --backlog {BACKLOG} --keep-alive {KEEP_ALIVE} "
            "{args}",
            sockets={Listen.FD: "fd://{fd}", Listen.UNIX: "unix:{socket}", Listen.TCP: "{host}:{port}"},
        ),
        # It finds an inherited socket by LISTEN_FDS; told of it twice it would listen twice. Its control socket has one
        # path for all instances of a user, which then collide.
        Server.GUNICORN: Preset(
            line=f"{{app}} {{listen}} {{interface}} --workers 1 --backlog {BACKLOG} --keep-alive {KEEP_ALIVE} "
            "--forwarded-allow-ips '' --no-control-socket {args}",
            sockets={Listen.FD: "", Listen.UNIX: "--bind unix:{socket}", Listen.TCP: "--bind {host}:{port}"},
            interfaces={Interface.ASGI: "--worker-class asgi", Interface.WSGI: "--threads 8"},
        ),
        Server.GRANIAN: Preset(
            line=f"{{app}} --interface {{interface}} {{listen}} --workers 1 --backlog {BACKLOG} {{args}}",
            sockets={Listen.UNIX: "--uds {socket}", Listen.TCP: "--host {host} --port {port}"},
            interfaces={Interface.ASGI: "asgi", Interface.WSGI: "wsgi"},
        ),
        # Its default limit of 100 would stop accepting at 100 open connections, idle ones included. Its app has to be
        # the last argument. SIGTERM would cut it off in the middle of a request.
        Server.WAITRESS: Preset(
            line=f"{{listen}} --channel-timeout={KEEP_ALIVE} --backlog={BACKLOG} --connection-limit={BACKLOG} "
            "--threads=8 --no-clear-untrusted-proxy-headers {args} {app}",
            sockets={Listen.UNIX: "--unix-socket={socket}", Listen.TCP: "--listen={host}:{port}"},
            stop_signal=signal.SIGINT,
        ),
        # It takes every inherited socket for an IPv4 one and resets each connection of another kind.
        Server.DAPHNE: Preset(
            line="{listen} --verbosity 0 {app} {args}",
            sockets={Listen.FD: "--fd {fd}", Listen.UNIX: "-u {socket}", Listen.TCP: "-b {host} -p {port}"},
            transport=Transport.TCP,
        ),
    }
)
"""Every server but `command`, which is no preset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Command, signals and sockets of a pool's backends, from its table and its server's preset.

    Attributes:
        argv: program and arguments, with placeholders.
        listen: how backends are given their socket.
        transport: what an inherited socket is.
        stop_signal: what makes them finish and exit.
    """

    argv: tuple[str, ...]
    listen: Listen
    transport: Transport
    stop_signal: signal.Signals


def recipe(table: SupervisedPoolTable) -> Recipe:
    """Combine a pool's table with the preset of its server.

    `listen` and `interface` of the table are taken as they are: the configuration was checked against what
    the server can do.
    """
    if table.server is Server.COMMAND:
        # A program that is handed a file descriptor can be expected to take any stream socket.
        return Recipe(
            argv=(*table.command, *table.args),
            listen=table.listen,
            transport=Transport.UNIX,
            stop_signal=signal.SIGTERM,
        )
    preset = PRESETS[table.server]
    return Recipe(
        argv=(
            *(table.python or sys.executable, str(SERVE), table.server.value, table.interface.value, table.app),
            *preset.arguments(table),
        ),
        listen=table.listen,
        transport=preset.transport,
        stop_signal=preset.stop_signal,
    )
